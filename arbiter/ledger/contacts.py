"""A party's contacts, as columns: what caps count, and what outcomes are about.

Nearly all that is done with contacts is to count them: which kind, when, and whether they use budgets. So a ledger
keeps no object for each contact but a list for each field, and each kind once. :class:`Contact` is a view of one row,
for the few places that look at one contact or change it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Final

from msgspec import Struct

Shape = tuple[str | None, ...]
"""The fields by which rules are looked up: department, campaign, channel, category, product, partner."""


class ContactState(IntEnum):
    """Where a contact stands. Approved, sent and withdrawn ones use budgets; released and recalled ones do not."""

    APPROVED = 0
    SENT = 1
    RELEASED = 2
    RECALLED = 3
    WITHDRAWN = 4
    """Recalled by the customer's own word or a kill switch, maybe after the desk could send it: counts until it is
    cancelled."""


STATES: Final = tuple(ContactState)
STATE_BITS: Final = 3
STATE: Final = (1 << STATE_BITS) - 1
"""A code is the index of a kind, and the state in these lowest bits."""
FREE: Final = (ContactState.RELEASED, ContactState.RECALLED)
"""The states in which a contact uses no budget."""


class Kind(Struct, frozen=True, array_like=True, gc=False):
    """What kind of contact it was: the fields that rules count by. Shared by all contacts that are alike."""

    customer: str
    department: str
    campaign: str
    channel: str
    category: str
    product: str | None = None
    partner: str | None = None

    @property
    def shape(self) -> Shape:
        """All fields but the customer."""
        return (self.department, self.campaign, self.channel, self.category, self.product, self.partner)


class Evidence(Struct, frozen=True, array_like=True, gc=False):
    """What outcomes reported of a contact: when it was sent (the latest), by when it was made at the latest (the first
    reaction to it, or that nobody was reached), and when it bounced (the latest)."""

    sent_ms: int | None = None
    proven_ms: int | None = None
    bounced_ms: int | None = None


class Contacts:
    """The contacts of one party, oldest first, a list for each field.

    ``codes`` has each contact's kind and state, ``begins`` and ``ends`` the span of its permit (ms), ``counted`` when
    it counts: the last instant of its permit until an outcome came, then ``sent``. ``refs`` has the first 8
    bytes of the request's identity. ``sent`` and ``evidence`` are by row, of those that have them. ``kinds`` are
    distinct, and ``shapes`` are theirs.
    """

    __slots__ = ("begins", "codes", "counted", "ends", "evidence", "kinds", "refs", "sent", "shapes")

    def __init__(self) -> None:
        self.kinds: list[Kind] = []
        self.shapes: list[Shape] = []
        self.codes: list[int] = []
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.counted: list[int] = []
        self.refs: list[bytes] = []
        self.sent: dict[int, int] = {}
        self.evidence: dict[int, Evidence] = {}

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Contact]:
        return (Contact(self, row) for row in range(len(self.codes)))

    def __reversed__(self) -> Iterator[Contact]:
        return (Contact(self, row) for row in reversed(range(len(self.codes))))

    def __getitem__(self, row: int) -> Contact:
        return Contact(self, range(len(self.codes))[row])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contacts) and [*map(_values, self)] == [*map(_values, other)]

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Contacts({[*map(_values, self)]})"

    def append(
        self,
        kind: Kind,
        ref: bytes,
        not_before_ms: int,
        valid_until_ms: int,
        state: ContactState = ContactState.APPROVED,
        sent_at_ms: int | None = None,
        evidence: Evidence | None = None,
    ) -> Contact:
        """Add a contact at the end."""
        row = len(self.codes)
        self.codes.append(self.index_of(kind) << STATE_BITS | state)
        self.begins.append(not_before_ms)
        self.ends.append(valid_until_ms)
        self.refs.append(ref)
        if sent_at_ms is None:
            self.counted.append(valid_until_ms - 1)
        else:
            self.counted.append(sent_at_ms)
            self.sent[row] = sent_at_ms
        if evidence is not None:
            self.evidence[row] = evidence
        return Contact(self, row)

    def index_of(self, kind: Kind) -> int:
        """The index of a kind; a new one gets the next."""
        try:
            return self.kinds.index(kind)
        except ValueError:
            self.kinds.append(kind)
            self.shapes.append(kind.shape)
            return len(self.kinds) - 1

    def of(self, ref: bytes) -> list[Contact]:
        """All contacts of a request: there are several if it was approved again after a recall."""
        return [Contact(self, row) for row, one in enumerate(self.refs) if one == ref] if ref in self.refs else []

    def of_each(self, refs: Iterable[bytes]) -> list[Contact | None]:
        """The latest contact of each of these requests, in one pass."""
        rows = {ref: row for row, ref in enumerate(self.refs)}
        return [None if (row := rows.get(ref)) is None else Contact(self, row) for ref in refs]

    def rows(self, state: ContactState) -> list[int]:
        """The rows of the contacts in a state."""
        return [row for row, code in enumerate(self.codes) if code & STATE == state]

    def count_of(self, customer: str, from_ms: int, until_ms: int) -> int:
        """How many of a customer's contacts use budgets and count from one instant on and before another."""
        theirs = [kind.customer == customer for kind in self.kinds]
        codes = [code for code, at_ms in zip(self.codes, self.counted, strict=True) if from_ms <= at_ms < until_ms]
        return sum([theirs[code >> STATE_BITS] and code & STATE not in FREE for code in codes])

    def only(self, is_kept: Callable[[Contact], bool]) -> Contacts:
        """A copy with only the contacts for which ``is_kept`` is true."""
        return self._copy([one.row for one in self if is_kept(one)])

    def take_out(self, is_taken: Callable[[Contact], bool]) -> Contacts:
        """Remove the contacts for which ``is_taken`` is true, and return them."""
        taken = {one.row for one in self if is_taken(one)}
        out = self._copy(sorted(taken))
        if taken:
            self._keep([row for row in range(len(self)) if row not in taken])
        return out

    def put_in(self, others: Contacts) -> None:
        """Add the contacts of others, in the order in which permits begin.

        Stable: one request's contacts stay in their order.
        """
        self._add(others, range(len(others)))
        self.sort()

    def sort(self) -> None:
        """Put them in the order in which permits begin; those that begin together stay as they were."""
        self._keep(sorted(range(len(self)), key=self.begins.__getitem__))

    def remove(self, contact: Contact) -> None:
        """Take one out."""
        self._keep([row for row in range(len(self)) if row != contact.row])

    def forget(self, oldest_ms: int) -> None:
        """Drop those that count before this."""
        self._keep([row for row, at_ms in enumerate(self.counted) if at_ms >= oldest_ms])

    def _copy(self, rows: list[int]) -> Contacts:
        copy = Contacts()
        copy._add(self, rows)
        return copy

    def _add(self, others: Contacts, rows: Iterable[int]) -> None:
        """Add rows of others. Each of their kinds is looked up once."""
        known = {kind: index for index, kind in enumerate(self.kinds)}
        indices: dict[int, int] = {}
        for row, own in enumerate(rows, len(self)):
            code = others.codes[own]
            theirs = code >> STATE_BITS
            index = indices.get(theirs)
            if index is None:
                kind = others.kinds[theirs]
                index = indices[theirs] = known.get(kind, -1)
                if index < 0:
                    index = indices[theirs] = known[kind] = len(self.kinds)
                    self.kinds.append(kind)
                    self.shapes.append(others.shapes[theirs])
            self.codes.append(index << STATE_BITS | code & STATE)
            self.begins.append(others.begins[own])
            self.ends.append(others.ends[own])
            self.counted.append(others.counted[own])
            self.refs.append(others.refs[own])
            if own in others.sent:
                self.sent[row] = others.sent[own]
            if own in others.evidence:
                self.evidence[row] = others.evidence[own]

    def _keep(self, rows: list[int]) -> None:
        """Keep only these rows, in this order, and drop kinds that none of them has."""
        if rows == [*range(len(self))]:
            return
        kept = self._copy(rows)
        for name in self.__slots__:
            setattr(self, name, getattr(kept, name))


class Contact:
    """A view of one contact of a party: what is set here is set there.

    It is valid until rows are taken out. ``ref`` is the first 8 bytes of the request's identity. ``sent_at_ms`` is
    when it counts if an outcome came, or when it bounced; ``evidence`` is there where outcomes reported more than that
    and the state say.
    """

    __slots__ = ("_of", "row")

    def __init__(self, of: Contacts, row: int) -> None:
        self._of = of
        self.row = row

    @property
    def kind(self) -> Kind:
        """What kind of contact it was."""
        return self._of.kinds[self._of.codes[self.row] >> STATE_BITS]

    @kind.setter
    def kind(self, kind: Kind) -> None:
        self._of.codes[self.row] = self._of.index_of(kind) << STATE_BITS | self.state

    @property
    def state(self) -> ContactState:
        """Where it stands."""
        return STATES[self._of.codes[self.row] & STATE]

    @state.setter
    def state(self, state: ContactState) -> None:
        self._of.codes[self.row] = self._of.codes[self.row] & ~STATE | state

    @property
    def ref(self) -> bytes:
        """The first bytes of the request's identity."""
        return self._of.refs[self.row]

    @property
    def not_before_ms(self) -> int:
        """When its permit begins."""
        return self._of.begins[self.row]

    @property
    def valid_until_ms(self) -> int:
        """When its permit ends."""
        return self._of.ends[self.row]

    @property
    def at_ms(self) -> int:
        """When it counts: the last instant of its permit until it is confirmed, then the time it was sent."""
        return self._of.counted[self.row]

    @property
    def sent_at_ms(self) -> int | None:
        """When it counts according to its outcomes."""
        return self._of.sent.get(self.row)

    @property
    def evidence(self) -> Evidence | None:
        """What outcomes reported of it, where the state and ``sent_at_ms`` do not say it."""
        return self._of.evidence.get(self.row)

    @evidence.setter
    def evidence(self, evidence: Evidence | None) -> None:
        if evidence is None:
            self._of.evidence.pop(self.row, None)
        else:
            self._of.evidence[self.row] = evidence

    @property
    def has_permit(self) -> bool:
        """Whether it was ever approved; a contact known from an outcome alone has no permit."""
        return self.valid_until_ms - self.not_before_ms > 1

    @property
    def counts(self) -> bool:
        """Whether it uses budgets."""
        return self.state not in FREE

    def set_counted_at(self, at_ms: int) -> None:
        """Record when it was made. One without a permit begins and ends at that instant."""
        of, row = self._of, self.row
        if not self.has_permit:
            of.begins[row], of.ends[row] = at_ms, at_ms + 1
        of.sent[row] = of.counted[row] = at_ms


def _values(c: Contact) -> tuple[Kind, bytes, int, int, ContactState, int | None, Evidence | None]:
    return c.kind, c.ref, c.not_before_ms, c.valid_until_ms, c.state, c.sent_at_ms, c.evidence
