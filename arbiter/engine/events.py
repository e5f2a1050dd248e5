"""What an event does at the party that keeps the customer's budget, and what follows from it."""

from __future__ import annotations

from enum import Enum
from typing import Final

from arbiter.engine.input_record import InputRecord
from arbiter.engine.lifecycle import move
from arbiter.engine.outcomes import take_outcome
from arbiter.engine.recalls import recall_forbidden, recall_refused
from arbiter.engine.requests import ask, end, rank, reconsider, verdict_on
from arbiter.engine.state import PartyState
from arbiter.ledger.facts import Fact, apply_fact
from arbiter.ledger.model import Asked
from arbiter.messages import ConsentChange, ContactRequest, Outcome, SuppressionChange
from arbiter.timing.instants import MINUTE_MS

PUT_OFF_MS: Final = 5 * MINUTE_MS


class Way(Enum):
    """How an event is applied: as it should be, or as is left when that fails."""

    USUAL = "usual"
    BOOKED = "it is booked, and what follows from it is worked out afterwards"
    SOME_GIVEN_UP = "what waits and cannot be judged is given up"
    ALL_GIVEN_UP = "all that waits is given up"
    PUT_OFF = "it comes back in some minutes"


def take(party: PartyState, record: InputRecord) -> None:
    """A record: a request, an outcome, or a fact."""
    message = record.message
    if isinstance(message, ContactRequest):
        ask(party, record, message)
        party.count_cells()
    elif isinstance(message, Outcome):
        follow(party, recalls=take_outcome(party, message, record.received_ms))
    else:
        _take_fact(party, record, message)


def follow(party: PartyState, *, recalls: bool, looks: bool = False) -> None:
    """Do what follows from a booked event; with ``recalls`` it may forbid what was approved.

    With ``books_only`` that is left: the party's timer is set to now.
    """
    if party.books_only:
        party.ledger.recall_ms = party.now_ms
        return
    if recalls:
        recall_forbidden(party)
    (look if looks else reconsider)(party)
    party.count_cells()


def look(party: PartyState) -> None:
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
    look(party)
    party.count_cells()


def give_up(party: PartyState, *, is_all: bool) -> None:
    """Reject what waits and cannot be judged (``is_all``: everything that waits), then look at the party again."""
    for asked in [asked for asked in party.ledger.waiting if is_all or not _can_judge(party, asked)]:
        end(party, asked, "waiting", "rule_error", "it waited and cannot be decided; refused to be on the safe side")
    review(party, recalls=False)


def put_off(party: PartyState) -> None:
    """Move all that is due some minutes into the future, undecided."""
    ledger, later_ms = party.ledger, party.now_ms + PUT_OFF_MS
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
    follow(party, recalls=isinstance(fact, ConsentChange | SuppressionChange))


def _can_judge(party: PartyState, asked: Asked) -> bool:
    try:
        request = party.request_in(asked)
        rank(party, request)
        verdict_on(party, asked, request)
    except Exception:  # noqa: BLE001 - whatever it is, it must not stop the others
        return False
    return True
