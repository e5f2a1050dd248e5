"""A record that was read, and the form in which it can be kept or sent on to another partition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from arbiter.ledger.facts import Fact
from arbiter.ledger.keys import CUSTOMER
from arbiter.ledger.model import StoredRecord
from arbiter.messages import ContactRequest, CustomerChange, FieldNote, Outcome, Profile
from arbiter.messages.traces import trace_in

Message = ContactRequest | Fact | Outcome

request_of: Final[Callable[[bytes], ContactRequest]] = msgspec.json.Decoder(ContactRequest).decode
"""A request from its JSON; ``msgspec.DecodeError``."""

_What = Literal["request", "change", "profile", "outcome"]
_READ: Final[dict[_What, Callable[[bytes], Any]]] = {
    "request": request_of,
    "change": msgspec.json.Decoder(CustomerChange).decode,
    "profile": msgspec.json.Decoder(Profile).decode,
    "outcome": msgspec.json.Decoder(Outcome).decode,
}


class InputRecord(Struct, frozen=True, gc=False):
    """A record that was read: the message, where it stood, when it was received (ms), and its JSON.

    ``key``, ``value`` and ``headers`` are the record's own (``value`` only where it is not the JSON alone), so that
    it can still become a dead letter elsewhere; ``hops`` says how often it was sent on. ``identity`` is that of a
    request, where it was worked out already; ``trace`` is the trace that its headers name, or empty. ``notes`` tell the
    sender what was ignored of a request.
    """

    message: Message
    source: tuple[str, int, int]
    received_ms: int
    raw: bytes
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    hops: int = 0
    identity: bytes = b""
    trace: bytes = b""
    notes: tuple[FieldNote, ...] = ()

    @property
    def party(self) -> str:
        """Whose ledger it belongs to at the customer's home."""
        return CUSTOMER + self.message.customer_id


def to_stored(record: InputRecord) -> StoredRecord:
    """The record as it is kept or sent on."""
    a = record
    headers = tuple((name, value or b"") for name, value in a.headers)
    return StoredRecord(_what(a.message), a.source, a.received_ms, a.raw, a.key, a.value, headers, a.hops, a.notes)


def _what(message: Message) -> _What:
    if isinstance(message, ContactRequest):
        return "request"
    if isinstance(message, Profile):
        return "profile"
    return "outcome" if isinstance(message, Outcome) else "change"


def from_stored(stored: StoredRecord) -> InputRecord:
    """What was kept or sent on, as it arrived; ``msgspec.DecodeError`` for what no reader had let through."""
    a, message = stored, _READ[stored.what](stored.raw)
    trace = trace_in(a.headers) or b""
    return InputRecord(message, a.source, a.received_ms, a.raw, a.key, a.value, a.headers, a.hops, b"", trace, a.notes)
