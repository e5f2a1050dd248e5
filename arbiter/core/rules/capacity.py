"""``capacity``: a total over all customers per calendar window of the business zone, and optionally per hour.

"The call centre can make 200 outbound calls a week" is one number that every customer's requests draw on, first come
first served. A second number per hour keeps the week's total from being spent on Monday morning.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from arbiter.core.case import Case
from arbiter.core.instants import FAR_MS
from arbiter.core.model import Finding
from arbiter.core.rules.base import Judge, Rule
from arbiter.core.stock import Draw
from arbiter.core.windows import calendar_window, parse_window, spoken


class CapacityRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="capacity"):
    """A ceiling over all customers."""

    limit: Annotated[int, Meta(ge=0, description="How many contacts fit in the window, over all customers.")]
    window: Annotated[str, Meta(description="`calendar week` (or hour, day, month, quarter, year).")]
    hourly: Annotated[int, Meta(ge=1, description="How many of them in one hour, to spread them.")] | None = None


class CapacityJudge(Judge):
    """Asks the stock."""

    kind = "capacity"

    def __init__(self, rule: CapacityRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        unit = parse_window(rule.window).unit or "day"
        self._limits = [(unit, rule.limit, rule.id)]
        if rule.hourly is not None and unit != "hour":
            self._limits.append(("hour", rule.hourly, f"{rule.id}/hour"))

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding until the next window when nothing is left of this one."""
        worst: Finding | None = None
        for unit, limit, name in self._limits:
            start_ms, end_ms = calendar_window(unit, case.business_zone, at_ms)
            left = case.stock.left(Draw(name, start_ms), limit)
            if left > 0:
                continue
            message = f"all {limit} contacts of this {unit} are given out; the next {unit} begins at "
            message += spoken(end_ms, case.business_zone)
            until_ms = end_ms if limit else FAR_MS
            found = self.no("capacity_exhausted", message, until_ms, limit=limit, window=f"calendar {unit}")
            if worst is None or (found.until_ms or FAR_MS) > (worst.until_ms or FAR_MS):
                worst = found
        return worst

    def permit_end(self, case: Case, at_ms: int) -> int:
        """The end of the window that the contact draws on."""
        return min(calendar_window(unit, case.business_zone, at_ms)[1] for unit, _, _ in self._limits)

    def draws(self, case: Case, at_ms: int) -> list[Draw]:
        """The places that an approval at ``at_ms`` uses."""
        return [Draw(name, calendar_window(unit, case.business_zone, at_ms)[0]) for unit, _, name in self._limits]

    def wants(self, zone: str, at_ms: int) -> list[tuple[Draw, int]]:
        """The places, each with its limit, that requests judged at ``at_ms`` may ask for."""
        return [(Draw(name, calendar_window(unit, zone, at_ms)[0]), limit) for unit, limit, name in self._limits]
