"""What a ticket knows of its request, the same for threads and for an event loop."""

from __future__ import annotations

from typing import Any, Protocol

from arbiter.client.core.decisions import Decision
from arbiter.client.core.histories import History
from arbiter.client.core.permits import Clock
from arbiter.client.core.records import Place
from arbiter.client.core.sender import Asked


class Fated(Protocol):
    """A future with a record's fate."""

    def done(self) -> bool: ...  # noqa: D102
    def result(self) -> Any: ...  # noqa: D102
    def add_done_callback(self, told: Any, /) -> Any: ...  # noqa: D102


class OnItsWay(Protocol):
    """A record that is being delivered."""

    @property
    def slot(self) -> Fated: ...  # noqa: D102

    @property
    def place(self) -> Place | None:
        """Where the record stands; ``None`` while that is not known. Raises if Kafka did not take it."""


class Link(Protocol):
    """What a ticket needs of its client."""

    def check(self) -> None:
        """Raise once the client is closed or has failed: no decision comes then."""

    def refusal(self, place: Place) -> Decision | None:
        """The answer to the record at this place, if it could not be taken."""


class BaseTicket:
    """A request that was asked, and what is known of its decisions. ``delivery`` is that of its newest record."""

    delivery: OnItsWay

    def __init__(self, asked: Asked, history: History, link: Link, clock: Clock) -> None:
        self.request = asked.request
        self.record = asked.record
        self._history = history
        self._link = link
        self._clock = clock

    @property
    def request_id(self) -> str:
        """The id under which it was asked."""
        return self.request.request_id

    @property
    def customer_id(self) -> str:
        """Whom it is about."""
        return self.request.customer_id

    @property
    def department(self) -> str:
        """Who asked."""
        return self.request.department

    def _follow(self, delivery: OnItsWay) -> None:
        """Look again when the record's fate is known."""
        delivery.slot.add_done_callback(lambda _: self._history.wake())

    def _newest(self) -> Decision | None:
        return self._known(self._history.latest)

    def _after(self, last: Decision | None) -> Decision | None:
        return self._known(self._history.after(-1 if last is None else last.number))

    def _known(self, decided: Decision | None) -> Decision | None:
        """What is decided, or that this very record could not be taken; raises if no decision can come."""
        fate = self.delivery.slot.result() if self.delivery.slot.done() else None
        refusal = self._link.refusal(fate) if isinstance(fate, Place) else None
        if refusal is None and decided is None:
            self._link.check()
            self.delivery.place  # noqa: B018 - raises if Kafka did not take the request
        return refusal or decided
