"""``floor``: a campaign or product should reach so many contacts between two dates; while it is behind, it counts more.

The score of its requests is multiplied by ``1 + (ceiling − 1) · clamp((expected − done) / expected, 0, 1)``, where
``expected`` grows linearly from the first date to the last; outside the dates by 1. The rule says no to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from arbiter.ledger.capacity import Draw, Stock, Want
from arbiter.ledger.model import Finding
from arbiter.policy.case import Case
from arbiter.policy.rules.base import Rule, SharedJudge


class FloorRule(
    Rule,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag="floor",
    rename={"from_": "from"},
):
    """What should be reached."""

    reach: Annotated[int, Meta(ge=1, description="How many contacts should be approved between the dates.")]
    from_: Annotated[str, Meta(description="The first day, or a local time, in the business zone.")]
    until: Annotated[str, Meta(description="The end; a bare date includes that day.")]
    ceiling: Annotated[float, Meta(ge=1, le=1000, description="By how much a score is multiplied at most.")] = 2.0


class FloorJudge(SharedJudge):
    """Knows how far behind its contacts are."""

    kind = "floor"

    def __init__(self, rule: FloorRule, from_ms: int, until_ms: int, dates: tuple[int, int]) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._reach = rule.reach
        self._ceiling = rule.ceiling
        self._draw = Draw(f"{rule.id}/floor", *dates)

    def check(self, case: Case, at_ms: int) -> Finding | None:  # noqa: ARG002 - it prefers, and stops nobody
        """Never a finding."""
        return None

    def may_object(self, case: Case, at_ms: int) -> bool:  # noqa: ARG002 - likewise
        """Never."""
        return False

    def boost(self, stock: Stock, now_ms: int) -> float:
        """By how much to multiply a score at ``now``: from 1 up to the ceiling, the more the further behind it is."""
        start_ms, end_ms = self._draw.start_ms, self._draw.end_ms
        if self.shadow or not start_ms < now_ms < end_ms:
            return 1.0
        level = stock.level(self._draw, self._reach)
        if level is None:
            stock.need(self._draw)
            return 1.0
        expected = self._reach * (now_ms - start_ms) / (end_ms - start_ms)
        return 1.0 + (self._ceiling - 1.0) * min(max((expected - level.used) / expected, 0.0), 1.0)

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:  # noqa: ARG002 - its dates are fixed
        """Counting is for all that is approved between the dates; there are always places."""
        if self._draw.start_ms <= at_ms < self._draw.end_ms:
            yield Want(self.id, self._draw, None)

    def draws(self, case: Case, at_ms: int) -> list[Draw]:  # noqa: ARG002 - the plan asks whom it is about
        """One that was reached, if between the dates."""
        return [self._draw] if self._draw.start_ms <= at_ms < self._draw.end_ms else []
