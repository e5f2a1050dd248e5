"""What would have let a request through: the request is decided again without each rule that said no.

It is decided with the policy version that decided, on the party's ledger as it was then, and with the kill switches
that stopped it. Some things are no longer known: a profile's older attributes, or when a place was given back. They are
taken as they are today. So the request is first decided again with all rules. If that does not give the published
decision, the rest is uncertain.
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
"""Codes of findings that no rule makes: the department withdrew the request, or it was recalled."""

FROM_OTHERS = ("held_for_arbitration", "outranked", "waiting_full")
"""Codes that depend on the party's other requests. Of these only holds are decided again."""


class Dropped(Struct, frozen=True):
    """The outcome without one rule, or without several (``rules``), all else being the same.

    ``may_be_lifted`` is false for consent, suppression and the customer's own preferences: no exception lifts them.
    ``at_ms`` is when it would have been approved: the time of the decision, or the time until which it would have been
    deferred; ``None`` if never. ``still`` has the rules that would have said no.
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

    ``is_same``: the rebuilt ledger gives the published decision.
    """

    dropped: tuple[Dropped, ...]
    together: Dropped | None
    is_same: bool


class DecidedRequest(Struct, frozen=True):
    """A published decision, its request, and when the request was received (ms)."""

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


def counterfactuals(policy: Policy, ledger: Ledger, published: DecidedRequest) -> Counterfactuals | None:
    """What would have let the request through. ``policy`` is the one that decided, ``ledger`` is that of today.

    ``None`` for an approval, for a recall, and for a request that its department withdrew.
    """
    decision = published.decision
    if decision.outcome not in ("deferred", "rejected") or _codes(decision) & set(NOT_OF_RULES):
        return None
    policy = _stopped(policy, _kills(decision))
    then, again = _rebuild(policy, ledger, published)
    named = {finding.rule for finding in decision.findings} | {finding.rule for finding in again.findings}
    rules = [rule.id for rule in policy.document.rules if rule.id in named and rule.mode == "enforce"]
    rules += [finding.rule for finding in decision.findings if finding.code == KILL_SWITCH]
    if PREFERENCE.id in named:
        rules.append(PREFERENCE.id)
    dropped = tuple(_without(policy, then, published, (rule,)) for rule in rules)
    liftable = tuple(one.rules[0] for one in dropped if one.may_be_lifted)
    together = None
    if len(liftable) > 1 and not any(one.lets_through for one in dropped if one.may_be_lifted):
        together = _without(policy, then, published, liftable)
    return Counterfactuals(dropped, together, _is_as_published(again, decision))


def ledgers_then(ledger: Ledger, published: DecidedRequest) -> Iterator[Ledger]:
    """The ledgers that there may have been at the decision, without the request's own contact, the likeliest first.

    A ledger does not say when a contact was approved. A contact whose permit began before the decision was there. One
    whose permit began in the same instant, or later, may have been approved before or after.
    """
    at_ms = published.now_ms
    members = {name: _member_then(member, at_ms) for name, member in ledger.members.items()}
    events = [event for event in ledger.events if event.at_ms <= at_ms]
    own = identity(published.request)[:REF_BYTES]
    there = _contacts_then(ledger.contacts.only(lambda one: one.ref != own and _was_there(one, at_ms)), at_ms)
    begun = there.only(lambda one: one.not_before_ms <= at_ms)
    for contacts in (begun, there.only(lambda one: one.not_before_ms < at_ms), there):
        yield Ledger(members=members, contacts=contacts, events=events)


def _rebuild(policy: Policy, ledger: Ledger, published: DecidedRequest) -> tuple[Ledger, Decision]:
    """A ledger of the time of the decision, and the decision that it gives.

    It is the first ledger that gives the published decision; if none does, the likeliest one.
    """
    tried: list[tuple[Ledger, Decision]] = []
    for then in ledgers_then(ledger, published):
        again = decide_then(policy, then, published)
        if _is_as_published(again, published.decision):
            return then, again
        tried.append((then, again))
    return tried[0]


def decide_then(policy: Policy, ledger: Ledger, published: DecidedRequest) -> Decision:
    """Decide the request again at the time of its decision, on this ledger, with the capacity that was left then.

    Unlike a party, it recalls no other approvals, and does not look at the places that other requests wait for.
    """
    evaluation = Evaluation(
        policy, ledger, published.request, published.received_ms, published.now_ms, _StockThen(published)
    )
    again = evaluation.decision()
    if again.outcome == "rejected" or not published.is_first or published.decision.dry_run:
        return again
    holds = evaluation.arbitrations()
    if not holds:
        return again
    last = max(holds, key=lambda hold: _closes(hold, published))
    closes_ms = _closes(last, published)
    findings = (*again.findings, last.no("held_for_arbitration", "", closes_ms))
    return replace(again, outcome="deferred", final=False, findings=findings, retry_at_ms=closes_ms)


def _closes(hold: CompiledArbitration, published: DecidedRequest) -> int:
    """When the arbitration closes (ms): as published; if it did not hold the request, as if the request opened it."""
    for finding in published.decision.findings:
        if finding.rule == hold.id and finding.until is not None:
            return to_ms(finding.until)
    return published.now_ms + hold.hold_ms


def _without(policy: Policy, ledger: Ledger, published: DecidedRequest, rules: tuple[str, ...]) -> Dropped:
    document = policy.document
    kept = [rule for rule in document.rules if rule.id not in rules]
    if PREFERENCE.id in rules:
        ledger = replace(ledger, members={name: replace(one, preferences=None) for name, one in ledger.members.items()})
    _, version, digest = policy.ref
    kills = [kill for kill in _kills(published.decision) if CompiledKill(kill).id not in rules]
    again = decide_then(Policy(replace(document, rules=kept), version, digest, kills), ledger, published)
    never = {rule.id for rule in document.rules if rule.protects} | {PREFERENCE.id}
    return Dropped(
        rules,
        again.outcome,
        again.not_before_ms if again.outcome == "approved" else again.retry_at_ms,
        tuple(dict.fromkeys(finding.rule for finding in again.findings)),
        never.isdisjoint(rules),
    )


def _kills(decision: DecisionMessage) -> list[Kill]:
    """The kill switches that stopped it, with their ends. They are no part of the policy."""
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


def _is_as_published(again: Decision, decision: DecisionMessage) -> bool:
    """Whether ``again`` is the published decision, apart from what depends on other requests."""
    codes = _own_findings((finding.rule, finding.code) for finding in decision.findings)
    if codes != _own_findings((finding.rule, finding.code) for finding in again.findings):
        return False
    if "waiting_full" in _codes(decision):
        return again.outcome == "deferred"
    retry_ms = None if decision.retry_at is None else to_ms(decision.retry_at)
    return (again.outcome, again.retry_at_ms) == (decision.outcome, retry_ms)


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
    """The contacts as they were at ``at_ms``: later outcomes are left out."""
    then = Contacts()
    for one in contacts:
        if one.sent_at_ms is None or one.sent_at_ms <= at_ms:
            known = one.state, one.sent_at_ms, one.evidence
        else:
            known = ContactState.APPROVED, None, None
        then.append(one.kind, one.ref, one.not_before_ms, one.valid_until_ms, *known)
    return then


class _StockThen:
    """The capacity as the decision's findings show it: what they do not name had room, and its cells were open."""

    def __init__(self, published: DecidedRequest) -> None:
        send_after = published.request.send_after
        self._at_ms = published.now_ms if send_after is None else max(published.now_ms, to_ms(send_after))
        self._full: dict[str, int] = {}
        for finding in published.decision.findings:
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
