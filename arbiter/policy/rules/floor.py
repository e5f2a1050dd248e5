"""``floor``: a campaign or product should reach so many contacts between two dates. While it is behind, its requests
score higher.

The score is multiplied by ``1 + (ceiling − 1) · clamp((expected − done) / expected, 0, 1)``, where ``expected`` grows
linearly from the first date to the last. Outside the dates the factor is 1. The rule never says no.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from arbiter.ledger.capacity import Draw, Stock, Want
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.match import plain_number
from arbiter.policy.phrases import date, of, until
from arbiter.policy.rules.base import NOW_MS, TAKE_OUT, CompiledShared, Rule
from arbiter.policy.rules.checking import Checker, Mistake, check_date, check_overlap, check_wanted
from arbiter.timing.windows import moment


class FloorRule(
    Rule,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag="floor",
    rename={"from_": "from"},
):
    """A floor: so many contacts between two dates. While it is behind, its requests score higher."""

    reach: Annotated[int, Meta(ge=1, description="How many contacts should be approved between the dates.")]
    from_: Annotated[str, Meta(description="The first day, or a local time, in the business zone.")]
    until: Annotated[str, Meta(description="The end; a bare date includes that day.")]
    ceiling: Annotated[float, Meta(ge=1, le=1000, description="By how much a score is multiplied at most.")] = 2.0

    reference = """
        A campaign or product should `reach` so many contacts between `from` and `until`. While it is behind, the score
        of requests that match is multiplied by `1 + (ceiling − 1) · clamp((expected − done) / expected, 0, 1)`:
        `expected` grows linearly from 0 at the first instant to `reach` at the last, `done` are the contacts approved
        over all customers with a permit that begins between the dates (not those given back), `ceiling` is 2 if left
        out. Outside the dates the factor is 1; several floors multiply. `score_note` says so. Totals of other
        partitions may be a second old.
        """
    codes = {}
    mistakes = {
        "floor-over-capacity": Mistake(
            "A floor above what a capacity gives out between its dates.",
            "Lower `reach`, raise the limit, or take more time.",
            "contradictions",
        )
    }
    stand_ins = {"reach": 1, "from": "2000-01-01", "until": "2999-12-31"}
    may_be_exempt = False
    formed = frozenset({"from", "until"})
    is_shared = True

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledFloor:
        """See :meth:`Rule.compile`."""
        return CompiledFloor(self, from_ms, until_ms, self._dates(policy.timezone))

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        span = f"from {date(self.from_)} until {until(self.until)} (time of {policy.timezone})"
        yield f"{of(self.when)}{self.reach:,} should be reached {span}."
        most = plain_number(self.ceiling)
        yield f"While fewer are than are due by then, its requests score up to {most} times as much. It stops nothing."

    def check(self, c: Checker) -> None:
        """The dates must be in order and overlap with the time in which the rule is in force."""
        are_read = [check_date(c, "from", self.from_, "start"), check_date(c, "until", self.until, "end")]
        if all(are_read):
            dates = self._dates(c.policy.timezone)
            if dates[0] >= dates[1]:
                c.error("until", "empty-span", "the floor ends before it begins", "swap the dates")
            if c.is_readable:
                check_overlap(c, "floor", dates)

    def check_beside(self, c: Checker) -> None:
        """Other rules must allow what it wants to reach."""
        check_wanted(c, "reach", self.id)
        zone = c.policy.timezone
        dates = self._dates(zone)
        for other in c.always_with(dates):
            most = other.most(dates, zone)
            if most and most < self.reach:
                message = f"`{self.id}` is to reach {self.reach}, but `{other.id}` gives out only {most} in that time"
                fix = f"lower `reach`, raise the limit of `{other.id}`, or take more time"
                c.error("reach", "floor-over-capacity", message, fix, other=other)
                return

    def ended(self, zone: str, now_ms: int) -> str | None:
        """Whether its last date is past."""
        if self._dates(zone)[1] > now_ms:
            return None
        return f"the floor `{self.id}` has ended (until {self.until}); {TAKE_OUT}"

    def _dates(self, zone: str) -> tuple[int, int]:
        return moment(self.from_, zone, "start"), moment(self.until, zone, "end")


class CompiledFloor(CompiledShared):
    """Knows how far its contacts are behind."""

    objects = False

    def __init__(self, rule: FloorRule, from_ms: int, until_ms: int, dates: tuple[int, int]) -> None:
        super().__init__(rule, from_ms, until_ms)
        self.reach = rule.reach
        self._ceiling = rule.ceiling
        self.draw = Draw(f"{rule.id}/floor", *dates)

    def until(self, e: Inputs, at_ms: int) -> int:
        """Never a "no"."""
        return NOW_MS

    def boost(self, stock: Stock, now_ms: int) -> float:
        """The factor for a score at ``now``: from 1 to the ceiling, higher the further it is behind."""
        if self.shadow or not self.draw.start_ms < now_ms < self.draw.end_ms:
            return 1.0
        level = stock.level(self.draw, self.reach)
        if level is None:
            stock.need(self.draw)
            return 1.0
        return self.factor(level.used, now_ms)

    def expected(self, now_ms: int) -> float:
        """How many should be approved by ``now``, between the dates."""
        return self.reach * (now_ms - self.draw.start_ms) / (self.draw.end_ms - self.draw.start_ms)

    def factor(self, done: int, now_ms: int) -> float:
        """:meth:`boost` between the dates, after so many approvals."""
        expected = self.expected(now_ms)
        return 1.0 + (self._ceiling - 1.0) * min(max((expected - done) / expected, 0.0), 1.0) if expected else 1.0

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:
        """Everything approved between the dates is counted. There is always room."""
        if self.draw.start_ms <= at_ms < self.draw.end_ms:
            yield Want(self.id, self.draw, None)

    def draws(self, where: Where, at_ms: int) -> list[Draw]:
        """The count, between the dates."""
        return [self.draw] if self.draw.start_ms <= at_ms < self.draw.end_ms else []
