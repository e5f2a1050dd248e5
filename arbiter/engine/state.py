"""The state of one party, and the small steps that all events share: contacts, capacity, what is published.

The modules ``requests``, ``recalls``, ``outcomes``, ``events`` and ``households`` change it;
:class:`arbiter.engine.party.Party` calls them.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from arbiter.engine.cells import count_cells
from arbiter.engine.lifecycle import follows
from arbiter.engine.routed import Routed
from arbiter.ledger.capacity import Draw, Stock
from arbiter.ledger.contacts import Contact, ContactState
from arbiter.ledger.facts import Refused
from arbiter.ledger.identity import BEGUN_ANEW, REF_BYTES, answer_key, counted_from, hold_of
from arbiter.ledger.model import Decision, Ledger, PendingRequest
from arbiter.ledger.stored_request import pack_request, unpack_request
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import Policy


class Anomaly(Struct, frozen=True, gc=False):
    """Something to count and report: ``what`` is one of ``reason_codes.NOTES``, ``detail`` is what the record said."""

    what: str
    department: str
    detail: str = ""


class LifecycleEvent(Struct, frozen=True, gc=False):
    """A change of a request or its permit that no decision reports, for the metrics."""

    event: str
    department: str


Effect = Decision | Refused | Anomaly | LifecycleEvent | Routed
"""What applying an event brings about, beside the party's own state."""

QueueKey = tuple[int, int]
"""When a request was received (ms), and its offset: of the parties due at one instant, the least comes first."""

FREES_FIRST: QueueKey = (0, 0)
"""The queue key of what only gives back: the places are there for those who come after it."""


class Context(Struct, frozen=True, gc=False):
    """What an event is applied under: the policy, the number of the commit to be, and the capacity.

    While facts are being read, nothing that waits is decided: a withdrawal may be among them. In event time each timer
    fires at its own instant; in wall time it fires now, since a permit cannot begin in the past.
    """

    policy: Policy
    seq: int
    stock: Stock
    is_reading_facts: bool = False
    is_event_time: bool = False


class PartyState:
    """One party: its ledger, and what belongs to it.

    ``answers`` are the loaded and the new ones, ``changed`` the keys of the new ones. ``requests`` has the open and
    waiting requests that are decoded. ``due_ms`` is when the party's next timer fires, ``queue_key`` its order among
    those that fire then. ``effects`` collects the effects of one event. With ``records_only`` an event is booked, and
    what follows from it is left for the next look; with ``ends_undecidable`` what cannot be decided is ended.
    """

    __slots__ = (
        "answers",
        "changed",
        "due_ms",
        "effects",
        "ends_undecidable",
        "is_reading_facts",
        "ledger",
        "now_ms",
        "policy",
        "queue_key",
        "records_only",
        "requests",
        "seq",
        "stock",
    )

    policy: Policy
    stock: Stock
    due_ms: int | None
    queue_key: QueueKey

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.answers: dict[bytes, Decision] = {}
        self.changed: dict[bytes, None] = {}
        self.requests: dict[bytes, ContactRequest] = {}
        self.effects: list[Effect] = []
        self.now_ms = self.seq = 0
        self.is_reading_facts = False
        self.records_only = self.ends_undecidable = False
        self.set_timer()

    def set_timer(self) -> None:
        """Set when the next timer fires (``None``: never), and the queue key of the oldest request that is due then.

        A permit that runs out comes first: it only gives back.
        """
        # Loops and no generators: this runs for each record.
        ledger = self.ledger
        first: int | None = ledger.recall_ms or None
        queue_key: QueueKey | None = None
        for pending in ledger.waiting:
            due_ms = pending.due_ms
            if first is None or due_ms <= first:
                own = (pending.received_ms, pending.source[2])
                queue_key = own if queue_key is None or due_ms != first else min(queue_key, own)
                first = due_ms
        for pending in ledger.open:
            due_ms = pending.due_ms
            if due_ms and (first is None or due_ms <= first):
                first, queue_key = due_ms, FREES_FIRST
        self.due_ms = first
        self.queue_key = queue_key or FREES_FIRST

    def request_in(self, pending: PendingRequest) -> ContactRequest:
        """The request itself, unpacked once. Raises ``msgspec.DecodeError`` if it cannot be unpacked."""
        request = self.requests.get(pending.identity)
        if request is None:
            request = unpack_request(pending.customer, pending.names, pending.row, pending.received_ms)
            self.requests[pending.identity] = request
        return request

    def keep_request(self, pending: PendingRequest, request: ContactRequest) -> None:
        """Store the request in ``pending``, packed, and keep it unpacked in this party."""
        if not pending.row:
            pending.names, pending.row = pack_request(request, pending.received_ms)
        self.requests[pending.identity] = request

    def forget_requests(self) -> None:
        """Drop unpacked requests that are neither open nor waiting any more."""
        known, left = self.requests, [pending.identity for pending in (*self.ledger.waiting, *self.ledger.open)]
        self.requests = {key: known[key] for key in left if key in known}

    def contact(self, key: bytes) -> Contact | None:
        """The contact of a request, the latest if it was approved again after a recall."""
        found = self.ledger.contacts.of(key[:REF_BYTES])
        return found[-1] if found else None

    def contacts_of(self, approved: Sequence[PendingRequest]) -> list[tuple[PendingRequest, Contact | None]]:
        """Approvals, each with its contact."""
        found = self.ledger.contacts.of_each([pending.identity[:REF_BYTES] for pending in approved])
        return [*zip(approved, found, strict=True)]

    def contact_by(self, key: bytes, at_ms: int) -> Contact | None:
        """The latest contact of a request that can have been made by then; the latest of all, if none can."""
        found = self.ledger.contacts.of(key[:REF_BYTES])
        begun = [one for one in found if one.not_before_ms <= at_ms]
        return begun[-1] if begun else found[-1] if found else None

    def stopped(self, key: bytes) -> list[Contact]:
        """The contacts of a recalled request that count, since they may have been made."""
        found = self.ledger.contacts.of(key[:REF_BYTES])
        return [one for one in found if one.state is ContactState.WITHDRAWN]

    def recall_confirmed(self, key: bytes) -> None:
        """The department knows that the request's approval was recalled."""
        self.ledger.holds.pop(hold_of(key), None)

    def take(self, ref: bytes, draws: Sequence[Draw]) -> None:
        """Use capacity for a contact."""
        for draw in draws:
            self.stock.take(draw)
        if draws:
            self.ledger.draws[ref] = [*self.ledger.draws.get(ref, ()), *draws]

    def give_back(self, contact: Contact) -> list[Draw]:
        """Give back the capacity that a contact took; says what that was.

        A request that was approved anew may have taken more: one place of each window is this contact's.
        """
        kept = self.ledger.draws.pop(contact.ref, [])
        given = [draw for draw in dict.fromkeys(kept) if draw.start_ms <= contact.not_before_ms < draw.end_ms]
        for draw in given:
            kept.remove(draw)
            self.stock.give(draw)
        if kept:
            self.ledger.draws[contact.ref] = kept
        return given

    def count_cells(self) -> None:
        """Count who waits for a cell, see ``cells``. This is the last step of every event."""
        ledger = self.ledger
        if ledger.waiting or ledger.cells:
            count_cells(self.policy, ledger, self.stock, self.now_ms)

    def note(self, what: str, department: str, detail: str = "") -> None:
        """Count something that ops and the department's owner should know of."""
        self.effects.append(Anomaly(what, department, detail))

    def happened(self, event: str, department: str) -> None:
        """Count a lifecycle event that no decision reports."""
        self.effects.append(LifecycleEvent(event, department))

    def publish(
        self,
        pending: PendingRequest,
        request: ContactRequest,
        before: str,
        event: str,
        decision: Decision,
        ahead: int | None = None,
    ) -> None:
        """Publish the decision on a request in state ``before``, to which ``event`` leads.

        Raises :class:`~arbiter.engine.lifecycle.IllegalMove` if the lifecycle does not list that event.
        """
        follows(before, event)
        pending.n = (pending.n if self.seq < BEGUN_ANEW else max(pending.n, counted_from(self.seq))) + 1
        decision.request, decision.identity, decision.content = request, pending.identity, pending.content
        decision.n, decision.source, decision.seq, decision.ahead = pending.n, pending.source, self.seq, ahead
        decision.trace = pending.trace
        if pending.notes:
            decision.notes = pending.notes
        key = answer_key(request.customer_id, pending.identity)
        self.answers[key], self.changed[key] = decision, None
        self.effects.append(decision)
