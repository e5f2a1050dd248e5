"""Who would be over a new cap when it comes into force, by the contacts made until then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from arbiter.engine.rule_inputs import RuleInputs
from arbiter.ledger.contacts import Kind
from arbiter.ledger.model import Ledger
from arbiter.messages import ContactRequest
from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import Matcher
from arbiter.policy.rules import NOW_MS, CapRule, CompiledCap
from arbiter.policy.ruleset import NO_STOCK, Policy, compile_rule
from arbiter.timing.instants import to_datetime

OF_THE_REQUEST = ("priority", "value", "propensity", "recallable")
"""Conditions on what only a request says; whether the next one matches cannot be known, so that it does is assumed."""


class Over(Struct, frozen=True):
    """A new or changed cap: how many parties have used more than it allows, and how many exactly all of it."""

    rule: str
    owner: str
    mode: str
    parties: int
    full: int


def changed_rules(old: PolicyDocument, new: PolicyDocument) -> list[str]:
    """The rules of ``new`` that ``old`` does not have in the same form, in file order."""
    before = {rule.id: rule for rule in old.rules}
    return [rule.id for rule in new.rules if before.get(rule.id) != rule]


class OverCaps:
    """Counts parties against new or changed caps. Call :meth:`count` once per ledger."""

    def __init__(self, old: PolicyDocument, new: Policy, now_ms: int) -> None:
        changed = set(changed_rules(old, new.document))
        rules = [rule for rule in new.document.rules if rule.id in changed and rule.mode != "off"]
        self._rules = [rule for rule in rules if isinstance(rule, CapRule)]
        self._policy = new
        self._now_ms = now_ms
        self._applies = {rule.id: Matcher(_known_part(rule.when)) for rule in self._rules}
        caps = [compile_rule(rule, new.document) for rule in self._rules]
        points = max(new.points.values(), default=1)
        costs = {rule.id: points if rule.unit == "points" else 1 for rule in self._rules}
        # With no more contacts than this nobody can be at any of the limits, whatever they were.
        leasts = [cap.least // max(costs[cap.id], 1) for cap in caps if isinstance(cap, CompiledCap)]
        self._few = min(leasts, default=0)
        self._over: dict[str, int] = {rule.id: 0 for rule in self._rules}
        self._full: dict[str, int] = {rule.id: 0 for rule in self._rules}

    def count(self, ledgers: Iterable[tuple[str, Ledger]]) -> list[Over]:
        """The caps, and how many of these parties are at or over each of them."""
        for _, ledger in ledgers if self._rules else ():
            if sum(contact.counts for contact in ledger.contacts) >= self._few:
                for rule, is_over in self._found(ledger).items():
                    (self._over if is_over else self._full)[rule] += 1
        return [Over(rule.id, rule.owner, rule.mode, self._over[rule.id], self._full[rule.id]) for rule in self._rules]

    def _found(self, ledger: Ledger) -> Mapping[str, bool]:
        """The caps that leave this party no room, and whether more is used than each allows."""
        found: dict[str, bool] = {}
        for kind in {contact.kind for contact in ledger.contacts if contact.counts}:
            if not self._is_known(kind):
                continue
            e = RuleInputs(self._policy, ledger, _another(kind, self._now_ms), self._now_ms, self._now_ms, NO_STOCK)
            for rule in e.counting():
                if isinstance(rule, CompiledCap) and rule.id in self._applies and self._speaks(rule, e):
                    until_ms = rule.until(e, self._now_ms)
                    if until_ms != NOW_MS:
                        finding = rule.explain(e, self._now_ms, until_ms)
                        is_over = (finding.used or 0) > (finding.limit or 0)
                        found[rule.id] = found.get(rule.id, False) or is_over
        return found

    def _speaks(self, cap: CompiledCap, e: RuleInputs) -> bool:
        applies = self._applies[cap.id]
        is_in_force = cap.from_ms <= self._now_ms < cap.until_ms
        return is_in_force and (applies.shape_only or applies.rest_matches(e))

    def _is_known(self, kind: Kind) -> bool:
        document = self._policy.document
        return kind.category in document.categories and kind.channel in document.channels


def _known_part(when: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: test for name, test in when.items() if name not in OF_THE_REQUEST and not name.startswith("attributes.")
    }


def _another(kind: Kind, now_ms: int) -> ContactRequest:
    """A request for one more contact of this kind."""
    return ContactRequest(
        request_id="one-more",
        customer_id=kind.customer,
        department=kind.department,
        campaign=kind.campaign,
        channel=kind.channel,
        category=kind.category,
        product=kind.product,
        partner=kind.partner,
        requested_at=to_datetime(now_ms),
    )
