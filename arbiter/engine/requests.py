"""What happens to requests: each is decided when it arrives, and a deferred one again when its answer may have changed.

The answer may have changed when a budget is free again, a fact arrived, or a timer fired. All pending requests that
wait are then decided in one go, best first.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from arbiter.engine.cells import awaited
from arbiter.engine.decisions import (
    await_confirmation,
    await_own_contact,
    awaits_confirmation,
    in_future,
    lacks_budget_only,
    repeat,
    without_rules,
)
from arbiter.engine.evaluation import Evaluation, rank_of
from arbiter.engine.holds import held, hold_for, outranked
from arbiter.engine.input_record import InputRecord
from arbiter.engine.lifecycle import PERMIT, REQUEST, move
from arbiter.engine.shadow import beside, unless_full
from arbiter.engine.state import PartyState
from arbiter.ledger.contacts import Contact, ContactState
from arbiter.ledger.forgetting import forget
from arbiter.ledger.identity import REF_BYTES, answer_key, content_of, hold_of, identity, remember, was_answered
from arbiter.ledger.model import Decision, PendingRequest, best_first
from arbiter.messages import ContactRequest, Finding, OutcomeName
from arbiter.policy.inputs import kind_of
from arbiter.policy.rules import CompiledArbitration
from arbiter.policy.terms import finding_of

EVENTS: Final[dict[OutcomeName, str]] = {"deferred": "defer", "approved": "approve", "rejected": "reject"}
"""The event by which a decision's outcome is reached."""


def ask(party: PartyState, record: InputRecord, request: ContactRequest) -> None:
    """Decide a request that has just arrived. A repeated one gets the decision that is kept, or a refusal."""
    key = record.identity or identity(request)
    customer, ledger = request.customer_id, party.ledger
    if request.dry_run:
        _dry_run(party, record, request, key)
        return
    content = content_of(request)
    if party.answers and was_answered(ledger, customer, key):
        known = party.answers.get(answer_key(customer, key))
        if known is not None:
            party.effects.append(repeat(request, key, content, known, record.trace))
            return
    remember(ledger, customer, key, party.now_ms)
    forget(ledger, party.now_ms, party.policy.history_ms)
    evaluation = Evaluation(party.policy, ledger, request, record.received_ms, party.now_ms, party.stock)
    place = record.received_ms, record.source
    ranked = evaluation.inputs.score, evaluation.inputs.priority
    pending = PendingRequest(key, content, customer, *place, 0, *ranked, trace=record.trace, notes=record.notes)
    found = hold_for(evaluation, ledger.holds)
    if found is None:
        _decide(party, pending, evaluation, "received", None, None)
    else:
        _hold(party, pending, evaluation, *found)


def reconsider(party: PartyState) -> None:
    """Decide all deferred requests again, best first. A decision is published only if it differs from the last one.

    While a partition still reads facts, they only become due.
    """
    forget(party.ledger, party.now_ms, party.policy.history_ms)
    if party.is_reading_facts:
        _make_due(party)
    elif party.ledger.waiting:
        _decide_all(party)


def withdraw(party: PartyState, key: bytes, rule: str, message: str) -> ContactRequest | None:
    """Reject a deferred request that was withdrawn, as ``withdrawn``; ``None`` if no such request waits.

    ``key`` is the request's identity; ``rule`` and ``message`` are those of the finding. Gives the request.
    """
    pending = next((pending for pending in party.ledger.waiting if pending.identity == key), None)
    if pending is None or "withdraw" not in REQUEST["deferred"]:
        return None
    request = party.request_in(pending)
    end(party, pending, rule, "withdrawn", message)
    return request


def end(party: PartyState, pending: PendingRequest, rule: str, code: str, message: str) -> None:
    """Reject a deferred request without asking a rule. An arbitration ends with its last request."""
    ledger = party.ledger
    ledger.waiting.remove(pending)
    if pending.held is not None and all(other.held != pending.held for other in ledger.waiting):
        ledger.holds.pop(pending.held, None)
    party.recall_confirmed(pending.identity)
    finding = finding_of(party.policy.document, rule, code, message)
    decision = without_rules(party.policy, party.now_ms, "rejected", (finding,), pending.score)
    party.publish(pending, party.request_in(pending), "deferred", "withdraw", decision)


def evaluate(party: PartyState, request: ContactRequest, received_ms: int) -> Evaluation:
    """The evaluation of a request on the ledger as it is now. When the ledger changes, make a new one."""
    return Evaluation(party.policy, party.ledger, request, received_ms, party.now_ms, party.stock)


def decision_on(party: PartyState, pending: PendingRequest, request: ContactRequest) -> Decision:
    """The decision on a pending request now. Nothing is booked or published."""
    return evaluate(party, request, pending.received_ms).decision(is_new=pending.n == 0)


def rank(party: PartyState, request: ContactRequest) -> tuple[float, float]:
    """The score and priority of a request now."""
    return rank_of(party.policy, request, party.ledger, party.stock, party.now_ms)


def decide_recalled(party: PartyState, pending: PendingRequest) -> None:
    """Decide a recalled request again. If it was preempted, the winner has its place already.

    If it would be approved, it waits for its department's confirmation of the recall first.
    """
    evaluation = evaluate(party, party.request_in(pending), pending.received_ms)
    decision = _or_await_own_contact(party, pending, evaluation, evaluation.decision(is_new=False))
    if decision.outcome == "approved":
        until_ms = party.now_ms + max(party.policy.permit_min_ms, 1)
        decision = await_confirmation(party.policy, decision, until_ms, evaluation.inputs.expires_ms)
        party.ledger.holds[hold_of(pending.identity)] = until_ms
    _book(party, pending, evaluation, decision, "recalled")


def publish_recall(
    party: PartyState, pending: PendingRequest, request: ContactRequest, findings: list[Finding]
) -> None:
    """Publish that an approval is recalled, with the findings that say why, and end its permit."""
    party.ledger.open.remove(pending)
    recalled = without_rules(party.policy, party.now_ms, "recalled", tuple(findings), pending.score)
    party.publish(pending, request, "approved", "recall", recalled)


def _dry_run(party: PartyState, record: InputRecord, request: ContactRequest, key: bytes) -> None:
    """Decide a dry run as a new request. Nothing is kept."""
    evaluation = evaluate(party, request, record.received_ms)
    decision = in_future(party.policy.document, evaluation.decision(), party.now_ms)
    place = {"source": record.source, "seq": party.seq, "trace": record.trace, "notes": record.notes}
    party.effects.append(replace(decision, request=request, identity=key, final=True, **place))


def _hold(
    party: PartyState, pending: PendingRequest, evaluation: Evaluation, hold: CompiledArbitration, closes_ms: int
) -> None:
    """Hold a new request until the arbitration ``hold`` closes, unless it is rejected at once."""
    decision = evaluation.decision()
    if decision.outcome != "rejected":
        decision = held(evaluation, decision, hold, closes_ms)
        if decision.outcome == "deferred":
            pending.held = hold.id
    _book(party, pending, evaluation, decision, "received")
    if pending.held is not None and pending.due_ms:
        party.ledger.holds[pending.held] = pending.due_ms


def _decide_all(party: PartyState) -> None:
    ledger, now_ms = party.ledger, party.now_ms
    requests = [(pending, party.request_in(pending)) for pending in ledger.waiting]
    for pending, request in requests:
        pending.score, pending.priority = rank(party, request)
    ledger.waiting = []
    winner: tuple[float, str] | None = None
    for pending, request in sorted(requests, key=lambda pair: best_first(pair[0])):
        # A hold may have been opened anew while facts were read and no timer fired. It keeps none beyond its own close.
        if pending.held is not None and min(pending.due_ms, ledger.holds.get(pending.held, 0)) > now_ms:
            ledger.waiting.append(pending)
            continue
        arbitration, pending.held = pending.held, None
        outcome = _decide(
            party, pending, evaluate(party, request, pending.received_ms), "deferred", arbitration, winner
        )
        if outcome == "approved" and winner is None:
            winner = pending.score, request.department
    for rule, closes_ms in list(ledger.holds.items()):
        if closes_ms <= now_ms:
            del ledger.holds[rule]


def _decide(
    party: PartyState,
    pending: PendingRequest,
    evaluation: Evaluation,
    before: str,
    arbitration: str | None,
    winner: tuple[float, str] | None,
) -> str:
    """Decide a request, book and publish it, and decide what it preempted. Gives the outcome.

    ``before`` is the request's state so far. ``arbitration`` is the rule that held it, ``winner`` the score and
    department of the request that won it.
    """
    promised_ms = pending.due_ms
    decision, evaluation, preempted = _decide_or_preempt(party, pending, evaluation)
    if arbitration is not None and decision.outcome == "deferred" and winner is not None:
        decision = outranked(party.policy, decision, arbitration, winner)
    _book(party, pending, evaluation, decision, before, promised_ms)
    if preempted is not None:
        decide_recalled(party, preempted)
    return decision.outcome


def _make_due(party: PartyState) -> None:
    """Make all deferred requests due now. Those held for an arbitration wait until it closes."""
    for pending in party.ledger.waiting:
        if pending.held is None:
            pending.due_ms = min(pending.due_ms, party.now_ms)


def _decide_or_preempt(
    party: PartyState, pending: PendingRequest, evaluation: Evaluation
) -> tuple[Decision, Evaluation, PendingRequest | None]:
    """The decision now and its evaluation; and the approved request that was preempted for it, if any.

    If only budgets say no, approvals with a lower score are tried one by one: the first that frees enough is recalled.
    """
    holds = party.ledger.holds
    confirm_by_ms = holds.get(hold_of(pending.identity), 0) if holds else 0
    if confirm_by_ms > party.now_ms:
        decision = _or_await_own_contact(party, pending, evaluation, evaluation.decision(is_new=False))
        return await_confirmation(party.policy, decision, confirm_by_ms, evaluation.inputs.expires_ms), evaluation, None
    decision = evaluation.decision(is_new=pending.n == 0, takes=True)
    if decision.outcome == "approved":
        return decision, evaluation, None
    if not lacks_budget_only(decision):
        return _or_await_own_contact(party, pending, evaluation, decision), evaluation, None
    for preempted, contact in _preemptible(party, pending):
        if not move(contact, "recall"):
            continue
        freed = party.give_back(contact)
        again = evaluate(party, evaluation.inputs.request, pending.received_ms)
        better = again.decision(is_new=pending.n == 0, takes=True)
        if better.outcome == "approved":
            _preempt(party, preempted, pending, evaluation.inputs.request, decision.findings[0])
            return better, again, preempted
        contact.state = ContactState.APPROVED  # it was only tried
        party.take(contact.ref, freed)
    return _or_await_own_contact(party, pending, evaluation, decision), evaluation, None


def _or_await_own_contact(
    party: PartyState, pending: PendingRequest, evaluation: Evaluation, decision: Decision
) -> Decision:
    """The decision; a deferral instead of a reject if only the request's own recalled contacts cause the reject."""
    if decision.outcome != "rejected" or not pending.n:
        return decision
    own = party.stopped(pending.identity)
    if not own:
        return decision
    freed = [draw for contact in own for draw in party.give_back(contact)]
    for contact in own:
        contact.state = ContactState.RECALLED
    without = decision_on(party, pending, evaluation.inputs.request)
    for contact in own:
        contact.state = ContactState.WITHDRAWN
    party.take(own[0].ref, freed)
    if without.outcome == "rejected":
        return decision
    return await_own_contact(party.policy, decision, evaluation.inputs.expires_ms)


def _preemptible(party: PartyState, pending: PendingRequest) -> list[tuple[PendingRequest, Contact]]:
    """The approvals that ``pending`` may preempt, the lowest score first."""
    if "recall" not in REQUEST["approved"]:
        return []
    policy = party.policy
    factor, latest_ms = policy.recall.factor, party.now_ms + policy.recall_margin_ms
    if max(party.ledger.contacts.begins, default=latest_ms) <= latest_ms:
        return []
    found = []
    weaker = [one for one in party.ledger.open if not one.recalled and pending.score >= factor * one.score]
    for candidate, contact in party.contacts_of(weaker):
        if contact is None or contact.state is not ContactState.APPROVED or contact.not_before_ms <= latest_ms:
            continue
        if party.request_in(candidate).recallable:
            found.append((candidate, contact))
    return sorted(found, key=lambda pair: best_first(pair[0]), reverse=True)


def _preempt(
    party: PartyState, preempted: PendingRequest, winner: PendingRequest, request: ContactRequest, blocked: Finding
) -> None:
    owner = party.policy.document.departments[request.department].owner
    message = (
        f"recalled for a request of {request.department} ({owner}) that scores {winner.score:g}, "
        f"this one scores {preempted.score:g}"
    )
    preempted.recalled = True
    party.happened("recall", party.request_in(preempted).department)
    finding = replace(blocked, code="recalled", message=message, until=None, contacts=())
    publish_recall(party, preempted, party.request_in(preempted), [finding])


def _book(
    party: PartyState,
    pending: PendingRequest,
    evaluation: Evaluation,
    decision: Decision,
    before: str,
    promised_ms: int = 0,
) -> None:
    """Book a decision and publish it, unless it is again deferred until ``promised_ms``."""
    ledger, policy, request = party.ledger, party.policy, evaluation.inputs.request
    if decision.outcome == "deferred":
        decision = in_future(policy.document, decision, party.now_ms)
        if pending.n == 0:
            decision = unless_full(policy, ledger, decision, evaluation)
    is_news = decision.outcome != "deferred" or decision.retry_at_ms != promised_ms
    if policy.shadow is not None and is_news and pending.held is None and not awaits_confirmation(decision):
        when, is_new = (pending.received_ms, party.now_ms), pending.n == 0
        decision = beside(policy, ledger, request, *when, party.stock, decision, is_new=is_new)
    ahead = None
    if decision.outcome == "deferred":
        ahead = _wait(party, pending, evaluation, decision)
    elif decision.not_before_ms is not None and decision.valid_until_ms is not None:
        _approve(party, pending, evaluation, decision.not_before_ms, decision.valid_until_ms)
        if evaluation.draws:
            party.take(pending.identity[:REF_BYTES], evaluation.draws)
    if is_news:
        party.publish(pending, request, before, EVENTS[decision.outcome], decision, ahead)


def _wait(party: PartyState, pending: PendingRequest, evaluation: Evaluation, decision: Decision) -> int:
    """Keep a request as deferred. Gives how many requests of the party wait and rank before it."""
    waiting = party.ledger.waiting
    pending.due_ms = decision.retry_at_ms or 0
    pending.awaits = awaited(evaluation, decision) if party.policy.is_shared and pending.held is None else []
    party.keep_request(pending, evaluation.inputs.request)
    own = best_first(pending)
    ahead = sum([best_first(other) < own for other in waiting])
    waiting.append(pending)
    return ahead


def _approve(
    party: PartyState, pending: PendingRequest, evaluation: Evaluation, not_before_ms: int, valid_until_ms: int
) -> None:
    kind, ref = kind_of(evaluation.inputs.request), pending.identity[:REF_BYTES]
    contact = party.ledger.contacts.append(kind, ref, not_before_ms, valid_until_ms)
    pending.due_ms = valid_until_ms if evaluation.inputs.terms.is_released and "run_out" in PERMIT[contact.state] else 0
    party.keep_request(pending, evaluation.inputs.request)
    party.ledger.open.append(pending)
