"""Which request is which: identity, content, and the ledger's index of what was answered."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from arbiter.core.instants import DAY_MS, SECOND_MS
from arbiter.core.model import Ledger
from arbiter.messages import ContactRequest

ANSWERS_KEPT_MS = 35 * DAY_MS
"""How long answers are kept: the 30 days in which an id is told from a new one, and a margin."""

ENTRY_BYTES = 12

_canonical = msgspec.msgpack.Encoder(order="deterministic")


def identity(request: ContactRequest) -> bytes:
    """The 16 bytes by which a request is told from others: department, customer and request id."""
    return identity_of(request.department, request.customer_id, request.request_id)


def identity_of(department: str, customer: str, request_id: str) -> bytes:
    """As :func:`identity`, for an outcome that names the request."""
    return blake2b(_canonical.encode((department, customer, request_id)), digest_size=16).digest()


def content_of(request: ContactRequest) -> bytes:
    """A hash of all known fields but ``requested_at``: a repeat may be stamped anew."""
    return blake2b(_canonical.encode(replace(request, requested_at=None)), digest_size=8).digest()


def was_answered(ledger: Ledger, request_identity: bytes) -> bool:
    """Whether the ledger's index knows the request; its answer must then be at hand to arbitrate it."""
    wanted, index = request_identity[:8], ledger.answered
    at = index.find(wanted)
    while at >= 0 and at % ENTRY_BYTES:
        at = index.find(wanted, at + 1)
    return at >= 0


def remember(ledger: Ledger, request_identity: bytes, now_ms: int) -> None:
    """Put a request into the index, and drop the entries that are too old to matter."""
    forgotten = (now_ms - ANSWERS_KEPT_MS) // SECOND_MS
    index, start = ledger.answered, 0
    while start < len(index) and int.from_bytes(index[start + 8 : start + ENTRY_BYTES], "big") < forgotten:
        start += ENTRY_BYTES
    ledger.answered = index[start:] + request_identity[:8] + (now_ms // SECOND_MS).to_bytes(4, "big")
