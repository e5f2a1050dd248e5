"""Which request is which: identity, content, and the ledger's index of what was answered."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import msgspec
from msgspec.structs import replace

from arbiter.core.instants import DAY_MS, SECOND_MS
from arbiter.core.model import Ledger, Member
from arbiter.messages import ContactRequest

ANSWERS_KEPT_MS = 35 * DAY_MS
"""How long answers are kept: the 30 days in which an id is told from a new one, and a margin."""

REF_BYTES = 8
ENTRY_BYTES = 12
"""One entry of ``Member.answered``: the first 8 bytes of an identity, 4 bytes of unix seconds."""

BEGUN_ANEW: Final = 10**15
"""Commits of a partition whose state was lost are numbered from the time in microseconds, well above this."""

COUNTS_MAX: Final = 10**6
"""The decisions on one request that are counted, from wherever the count begins."""

_canonical = msgspec.msgpack.Encoder(order="deterministic")


def identity(request: ContactRequest) -> bytes:
    """The 16 bytes by which a request is told from others: department, customer and request id."""
    return identity_of(request.department, request.customer_id, request.request_id)


def identity_of(department: str, customer: str, request_id: str) -> bytes:
    """As :func:`identity`, for an outcome that names the request."""
    return blake2b(_canonical.encode((department, customer, request_id)), digest_size=16).digest()


def counted_from(seq: int) -> int:
    """What the decisions on a request are counted from in this commit: 0, but after a loss above all earlier counts.

    So an id never comes again with other bytes, although it is not known any more which were given.
    """
    return 0 if seq < BEGUN_ANEW else seq - seq % COUNTS_MAX


def content_of(request: ContactRequest) -> bytes:
    """A hash of all known fields but ``requested_at``: a repeat may be stamped anew."""
    return blake2b(_canonical.encode(replace(request, requested_at=None)), digest_size=8).digest()


def answer_key(customer: str, request_identity: bytes) -> bytes:
    """Under which key an answer is kept: what the index holds of the identity, and the customer.

    So all answers of a customer can be found from the index, when they move. Two requests of one customer that share
    64 bits of their hash (at 10,000 requests about once in 10^11 customers) are told apart by their content: the
    second becomes a dead letter `request_id_reused`, and is never answered with the first one's decision.
    """
    return request_identity[:REF_BYTES] + customer.encode()


def answer_keys(ledger: Ledger, customer: str) -> list[bytes]:
    """The keys of all answers that the index has of a customer, oldest first, each once."""
    member = ledger.members.get(customer)
    index = member.answered if member else b""
    starts = range(0, len(index), ENTRY_BYTES)
    return list(dict.fromkeys(answer_key(customer, index[start : start + REF_BYTES]) for start in starts))


def was_answered(ledger: Ledger, customer: str, request_identity: bytes) -> bool:
    """Whether the customer's index knows the request; its answer must then be at hand to arbitrate it."""
    member = ledger.members.get(customer)
    if member is None or not member.answered:
        return False
    wanted, index = request_identity[:REF_BYTES], member.answered
    at = index.find(wanted)
    while at >= 0 and at % ENTRY_BYTES:
        at = index.find(wanted, at + 1)
    return at >= 0


def remember(ledger: Ledger, customer: str, request_identity: bytes, now_ms: int) -> None:
    """Put a request into the customer's index, and drop the entries that are too old to matter."""
    forgotten = (now_ms - ANSWERS_KEPT_MS) // SECOND_MS
    member = ledger.members.get(customer)
    if member is None:
        member = ledger.members[customer] = Member()
    index, start = member.answered, 0
    while start < len(index) and int.from_bytes(index[start + REF_BYTES : start + ENTRY_BYTES], "big") < forgotten:
        start += ENTRY_BYTES
    member.answered = index[start:] + request_identity[:REF_BYTES] + (now_ms // SECOND_MS).to_bytes(4, "big")
