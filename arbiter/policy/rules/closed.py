"""``quiet_hours`` and ``blackout``: times at which nobody is contacted.

Quiet hours are local to the customer; one whose zone is not known is contacted only when it is open in every
candidate zone (or in the business zone, as the policy says). Blackouts are dates, yearly dates, holidays or a
freeze, in the business zone. Both defer to the opening, and both end a permit when they close.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from arbiter.ledger.model import Finding
from arbiter.policy.case import Case
from arbiter.policy.rules.base import Judge, Rule
from arbiter.timing.instants import FAR_MS
from arbiter.timing.opening_hours import Closed, Closings, Dates, parse_closed, parse_dates
from arbiter.timing.windows import spoken, spoken_until

ZONE_SETS_MAX = 2_000


class QuietHoursRule(
    Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="quiet_hours"
):
    """Closed hours by weekday and holiday in the customer's zone."""

    closed: Annotated[
        dict[str, str | list[str]],
        Meta(min_length=1, description="For example `{weekdays: 21:00-09:00, sun: all day, holidays: all day}`."),
    ]
    holidays: Annotated[list[str], Meta(description="Holiday calendars of the policy that `holidays` means.")] = []


class BlackoutRule(
    Rule,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag="blackout",
    rename={"from_": "from"},
):
    """Dates on which nobody is contacted, or a freeze from one instant to another."""

    dates: Annotated[
        list[str], Meta(description="`2026-12-24`, `12-24` for every year, or a range `2026-12-24..2026-12-26`.")
    ] = []
    holidays: Annotated[list[str], Meta(description="Holiday calendars of the policy.")] = []
    from_: Annotated[str, Meta(description="A freeze begins: a date or a local time, `2026-12-24 18:00`.")] | None = (
        None
    )
    until: Annotated[str, Meta(description="A freeze ends; a bare date includes that day.")] | None = None


class ClosedJudge(Judge):
    """Closed times in a set of zones."""

    cuts = True
    is_timed = True

    def __init__(self, rule: Rule, from_ms: int, until_ms: int, closed: Closed) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._closed = closed
        self._closings: dict[tuple[str, ...], Closings] = {}

    def zones(self, case: Case) -> tuple[str, ...]:
        """The zones that must all be open."""
        raise NotImplementedError  # pragma: no cover

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding until the opening."""
        until_ms = self._at(case).closed_until(at_ms)
        if until_ms is None:
            return None
        until_ms, zone = min(until_ms, self.until_ms), self.zones(case)[0]
        end = "for good" if until_ms >= FAR_MS else f"until {spoken(until_ms, zone)}"
        return self.no(self.kind, f"{self._name} {end}", until_ms)

    def closed_until(self, case: Case, at_ms: int) -> int | None:
        """When it opens, or the rule ends (ms); ``None`` if it is open, or the rule is not in force."""
        if not self.from_ms <= at_ms < self.until_ms:
            return None
        until_ms = self._at(case).closed_until(at_ms)
        return None if until_ms is None else min(until_ms, self.until_ms)

    def may_object(self, case: Case, at_ms: int) -> bool:
        """Whether it is closed."""
        return self._at(case).closed_until(at_ms) is not None

    def changes_at(self, case: Case, at_ms: int) -> int:
        """The opening if it is closed, else the closing."""
        closings = self._at(case)
        open_ms = closings.closed_until(at_ms)
        return closings.next_close(at_ms) if open_ms is None else open_ms

    def permit_end(self, case: Case, at_ms: int) -> int:
        """The next closing while the rule is in force."""
        closings = self._at(case)
        begin_ms = max(at_ms, self.from_ms)
        end_ms = begin_ms if closings.closed_until(begin_ms) is not None else closings.next_close(begin_ms)
        return end_ms if end_ms < self.until_ms else FAR_MS

    @property
    def _name(self) -> str:
        return self.kind.replace("_", " ")

    def _at(self, case: Case) -> Closings:
        zones = self.zones(case)
        closings = self._closings.get(zones)
        if closings is None:
            if len(self._closings) > ZONE_SETS_MAX:
                self._closings.clear()
            closings = self._closings[zones] = Closings(self._closed, zones)
        return closings


class QuietHoursJudge(ClosedJudge):
    """Closed hours where the customer is, or may be."""

    kind = "quiet_hours"

    def __init__(self, rule: QuietHoursRule, from_ms: int, until_ms: int, holidays: Dates) -> None:
        super().__init__(rule, from_ms, until_ms, parse_closed(rule.closed, holidays))

    def zones(self, case: Case) -> tuple[str, ...]:
        """All zones in which the customer may be."""
        return case.zones


class BlackoutJudge(ClosedJudge):
    """Closed days where the business is, or a freeze."""

    kind = "blackout"

    def __init__(
        self, rule: BlackoutRule, from_ms: int, until_ms: int, holidays: Dates, freeze: tuple[int, int] | None
    ) -> None:
        super().__init__(rule, from_ms, until_ms, Closed(days=parse_dates(rule.dates) | holidays))
        self._freeze = freeze

    def zones(self, case: Case) -> tuple[str, ...]:
        """The business zone."""
        return (case.business_zone,)

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding until the blackout, or the freeze, is over."""
        if self._freeze and self._freeze[0] <= at_ms < self._freeze[1]:
            end_ms = min(self._freeze[1], self.until_ms)
            return self.no("blackout", f"contacts are frozen {spoken_until(end_ms, case.business_zone)}", end_ms)
        return super().check(case, at_ms)

    def closed_until(self, case: Case, at_ms: int) -> int | None:
        """When the freeze or the blackout ends, or the rule does."""
        if self._freeze and self._freeze[0] <= at_ms < self._freeze[1] and self.from_ms <= at_ms < self.until_ms:
            return min(self._freeze[1], self.until_ms)
        return super().closed_until(case, at_ms)

    def may_object(self, case: Case, at_ms: int) -> bool:
        """Whether it is closed or frozen."""
        is_frozen = self._freeze is not None and self._freeze[0] <= at_ms < self._freeze[1]
        return is_frozen or super().may_object(case, at_ms)

    def changes_at(self, case: Case, at_ms: int) -> int:
        """The next change of either."""
        edges = [edge_ms for edge_ms in self._freeze or () if edge_ms > at_ms]
        return min([super().changes_at(case, at_ms), *edges])

    def permit_end(self, case: Case, at_ms: int) -> int:
        """The next blackout, or the beginning of the freeze."""
        end_ms = super().permit_end(case, at_ms)
        if self._freeze and at_ms < self._freeze[0]:
            return min(end_ms, self._freeze[0])
        return end_ms
