"""One department's messages: built, checked, and made records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from arbiter.client.core.building import Message, build
from arbiter.client.core.errors import InvalidMessage
from arbiter.client.core.faults import Fault
from arbiter.client.core.permits import Clock
from arbiter.client.core.records import TOPICS, Envelope, Record, record_of
from arbiter.messages import ContactRequest, Outcome, OutcomeKind
from arbiter.messages.forms import name_in_one_form

Fact = TypeVar("Fact", bound=Message)


class About(Protocol):
    """What an outcome can be about: a ticket, a decision or a permit."""

    @property
    def department(self) -> str: ...  # noqa: D102
    @property
    def customer_id(self) -> str: ...  # noqa: D102
    @property
    def request_id(self) -> str: ...  # noqa: D102


class Asked(Struct, frozen=True):
    """A request and its record."""

    request: ContactRequest
    record: Record


class Sender:
    """Makes the records of a department. Every method raises :class:`InvalidMessage`, which names all faults."""

    def __init__(self, department: str, envelope: Envelope, clock: Clock) -> None:
        self.department = department
        self._envelope = envelope
        self._clock = clock

    def ask(self, fields: Mapping[str, Any], traceparent: str = "") -> Asked:
        """A contact request of the department."""
        request, record = self.record(ContactRequest, self._own(fields, "request"), traceparent)
        return Asked(request, record)

    def outcome(
        self,
        kind: OutcomeKind,
        about: About | None,
        at: datetime | str | None,
        fields: Mapping[str, Any],
        traceparent: str = "",
    ) -> Record:
        """What became of a contact; now, unless ``at`` says when."""
        given: dict[str, Any] = {"kind": kind, "at": self._clock() if at is None else at}
        if about is not None:
            named = {"department": about.department, "customer_id": about.customer_id, "request_id": about.request_id}
            given |= named
        return self.record(Outcome, self._own({**given, **fields}, "outcome"), traceparent)[1]

    def record(self, kind: type[Fact], fields: Mapping[str, Any], traceparent: str = "") -> tuple[Fact, Record]:
        """A message of any kind, and its record."""
        now = self._clock()
        message, faults = build(kind, fields, now)
        if message is not None:
            try:
                return message, record_of(message, self._envelope, now, traceparent)
            except ValueError as error:
                faults = [Fault("traceparent", str(error))]
        raise InvalidMessage(TOPICS[kind][2], faults)

    def _own(self, fields: Mapping[str, Any], what: str) -> dict[str, Any]:
        """The fields with the department, which is nobody else's."""
        named = fields.get("department", self.department)
        if not isinstance(named, str) or name_in_one_form(named) != self.department:
            fix = f"this client is `{self.department}`'s; open one for the other department"
            raise InvalidMessage(what, [Fault("department", f"it is `{named}`", fix)])
        return {"department": self.department, **fields}


def stable_id(*parts: str) -> str:
    """A request id that is the same for the same parts: campaign, customer, wave. So a repeat asks the same again."""
    return blake2b(
        b"".join(b"%d:%s" % (len(part.encode()), part.encode()) for part in parts), digest_size=16
    ).hexdigest()
