"""A permit: what an approval gives. It knows when it may be used, and refuses at any other time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, Protocol

from arbiter.client.core.errors import PermitExpired, PermitNotOpen, PermitUsed, PermitVoid
from arbiter.messages import DecisionMessage, Obligations

Clock = Callable[[], datetime]
"""Gives the time, with a zone."""

State = Literal["not_open", "open", "expired", "void", "used"]


class Later(Protocol):
    """A decision that came later."""

    @property
    def message(self) -> DecisionMessage: ...  # noqa: D102


class Request(Protocol):
    """What a permit knows of its request."""

    def after(self, number: int) -> Later | None:
        """The first decision whose number is greater."""


class Permit:
    """One contact may be made from ``opens_at`` until before ``ends_at``, unless the approval is taken back.

    ``use()`` immediately before the contact is made: it raises, or marks the permit as used.
    """

    def __init__(self, message: DecisionMessage, number: int, request: Request, clock: Clock) -> None:
        """``message`` is the approval; ``request`` knows what was decided on the request since."""
        assert message.valid_until is not None, message  # noqa: S101 - every approval has one
        self.decision_id = message.decision_id
        self.number = number
        self.request_id = message.request_id
        self.customer_id = message.customer_id
        self.department = message.department
        self.campaign = message.campaign
        self.channel = message.channel
        self.category = message.category
        self.opens_at: datetime = message.not_before or message.decided_at
        self.ends_at: datetime = message.valid_until
        self.obligations: Obligations = message.obligations or Obligations()
        self.request = request
        self._clock = clock
        self._uses = [1]

    @property
    def state(self) -> State:
        """What it is now."""
        now = self._clock()
        if not self._uses:
            return "used"
        if self.revoked_by is not None:
            return "void"
        if now >= self.ends_at:
            return "expired"
        return "open" if now >= self.opens_at else "not_open"

    @property
    def revoked_by(self) -> DecisionMessage | None:
        """The later decision that made it void, if there is one."""
        later = self.request.after(self.number)
        return None if later is None else later.message

    @property
    def opens_in(self) -> timedelta:
        """How long until it opens; nothing or less if it has."""
        return self.opens_at - self._clock()

    def check(self) -> None:
        """Raise :class:`PermitError` unless the contact may be made now."""
        match self.state:
            case "used":
                raise self._used()
            case "void":
                newer = self.revoked_by
                assert newer is not None  # noqa: S101 - its state says so
                raise PermitVoid(f"{self}: void since {newer.decided_at.isoformat()}, when it was {newer.outcome}")
            case "expired":
                raise PermitExpired(f"{self}: it ended at {self.ends_at.isoformat()}; ask again with a new request id")
            case "not_open":
                raise PermitNotOpen(f"{self}: it opens at {self.opens_at.isoformat()}")
            case "open":
                pass

    def use(self) -> None:
        """Take the permit for the contact that is made now; :class:`PermitError` if it must not be made."""
        self.check()
        try:
            self._uses.pop()  # of two threads only one gets it
        except IndexError:
            raise self._used() from None

    def _used(self) -> PermitUsed:
        return PermitUsed(f"{self}: it was used before; a second contact needs a request of its own")

    def __str__(self) -> str:
        return f"permit for request `{self.request_id}` of customer `{self.customer_id}`"
