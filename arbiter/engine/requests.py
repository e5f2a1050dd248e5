"""What happens to requests. Each is decided when it comes.

What waits is decided again, best first, whenever the answer may have changed: a budget is free again, a fact came, or a
timer fired.
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
    """Decide a request that has just arrived. A repeated one gets its first decision again."""
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
    asked = PendingRequest(key, content, customer, *place, 0, *ranked, trace=record.trace)
    found = hold_for(evaluation, ledger.holds)
    if found is None:
        _decide(party, asked, evaluation, "received", None, None)
    else:
        _hold(party, asked, evaluation, *found)


def reconsider(party: PartyState) -> None:
    """Decide all that waits, best first; an answer is published only if it is another one."""
    forget(party.ledger, party.now_ms, party.policy.history_ms)
    if party.is_reading_facts:
        _make_due(party)
    elif party.ledger.waiting:
        _decide_all(party)


def withdraw(party: PartyState, key: bytes, rule: str, message: str) -> ContactRequest | None:
    """End a waiting request because of what its department told; ``None`` if it does not wait."""
    asked = next((asked for asked in party.ledger.waiting if asked.identity == key), None)
    if asked is None or "withdraw" not in REQUEST["deferred"]:
        return None
    request = party.request_in(asked)
    end(party, asked, rule, "withdrawn", message)
    return request


def end(party: PartyState, asked: PendingRequest, rule: str, code: str, message: str) -> None:
    """Reject a request that waits, without asking any rule; the last of an arbitration closes it."""
    ledger = party.ledger
    ledger.waiting.remove(asked)
    if asked.held is not None and all(other.held != asked.held for other in ledger.waiting):
        ledger.holds.pop(asked.held, None)
    party.recall_confirmed(asked.identity)
    finding = finding_of(party.policy.document, rule, code, message)
    decision = without_rules(party.policy, party.now_ms, "rejected", (finding,), asked.score)
    party.publish(asked, party.request_in(asked), "deferred", "withdraw", decision)


def evaluate(party: PartyState, request: ContactRequest, received_ms: int) -> Evaluation:
    """The request before the rules and the ledger as it is now; to be made anew when the ledger changes."""
    return Evaluation(party.policy, party.ledger, request, received_ms, party.now_ms, party.stock)


def decision_on(party: PartyState, asked: PendingRequest, request: ContactRequest) -> Decision:
    """What would be decided now."""
    return evaluate(party, request, asked.received_ms).decision(is_new=asked.n == 0)


def rank(party: PartyState, request: ContactRequest) -> tuple[float, float]:
    """Score and priority as of now."""
    return rank_of(party.policy, request, party.ledger, party.stock, party.now_ms)


def decide_recalled(party: PartyState, asked: PendingRequest) -> None:
    """Decide a recalled request anew, after the one that it gave way to has taken its place."""
    evaluation = evaluate(party, party.request_in(asked), asked.received_ms)
    decision = _or_await_own_contact(party, asked, evaluation, evaluation.decision(is_new=False))
    if decision.outcome == "approved":
        until_ms = party.now_ms + max(party.policy.permit_min_ms, 1)
        decision = await_confirmation(party.policy, decision, until_ms, evaluation.inputs.expires_ms)
        party.ledger.holds[hold_of(asked.identity)] = until_ms
    _carry_out(party, asked, evaluation, decision, "recalled")


def publish_recall(party: PartyState, asked: PendingRequest, request: ContactRequest, findings: list[Finding]) -> None:
    """Tell the department that its approval is taken back."""
    party.ledger.open.remove(asked)
    recalled = without_rules(party.policy, party.now_ms, "recalled", tuple(findings), asked.score)
    party.publish(asked, request, "approved", "recall", recalled)


def _dry_run(party: PartyState, record: InputRecord, request: ContactRequest, key: bytes) -> None:
    """A dry run: decided as a new request, without any trace."""
    evaluation = evaluate(party, request, record.received_ms)
    decision = in_future(party.policy.document, evaluation.decision(), party.now_ms)
    place = {"source": record.source, "seq": party.seq, "trace": record.trace}
    party.effects.append(replace(decision, request=request, identity=key, final=True, **place))


def _hold(
    party: PartyState, asked: PendingRequest, evaluation: Evaluation, hold: CompiledArbitration, closes_ms: int
) -> None:
    """Let a new request wait for the close of an arbitration, unless it is rejected at once."""
    decision = evaluation.decision()
    if decision.outcome != "rejected":
        decision = held(evaluation, decision, hold, closes_ms)
        if decision.outcome == "deferred":
            asked.held = hold.id
    _carry_out(party, asked, evaluation, decision, "received")
    if asked.held is not None and asked.due_ms:
        party.ledger.holds[asked.held] = asked.due_ms


def _decide_all(party: PartyState) -> None:
    ledger, now_ms = party.ledger, party.now_ms
    requests = [(asked, party.request_in(asked)) for asked in ledger.waiting]
    for asked, request in requests:
        asked.score, asked.priority = rank(party, request)
    ledger.waiting = []
    won: tuple[float, str] | None = None
    for asked, request in sorted(requests, key=lambda pair: best_first(pair[0])):
        if asked.held is not None and ledger.holds.get(asked.held, 0) > now_ms:
            ledger.waiting.append(asked)
            continue
        arbitration, asked.held = asked.held, None
        outcome = _decide(party, asked, evaluate(party, request, asked.received_ms), "deferred", arbitration, won)
        if outcome == "approved" and won is None:
            won = asked.score, request.department
    for rule, closes_ms in list(ledger.holds.items()):
        if closes_ms <= now_ms:
            del ledger.holds[rule]


def _decide(
    party: PartyState,
    asked: PendingRequest,
    evaluation: Evaluation,
    before: str,
    arbitration: str | None,
    won: tuple[float, str] | None,
) -> str:
    """Decide a request and all that this brings about; gives the outcome. ``won`` is who won its arbitration."""
    promised_ms = asked.due_ms
    decision, evaluation, preempted = _decide_or_recall(party, asked, evaluation)
    if arbitration is not None and decision.outcome == "deferred" and won is not None:
        decision = outranked(party.policy, decision, arbitration, won)
    _carry_out(party, asked, evaluation, decision, before, promised_ms)
    if preempted is not None:
        decide_recalled(party, preempted)
    return decision.outcome


def _make_due(party: PartyState) -> None:
    """Let all that waits come back at once, when it may; what is held waits for its close."""
    for asked in party.ledger.waiting:
        if asked.held is None:
            asked.due_ms = min(asked.due_ms, party.now_ms)


def _decide_or_recall(
    party: PartyState, asked: PendingRequest, evaluation: Evaluation
) -> tuple[Decision, Evaluation, PendingRequest | None]:
    """The decision now, its evaluation, and the approval that was recalled where only budgets were in the way."""
    holds = party.ledger.holds
    confirm_by_ms = holds.get(hold_of(asked.identity), 0) if holds else 0
    if confirm_by_ms > party.now_ms:
        decision = _or_await_own_contact(party, asked, evaluation, evaluation.decision(is_new=False))
        return await_confirmation(party.policy, decision, confirm_by_ms, evaluation.inputs.expires_ms), evaluation, None
    decision = evaluation.decision(is_new=asked.n == 0, takes=True)
    if decision.outcome == "approved":
        return decision, evaluation, None
    if not lacks_budget_only(decision):
        return _or_await_own_contact(party, asked, evaluation, decision), evaluation, None
    for preempted, contact in _preemptible(party, asked):
        if not move(contact, "recall"):
            continue
        freed = party.give_back(contact)
        again = evaluate(party, evaluation.inputs.request, asked.received_ms)
        better = again.decision(is_new=asked.n == 0, takes=True)
        if better.outcome == "approved":
            _preempt(party, preempted, asked, evaluation.inputs.request, decision.findings[0])
            return better, again, preempted
        contact.state = ContactState.APPROVED  # it was only tried
        party.take(contact.ref, freed)
    return _or_await_own_contact(party, asked, evaluation, decision), evaluation, None


def _or_await_own_contact(
    party: PartyState, asked: PendingRequest, evaluation: Evaluation, decision: Decision
) -> Decision:
    """The decision; where a request's own recalled contacts are all that ends it, it waits for them instead."""
    if decision.outcome != "rejected" or not asked.n:
        return decision
    own = party.stopped(asked.identity)
    if not own:
        return decision
    freed = [draw for contact in own for draw in party.give_back(contact)]
    for contact in own:
        contact.state = ContactState.RECALLED
    without = decision_on(party, asked, evaluation.inputs.request)
    for contact in own:
        contact.state = ContactState.WITHDRAWN
    party.take(own[0].ref, freed)
    if without.outcome == "rejected":
        return decision
    return await_own_contact(party.policy, decision, evaluation.inputs.expires_ms)


def _preemptible(party: PartyState, asked: PendingRequest) -> list[tuple[PendingRequest, Contact]]:
    """The approvals that may be recalled for ``asked``, the lowest score first."""
    if "recall" not in REQUEST["approved"]:
        return []
    policy = party.policy
    factor, latest_ms = policy.recall.factor, party.now_ms + policy.recall_margin_ms
    if max(party.ledger.contacts.begins, default=latest_ms) <= latest_ms:
        return []
    found = []
    weaker = [one for one in party.ledger.open if not one.recalled and asked.score >= factor * one.score]
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
    finding = replace(blocked, code="recalled", message=message, until=None, contacts=())
    publish_recall(party, preempted, party.request_in(preempted), [finding])


def _carry_out(
    party: PartyState,
    asked: PendingRequest,
    evaluation: Evaluation,
    decision: Decision,
    before: str,
    promised_ms: int = 0,
) -> None:
    """Book a decision and publish it, unless it only repeats that the answer comes at ``promised_ms``."""
    ledger, policy, request = party.ledger, party.policy, evaluation.inputs.request
    if decision.outcome == "deferred":
        decision = in_future(policy.document, decision, party.now_ms)
        if asked.n == 0:
            decision = unless_full(policy, ledger, decision, evaluation)
    is_news = decision.outcome != "deferred" or decision.retry_at_ms != promised_ms
    if policy.shadow is not None and is_news and asked.held is None and not awaits_confirmation(decision):
        when, is_new = (asked.received_ms, party.now_ms), asked.n == 0
        decision = beside(policy, ledger, request, *when, party.stock, decision, is_new=is_new)
    ahead = None
    if decision.outcome == "deferred":
        ahead = _wait(party, asked, evaluation, decision)
    elif decision.not_before_ms is not None and decision.valid_until_ms is not None:
        _approve(party, asked, evaluation, decision.not_before_ms, decision.valid_until_ms)
        if evaluation.draws:
            party.take(asked.identity[:REF_BYTES], evaluation.draws)
    if is_news:
        party.publish(asked, request, before, EVENTS[decision.outcome], decision, ahead)


def _wait(party: PartyState, asked: PendingRequest, evaluation: Evaluation, decision: Decision) -> int:
    """Let it wait; gives how many of the party wait with a better claim."""
    waiting = party.ledger.waiting
    asked.due_ms = decision.retry_at_ms or 0
    asked.awaits = awaited(evaluation, decision) if party.policy.is_shared and asked.held is None else []
    party.keep_request(asked, evaluation.inputs.request)
    own = best_first(asked)
    ahead = sum([best_first(other) < own for other in waiting])
    waiting.append(asked)
    return ahead


def _approve(
    party: PartyState, asked: PendingRequest, evaluation: Evaluation, not_before_ms: int, valid_until_ms: int
) -> None:
    kind, ref = kind_of(evaluation.inputs.request), asked.identity[:REF_BYTES]
    contact = party.ledger.contacts.append(kind, ref, not_before_ms, valid_until_ms)
    asked.due_ms = valid_until_ms if evaluation.inputs.terms.is_released and "run_out" in PERMIT[contact.state] else 0
    party.keep_request(asked, evaluation.inputs.request)
    party.ledger.open.append(asked)
