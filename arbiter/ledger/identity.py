"""Which request is which: identity, content, and the ledger's index of what was answered."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec.structs import fields, replace

from arbiter.ledger.model import Ledger, Member
from arbiter.messages import ContactRequest, Scalar
from arbiter.timing.instants import DAY_MS, FIRST_YEAR, LAST_YEAR, SECOND_MS, to_datetime, to_ms

ANSWERS_KEPT_MS = 35 * DAY_MS
"""How long answers are kept: the 30 days in which a known id is recognised, and a margin."""

WHOLE_MAX = 2.0**53
REF_BYTES = 8
STAMP_BYTES = 4
ENTRY_BYTES = REF_BYTES + STAMP_BYTES
"""One entry of ``Member.answered``: the first 8 bytes of an identity, the last 4 bytes of unix seconds."""
STAMPS = 1 << 8 * STAMP_BYTES

PRIORITY: Final = next(field.default for field in fields(ContactRequest) if field.name == "priority")
"""The very object that is left out when a request is encoded."""

BEGUN_ANEW: Final = 10**15
"""Commits of a partition whose state was lost are numbered from the time in microseconds, well above this."""

COUNTS_MAX: Final = 10**6
"""The decisions on one request that are counted, from wherever the count begins."""

_canonical = msgspec.msgpack.Encoder(order="deterministic")


def identity(request: ContactRequest) -> bytes:
    """The 16 bytes that distinguish a request from all others: department, customer and request id."""
    named = (request.department, request.customer_id, request.request_id)
    return blake2b(_canonical.encode(named), digest_size=16).digest()


def identity_of(department: str, customer: str, request_id: str) -> bytes:
    """As :func:`identity`, for an outcome that names the request."""
    return blake2b(_canonical.encode((department, customer, request_id)), digest_size=16).digest()


def counted_from(seq: int) -> int:
    """What the decisions on a request are counted from in this commit: 0, but after a loss above all earlier counts.

    So an id never comes again with other bytes, although it is not known any more which were given.
    """
    return 0 if seq < BEGUN_ANEW else seq - seq % COUNTS_MAX


def content_of(request: ContactRequest) -> bytes:
    """A hash of what a request means: all known fields but ``requested_at``, since a repeat may be stamped anew.

    A default that is spelt out, an instant finer than a millisecond or of another offset, and another form of the same
    number make no difference.
    """
    plain = replace(request, requested_at=None) if _is_plain(request) else _plain(request)
    return blake2b(_canonical.encode(plain), digest_size=8).digest()


_OF_NO_MATTER: Final = frozenset({str, int, bool})
"""Types of which each value has one form only."""


def _is_plain(request: ContactRequest) -> bool:
    """Whether a request says what it means in the one form that is hashed, as nearly all do."""
    priority, value, propensity = request.priority, request.value, request.propensity
    return (
        (priority is PRIORITY or priority not in (PRIORITY, 0))
        and value != 0
        and propensity != 0
        and (request.expires_at is None or _is_whole(request.expires_at))
        and (request.send_after is None or _is_whole(request.send_after))
        and _OF_NO_MATTER.issuperset(map(type, request.attributes.values()))
    )


def _is_whole(instant: datetime) -> bool:
    return not instant.microsecond % 1_000 and FIRST_YEAR < instant.year < LAST_YEAR


def _plain(request: ContactRequest) -> ContactRequest:
    """The request in the one form that is hashed."""
    return replace(
        request,
        requested_at=None,
        send_after=_instant(request.send_after),
        expires_at=_instant(request.expires_at),
        priority=PRIORITY if request.priority == PRIORITY else request.priority + 0.0,
        value=None if request.value is None else request.value + 0.0,
        propensity=None if request.propensity is None else request.propensity + 0.0,
        attributes={name: _number(value) for name, value in request.attributes.items() if value is not None},
    )


def had_content(request: ContactRequest, content: bytes) -> bool:
    """Whether a hash is that of a request as builds up to 1.0 made it: of its form instead of its meaning."""
    try:
        formed = _canonical.encode(replace(request, requested_at=None))
    except OverflowError:  # an instant whose offset leads out of the calendar, which no such build could take
        return False
    return content == blake2b(formed, digest_size=8).digest()


def _instant(instant: datetime | None) -> datetime | None:
    return None if instant is None else to_datetime(to_ms(instant))


def _number(value: Scalar) -> Scalar:
    """The one form of a number: an integer if it is whole, so there is no -0. Integers are read up to 2^53."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= WHOLE_MAX else value


def answer_key(customer: str, request_identity: bytes) -> bytes:
    """Under which key an answer is kept: what the index holds of the identity, and the customer.

    So all answers of a customer can be found from the index, when they move. Two requests of one customer that share
    64 bits of their hash (at 10,000 requests about once in 10^11 customers) are distinguished by their content: the
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
    stamp = now_ms // SECOND_MS % STAMPS
    member = ledger.members.get(customer)
    if member is None:
        member = ledger.members[customer] = Member()
    index, start = member.answered, 0
    while start < len(index) and _is_forgotten(index[start + REF_BYTES : start + ENTRY_BYTES], stamp):
        start += ENTRY_BYTES
    member.answered = index[start:] + request_identity[:REF_BYTES] + stamp.to_bytes(STAMP_BYTES, "big")


def _is_forgotten(entry: bytes, stamp: int) -> bool:
    """Whether an entry is too old. The seconds begin anew after 136 years, so what seems older than half is ahead."""
    return ANSWERS_KEPT_MS // SECOND_MS < (stamp - int.from_bytes(entry, "big")) % STAMPS < STAMPS // 2


HOLD = "/recall/"
"""How the names of these holds begin; no rule is called so."""


def hold_of(identity: bytes) -> str:
    """The hold under which a recalled request waits for its department's confirmation."""
    return HOLD + identity.hex()
