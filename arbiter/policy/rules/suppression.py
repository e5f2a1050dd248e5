"""``suppression``: lists and flags under which a customer is not contacted: deceased, vulnerable, complaint …

While a list has no known end the answer is a reject; with a known end, or in the cool-down after it closed, the
request is deferred to that end. Nothing exempts from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from msgspec import Meta

from arbiter.ledger.model import Suppression
from arbiter.ledger.names import folded
from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs
from arbiter.policy.phrases import duration, either, of
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledRule, Need, Rule
from arbiter.policy.rules.checking import Checker, Code, Reach
from arbiter.timing.instants import FAR_MS
from arbiter.timing.windows import duration_ms, spoken_until

NO_END_MS = NEVER_MS
"""The end of a list without a known end. "For ever" (``FAR_MS``) is a known end."""


class SuppressionRule(
    Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="suppression"
):
    """Customers on these lists are left alone."""

    lists: Annotated[list[str], Meta(min_length=1, description="The lists that count, for example `deceased`.")]
    scope: Annotated[
        Literal["customer", "party"], Meta(description="`party`: one member on a list stops contacts with them all.")
    ] = "customer"
    cool_down: Annotated[str, Meta(description="How long it lasts after it closed, for example `30d`.")] | None = None

    reference = """
        `lists`: while the customer (`scope: party`: anybody of the party) is on one of them, there is no contact. A
        list that was left, or announced an end, lasts `cool_down` longer. Reject; deferred to the end when it is known.
        Nothing exempts from consent or suppression.
        """
    codes = {
        "suppressed": Code("the customer, or the party, is on a suppression list or in its cool-down"),
    }
    stand_ins = {"lists": ["-"]}
    formed = frozenset({"scope", "cool_down"})
    protects = True
    may_be_exempt = False

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledSuppression:
        """See :meth:`Rule.compile`."""
        return CompiledSuppression(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        who = "the customer, or anybody of the same party," if self.scope == "party" else "the customer"
        lists = either(f"`{name}`" for name in self.lists)
        after = f", and for {duration(self.cool_down)} after leaving it" if self.cool_down else ""
        yield f"{of(self.when)}none while {who} is on the list {lists}{after}."
        yield "Where the end is known the request waits for it; otherwise the answer is no."

    def check(self, c: Checker) -> None:
        """The cool-down must be a duration."""
        if self.cool_down is not None:
            c.reads("cool_down", "bad-duration", duration_ms, self.cool_down)

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """It has all lists of the other, for at least as many people and as long."""
        lasting = [duration_ms(rule.cool_down) if rule.cool_down else 0 for rule in (self, other)]
        is_wide = self.scope == "party" or other.scope == "customer"
        return set(other.lists) <= set(self.lists) and is_wide and lasting[0] >= lasting[1]


class CompiledSuppression(CompiledRule):
    """Looks at the lists of the customer, or of the whole party."""

    needs = Need.LISTS

    def __init__(self, rule: SuppressionRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._lists = frozenset(map(folded, rule.lists))
        self._party = rule.scope == "party"
        self._cool_down_ms = duration_ms(rule.cool_down) if rule.cool_down else 0

    def until(self, e: Inputs, at_ms: int) -> int:
        """The end of the list that lasts longest."""
        worst = self._worst(e, at_ms)
        return NOW_MS if worst is None else NEVER_MS if worst[0] >= FAR_MS else self.bounded(worst[0])

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding for the list that lasts longest."""
        worst = self._worst(e, at_ms)
        assert worst is not None  # noqa: S101 - or it would have said yes
        end, entry = worst
        whom = "someone in the customer's party" if self._party else "the customer"
        if end == NO_END_MS:
            return self.no("suppressed", f"{whom} is on the list `{entry.list}` with no known end")
        until = spoken_until(min(end, self.until_ms), e.business_zone)
        message = f"{whom} is on the list `{entry.list}`, which stops contacts {until}"
        if entry.until_ms is not None and entry.until_ms <= at_ms:
            message = f"{whom} was on the list `{entry.list}`, which stops contacts {until}"
        return self.no("suppressed", message, end if end < FAR_MS else None)

    def _worst(self, e: Inputs, at_ms: int) -> tuple[int, Suppression] | None:
        """The list that lasts longest, with its end."""
        members = e.ledger.members.values() if self._party else (e.member,)
        worst: tuple[int, Suppression] | None = None
        for member in members:
            for entry in member.suppressions:
                if folded(entry.list) in self._lists:
                    end = self._end(entry)
                    if end > at_ms and (worst is None or end > worst[0]):
                        worst = (end, entry)
        return worst

    def _end(self, entry: Suppression) -> int:
        return NO_END_MS if entry.until_ms is None else min(entry.until_ms + self._cool_down_ms, FAR_MS)
