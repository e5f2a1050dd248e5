"""``capacity``: a total over all customers per calendar window of the business zone, and optionally per hour.

"The call centre can make 200 outbound calls a week" is one number that every customer's requests draw on, first come
first served. A second number per hour keeps the week's total from being spent on Monday morning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from msgspec import Meta

from arbiter.ledger.capacity import Draw, Want
from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.phrases import counted, of, window
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledShared, Rule
from arbiter.policy.rules.checking import HELD_BY, UNIT_MS, Checker, Code, Mistake, Reach, check_permit_fits, lint_zero
from arbiter.timing.instants import FAR_MS, HOUR_MS
from arbiter.timing.windows import calendar_unit, calendar_window, spoken

WINDOWS_COUNTED_MAX = 10_000
"""More windows than this are not counted one by one."""


class CapacityRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="capacity"):
    """At most so many contacts in a calendar window over all customers."""

    limit: Annotated[int, Meta(ge=0, description="How many contacts fit in the window, over all customers.")]
    window: Annotated[str, Meta(description="`calendar week` (or hour, day, month, quarter, year).")]
    hourly: Annotated[int, Meta(ge=1, description="How many of them in one hour, to spread them.")] | None = None

    reference = """
        At most `limit` contacts over *all* customers in a calendar `window` of the business zone: "the call centre can
        make 200 calls a week". `hourly` adds a second number per hour, so that the week's is not spent on Monday
        morning. First come, first served across customers; best score first within a party. A place is used by the
        approval and by nothing else: a `dry_run`, a deferral or a request that waits takes none. `cancelled`, a recall
        for a better request, and silence on a channel with `on_silence: release` give it back, and whoever waits is
        looked at again within seconds; `bounced` and `not_reached` do not: the call was made. A permit ends with the
        first window that it draws on. Defer (`capacity_exhausted`) to the next window. While the last places are being
        given out elsewhere and it is not yet known whether they are used, a request that expires before the next window
        is deferred to the last instant at which it could be approved. A `limit` of 0 rejects. Contacts that are exempt
        from capacity take no place. What was approved before the rule, or before its `window` or the zone changed, is
        not counted.
        """
    codes = {
        "capacity_exhausted": Code(
            "what all customers share of this window is given out", is_budget=True, ends_early="with_room"
        ),
    }
    mistakes = {
        "not-calendar": Mistake(
            "A capacity with a window that is not a calendar one.", "Write `calendar` and a unit.", "forms"
        ),
        "idle-hourly": Mistake(
            "An hourly limit that says no more than the limit itself.", "Lower it, or leave it out.", "contradictions"
        ),
    }
    stand_ins = {"limit": 10**9, "window": "calendar day"}
    formed = frozenset({"window"})
    is_shared = True

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledCapacity:
        """See :meth:`Rule.compile`."""
        return CompiledCapacity(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        limit = f"at most {counted(self.limit, 'contact')}" if self.limit else "none at all"
        hourly = f", and at most {self.hourly:,} of them in each clock hour" if self.hourly is not None else ""
        together = f"over all customers together{hourly} (time of {policy.timezone})"
        yield f"{of(self.when)}{limit} {window(self.window)} {together}."
        served = "First come, first served; what does not fit waits for the next window."
        yield served if self.limit else "The answer is no."

    def check(self, c: Checker) -> None:
        """The window must be a calendar one, no shorter than a permit; an hourly limit must say more than the limit."""
        is_read = c.reads("window", "not-calendar", calendar_unit, self.window)
        if self.hourly is not None and (self.window == "calendar hour" or self.hourly > self.limit):
            message = f"`hourly: {self.hourly}` says no more than `limit: {self.limit}` in a `{self.window}`"
            c.error("hourly", "idle-hourly", message, "lower it, or leave it out")
        if is_read:
            check_permit_fits(c, "window", self.window)
        if self.hourly is not None and c.is_readable:
            check_permit_fits(c, "hourly", "calendar hour")

    def lint(self, c: Checker) -> None:
        """A limit of 0 is rarely meant."""
        lint_zero(c, self.limit)

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """Its window holds the other's, with no more places, in total and per hour."""
        in_total = calendar_unit(self.window) in HELD_BY[calendar_unit(other.window)] and self.limit <= other.limit
        return in_total and (other.hourly is None or (self.hourly is not None and self.hourly <= other.hourly))

    @property
    def in_short(self) -> str:
        """See :attr:`Rule.in_short`."""
        return f"{self.limit} in {self.window}"

    @property
    def forbids(self) -> bool:
        """Whether it has no place at all."""
        return self.limit == 0

    def most(self, span: tuple[int, int], zone: str) -> int:
        """The most that it can give out between two instants."""
        most = self.limit * _windows(calendar_unit(self.window), span, zone)
        return most if self.hourly is None else min(most, self.hourly * _windows("hour", span, zone))


def _windows(unit: str, span: tuple[int, int], zone: str) -> int:
    """How many calendar windows there are between two instants, including those at the ends. Never too few."""
    if (span[1] - span[0]) // UNIT_MS[unit] > WINDOWS_COUNTED_MAX:
        return (span[1] - span[0]) // HOUR_MS + 2
    count, at_ms = 0, span[0]
    while at_ms < span[1]:
        at_ms = calendar_window(unit, zone, at_ms)[1]
        count += 1
    return count


class _Ceiling:
    """One of a rule's limits: so many per calendar unit."""

    def __init__(self, unit: str, limit: int, name: str) -> None:
        self.unit = unit
        self.limit = limit
        self.name = name
        self._zone = ""
        self._last = Draw(name, 0, 0)  # most questions are about today

    def draw(self, zone: str, at_ms: int) -> Draw:
        """A place in the window at ``at_ms``; ``zone`` is the business zone."""
        last = self._last
        if not last.start_ms <= at_ms < last.end_ms or zone != self._zone:
            last = self._last = Draw(self.name, *calendar_window(self.unit, zone, at_ms))
            self._zone = zone
        return last


class CompiledCapacity(CompiledShared):
    """Compares what is given out with its limits."""

    cuts = True
    is_timed = True

    def __init__(self, rule: CapacityRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        unit = calendar_unit(rule.window)
        numbers = {unit: rule.limit} if rule.hourly is None else {unit: rule.limit, "hour": rule.hourly}
        self._ceilings = [_Ceiling(unit, limit, f"{rule.id}/{unit}") for unit, limit in numbers.items()]

    def until(self, e: Inputs, at_ms: int) -> int:
        """The next window, when all places of this one are used; of several, the one that lasts."""
        return max([self._until(ceiling, e, at_ms) for ceiling in self._ceilings])

    def changes_at(self, where: Where, at_ms: int) -> int:
        """The end of the first window that ends."""
        return self.closes_at(where, at_ms)

    def closes_at(self, where: Where, at_ms: int) -> int:
        """The end of the first window that the contact draws on; a rule that is not in force yet is not drawn on."""
        if at_ms < self.from_ms:
            return FAR_MS
        return min([draw.end_ms for draw in self.draws(where, at_ms)])

    def draws(self, where: Where, at_ms: int) -> list[Draw]:
        """The places that an approval at ``at_ms`` uses."""
        return [ceiling.draw(where.business_zone, at_ms) for ceiling in self._ceilings]

    def wants(self, zone: str, at_ms: int) -> Iterator[Want]:
        """The places that a request evaluated at ``at_ms`` may take."""
        for ceiling in self._ceilings:
            yield Want(self.id, ceiling.draw(zone, at_ms), None if self.shadow else ceiling.limit)

    def _until(self, ceiling: _Ceiling, e: Inputs, at_ms: int) -> int:
        """When one of the numbers leaves room."""
        draw, limit = ceiling.draw(e.business_zone, at_ms), ceiling.limit
        level = e.stock.level(draw, limit)
        if level is None:
            if self.shadow:
                e.stock.need(draw)
            elif not e.is_ahead:
                e.unknown.append(draw)
            return NOW_MS
        if level.used >= limit:
            return self.bounded(draw.end_ms) if limit else NEVER_MS
        if level.here > 0 or self.shadow:
            return NOW_MS
        if e.is_ahead and at_ms <= e.last_ms:
            e.is_uncertain = True
            return NOW_MS
        # Whoever is granted those places may not need them all: then it is woken, and not refused for good before.
        is_last = e.now_ms < e.last_ms and not e.is_ahead
        return self.bounded(min(draw.end_ms, e.last_ms) if is_last else draw.end_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding about the number that lasts."""
        ceiling = next(one for one in self._ceilings if self._until(one, e, at_ms) == until_ms)
        draw, unit, limit = ceiling.draw(e.business_zone, at_ms), ceiling.unit, ceiling.limit
        level = e.stock.level(draw, limit)
        used = 0 if level is None else min(level.used, limit)
        then = f"; the next {unit} begins at {spoken(draw.end_ms, e.business_zone)}" if limit else ""
        message = f"the last of the {limit} contacts of this {unit} are being given out{then}"
        if used >= limit:
            message = f"all {limit} contacts of this {unit} are given out{then}"
        end_ms = None if until_ms >= NEVER_MS else until_ms
        return self.no("capacity_exhausted", message, end_ms, used=used, limit=limit, window=f"calendar {unit}")


def window_of(finding: Finding) -> str | None:
    """The name of the window that a finding says is exhausted, as its draws have it."""
    if finding.code != "capacity_exhausted" or finding.window is None:
        return None
    return f"{finding.rule}/{finding.window.removeprefix('calendar ')}"
