"""One record after another: what each arriving message does to a party's ledger, and what is answered.

This is the whole sequential meaning of the service. A runner feeds it records and due timers in order and commits
what changed; the reference model of the tests feeds it the same, one at a time.
"""

from __future__ import annotations

from arbiter.engine.arrival import Arrival, Message
from arbiter.engine.outcomes import take_outcome
from arbiter.engine.session import Session
from arbiter.engine.told import Decided, Noted
from arbiter.ledger.capacity import Stock
from arbiter.ledger.facts import Fact, Refused, apply_fact
from arbiter.ledger.identity import ANSWERS_KEPT_MS, content_of, identity, was_answered
from arbiter.ledger.keys import customer_party
from arbiter.ledger.model import Answered, ContactState, Ledger
from arbiter.messages import ConsentChange, ContactRequest, Outcome, SuppressionChange
from arbiter.policy.ruleset import NO_STOCK, Policy

__all__ = [
    "ANSWERS_KEPT_MS",
    "FREES_FIRST",
    "Arrival",
    "Decided",
    "Message",
    "Noted",
    "Refused",
    "Result",
    "Turn",
    "arbitrate",
    "awaits",
    "come_back",
    "content_of",
    "identity",
    "next_due_ms",
    "party_of",
    "permit_ends",
    "turn_of",
    "was_answered",
]

Result = Decided | Refused | Noted

Turn = tuple[int, int]
"""When a request was received (ms), and its offset: of parties that come back together, the least comes first."""

FREES_FIRST: Turn = (0, 0)
"""The turn of what only gives back: the places are there for those who come after it."""


def party_of(message: Message) -> str:
    """The party at which a message arrives: its customer, at home. See ``core.household`` for what follows."""
    return customer_party(message.customer_id)


def arbitrate(
    policy: Policy,
    ledger: Ledger,
    answers: dict[bytes, Answered],
    arrival: Arrival,
    now_ms: int,
    seq: int,
    stock: Stock = NO_STOCK,
    *,
    hears: bool = True,
) -> list[Result]:
    """Apply one record where its customer's budget is. Changes ``ledger`` and ``answers``; gives what is to be told.

    ``answers`` must hold the answer of every request that :func:`was_answered`; ``seq`` is the number of the
    commit that the record will be part of. What was due before ``now_ms`` must have come back already. ``stock`` is
    the capacity that may be drawn on; without one, what needs capacity is deferred. While facts are still being read
    (``hears`` is false) nothing that waits is decided: a withdrawal may be among them.
    """
    session = Session(policy, ledger, answers, now_ms, seq, stock, hears=hears)
    take(session, arrival)
    return session.out


def take(session: Session, arrival: Arrival) -> None:
    """As :func:`arbitrate`, where there is a session already; what is to be told is in its ``out``."""
    message = arrival.message
    if isinstance(message, ContactRequest):
        session.ask(arrival, message)
        session.count_cells()
    elif isinstance(message, Outcome):
        recalls = take_outcome(session, message, arrival.received_ms)
        follow(session, recalls=recalls)
    else:
        refused = apply_fact(session.ledger, message, session.policy.history_ms, arrival.received_ms, session.now_ms)
        if refused is not None:
            session.out.append(refused)
            return
        _note_strange(session, arrival, message)
        follow(session, recalls=isinstance(message, ConsentChange | SuppressionChange))


def follow(session: Session, *, recalls: bool, comes_back: bool = False) -> None:
    """Work out what follows from what was booked; with ``recalls`` it may forbid what was approved.

    Where a session only books, the party is looked at again at once, as a step of its own.
    """
    if session.books_only:
        session.ledger.recall_ms = session.now_ms
        return
    if recalls:
        session.recall_unsent()
    (session.come_back if comes_back else session.reconsider)()
    session.count_cells()


def _note_strange(session: Session, arrival: Arrival, fact: Fact) -> None:
    department = fact.department if isinstance(fact, ConsentChange) else None
    for what in session.policy.known.strange(fact, arrival.received_ms, session.now_ms):
        session.note(what, department or "")


def come_back(
    policy: Policy,
    ledger: Ledger,
    answers: dict[bytes, Answered],
    now_ms: int,
    seq: int,
    stock: Stock = NO_STOCK,
    *,
    recalls: bool = False,
) -> list[Result]:
    """Look at a party again: because a timer is due, or because the policy changed. Changes ``ledger``, ``answers``.

    With ``recalls`` what is approved, unsent, and not allowed by the policy any more is recalled.
    """
    session = Session(policy, ledger, answers, now_ms, seq, stock)
    if recalls:
        session.recall_refused()
    session.come_back()
    session.count_cells()
    return session.out


def awaits(ledger: Ledger) -> dict[str, Turn]:
    """The capacities that this party waits for, each with the turn of the request that asked for it first."""
    found: dict[str, Turn] = {}
    for asked in ledger.waiting:
        turn = (asked.received_ms, asked.source[2])
        for name in asked.awaits:
            found[name] = min(turn, found.get(name, turn))
    return found


def turn_of(ledger: Ledger, due_ms: int) -> Turn:
    """Whose turn it is among the parties that come back at ``due_ms``: that of the first request that is due then."""
    # Loops and no generators: this runs for each record.
    for asked in ledger.open:
        if asked.due_ms and asked.due_ms <= due_ms:
            return FREES_FIRST
    turns = [(asked.received_ms, asked.source[2]) for asked in ledger.waiting if asked.due_ms <= due_ms]
    return min(turns, default=FREES_FIRST)


def permit_ends(ledger: Ledger) -> list[int]:
    """When the permits end that were given and not yet confirmed (ms); also of some that ran out."""
    if not ledger.open:
        return []
    return [contact.valid_until_ms for contact in ledger.contacts if contact.state is ContactState.APPROVED]


def next_due_ms(ledger: Ledger) -> int | None:
    """When the arbiter must come back to this party by itself; ``None`` if it need not."""
    # A loop and no list: this runs several times for each record.
    first: int | None = ledger.recall_ms or None
    for asked in ledger.waiting:
        if first is None or asked.due_ms < first:
            first = asked.due_ms
    for asked in ledger.open:
        if asked.due_ms and (first is None or asked.due_ms < first):
            first = asked.due_ms
    return first
