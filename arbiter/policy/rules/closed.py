"""What quiet hours and blackouts have in common: closed times in a set of zones, and holiday calendars."""

from __future__ import annotations

from collections.abc import Mapping

from arbiter.messages import Finding
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledRule, Rule
from arbiter.policy.rules.checking import Checker
from arbiter.timing.instants import FAR_MS
from arbiter.timing.opening_hours import (
    NO_DATES,
    Closed,
    Closings,
    Dates,
    parse_dates,
)
from arbiter.timing.windows import spoken

ZONE_SETS_MAX = 2_000
"""The cache of closed times is emptied when it has more sets of zones than this."""


class CompiledClosed(CompiledRule):
    """Closed times in a set of zones."""

    cuts = True
    is_timed = True

    def __init__(self, rule: Rule, from_ms: int, until_ms: int, closed: Closed) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._closed = closed
        self._closings: dict[tuple[str, ...], Closings] = {}

    def zones(self, where: Where) -> tuple[str, ...]:
        """The zones that must all be open."""
        raise NotImplementedError  # pragma: no cover

    def shut_until(self, where: Where, at_ms: int) -> int | None:
        """When it opens, whether or not the rule is in force (ms); ``None`` if it is open."""
        return self._at(where).closed_until(at_ms)

    def until(self, e: Inputs, at_ms: int) -> int:
        """The opening."""
        until_ms = self.shut_until(e, at_ms)
        return NOW_MS if until_ms is None else self.bounded(until_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding until the opening."""
        opens_ms = self.shut_until(e, at_ms) if until_ms >= NEVER_MS else until_ms
        until_ms, zone = min(opens_ms or 0, self.until_ms), self.zones(e)[0]
        end = "for good" if until_ms >= FAR_MS else f"until {spoken(until_ms, zone)}"
        return self.no(self.kind, f"{self._name} {end}", until_ms)

    def closed_until(self, where: Where, at_ms: int) -> int | None:
        """When it opens, or the rule ends (ms); ``None`` if it is open, or the rule is not in force."""
        if not self.from_ms <= at_ms < self.until_ms:
            return None
        until_ms = self.shut_until(where, at_ms)
        return None if until_ms is None else min(until_ms, self.until_ms)

    def may_object(self, where: Where, at_ms: int) -> bool:
        """Whether it is closed."""
        return self.shut_until(where, at_ms) is not None

    def changes_at(self, where: Where, at_ms: int) -> int:
        """The opening if it is closed, else the closing."""
        closings = self._at(where)
        open_ms = closings.closed_until(at_ms)
        return closings.next_close(at_ms) if open_ms is None else open_ms

    def closes_at(self, where: Where, at_ms: int) -> int:
        """The next closing while the rule is in force."""
        closings = self._at(where)
        begin_ms = max(at_ms, self.from_ms)
        end_ms = begin_ms if closings.closed_until(begin_ms) is not None else closings.next_close(begin_ms)
        return end_ms if end_ms < self.until_ms else FAR_MS

    @property
    def _name(self) -> str:
        return self.kind.replace("_", " ")

    def _at(self, where: Where) -> Closings:
        zones = self.zones(where)
        closings = self._closings.get(zones)
        if closings is None:
            if len(self._closings) > ZONE_SETS_MAX:
                self._closings.clear()
            closings = self._closings[zones] = Closings(self._closed, zones)
        return closings


def holidays_of(names: list[str], calendars: Mapping[str, list[str]]) -> Dates:
    """The days of these holiday calendars; ``ValueError`` for one that the policy does not have."""
    found = NO_DATES
    for name in names:
        if name not in calendars:
            raise ValueError(f"`{name}` is not a holiday calendar of this policy")
        found = found | parse_dates(calendars[name])
    return found


def check_calendars(c: Checker, names: list[str]) -> None:
    """The holiday calendars must be the policy's."""
    for index, name in enumerate(names):
        c.known(("holidays", index), "holiday calendar", name, c.policy.holidays)
