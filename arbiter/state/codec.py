"""How ledgers, answers and outboxes become bytes and back.

Every value begins with one byte that names its format, so that a later format can be told from this one. The rest
is MessagePack. Outboxes are their Structs as arrays. A ledger is packed tighter, since a bank has millions of them:
contacts are columns, times are differences, and a contact's reference points into ``answered`` as long as it stands
there too. What many ledgers share (shapes, names of attributes, the source of a request) are phrases before the body,
as in an answer (``phrases.py``). Common words are places in a fixed table, and the names of members and their consents
in the ledger's own, which goes on from it (as HPACK does it, RFC 7541 section 2.3).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate, islice
from operator import add, sub
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from arbiter.ledger.capacity import Draw
from arbiter.ledger.contacts import STATE, STATE_BITS, STATES, Contacts, Evidence, Kind
from arbiter.ledger.identity import was_answered
from arbiter.ledger.model import (
    Consent,
    Event,
    Ledger,
    Member,
    MembershipStub,
    PendingRequest,
    Preferences,
    Suppression,
    Traits,
)
from arbiter.ledger.stored_request import Names, of_thousandths, pack_request, thousandths
from arbiter.messages import ContactRequest, FieldNote, Scalar
from arbiter.timing.instants import MINUTE_MS, SECOND_MS

FORMAT: Final = 1
"""Of outboxes; also of ledgers and answers up to 1.0, which are still read."""
FORMAT_2: Final = 2
LEDGER_FORMAT: Final = 3
REF_BYTES: Final = 8
IDENTITY_BYTES: Final = 16
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
_FORMAT: Final = bytes([FORMAT])
_FORMAT_2: Final = bytes([FORMAT_2])
_LEDGER_FORMAT: Final = bytes([LEDGER_FORMAT])
SHAPES_MAX: Final = 8_192


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
    """A member as stored. What is empty at the end is left out; ``zone`` 0 means no profile, else index + 1.

    ``attributes`` are the place of their names among the phrases, and their values; a map up to format 2.
    """

    name: int
    consents: list[int | None] = []
    zone: int = 0
    attributes: list[Scalar] | dict[str, Scalar] = []
    household: int = 0
    owner: int = 0
    zones: list[str] = []
    suppressions: list[Suppression] = []
    preferences: Preferences | None = None


StoredNote = tuple[str, str, str, str, str | None]
"""The fields of a note on a field."""


class _AskedWire(Struct, array_like=True, gc=False):
    """A request as stored. What is empty at the end is left out.

    ``key`` is the identity and the hash of the content; ``names`` and ``topic`` (with the partition) are places of
    phrases. ``received`` is the time since the one before it in its list was received, ``due`` the time from then on,
    doubled and one more (0: never). ``owner`` is the customer, as a member's place or by name. ``trace`` and ``notes``
    came later: a build that does not know them reads the row without them.
    """

    key: bytes
    names: int
    row: bytes
    topic: int
    offset: int
    received: int
    n: int
    score: float | int
    priority: float | int
    due: int = 0
    owner: int | str = 0
    recalled: bool = False
    held: str | None = None
    awaits: list[str] = []
    trace: bytes = b""
    notes: list[StoredNote] = []


_Request = TypeVar("_Request")


class _LedgerWire(Struct, Generic[_Request], array_like=True, gc=False):
    """A ledger as stored: columns of small numbers. What is empty at the end is left out.

    ``answered`` are the members' indices one after another; ``shares`` is how many entries are whose, for all members
    but the last, so that it takes no room for the many ledgers of one customer. ``codes`` to ``spans``, ``sent`` and
    ``evidence`` are columns of :class:`~arbiter.ledger.contacts.Contacts`. ``shapes`` are those of the kinds, as places
    of phrases (up to format 2 as they are); ``owners`` whose each is, by place in ``customers``, which are the members
    unless they are named.
    """

    names: list[str]
    members: list[_MemberWire] = []
    answered: bytes = b""
    shapes: list[int | bytes] = []
    codes: list[int] = []
    places: list[int] = []
    begins: list[int] = []
    spans: list[int] = []
    refs: bytes = b""
    sent: dict[int, int] = {}
    waiting: list[_Request] = []
    open: list[_Request] = []
    events: list[Event] = []
    holds: dict[str, int] = {}
    evidence: dict[int, Evidence] = {}
    draws: dict[bytes, list[Draw]] = {}
    shares: list[int] = []
    stub: MembershipStub | None = None
    cells: dict[str, list[str]] = {}
    recall_ms: int = 0
    owners: list[int] = []
    customers: list[str] = []


class _Names(dict[str | None, int]):
    """The names seen so far, each with its index; a new one gets the next."""

    def __missing__(self, name: str | None) -> int:
        self[name] = index = len(self)
        return index


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_ledger: Final = msgspec.msgpack.Decoder(tuple[list[bytes], _LedgerWire[_AskedWire]]).decode
_decode_names: Final = msgspec.msgpack.Decoder(list[int | str]).decode
_decode_topic: Final = msgspec.msgpack.Decoder(tuple[str, int]).decode
_decode_outbox: Final = msgspec.msgpack.Decoder(list[OutRecord]).decode


class _Phrases(dict[bytes, int]):
    """The phrases of a value, each with its place; a new one gets the next."""

    def __missing__(self, phrase: bytes) -> int:
        self[phrase] = place = len(self)
        return place


def pack_ledger(ledger: Ledger) -> bytes:
    """The bytes of a ledger; :class:`CodecError` for a number beyond 64 bits or a reference of a wrong length."""
    names, phrases = _Names(_INDEX), _Phrases()
    try:
        members = [_pack_member(name, member, names, phrases) for name, member in ledger.members.items()]
        indices = [member.answered for member in ledger.members.values()]
        answered, shares = b"".join(indices), [len(index) // ANSWERED_BYTES for index in indices[:-1]]
        own, contacts = [*names][len(_COMMON) :], ledger.contacts
        places, refs = _pack_refs(contacts.refs, answered)
        owners, customers = _pack_owners(contacts, ledger)
        row = [
            own, members, answered, [phrases[_pack_names(shape)] for shape in contacts.shapes], contacts.codes, places,
            [*map(sub, contacts.begins, [0, *contacts.begins])], _pack_spans(contacts), refs,
            {row: sent_ms - contacts.begins[row] for row, sent_ms in contacts.sent.items()},
            _pack_asked(ledger.waiting, ledger, phrases), _pack_asked(ledger.open, ledger, phrases),
            ledger.events, ledger.holds, contacts.evidence, ledger.draws, shares,
            ledger.stub, ledger.cells, ledger.recall_ms, owners, customers,
        ]  # fmt: skip
        while row and not row[-1]:
            row.pop()
        return _LEDGER_FORMAT + _encode(([*phrases], row or [own]))
    except (OverflowError, ValueError) as error:
        raise CodecError(f"ledger of {', '.join(ledger.members)}: {error}") from error


def unpack_ledger(data: bytes) -> Ledger:
    """A fresh ledger that shares nothing with any other; :class:`CodecError` when the bytes cannot be read.

    Ledgers of formats 1 and 2 are read, too.
    """
    form, phrases = data[:1], list[bytes]()
    if form == _FORMAT:
        wire = _body("ledger", data, _decode_ledger_1)
    elif form == _FORMAT_2:
        wire = _body("ledger", data, _decode_ledger_2, FORMAT_2)
    else:
        phrases, wire = _body("ledger", data, _decode_ledger, LEDGER_FORMAT)
    names = _COMMON + wire.names
    try:
        members = {
            names[member.name]: _unpack_member(member, names, index, phrases)
            for member, index in zip(wire.members, _unpack_answered(wire), strict=True)
        }
        people = [*members]
        if form == _LEDGER_FORMAT:
            waiting, open_ = _unpack_asked(wire.waiting, people, phrases), _unpack_asked(wire.open, people, phrases)
        else:
            waiting, open_ = [[_asked_2(one, members) for one in them] for them in (wire.waiting, wire.open)]
        contacts = _unpack_contacts_1(wire, names) if form == _FORMAT else _unpack_contacts(wire, people, phrases)
    except (IndexError, ValueError, TypeError, OverflowError, msgspec.DecodeError) as error:
        raise CodecError(f"ledger: damaged, {error}") from error
    held = (wire.events, wire.holds, wire.stub, wire.draws, wire.cells, wire.recall_ms)
    return Ledger(members, contacts, waiting, open_, *held)


def pack_outbox(records: list[OutRecord]) -> bytes:
    """The bytes of a commit's output, in order; nothing for no records."""
    return _FORMAT + _encode(records) if records else b""


def unpack_outbox(data: bytes) -> list[OutRecord]:
    """The records of an outbox, in order; :class:`CodecError` when the bytes cannot be read."""
    records: list[OutRecord] = _body("outbox", data, _decode_outbox) if data else []
    return records


def _body(what: str, data: bytes, decode: Any, known: int = FORMAT) -> Any:
    check_format(what, data, known)
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
            f"{what}: it is in format {number}, written by a newer build; this build reads formats up to {known}. "
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


def _pack_member(name: str, member: Member, names: _Names, phrases: _Phrases) -> list[Any]:
    consents: list[int | None] = []
    for c in member.consents:
        expires = None if c.expires_at_ms is None else _squeeze(c.expires_at_ms, SECOND_MS)
        captured = _squeeze(c.captured_at_ms, SECOND_MS)
        partner, department = names[c.partner], names[c.department]
        consents += (1 if c.granted else 0, captured, names[c.purpose], names[c.channel], department, partner, expires)
    traits, suppressions, preferences = member.traits, member.suppressions, member.preferences
    if traits is None:
        row = [names[name], consents, 0, [], 0, 0, [], suppressions, preferences]
    else:
        zone, household, owner = names[traits.time_zone] + 1, names[traits.household], names[traits.relationship_owner]
        zones, attributes = traits.time_zones, list[Scalar]()
        if traits.attributes:
            attributes = [phrases[_pack_names(tuple(traits.attributes))], *traits.attributes.values()]
        row = [names[name], consents, zone, attributes, household, owner, zones, suppressions, preferences]
    while not row[-1] and len(row) > 1:
        row.pop()
    return row


def _unpack_answered(wire: _LedgerWire[Any] | _LedgerWire1) -> list[bytes]:
    """Each member's index."""
    if not wire.members:
        return []
    indices, start = [], 0
    for count in wire.shares or [0] * (len(wire.members) - 1):
        indices.append(wire.answered[start : start + count * ANSWERED_BYTES])
        start += count * ANSWERED_BYTES
    return [*indices, wire.answered[start:]]


def _unpack_member(wire: _MemberWire, names: list[Any], answered: bytes, phrases: list[bytes]) -> Member:
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
        traits = Traits(household, zone, wire.zones, _unpack_attributes(wire.attributes, phrases), owner)
    return Member(traits, consents, wire.suppressions, wire.preferences, answered)


def _unpack_attributes(stored: list[Any] | dict[str, Scalar], phrases: list[bytes]) -> dict[str, Scalar]:
    if isinstance(stored, dict):
        return stored
    return dict(zip(_unpack_names(phrases[stored[0]]), stored[1:], strict=True)) if stored else {}  # type: ignore[arg-type]


def _pack_asked(requests: list[PendingRequest], ledger: Ledger, phrases: _Phrases) -> list[list[Any]]:
    """The rows of :class:`_AskedWire`."""
    rows: list[list[Any]] = []
    before_ms = 0
    for a in requests:
        topic, partition, offset = a.source
        received_ms = a.received_ms
        if len(a.identity) != IDENTITY_BYTES:
            raise ValueError(f"the identity of a request is not {IDENTITY_BYTES} bytes long")
        row: list[Any] = [
            a.identity + a.content, phrases[_pack_names(a.names)], a.row, phrases[_pack_topic(topic, partition)],
            offset, received_ms - before_ms, a.n, thousandths(a.score), thousandths(a.priority),
            a.due_ms and (a.due_ms - received_ms) << 1 | 1,
        ]  # fmt: skip
        owner = 0 if a.customer == next(iter(ledger.members), None) else _place_of(a.customer, ledger)
        if owner != 0 or a.recalled or a.held is not None or a.awaits or a.trace or a.notes:
            row += (owner, a.recalled, a.held, a.awaits)
            if a.trace or a.notes:
                row.append(a.trace)
            if a.notes:
                row.append([astuple(note) for note in a.notes])
        rows.append(row)
        before_ms = received_ms
    return rows


def _place_of(customer: str, ledger: Ledger) -> int | str:
    return [*ledger.members].index(customer) if customer in ledger.members else customer


def _unpack_asked(rows: list[_AskedWire], people: list[str], phrases: list[bytes]) -> list[PendingRequest]:
    found = []
    received_ms = 0
    for w in rows:
        received_ms += w.received
        customer = w.owner if isinstance(w.owner, str) else people[w.owner]
        source = (*_unpack_topic(phrases[w.topic]), w.offset)
        names, due_ms = _unpack_names(phrases[w.names]), received_ms + (w.due >> 1) if w.due else 0
        place = customer, received_ms, source, w.n, of_thousandths(w.score), of_thousandths(w.priority)
        key, content = w.key[:IDENTITY_BYTES], w.key[IDENTITY_BYTES:]
        request = PendingRequest(key, content, *place, names, w.row, due_ms, w.held, w.recalled, w.awaits, w.trace)
        if w.notes:
            request.notes = tuple([FieldNote(*note) for note in w.notes])
        found.append(request)
    return found


def _rows(column: Any, width: int) -> Any:
    """The values of an iterator, ``width`` at a time; ``ValueError`` when the last row is short."""
    return zip(*(column,) * width, strict=True)


@lru_cache(maxsize=SHAPES_MAX)
def _pack_names(names: Names) -> bytes:
    """Names as one value, in which common ones are their places in the table. A bank has a few hundred shapes."""
    return _encode([_INDEX.get(name, name) for name in names])


@lru_cache(maxsize=SHAPES_MAX)
def _unpack_names(packed: bytes) -> Names:
    return tuple([COMMON_NAMES[name] if isinstance(name, int) else name for name in _decode_names(packed)])


@lru_cache(maxsize=SHAPES_MAX)
def _pack_topic(topic: str, partition: int) -> bytes:
    return _encode((topic, partition))


@lru_cache(maxsize=SHAPES_MAX)
def _unpack_topic(packed: bytes) -> tuple[str, int]:
    found: tuple[str, int] = _decode_topic(packed)
    return found


def _pack_owners(contacts: Contacts, ledger: Ledger) -> tuple[list[int], list[str]]:
    """Whose the kinds are, and the names of these; nothing where all are the first member's."""
    customers: dict[str, int] = {}
    owners = [customers.setdefault(kind.customer, len(customers)) for kind in contacts.kinds]
    names = [*customers]
    if names == [*islice(ledger.members, len(names))]:
        names = []
    return owners if len(customers) > 1 else [], names


def _pack_refs(refs: list[bytes], answered: bytes) -> tuple[list[int], bytes]:
    """Where the reference of each contact stands in one run: first what is in ``answered``, then the others."""
    known = len(answered) // ANSWERED_BYTES
    starts = range(0, len(answered), ANSWERED_BYTES) if refs else ()
    index = {answered[start : start + REF_BYTES]: start // ANSWERED_BYTES for start in starts}
    places: list[int] = []
    others: list[bytes] = []
    for ref in refs:
        place = index.get(ref)
        if place is None:
            place = known + len(others)
            others.append(ref)
        places.append(place)
    joined = b"".join(others)
    if len(joined) != len(others) * REF_BYTES or len(answered) != known * ANSWERED_BYTES:
        raise ValueError(f"a reference is not {REF_BYTES} bytes long")
    return places, joined


def _pack_spans(contacts: Contacts) -> list[int]:
    spans = map(sub, contacts.ends, contacts.begins)
    return [span * 2 + 1 if span % MINUTE_MS else span // MINUTE_MS * 2 for span in spans]


def _unpack_contacts(wire: _LedgerWire[Any], members: list[str], phrases: list[bytes]) -> Contacts:
    contacts, customers = Contacts(), wire.customers or members
    if not wire.codes:
        return contacts
    contacts.shapes = [_unpack_names(one if isinstance(one, bytes) else phrases[one]) for one in wire.shapes]
    owners = wire.owners or [0] * len(wire.shapes)
    contacts.kinds = [Kind(customers[o], *shape) for o, shape in zip(owners, contacts.shapes, strict=True)]  # type: ignore[arg-type]
    contacts.codes = codes = wire.codes
    if min(codes) < 0 or max(codes) >> STATE_BITS >= len(contacts.kinds):
        raise IndexError("a contact is of no kind")
    if max([code & STATE for code in codes]) >= len(STATES):
        raise IndexError("a contact is in no state")
    contacts.begins = begins = [*accumulate(wire.begins)]
    spans = [span >> 1 if span & 1 else (span >> 1) * MINUTE_MS for span in wire.spans]
    contacts.ends = [*map(add, begins, spans)]
    contacts.counted = [end_ms - 1 for end_ms in contacts.ends]
    for row, after_ms in wire.sent.items():
        contacts.sent[row] = contacts.counted[row] = begins[row] + after_ms
    contacts.refs = _unpack_refs(wire)
    contacts.evidence = wire.evidence
    lengths = {len(codes), len(begins), len(spans), len(contacts.refs)}
    if len(lengths) > 1 or not set(range(len(codes))).issuperset((*wire.sent, *wire.evidence)):
        raise ValueError("its columns do not fit")
    return contacts


def _unpack_refs(wire: _LedgerWire[Any]) -> list[bytes]:
    answered, refs, known = wire.answered, wire.refs, len(wire.answered) // ANSWERED_BYTES
    found = []
    for place in wire.places:
        if place < known:
            start = place * ANSWERED_BYTES
            ref = answered[start : start + REF_BYTES]
        else:
            start = (place - known) * REF_BYTES
            ref = refs[start : start + REF_BYTES]
        if len(ref) != REF_BYTES:
            raise IndexError("a contact has no reference")
        found.append(ref)
    return found


# Formats 1 and 2, which are read only.


class _Asked2(Struct, array_like=True, gc=False):
    """A request as formats 1 and 2 had it, with its JSON."""

    identity: bytes
    content: bytes
    request: bytes
    received_ms: int
    source: tuple[str, int, int]
    n: int
    score: float
    priority: float
    due_ms: int = 0
    held: str | None = None
    recalled: bool = False
    awaits: list[str] = []


_decode_ledger_2: Final = msgspec.msgpack.Decoder(_LedgerWire[_Asked2]).decode
_decode_request: Final = msgspec.json.Decoder(ContactRequest).decode


def _asked_2(a: _Asked2, members: dict[str, Member]) -> PendingRequest:
    """The request; where its JSON cannot be read, one that cannot be unpacked either, so that the others are read."""
    try:
        request = _decode_request(a.request)
        customer, (names, row) = request.customer_id, pack_request(request, a.received_ms)
    except (msgspec.DecodeError, UnicodeDecodeError):
        asked = [name for name in members if was_answered(Ledger(members), name, a.identity)]
        customer, names, row = (asked or [*members, ""])[0], (), a.request
    return PendingRequest(
        a.identity, a.content, customer, a.received_ms, a.source, a.n, a.score, a.priority, names, row,
        a.due_ms, a.held, a.recalled, a.awaits,
    )  # fmt: skip


class _LedgerWire1(Struct, array_like=True, gc=False):
    """A ledger as format 1 had it: seven names per kind, five numbers per contact."""

    names: list[str]
    members: list[_MemberWire] = []
    kinds: list[int] = []
    contacts: list[int | None] = []
    answered: bytes = b""
    refs: bytes = b""
    waiting: list[_Asked2] = []
    open: list[_Asked2] = []
    events: list[Event] = []
    holds: dict[str, int] = {}
    shares: list[int] = []
    stub: MembershipStub | None = None
    draws: dict[bytes, list[Draw]] = {}
    cells: dict[str, list[str]] = {}
    evidence: dict[int, Evidence] = {}
    recall_ms: int = 0


_decode_ledger_1: Final = msgspec.msgpack.Decoder(_LedgerWire1).decode


def _unpack_contacts_1(wire: _LedgerWire1, names: list[Any]) -> Contacts:
    """Kinds (7 names each); contacts (kind and state, reference, time since the last one, span, sent after)."""
    kinds = [
        Kind(names[customer], names[department], names[campaign], names[a], names[b], names[c], names[d])
        for customer, department, campaign, a, b, c, d in _rows(iter(wire.kinds), 7)
    ]
    # One run of references: first those in `answered`, then those that have left it.
    answered, refs, known = wire.answered, wire.refs, len(wire.answered) // ANSWERED_BYTES
    contacts = Contacts()
    at_ms = 0
    for row, (code, place, step, span, sent) in enumerate(_rows(iter(wire.contacts), 5)):
        at_ms += step
        if place < known:
            start = place * ANSWERED_BYTES
            ref = answered[start : start + REF_BYTES]
        else:
            start = (place - known) * REF_BYTES
            ref = refs[start : start + REF_BYTES]
        until_ms = at_ms + (span >> 1 if span & 1 else (span >> 1) * MINUTE_MS)
        sent_ms = None if sent is None else at_ms + sent
        evidence = wire.evidence.get(row)
        contacts.append(kinds[code >> 3], ref, at_ms, until_ms, STATES[code & 7], sent_ms, evidence)
    return contacts
