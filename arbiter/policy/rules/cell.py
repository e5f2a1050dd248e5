"""``cell``: a campaign starts only once enough customers could be contacted by it; then it is open for good.

Counted are the customers of whom a request waits for nothing but the cell. When they are enough, each is decided
again, and so is all that comes later. A cell that is not full at the deadline is dropped: what waits is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from arbiter.ledger.capacity import CELL, Draw, Want
from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.phrases import counted, of, until
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledShared, Rule
from arbiter.policy.rules.checking import Checker, Code, check_date, check_wanted
from arbiter.timing.instants import DAY_MS, END_MS, FAR_MS
from arbiter.timing.windows import moment, spoken

LOOKED_AT_MS = 366 * DAY_MS
"""A request without expiry and deadline is looked at again after this time."""


class CellRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="cell"):
    """A campaign that starts only once so many customers wait for it."""

    size: Annotated[int, Meta(ge=1, description="How many customers must be waiting for nothing but this.")]
    deadline: Annotated[str, Meta(description="Dropped if not full by then; a bare date includes that day.")]

    reference = """
        A campaign starts only once `size` customers wait for it of whom the cell is the only "no". Then it is open for
        good, and everybody who waits is decided again within seconds. Until then: deferred (`cell_too_small`) to the
        `deadline`, or to the last instant at which the request could be approved, if that is earlier (a year at most).
        What waits then is rejected, and so is what comes after a deadline at which the cell was not open. A request
        whose own expiry ends the wait is told that, not that the cell is over. A customer counts once, and no longer
        when nothing of theirs waits for the cell any more.
        """
    codes = {"cell_too_small": Code("too few customers wait for the campaign to start", ends_early="always")}
    stand_ins = {"size": 1, "deadline": "2999-12-31"}
    may_be_exempt = False
    formed = frozenset({"deadline"})
    is_shared = True

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledCell:
        """See :meth:`Rule.compile`."""
        return CompiledCell(self, from_ms, until_ms, moment(self.deadline, policy.timezone, "end"))

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        yield f"{of(self.when)}none before {counted(self.size, 'customer')} wait for nothing else; then all may begin."
        yield f"If that is not so by {until(self.deadline)} (time of {policy.timezone}), the answer is no."

    def check(self, c: Checker) -> None:
        """The deadline must be a date, and later than the rule's beginning."""
        check_date(c, "deadline", self.deadline, "end")
        if c.is_readable and moment(self.deadline, c.policy.timezone, "end") <= c.in_force[0]:
            message = "the cell's deadline is over before the rule is in force, so its campaign never starts"
            c.error("deadline", "never-in-force", message, "move the deadline, or `effective.from`")

    def check_beside(self, c: Checker) -> None:
        """Other rules must allow what it waits for."""
        check_wanted(c, "size", self.id)

    def ended(self, zone: str, now_ms: int) -> str | None:
        """Whether the deadline is past."""
        if moment(self.deadline, zone, "end") > now_ms:
            return None
        return (
            f"the deadline of the cell `{self.id}` ({self.deadline}) is over: unless it was full by then, all that it "
            "applies to is rejected; move the deadline, or take the rule out"
        )


class CompiledCell(CompiledShared):
    """Knows whether the cell is open."""

    def __init__(self, rule: CellRule, from_ms: int, until_ms: int, deadline_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._size = rule.size
        self._deadline_ms = deadline_ms
        self._draw = Draw(f"{rule.id}{CELL}", 0, FAR_MS)

    def until(self, e: Inputs, at_ms: int) -> int:
        """While the cell is not open the deadline, or when the request expires."""
        level = e.stock.level(self._draw, self._size)
        if level is not None and level.is_open:
            return NOW_MS
        if e.is_ahead:
            e.is_uncertain = e.is_uncertain or not self.shadow
            return NOW_MS
        if level is None:
            e.stock.need(self._draw)
        end_ms = self._end_ms(e)
        return NEVER_MS if end_ms <= e.now_ms else self.bounded(max(end_ms, at_ms + 1))

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding that tells how many wait."""
        level = e.stock.level(self._draw, self._size)
        used = 0 if level is None else min(level.used, self._size)
        counters: dict[str, Any] = {"used": used, "limit": self._size}
        deadline = spoken(self._deadline_ms, e.business_zone)
        waiting = f"it starts once {self._size} customers wait for nothing else; {used} do"
        if self._deadline_ms <= e.now_ms:
            message = f"it was to start once {self._size} customers were waiting for it, by {deadline}, and did not"
            return self.no("cell_too_small", message, **counters)
        if self._end_ms(e) <= e.now_ms:
            return self.no("cell_too_small", f"{waiting}, and this request expires first", **counters)
        ends = "it has no deadline" if self._deadline_ms >= END_MS else f"it ends at {deadline}"
        return self.no("cell_too_small", f"{waiting}, and {ends}", until_ms, **counters)

    def _end_ms(self, e: Inputs) -> int:
        return min(self._deadline_ms, e.last_ms, e.now_ms + LOOKED_AT_MS)

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:
        """A place among those who wait; it opens when they are enough."""
        yield Want(self.id, self._draw, None, opens_at=self._size)

    def draws(self, where: Where, at_ms: int) -> list[Draw]:
        """Nothing."""
        return []
