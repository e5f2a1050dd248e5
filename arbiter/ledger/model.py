"""What the core knows of a party: its contacts, its members' facts, what was answered.

A *party* is the unit whose attention is spent. Its state is one :class:`Ledger`. Contacts are kept, not counters
per rule: a new rule then applies to the past at once, and a finding can name the contacts that used the budget.

What records and ledgers are made of, here and elsewhere, has ``gc=False``: it is smaller, and the garbage collector
does not run through it. That is right for what never holds something that holds it.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field

from arbiter.ledger.capacity import Draw
from arbiter.ledger.contacts import Contacts, Kind
from arbiter.ledger.stored_request import Names
from arbiter.messages import ContactRequest, FieldNote, Finding, OutcomeName, Scalar, ShadowDecision


class Consent(Struct, frozen=True, array_like=True, gc=False):
    """A grant or a withdrawal; what it names, it is limited to."""

    granted: bool
    captured_at_ms: int
    purpose: str
    channel: str | None = None
    department: str | None = None
    partner: str | None = None
    expires_at_ms: int | None = None


class Suppression(Struct, frozen=True, array_like=True, gc=False):
    """A list the customer is on. ``until_ms`` is its known end: announced, or the moment it was lifted."""

    list: str
    captured_at_ms: int
    active: bool
    until_ms: int | None = None


class Preferences(Struct, frozen=True, array_like=True, gc=False):
    """The customer's own rules."""

    captured_at_ms: int
    closed: dict[str, str | list[str]] = {}
    refused_channels: list[str] = []
    refused_products: list[str] = []
    preferred_channel: str | None = None
    snooze_until_ms: int | None = None
    maximum_limit: int | None = None
    maximum_window: str | None = None


class Traits(Struct, frozen=True, array_like=True, dict=True):
    """The profile, as far as rules look at it."""

    household: str | None = None
    time_zone: str | None = None
    time_zones: list[str] = []
    attributes: dict[str, Scalar] = {}
    relationship_owner: str | None = None


class Member(Struct, array_like=True, gc=False):
    """What is known of one customer of the party.

    ``answered`` is an index of the customer's requests answered in the last 35 days: entries of 8 bytes of identity
    and 4 bytes of unix seconds, oldest first. The answers themselves are kept beside the ledger.
    """

    traits: Traits | None = None
    consents: list[Consent] = []
    suppressions: list[Suppression] = []
    preferences: Preferences | None = None
    answered: bytes = b""


class PendingRequest(Struct, array_like=True, gc=False):
    """A request that the arbiter may have to decide again: one that waits, or an approval not yet confirmed.

    ``names`` and ``row`` are the request itself, as ``arbiter.ledger.stored_request`` packs it; ``n`` counts the
    decisions published on it, ``due_ms`` is when to look at it again (0: never by itself), ``held`` the arbitration it
    waits for, ``recalled`` that it was recalled once already, ``awaits`` the capacities it waits for, ``trace`` the
    trace that its record named, if it did, ``notes`` what was ignored of it.
    """

    identity: bytes
    content: bytes
    customer: str
    received_ms: int
    source: tuple[str, int, int]
    n: int
    score: float
    priority: float
    names: Names = ()
    row: bytes = b""
    due_ms: int = 0
    held: str | None = None
    recalled: bool = False
    awaits: list[str] = []
    trace: bytes = b""
    notes: tuple[FieldNote, ...] = ()


def best_first(asked: PendingRequest) -> tuple[float, float, int, int, bytes]:
    """Where a request stands: by score, priority, first received, then the identity, alike on every machine."""
    return (-asked.score, -asked.priority, asked.received_ms, asked.source[2], asked.identity)


class Event(Struct, frozen=True, array_like=True, gc=False):
    """Something that a customer did or suffered, which rules may look back at: a complaint, a response …"""

    outcome: str
    at_ms: int
    kind: Kind


class StoredRecord(Struct, frozen=True, array_like=True, gc=False):
    """A record as it was read, to be sent on, kept, or made a dead letter of, byte for byte.

    ``what`` is the kind of message, ``raw`` is its JSON; ``value`` is the record's value
    where that is not ``raw`` (a CloudEvents envelope), ``hops`` how often it was sent on, ``notes`` what was ignored of
    a request; earlier builds read it without them.
    """

    what: Literal["request", "change", "profile", "outcome"]
    source: tuple[str, int, int]
    received_ms: int
    raw: bytes
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    hops: int = 0
    notes: tuple[FieldNote, ...] = ()


class MembershipStub(Struct, array_like=True, gc=False):
    """The directory's entry of one customer, in the ledger that the customer's home keeps.

    ``household`` has the customer's budget; ``None``: it is here, in this ledger. ``version`` counts the changes.
    While ``is_leaving`` the household was asked for the customer's part, and ``held`` has what came meanwhile.
    """

    household: str | None
    version: int
    is_leaving: bool = False
    held: list[StoredRecord] = []


class Ledger(Struct, gc=False):
    """All state of one party.

    ``waiting`` are the deferred requests, ``open`` the approvals that were neither confirmed nor ran out, ``holds``
    the arbitrations that are open (rule id → when they close). ``stub`` stands in the ledger of a customer who is,
    or was, a member of a household. ``draws`` is what contacts took of the capacity that all customers share, by the
    contact's ``ref``, as long as its window lasts: it may have to be given back. ``cells`` has the customers that are
    counted as waiting for a cell, by its key. ``recall_ms`` is when to look again for what has to be recalled (0:
    nothing to look for), where that could not be done when a withdrawal was booked.
    """

    members: dict[str, Member] = {}
    contacts: Contacts = field(default_factory=Contacts)
    waiting: list[PendingRequest] = []
    open: list[PendingRequest] = []
    events: list[Event] = []
    holds: dict[str, int] = {}
    stub: MembershipStub | None = None
    draws: dict[bytes, list[Draw]] = {}
    cells: dict[str, list[str]] = {}
    recall_ms: int = 0


NO_REQUEST: Final = ContactRequest(request_id="", customer_id="", department="", campaign="", channel="", category="")
"""The ``request`` of a decision that was read from the store: a repeat brings its own."""

NOWHERE: Final = ("", 0, 0)
"""The ``source`` of a decision that was not published yet."""


class Decision(Struct, gc=False):
    """What was decided on a request, and why. An evaluation makes it, the store keeps it, the topic gets it.

    The fields up to ``shadow_policy`` say what was decided; ``policy`` is (name, version, digest). The others are set
    when it is published: whose it is, a hash of the request's content, its number ``n`` among the decisions on this
    request (0: a dry run), where the request was read (topic, partition, offset), the number of the commit, and how
    many requests of the party wait with a better claim. ``is_repeat`` marks one that was published before and is
    published again, byte for byte. ``trace`` is the trace of the record that asked for it, if that named one, ``notes``
    what was ignored of the request. The store keeps neither ``request`` nor ``identity`` nor ``trace``.
    """

    outcome: OutcomeName
    final: bool
    policy: tuple[str, int, str]
    decided_at_ms: int
    findings: tuple[Finding, ...] = ()
    retry_at_ms: int | None = None
    next_eligible_at_ms: int | None = None
    not_before_ms: int | None = None
    valid_until_ms: int | None = None
    notify: str | None = None
    preferred_channel: str | None = None
    score: float | None = None
    score_note: str | None = None
    shadow: tuple[Finding, ...] = ()
    exceptions: tuple[str, ...] = ()
    shadow_policy: ShadowDecision | None = None
    request: ContactRequest = NO_REQUEST
    identity: bytes = b""
    content: bytes = b""
    n: int = 0
    source: tuple[str, int, int] = NOWHERE
    seq: int = 0
    ahead: int | None = None
    is_repeat: bool = False
    trace: bytes = b""
    notes: tuple[FieldNote, ...] = ()
