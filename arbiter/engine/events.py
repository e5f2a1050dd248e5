"""What an event does at the party that keeps the customer's budget, and what follows from it."""

from __future__ import annotations

from enum import Enum
from typing import Final

from arbiter.engine.input_record import InputRecord
from arbiter.engine.lifecycle import move
from arbiter.engine.outcomes import take_outcome
from arbiter.engine.recalls import recall_forbidden, recall_refused
from arbiter.engine.requests import ask, decision_on, end, rank, reconsider
from arbiter.engine.state import PartyState
from arbiter.ledger.facts import Fact, apply_fact
from arbiter.ledger.model import PendingRequest
from arbiter.messages import ConsentChange, ContactRequest, Outcome, SuppressionChange
from arbiter.timing.instants import MINUTE_MS

POSTPONE_MS: Final = 5 * MINUTE_MS


class Mode(Enum):
    """How an event is applied: normally, or, where that fails, with less done at once."""

    NORMAL = "normal"
    RECORD_ONLY = "it is recorded, and what follows from it is decided afterwards"
    END_UNDECIDABLE = "waiting requests that cannot be decided are rejected"
    END_ALL = "all waiting requests are rejected"
    POSTPONE = "it comes back in some minutes"


def apply_record(party: PartyState, record: InputRecord) -> None:
    """A record: a request, an outcome, or a fact."""
    message = record.message
    if isinstance(message, ContactRequest):
        ask(party, record, message)
        party.count_cells()
    elif isinstance(message, Outcome):
        follow_up(party, recalls=take_outcome(party, message, record.received_ms))
    else:
        _take_fact(party, record, message)


def follow_up(party: PartyState, *, recalls: bool, reviews_all: bool = False) -> None:
    """Do what follows from a booked event. ``recalls``: the event may forbid approvals.

    With ``records_only`` the party's timer is set to now instead.
    """
    if party.records_only:
        party.ledger.recall_ms = party.now_ms
        return
    if recalls:
        recall_forbidden(party)
    (look_again if reviews_all else reconsider)(party)
    party.count_cells()


def look_again(party: PartyState) -> None:
    """Release permits that ended without an outcome, if their channel says so; then decide deferred requests again.

    Recalls that were left over when a withdrawal was booked come first.
    """
    ledger = party.ledger
    if ledger.recall_ms:
        recall_forbidden(party)
        ledger.recall_ms = 0
    for pending in ledger.open:
        if pending.due_ms and pending.due_ms <= party.now_ms:
            contact = party.contact(pending.identity)
            if contact is not None and move(contact, "run_out"):
                party.give_back(contact)
                party.happened("run_out", contact.kind.department)
    if party.policy.has_kills:
        recall_forbidden(party, only_stopped=True)
    reconsider(party)


def review(party: PartyState, *, recalls: bool) -> None:
    """Look at a party again; with ``recalls``, unsent approvals that the policy no longer allows are recalled."""
    if recalls:
        recall_refused(party)
    look_again(party)
    party.count_cells()


def end_undecidable(party: PartyState, *, is_all: bool) -> None:
    """Reject the deferred requests that cannot be decided (``is_all``: all of them), then review the party."""
    for pending in [pending for pending in party.ledger.waiting if is_all or not _can_decide(party, pending)]:
        end(party, pending, "waiting", "rule_error", "it waited and cannot be decided; refused to be on the safe side")
    review(party, recalls=False)


def postpone(party: PartyState) -> None:
    """Put off all that is due by some minutes, without deciding it."""
    ledger, later_ms = party.ledger, party.now_ms + POSTPONE_MS
    due = [pending for pending in ledger.waiting if pending.due_ms <= party.now_ms]
    due += [pending for pending in ledger.open if 0 < pending.due_ms <= party.now_ms]
    for pending in due:
        pending.due_ms = later_ms
    if ledger.recall_ms:
        ledger.recall_ms = later_ms


def _take_fact(party: PartyState, record: InputRecord, fact: Fact) -> None:
    policy = party.policy
    refused = apply_fact(party.ledger, fact, policy.history_ms, record.received_ms, party.now_ms)
    if refused is not None:
        party.effects.append(refused)
        return
    department = fact.department if isinstance(fact, ConsentChange) else None
    for what in policy.known.strange(fact, record.received_ms, party.now_ms):
        party.note(what, department or "")
    follow_up(party, recalls=isinstance(fact, ConsentChange | SuppressionChange))


def _can_decide(party: PartyState, pending: PendingRequest) -> bool:
    try:
        request = party.request_in(pending)
        rank(party, request)
        decision_on(party, pending, request)
    except Exception:  # noqa: BLE001 - whatever it is, it must not stop the others
        return False
    return True
