"""``suppression``: lists and flags under which a customer is not contacted: deceased, vulnerable, complaint …

While a list has no known end the answer is a reject; with a known end, or in the cool-down after it closed, the
request is deferred to that end. Nothing exempts from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from arbiter.ledger.model import Finding, Suppression
from arbiter.ledger.names import folded
from arbiter.policy.case import Case
from arbiter.policy.rules.base import NEVER_MS, Judge, Need, Rule
from arbiter.timing.instants import FAR_MS
from arbiter.timing.windows import duration_ms, spoken_until

NO_END_MS = NEVER_MS
"""The end of a list of which none was told; "for ever" (``FAR_MS``) was told."""


class SuppressionRule(
    Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="suppression"
):
    """Customers on these lists are not contacted."""

    lists: Annotated[list[str], Meta(min_length=1, description="The lists that count, for example `deceased`.")]
    scope: Annotated[
        Literal["customer", "party"], Meta(description="`party`: one member on a list stops contacts with them all.")
    ] = "customer"
    cool_down: Annotated[str, Meta(description="How long it lasts after it closed, for example `30d`.")] | None = None


class SuppressionJudge(Judge):
    """Looks at the customer's, or the whole party's, lists."""

    kind = "suppression"
    needs = Need.LISTS

    def __init__(self, rule: SuppressionRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._lists = frozenset(map(folded, rule.lists))
        self._party = rule.scope == "party"
        self._cool_down_ms = duration_ms(rule.cool_down) if rule.cool_down else 0

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding for the list that lasts longest."""
        members = case.ledger.members.values() if self._party else (case.member,)
        worst: tuple[int, Suppression] | None = None
        for member in members:
            for entry in member.suppressions:
                if folded(entry.list) in self._lists:
                    end = self._end(entry)
                    if end > at_ms and (worst is None or end > worst[0]):
                        worst = (end, entry)
        if worst is None:
            return None
        end, entry = worst
        whom = "someone in the customer's party" if self._party else "the customer"
        if end == NO_END_MS:
            return self.no("suppressed", f"{whom} is on the list `{entry.list}` with no known end")
        until = spoken_until(min(end, self.until_ms), case.business_zone)
        message = f"{whom} is on the list `{entry.list}`, which stops contacts {until}"
        if entry.until_ms is not None and entry.until_ms <= at_ms:
            message = f"{whom} was on the list `{entry.list}`, which stops contacts {until}"
        return self.no("suppressed", message, end if end < FAR_MS else None)

    def _end(self, entry: Suppression) -> int:
        return NO_END_MS if entry.until_ms is None else min(entry.until_ms + self._cool_down_ms, FAR_MS)
