"""How ledgers, answers and outboxes become bytes and back.

Every value begins with one byte that names its format, so that a later format can be told from this one. The rest
is MessagePack. Answers and outboxes are their Structs as arrays. A ledger is packed tighter, since a bank has
millions of them: names become indices into a table (a fixed one of the field's common words, then the ledger's own,
as HPACK does it, RFC 7541 section 2.3), contacts that are alike share one kind, times are differences, and a
contact's reference points into ``answered`` as long as it stands there too.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from arbiter.ledger.capacity import Draw
from arbiter.ledger.model import (
    Answered,
    Asked,
    Away,
    Consent,
    Contact,
    ContactState,
    Event,
    Evidence,
    Kind,
    Ledger,
    Member,
    Preferences,
    Suppression,
    Traits,
)
from arbiter.messages import Scalar
from arbiter.timing.instants import MINUTE_MS, SECOND_MS

FORMAT: Final = 1
REF_BYTES: Final = 8
ANSWERED_BYTES: Final = 12
"""One entry of ``Member.answered``: 8 bytes of identity, 4 bytes of unix seconds."""

# The position in this table is what is stored, and a ledger's own names are counted on from its end: any change needs a
# new FORMAT.
# "No name" is the first entry, so that optional fields need no case of their own.
COMMON_NAMES: Final[tuple[str | None, ...]] = (
    None, "email", "sms", "push", "phone", "mail", "branch", "web",
    "marketing", "service", "legal", "promotional", "regulatory", "advice", "retention",
    "cards", "loans", "mortgages", "savings", "insurance", "investments",
    "card", "loan", "mortgage", "account", "deposit", "UTC",
    "Europe/Lisbon", "Atlantic/Azores", "Atlantic/Madeira", "Europe/Madrid", "Europe/London", "Europe/Dublin",
    "Europe/Paris", "Europe/Berlin", "Europe/Vienna", "Europe/Zurich", "Europe/Rome", "Europe/Amsterdam",
    "Europe/Brussels", "Europe/Stockholm", "Europe/Warsaw", "Europe/Prague", "Europe/Athens", "Europe/Istanbul",
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Toronto",
    "America/Mexico_City", "America/Sao_Paulo", "America/Bogota", "Africa/Lagos", "Africa/Johannesburg",
    "Asia/Dubai", "Asia/Kolkata", "Asia/Singapore", "Asia/Shanghai", "Asia/Tokyo", "Australia/Sydney",
)  # fmt: skip

_COMMON: Final[list[Any]] = list(COMMON_NAMES)
_INDEX: Final[dict[str | None, int]] = {name: index for index, name in enumerate(COMMON_NAMES)}
_STATES: Final = tuple(ContactState)
_FORMAT: Final = bytes([FORMAT])


FORMATS_MAX: Final = 31
"""Formats are numbered up to here, so that a newer one is told from damage."""


class CodecError(ValueError):
    """Stored bytes that this build cannot read, or state that cannot be stored; the message says which."""


class NewerFormat(CodecError):
    """Stored bytes in a format that only a newer build reads. They are not damaged."""


class OutRecord(Struct, frozen=True, array_like=True, gc=False):
    """One record to be published: where, and its bytes. ``None`` as a value is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = []


class _MemberWire(Struct, array_like=True, gc=False):
    """A member as stored. What is empty at the end is left out; ``zone`` 0 means no profile, else index + 1."""

    name: int
    consents: list[int | None] = []
    zone: int = 0
    attributes: dict[str, Scalar] = {}
    household: int = 0
    owner: int = 0
    zones: list[str] = []
    suppressions: list[Suppression] = []
    preferences: Preferences | None = None


class _LedgerWire(Struct, array_like=True, gc=False):
    """A ledger as stored: columns of small numbers. What is empty at the end is left out.

    ``answered`` are the members' indices one after another; ``shares`` is how many entries are whose, for all members
    but the last, so that it takes no room for the many ledgers of one customer.
    """

    names: list[str]
    members: list[_MemberWire] = []
    kinds: list[int] = []
    contacts: list[int | None] = []
    answered: bytes = b""
    refs: bytes = b""
    waiting: list[Asked] = []
    open: list[Asked] = []
    events: list[Event] = []
    holds: dict[str, int] = {}
    shares: list[int] = []
    away: Away | None = None
    draws: dict[bytes, list[Draw]] = {}
    cells: dict[str, list[str]] = {}
    evidence: dict[int, Evidence] = {}
    recall_ms: int = 0


class _Names(dict[str | None, int]):
    """The names seen so far, each with its index; a new one gets the next."""

    def __missing__(self, name: str | None) -> int:
        self[name] = index = len(self)
        return index


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_ledger: Final = msgspec.msgpack.Decoder(_LedgerWire).decode
_decode_answered: Final = msgspec.msgpack.Decoder(Answered).decode
_decode_outbox: Final = msgspec.msgpack.Decoder(list[OutRecord]).decode


def pack_ledger(ledger: Ledger) -> bytes:
    """The bytes of a ledger; :class:`CodecError` for a number beyond 64 bits or a reference of a wrong length."""
    names = _Names(_INDEX)
    members = [_pack_member(name, member, names) for name, member in ledger.members.items()]
    indices = [member.answered for member in ledger.members.values()]
    answered = b"".join(indices)
    shares = [len(index) // ANSWERED_BYTES for index in indices[:-1]]
    kinds, contacts, refs = _pack_contacts(ledger, answered, names)
    own = list(names)[len(_COMMON) :]
    row = [own, members, kinds, contacts, answered, refs, ledger.waiting, ledger.open, ledger.events, ledger.holds]
    evidence = {place: c.evidence for place, c in enumerate(ledger.contacts) if c.evidence is not None}
    row += (shares, ledger.away, ledger.draws, ledger.cells, evidence, ledger.recall_ms)
    while row and not row[-1]:
        row.pop()
    try:
        return _FORMAT + _encode(row or [own])
    except (OverflowError, UnicodeEncodeError) as error:
        raise CodecError(f"ledger of {', '.join(ledger.members)}: {error}") from error


def unpack_ledger(data: bytes) -> Ledger:
    """A fresh ledger that shares nothing with any other; :class:`CodecError` when the bytes cannot be read."""
    wire: _LedgerWire = _body("ledger", data, _decode_ledger)
    names = _COMMON + wire.names
    try:
        indices = _unpack_answered(wire)
        members = {
            names[member.name]: _unpack_member(member, names, index)
            for member, index in zip(wire.members, indices, strict=True)
        }
        contacts = _unpack_contacts(wire, names)
        for place, evidence in wire.evidence.items():
            contacts[place].evidence = evidence
    except (IndexError, ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"ledger: damaged, {error}") from error
    held = (wire.waiting, wire.open, wire.events, wire.holds, wire.away, wire.draws, wire.cells, wire.recall_ms)
    return Ledger(members, contacts, *held)


def unpack_answered_1(data: bytes) -> Answered:
    """A remembered answer in format 1; :class:`CodecError` when the bytes cannot be read."""
    answered: Answered = _body("answer", data, _decode_answered)
    return answered


def pack_outbox(records: list[OutRecord]) -> bytes:
    """The bytes of a commit's output, in order; nothing for no records."""
    return _FORMAT + _encode(records) if records else b""


def unpack_outbox(data: bytes) -> list[OutRecord]:
    """The records of an outbox, in order; :class:`CodecError` when the bytes cannot be read."""
    records: list[OutRecord] = _body("outbox", data, _decode_outbox) if data else []
    return records


def _body(what: str, data: bytes, decode: Any) -> Any:
    check_format(what, data, FORMAT)
    try:
        return decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"{what}: damaged, {error}") from error


def check_format(what: str, data: bytes, known: int, formats_max: int = FORMATS_MAX) -> None:
    """Check the first byte; :class:`NewerFormat` or :class:`CodecError` when it is not the format that is ``known``.

    A number up to ``formats_max`` is a format; a higher one only if an array follows, as in all formats.
    """
    if not data:
        raise CodecError(f"{what}: damaged, it is empty or no string")
    number = data[0]
    if number == known:
        return
    if known < number and (number <= formats_max or _is_array(data[1:])):
        raise NewerFormat(
            f"{what}: it is in format {number}, written by a newer build; this build reads format {known} only. "
            "Run a build that reads it"
        )
    raise CodecError(f"{what}: damaged, byte {number} is no format (this build reads format {known})")


def _is_array(data: bytes) -> bool:
    """Whether it is one whole MessagePack array, as every format has it after its first byte."""
    try:
        return isinstance(msgspec.msgpack.decode(data), list)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _squeeze(value: int, unit: int) -> int:
    """A span or instant, in whole units where it is a multiple of the unit; the lowest bit tells the two apart."""
    return value * 2 + 1 if value % unit else value // unit * 2


def _expand(number: int, unit: int) -> int:
    return number >> 1 if number & 1 else (number >> 1) * unit


def _pack_member(name: str, member: Member, names: _Names) -> list[Any]:
    consents: list[int | None] = []
    for c in member.consents:
        expires = None if c.expires_at_ms is None else _squeeze(c.expires_at_ms, SECOND_MS)
        captured = _squeeze(c.captured_at_ms, SECOND_MS)
        partner, department = names[c.partner], names[c.department]
        consents += (1 if c.granted else 0, captured, names[c.purpose], names[c.channel], department, partner, expires)
    traits, suppressions, preferences = member.traits, member.suppressions, member.preferences
    if traits is None:
        row = [names[name], consents, 0, {}, 0, 0, [], suppressions, preferences]
    else:
        zone, household, owner = names[traits.time_zone] + 1, names[traits.household], names[traits.relationship_owner]
        zones, attributes = traits.time_zones, traits.attributes
        row = [names[name], consents, zone, attributes, household, owner, zones, suppressions, preferences]
    while not row[-1] and len(row) > 1:
        row.pop()
    return row


def _unpack_answered(wire: _LedgerWire) -> list[bytes]:
    """Each member's index."""
    if not wire.members:
        return []
    indices, start = [], 0
    for count in wire.shares or [0] * (len(wire.members) - 1):
        indices.append(wire.answered[start : start + count * ANSWERED_BYTES])
        start += count * ANSWERED_BYTES
    return [*indices, wire.answered[start:]]


def _unpack_member(wire: _MemberWire, names: list[Any], answered: bytes) -> Member:
    column = iter(wire.consents)
    consents = [
        Consent(
            granted == 1,
            captured >> 1 if captured & 1 else (captured >> 1) * SECOND_MS,
            names[purpose],
            names[channel],
            names[department],
            names[partner],
            None if expires is None else _expand(expires, SECOND_MS),
        )
        for granted, captured, purpose, channel, department, partner, expires in _rows(column, 7)
    ]
    traits = None
    if wire.zone:
        zone, household, owner = names[wire.zone - 1], names[wire.household], names[wire.owner]
        traits = Traits(household, zone, wire.zones, wire.attributes, owner)
    return Member(traits, consents, wire.suppressions, wire.preferences, answered)


def _rows(column: Any, width: int) -> Any:
    """The values of an iterator, ``width`` at a time; ``ValueError`` when the last row is short."""
    return zip(*(column,) * width, strict=True)


def _pack_contacts(ledger: Ledger, answered: bytes, names: _Names) -> tuple[list[int], list[int | None], bytes]:
    """Kinds (7 names each); contacts (kind and state, reference, time since the last one, span, sent after)."""
    kinds: dict[Kind, int] = {}
    contacts: list[int | None] = []
    refs: list[bytes] = []
    known = len(answered) // ANSWERED_BYTES
    before_ms = 0
    for c in ledger.contacts:
        ref, at_ms, sent_ms = c.ref, c.not_before_ms, c.sent_at_ms
        place = answered.find(ref) if answered else -1
        # Not there, or bytes across two entries that happen to look like it.
        if place < 0 or place % ANSWERED_BYTES:
            place = (known + len(refs)) * ANSWERED_BYTES
            refs.append(ref)
        span = c.valid_until_ms - at_ms
        contacts += (
            kinds.setdefault(c.kind, len(kinds)) << 3 | c.state,
            place // ANSWERED_BYTES,
            at_ms - before_ms,
            span * 2 + 1 if span % MINUTE_MS else span // MINUTE_MS * 2,
            None if sent_ms is None else sent_ms - at_ms,
        )
        before_ms = at_ms
    joined = b"".join(refs)
    if len(joined) != len(refs) * REF_BYTES or len(answered) != known * ANSWERED_BYTES:
        raise CodecError(f"ledger of {', '.join(ledger.members)}: a reference is not {REF_BYTES} bytes long")
    columns: list[int] = []
    for k in kinds:
        what = (names[k.channel], names[k.category], names[k.product], names[k.partner])
        columns += (names[k.customer], names[k.department], names[k.campaign], *what)
    return columns, contacts, joined


def _unpack_contacts(wire: _LedgerWire, names: list[Any]) -> list[Contact]:
    kinds = [
        Kind(names[customer], names[department], names[campaign], names[a], names[b], names[c], names[d])
        for customer, department, campaign, a, b, c, d in _rows(iter(wire.kinds), 7)
    ]
    # One run of references: first those in `answered`, then those that have left it.
    answered, refs, known = wire.answered, wire.refs, len(wire.answered) // ANSWERED_BYTES
    contacts = []
    at_ms = 0
    for code, place, step, span, sent in _rows(iter(wire.contacts), 5):
        at_ms += step
        if place < known:
            start = place * ANSWERED_BYTES
            ref = answered[start : start + REF_BYTES]
        else:
            start = (place - known) * REF_BYTES
            ref = refs[start : start + REF_BYTES]
        until_ms = at_ms + (span >> 1 if span & 1 else (span >> 1) * MINUTE_MS)
        sent_ms = None if sent is None else at_ms + sent
        contacts.append(Contact(kinds[code >> 3], ref, at_ms, until_ms, _STATES[code & 7], sent_ms))
    return contacts
