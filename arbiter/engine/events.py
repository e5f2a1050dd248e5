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
    """Do what follows from a booked event; with ``recalls`` it may forbid what was approved.

    With ``records_only`` that is left: the party's timer is set to now.
    """
    if party.records_only:
        party.ledger.recall_ms = party.now_ms
        return
    if recalls:
        recall_forbidden(party)
    (look_again if reviews_all else reconsider)(party)
    party.count_cells()


def look_again(party: PartyState) -> None:
    """Release permits that ran out in silence, if their channel says so; then decide again all that waits.

    Recalls that were left when a withdrawal was booked come first.
    """
    ledger = party.ledger
    if ledger.recall_ms:
        recall_forbidden(party)
        ledger.recall_ms = 0
    for asked in ledger.open:
        if asked.due_ms and asked.due_ms <= party.now_ms:
            contact = party.contact(asked.identity)
            if contact is not None and move(contact, "run_out"):
                party.give_back(contact)
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
    """Reject what waits and cannot be judged (``is_all``: everything that waits), then look at the party again."""
    for asked in [asked for asked in party.ledger.waiting if is_all or not _can_decide(party, asked)]:
        end(party, asked, "waiting", "rule_error", "it waited and cannot be decided; refused to be on the safe side")
    review(party, recalls=False)


def postpone(party: PartyState) -> None:
    """Move all that is due some minutes into the future, undecided."""
    ledger, later_ms = party.ledger, party.now_ms + POSTPONE_MS
    due = [asked for asked in ledger.waiting if asked.due_ms <= party.now_ms]
    due += [asked for asked in ledger.open if 0 < asked.due_ms <= party.now_ms]
    for asked in due:
        asked.due_ms = later_ms
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


def _can_decide(party: PartyState, asked: PendingRequest) -> bool:
    try:
        request = party.request_in(asked)
        rank(party, request)
        decision_on(party, asked, request)
    except Exception:  # noqa: BLE001 - whatever it is, it must not stop the others
        return False
    return True
