"""What would have let a request through: each rule that said no, dropped alone, and the request judged again.

Judged is with the policy version that decided, on the party's ledger of today made to be what it was then, and with the
kill switches that stopped it. What cannot
be known any more (a profile's older attributes, when a place was given back) is taken as it is today; so the decision
itself is judged again first, and an answer that does not come out as it was told says that the rest is uncertain.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.evaluation import Evaluation
from arbiter.engine.render import count_of
from arbiter.ledger.capacity import Draw, Level
from arbiter.ledger.contacts import Contact, Contacts, ContactState
from arbiter.ledger.identity import REF_BYTES, identity
from arbiter.ledger.model import Decision, Ledger, Member
from arbiter.messages import ContactRequest, DecisionMessage
from arbiter.policy.kill_switches import KILL_SWITCH, CompiledKill, Kill
from arbiter.policy.preferences import RULE as PREFERENCE
from arbiter.policy.rules import SHARED, CompiledArbitration
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import to_ms

NOT_OF_RULES = ("withdrawn", "recalled")
"""Codes of a "no" that no judging of the request alone gives: its department's own word, a better request."""

FROM_OTHERS = ("held_for_arbitration", "outranked", "waiting_full")
"""Codes that depend on the other requests of the party, which are judged anew only as far as a hold goes."""


class Dropped(Struct, frozen=True):
    """What the answer would have been without one rule, or without several (``rules``), all else being the same.

    ``may_be_lifted`` is false for consent, suppression and the customer's own preferences: no exception lifts them.
    ``at_ms`` is when it would have been approved: the time of the decision, or the time until which it would still have
    been deferred; ``None`` if never. ``still`` has the rules that would have said no nevertheless.
    """

    rules: tuple[str, ...]
    outcome: str
    at_ms: int | None
    still: tuple[str, ...]
    may_be_lifted: bool = True

    @property
    def lets_through(self) -> bool:
        """Whether it would have been approved at once."""
        return self.outcome == "approved"


class Counterfactuals(Struct, frozen=True):
    """``dropped`` has each rule that said no, dropped alone; ``together`` all that may be lifted, where none is enough.

    ``is_same`` says that the ledger as it was rebuilt gives the answer that was told.
    """

    dropped: tuple[Dropped, ...]
    together: Dropped | None
    is_same: bool


class DecidedRequest(Struct, frozen=True):
    """A published decision with what it was about, and when the request was received (ms)."""

    decision: DecisionMessage
    request: ContactRequest
    received_ms: int

    @property
    def now_ms(self) -> int:
        """When it was decided."""
        return to_ms(self.decision.decided_at)

    @property
    def is_first(self) -> bool:
        """Whether it is the first answer: only then requests are held for an arbitration."""
        return count_of(self.decision.decision_id) == 1


def counterfactuals(policy: Policy, ledger: Ledger, told: DecidedRequest) -> Counterfactuals | None:
    """What would have let the request through. ``policy`` is the one that decided, ``ledger`` is that of today.

    ``None`` where the question makes no sense: for an approval, a recall, or what its department cancelled.
    """
    decision = told.decision
    if decision.outcome not in ("deferred", "rejected") or _codes(decision) & set(NOT_OF_RULES):
        return None
    policy = _stopped(policy, _kills(decision))
    then, verdict = _rebuild(policy, ledger, told)
    named = {finding.rule for finding in decision.findings} | {finding.rule for finding in verdict.findings}
    rules = [rule.id for rule in policy.document.rules if rule.id in named and rule.mode == "enforce"]
    rules += [finding.rule for finding in decision.findings if finding.code == KILL_SWITCH]
    if PREFERENCE.id in named:
        rules.append(PREFERENCE.id)
    dropped = tuple(_without(policy, then, told, (rule,)) for rule in rules)
    liftable = tuple(one.rules[0] for one in dropped if one.may_be_lifted)
    together = None
    if len(liftable) > 1 and not any(one.lets_through for one in dropped if one.may_be_lifted):
        together = _without(policy, then, told, liftable)
    return Counterfactuals(dropped, together, _is_as_told(verdict, decision))


def ledgers_then(ledger: Ledger, told: DecidedRequest) -> Iterator[Ledger]:
    """The ledger as it may have been when the request was decided, the likeliest first, without its own contact.

    A ledger does not say when a contact was approved. One that was sent, or might have been, before the decision was
    there; of one approved in the same instant either is possible, and one that was to be sent later may have been
    approved before.
    """
    at_ms = told.now_ms
    members = {name: _member_then(member, at_ms) for name, member in ledger.members.items()}
    events = [event for event in ledger.events if event.at_ms <= at_ms]
    own = identity(told.request)[:REF_BYTES]
    there = _contacts_then(ledger.contacts.only(lambda one: one.ref != own and _was_there(one, at_ms)), at_ms)
    begun = there.only(lambda one: one.not_before_ms <= at_ms)
    for contacts in (begun, there.only(lambda one: one.not_before_ms < at_ms), there):
        yield Ledger(members=members, contacts=contacts, events=events)


def _rebuild(policy: Policy, ledger: Ledger, told: DecidedRequest) -> tuple[Ledger, Decision]:
    """The likeliest ledger, the first that gives the answer that was told if there is one; and what it gives."""
    tried: list[tuple[Ledger, Decision]] = []
    for then in ledgers_then(ledger, told):
        verdict = judge(policy, then, told)
        if _is_as_told(verdict, told.decision):
            return then, verdict
        tried.append((then, verdict))
    return tried[0]


def judge(policy: Policy, ledger: Ledger, told: DecidedRequest) -> Decision:
    """The request judged at the time of the decision on this ledger, with the capacity that was left then.

    As a party does it, but without recalls, and without looking at the places that others wait for.
    """
    evaluation = Evaluation(policy, ledger, told.request, told.received_ms, told.now_ms, _StockThen(told))
    verdict = evaluation.decision()
    if verdict.outcome == "rejected" or not told.is_first or told.decision.dry_run:
        return verdict
    holds = evaluation.arbitrations()
    if not holds:
        return verdict
    last = max(holds, key=lambda hold: _closes(hold, told))
    closes_ms = _closes(last, told)
    findings = (*verdict.findings, last.no("held_for_arbitration", "", closes_ms))
    return replace(verdict, outcome="deferred", final=False, findings=findings, retry_at_ms=closes_ms)


def _closes(hold: CompiledArbitration, told: DecidedRequest) -> int:
    """When the arbitration closes: as was told; for one that did not hold it, as if this request opened it."""
    for finding in told.decision.findings:
        if finding.rule == hold.id and finding.until is not None:
            return to_ms(finding.until)
    return told.now_ms + hold.hold_ms


def _without(policy: Policy, ledger: Ledger, told: DecidedRequest, rules: tuple[str, ...]) -> Dropped:
    document = policy.document
    kept = [rule for rule in document.rules if rule.id not in rules]
    if PREFERENCE.id in rules:
        ledger = replace(ledger, members={name: replace(one, preferences=None) for name, one in ledger.members.items()})
    _, version, digest = policy.ref
    kills = [kill for kill in _kills(told.decision) if CompiledKill(kill).id not in rules]
    verdict = judge(Policy(replace(document, rules=kept), version, digest, kills), ledger, told)
    never = {rule.id for rule in document.rules if rule.protects} | {PREFERENCE.id}
    return Dropped(
        rules,
        verdict.outcome,
        verdict.not_before_ms if verdict.outcome == "approved" else verdict.retry_at_ms,
        tuple(dict.fromkeys(finding.rule for finding in verdict.findings)),
        never.isdisjoint(rules),
    )


def _kills(decision: DecisionMessage) -> list[Kill]:
    """The kill switches that stopped it. They are no part of the policy, and all that matters of one is its end."""
    return [
        Kill(int(finding.rule.rpartition("/")[2]), "all", "", to_ms(finding.until), True, finding.owner, finding.why)
        for finding in decision.findings
        if finding.code == KILL_SWITCH and finding.until is not None
    ]


def _stopped(policy: Policy, kills: list[Kill]) -> Policy:
    if not kills:
        return policy
    _, version, digest = policy.ref
    return Policy(policy.document, version, digest, kills)


def _is_as_told(verdict: Decision, decision: DecisionMessage) -> bool:
    """Whether judging again gives what was published, as far as it can."""
    told = _own_findings((finding.rule, finding.code) for finding in decision.findings)
    if told != _own_findings((finding.rule, finding.code) for finding in verdict.findings):
        return False
    if "waiting_full" in _codes(decision):
        return verdict.outcome == "deferred"
    retry_ms = None if decision.retry_at is None else to_ms(decision.retry_at)
    return (verdict.outcome, verdict.retry_at_ms) == (decision.outcome, retry_ms)


def _own_findings(findings: Iterator[tuple[str, str]]) -> set[tuple[str, str]]:
    return {(rule, code) for rule, code in findings if code not in FROM_OTHERS}


def _codes(decision: DecisionMessage) -> set[str]:
    return {finding.code for finding in decision.findings}


def _member_then(member: Member, at_ms: int) -> Member:
    """What was known of a customer by then; a profile has no time, so it is that of today."""
    preferences = member.preferences
    return Member(
        member.traits,
        [one for one in member.consents if one.captured_at_ms <= at_ms],
        [one for one in member.suppressions if one.captured_at_ms <= at_ms],
        preferences if preferences is not None and preferences.captured_at_ms <= at_ms else None,
    )


def _was_there(contact: Contact, at_ms: int) -> bool:
    """Whether the contact may have used budgets by then.

    A bounce says when it was; what was cancelled or recalled does not, so it is taken for gone by then.
    """
    is_later = contact.sent_at_ms is not None and contact.sent_at_ms > at_ms
    return contact.counts or (contact.state is ContactState.RELEASED and is_later)


def _contacts_then(contacts: Contacts, at_ms: int) -> Contacts:
    """What was heard of them later is not known yet."""
    then = Contacts()
    for one in contacts:
        if one.sent_at_ms is None or one.sent_at_ms <= at_ms:
            known = one.state, one.sent_at_ms, one.evidence
        else:
            known = ContactState.APPROVED, None, None
        then.append(one.kind, one.ref, one.not_before_ms, one.valid_until_ms, *known)
    return then


class _StockThen:
    """The capacity as the decision's findings tell it: what they do not name had room, and its cells were open."""

    def __init__(self, told: DecidedRequest) -> None:
        send_after = told.request.send_after
        self._at_ms = told.now_ms if send_after is None else max(told.now_ms, to_ms(send_after))
        self._full: dict[str, int] = {}
        for finding in told.decision.findings:
            if finding.kind in SHARED:
                unit = finding.kind if finding.window is None else finding.window.removeprefix("calendar ")
                self._full[f"{finding.rule}/{unit}"] = finding.used or 0

    def level(self, draw: Draw, limit: int) -> Level:
        """See ``Stock.level``."""
        used = self._full.get(draw.name)
        if used is None or not draw.start_ms <= self._at_ms < draw.end_ms:
            return Level(limit, 0, is_open=True)
        return Level(0, used)

    def need(self, draw: Draw) -> None:
        """Nothing more can be looked up."""

    def take(self, draw: Draw) -> None:
        """Nothing is booked."""

    def give(self, draw: Draw) -> None:
        """Nothing is booked."""
