"""The customer is a rule-maker too: own quiet hours, refused channels and products, a snooze, an own maximum.

Checked like rules, with ``owner: customer``; the stricter wins, whatever the priority. Only a category whose
``exempt`` names ``preference`` passes.
"""

from __future__ import annotations

from functools import lru_cache

from arbiter.ledger.model import Finding, Preferences
from arbiter.ledger.names import same
from arbiter.policy.case import Case
from arbiter.policy.rules import CapJudge, CapRule, Judge, Rule
from arbiter.timing.instants import FAR_MS
from arbiter.timing.opening_hours import Closings, parse_closed
from arbiter.timing.windows import spoken, spoken_until

RULE = Rule(id="customer-preference", owner="customer", why="the customer asked for it")


class PreferenceJudge(Judge):
    """All that the customer asked for; ``check`` gives the strictest "no", ``checks`` every one."""

    kind = "preference"
    place = 1_000_000
    """After all rules of a policy."""

    def __init__(self) -> None:
        super().__init__(RULE, -FAR_MS, FAR_MS)

    def checks(self, case: Case, at_ms: int) -> list[Finding]:
        """Every preference that stands in the way of a contact at ``at_ms``."""
        wishes = case.member.preferences
        if wishes is None:
            return []
        found: list[Finding] = []
        request = case.request
        if any(same(refused, request.channel) for refused in wishes.refused_channels):
            found.append(self.no("customer_preference", f"the customer refuses contacts by {request.channel}"))
        if any(same(refused, request.product) for refused in wishes.refused_products):
            found.append(self.no("customer_preference", f"the customer refuses offers of {request.product}"))
        if wishes.snooze_until_ms is not None and at_ms < wishes.snooze_until_ms:
            until = spoken_until(wishes.snooze_until_ms, case.zone)
            found.append(self.no("customer_preference", f"the customer snoozed {until}", wishes.snooze_until_ms))
        closings = self._closings(case, wishes)
        open_ms = closings.closed_until(at_ms) if closings else None
        if open_ms is not None:
            until = spoken(open_ms, case.zones[0]) if open_ms < FAR_MS else "the customer opens them"
            found.append(self.no("customer_preference", f"the customer's own quiet hours last until {until}", open_ms))
        own = self._maximum(wishes)
        finding = own.check(case, at_ms) if own else None
        if finding is not None:
            found.append(_as_preference(finding))
        return found

    def closed_until(self, case: Case, at_ms: int) -> int | None:
        """When the customer's own quiet hours end (ms); ``None`` outside of them."""
        wishes = case.member.preferences
        closings = self._closings(case, wishes) if wishes else None
        return closings.closed_until(at_ms) if closings else None

    def permit_end(self, case: Case, at_ms: int) -> int:
        """The customer's next own quiet hour, or the end of the calendar window of the own maximum."""
        wishes = case.member.preferences
        if wishes is None:
            return FAR_MS
        closings, own = self._closings(case, wishes), self._maximum(wishes)
        end_ms = closings.next_close(at_ms) if closings else FAR_MS
        return min(end_ms, own.permit_end(case, at_ms)) if own else end_ms

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """The strictest of :meth:`checks`."""
        found = self.checks(case, at_ms)
        return max(found, key=lambda f: FAR_MS if f.until_ms is None else f.until_ms) if found else None

    def _closings(self, case: Case, wishes: Preferences) -> Closings | None:
        if not wishes.closed:
            return None
        written = tuple(
            (days, tuple([hours] if isinstance(hours, str) else hours)) for days, hours in wishes.closed.items()
        )
        return _own_closings(written, case.zones)

    def _maximum(self, wishes: Preferences) -> CapJudge | None:
        if wishes.maximum_limit is None or wishes.maximum_window is None:
            return None
        return _own_cap(wishes.maximum_limit, wishes.maximum_window)


@lru_cache(maxsize=4096)
def _own_closings(written: tuple[tuple[str, tuple[str, ...]], ...], zones: tuple[str, ...]) -> Closings:
    return Closings(parse_closed({days: list(hours) for days, hours in written}), zones)


@lru_cache(maxsize=1024)
def _own_cap(limit: int, window: str) -> CapJudge:
    rule = CapRule(id=RULE.id, owner=RULE.owner, why=RULE.why, per=["customer"], limit=limit, window=window)
    return CapJudge(rule, -FAR_MS, FAR_MS)


def _as_preference(finding: Finding) -> Finding:
    return Finding(
        finding.rule,
        PreferenceJudge.kind,
        "customer_preference",
        finding.defers,
        finding.owner,
        finding.why,
        f"the customer's own maximum: {finding.message}",
        finding.used,
        finding.limit,
        finding.window,
        finding.until_ms,
        finding.contacts,
    )
