"""``capacity``: a total over all customers per calendar window of the business zone, and optionally per hour.

"The call centre can make 200 outbound calls a week" is one number that every customer's requests draw on, first come
first served. A second number per hour keeps the week's total from being spent on Monday morning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct

from arbiter.ledger.capacity import Draw, Want
from arbiter.ledger.model import Finding
from arbiter.policy.case import Case
from arbiter.policy.rules.base import Rule, SharedJudge
from arbiter.timing.instants import FAR_MS
from arbiter.timing.windows import calendar_window, parse_window, spoken


class CapacityRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="capacity"):
    """A ceiling over all customers."""

    limit: Annotated[int, Meta(ge=0, description="How many contacts fit in the window, over all customers.")]
    window: Annotated[str, Meta(description="`calendar week` (or hour, day, month, quarter, year).")]
    hourly: Annotated[int, Meta(ge=1, description="How many of them in one hour, to spread them.")] | None = None


class _Ceiling(Struct, frozen=True):
    """One of a rule's numbers: so many in a calendar unit."""

    unit: str
    limit: int
    name: str

    def draw(self, zone: str, at_ms: int) -> Draw:
        return Draw(self.name, *calendar_window(self.unit, zone, at_ms))


class CapacityJudge(SharedJudge):
    """Asks the stock."""

    kind = "capacity"
    cuts = True
    is_timed = True

    def __init__(self, rule: CapacityRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        unit = parse_window(rule.window).unit
        if unit is None:
            raise ValueError(f"`{rule.window}` is not a calendar window; write for example `calendar week`")
        numbers = {unit: rule.limit} if rule.hourly is None else {unit: rule.limit, "hour": rule.hourly}
        self._ceilings = [_Ceiling(unit, limit, f"{rule.id}/{unit}") for unit, limit in numbers.items()]

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding until the next window when all places of this one are used; of several, the one that lasts."""
        found = [finding for ceiling in self._ceilings if (finding := self._full(ceiling, case, at_ms))]
        return max(found, key=lambda finding: finding.until_ms or FAR_MS, default=None)

    def changes_at(self, case: Case, at_ms: int) -> int:
        """The end of the first window that ends."""
        return self.permit_end(case, at_ms)

    def permit_end(self, case: Case, at_ms: int) -> int:
        """The end of the first window that the contact draws on; a rule that is not in force yet is not drawn on."""
        if at_ms < self.from_ms:
            return FAR_MS
        return min(draw.end_ms for draw in self.draws(case, at_ms))

    def draws(self, case: Case, at_ms: int) -> list[Draw]:
        """The places that an approval at ``at_ms`` uses."""
        return [ceiling.draw(case.business_zone, at_ms) for ceiling in self._ceilings]

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:
        """The places that a request judged at ``at_ms`` may take."""
        for ceiling in self._ceilings:
            yield Want(self.id, ceiling.draw(zone, at_ms), None if self.shadow else ceiling.limit)

    def _full(self, ceiling: _Ceiling, case: Case, at_ms: int) -> Finding | None:
        draw, unit, limit = ceiling.draw(case.business_zone, at_ms), ceiling.unit, ceiling.limit
        level = case.stock.level(draw, limit)
        if level is None:
            if self.shadow:
                case.stock.need(draw)
            elif not case.is_ahead:
                case.unknown.append(draw)
            return None
        if level.used < limit:
            if level.here > 0 or self.shadow:
                return None
            if case.is_ahead and at_ms <= case.last_ms:
                case.hopes = True
                return None
        counters: dict[str, Any] = {"used": min(level.used, limit), "limit": limit, "window": f"calendar {unit}"}
        then = f"; the next {unit} begins at {spoken(draw.end_ms, case.business_zone)}" if limit else ""
        if level.used >= limit:
            message = f"all {limit} contacts of this {unit} are given out{then}"
            return self.no("capacity_exhausted", message, draw.end_ms if limit else None, **counters)
        # Whoever is granted those places may not need them all: then it is woken, and not refused for good before.
        is_last = case.now_ms < case.last_ms and not case.is_ahead
        until_ms = min(draw.end_ms, case.last_ms) if is_last else draw.end_ms
        message = f"the last of the {limit} contacts of this {unit} are being given out{then}"
        return self.no("capacity_exhausted", message, until_ms, **counters)


def window_of(finding: Finding) -> str | None:
    """The name of the window that a finding says is exhausted, as its draws have it."""
    if finding.code != "capacity_exhausted" or finding.window is None:
        return None
    return f"{finding.rule}/{finding.window.removeprefix('calendar ')}"
