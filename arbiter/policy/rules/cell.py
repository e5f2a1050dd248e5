"""``cell``: a campaign starts only once enough customers could be contacted by it; then it is open for good.

Counted are the customers of whom a request waits for nothing but the cell. When they are enough, each is decided
again, and so is all that comes later. A cell that is not full at the deadline is dropped: what waits is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta

from arbiter.ledger.capacity import CELL, Draw, Want
from arbiter.ledger.model import Finding
from arbiter.policy.case import Case
from arbiter.policy.rules.base import Rule, SharedJudge
from arbiter.timing.instants import DAY_MS, END_MS, FAR_MS
from arbiter.timing.windows import spoken

LOOKED_AT_MS = 366 * DAY_MS
"""What neither expires nor has a deadline is looked at again after so long."""


class CellRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="cell"):
    """A campaign that is worth its while only from so many customers on."""

    size: Annotated[int, Meta(ge=1, description="How many customers must be waiting for nothing but this.")]
    deadline: Annotated[str, Meta(description="Dropped if not full by then; a bare date includes that day.")]


class CellJudge(SharedJudge):
    """Knows whether the cell is open."""

    kind = "cell"

    def __init__(self, rule: CellRule, from_ms: int, until_ms: int, deadline_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._size = rule.size
        self._deadline_ms = deadline_ms
        self._draw = Draw(f"{rule.id}{CELL}", 0, FAR_MS)

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding until the deadline, or until the request expires, while the cell is not open."""
        level = case.stock.level(self._draw, self._size)
        if level is not None and level.is_open:
            return None
        if case.is_ahead:
            case.hopes = case.hopes or not self.shadow
            return None
        if level is None:
            case.stock.need(self._draw)
        used = 0 if level is None else min(level.used, self._size)
        counters: dict[str, Any] = {"used": used, "limit": self._size}
        end_ms = min(self._deadline_ms, case.last_ms, case.now_ms + LOOKED_AT_MS)
        deadline = spoken(self._deadline_ms, case.business_zone)
        waiting = f"it starts once {self._size} customers wait for nothing else; {used} do"
        if self._deadline_ms <= case.now_ms:
            message = f"it was to start once {self._size} customers were waiting for it, by {deadline}, and did not"
            return self.no("cell_too_small", message, **counters)
        if end_ms <= case.now_ms:
            return self.no("cell_too_small", f"{waiting}, and this request expires first", **counters)
        ends = "it has no deadline" if self._deadline_ms >= END_MS else f"it ends at {deadline}"
        message = f"{waiting}, and {ends}"
        return self.no("cell_too_small", message, max(end_ms, at_ms + 1), **counters)

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:  # noqa: ARG002 - one cell for all time
        """A place among those who wait; it opens when they are enough."""
        yield Want(self.id, self._draw, None, opens_at=self._size)

    def draws(self, case: Case, at_ms: int) -> list[Draw]:  # noqa: ARG002 - only who waits is counted
        """Nothing."""
        return []
