"""``quiet_hours`` and ``blackout``: times at which nobody is contacted.

Quiet hours are local to the customer; one whose zone is not known is contacted only when it is open in every
candidate zone (or in the business zone, as the policy says). Blackouts are dates, yearly dates, holidays or a
freeze, in the business zone. Both defer to the opening, and both end a permit when they close.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from msgspec import Meta

from arbiter.ledger.model import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.phrases import both, date, dates, days, hours, of, until
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, TAKE_OUT, Closing, Judge, Rule
from arbiter.policy.rules.checking import Checker, Code, Mistake, Reach, check_date, check_overlap
from arbiter.timing.instants import FAR_MS
from arbiter.timing.opening_hours import (
    DAY_MINUTES,
    DAY_WORDS,
    NO_DATES,
    WEEKDAYS,
    Closed,
    Closings,
    Dates,
    Span,
    are_past,
    parse_closed,
    parse_date,
    parse_dates,
    parse_days,
    parse_span,
)
from arbiter.timing.windows import moment, spoken, spoken_until

ZONE_SETS_MAX = 2_000


class QuietHoursRule(
    Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="quiet_hours"
):
    """Hours of the week at which nobody is disturbed, where the customer is."""

    closed: Annotated[
        dict[str, str | list[str]],
        Meta(min_length=1, description="For example `{weekdays: 21:00-09:00, sun: all day, holidays: all day}`."),
    ]
    holidays: Annotated[list[str], Meta(description="Holiday calendars of the policy that `holidays` means.")] = []

    reference = """
        `closed` maps days to hours: `{weekdays: 21:00-09:00, sat: [00:00-10:00, 18:00-24:00], sun: all day, holidays:
        all day}`. Days are mon … sun, ranges such as `mon-thu`, `weekdays`, `weekend`, `every day` and `holidays` (of
        the calendars that `holidays: [NAME]` lists; they add to the weekday's hours). Hours that pass midnight belong
        to the day on which they begin. Judged in the customer's zone. Defer to the opening.
        """
    codes = {"quiet_hours": Code("it is outside the hours at which this customer may be contacted")}
    mistakes = {
        "no-calendar": Mistake(
            "Quiet hours close on `holidays` but name no calendar.",
            "Add `holidays: [NAME]`.",
            "names",
            looks_at=("holidays",),
        ),
    }
    stand_ins = {"closed": {"mon": "12:00-13:00"}}
    formed = frozenset({"closed"})
    tames_marketing = True

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> QuietHoursJudge:
        """See :meth:`Rule.compile`."""
        return QuietHoursJudge(self, from_ms, until_ms, holidays_of(self.holidays, policy.holidays))

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        closed = []
        for day, spans in self.closed.items():
            when = both([hours(span) for span in ([spans] if isinstance(spans, str) else spans)])
            closed.append(f"{'' if day == 'every day' else 'on '}{days(day)} {when}")
        yield f"{of(self.when)}none {'; '.join(closed)}, in the customer's own time zone."
        if self.holidays:
            yield f"Holidays are those of {both(f'`{name}`' for name in self.holidays)}."
        yield "What falls into these hours waits until they are over."

    def check(self, c: Checker) -> None:
        """Days, hours and calendars must exist."""
        for day, spans in self.closed.items():
            c.reads(("closed", day), "bad-day", parse_days, day)
            for index, text in enumerate([spans] if isinstance(spans, str) else spans):
                place = ("closed", day) if isinstance(spans, str) else ("closed", day, index)
                c.reads(place, "bad-hours", parse_span, text)
        check_calendars(c, self.holidays)
        if "holidays" in self.closed and not self.holidays:
            message = "`holidays` are closed but no calendar is named"
            fix = "add `holidays: [NAME]` with a calendar of the policy"
            c.error(("closed", "holidays"), "no-calendar", message, fix)

    @classmethod
    def refine(cls, properties: dict[str, Any]) -> None:
        """An editor offers the days."""
        closed = properties["closed"]
        spans = {"description": "When it is closed: `21:00-09:00`, `all day`, or a list."}
        spans |= closed["additionalProperties"]
        closed["properties"] = dict.fromkeys((*WEEKDAYS, "mon-fri", *DAY_WORDS), spans)

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """It closes every minute of the week, and every holiday, that the other closes."""
        mine, theirs = parse_closed(self.closed), parse_closed(other.closed)
        if _week(theirs.by_weekday) & ~_week(mine.by_weekday):
            return False
        in_holidays = set(theirs.on_holidays) <= set(mine.on_holidays) and set(other.holidays) <= set(self.holidays)
        return not theirs.on_holidays or in_holidays

    def closing(self) -> Closing:
        """Its hours; holidays are left out."""
        return Closing(Closed(by_weekday=parse_closed(self.closed).by_weekday), "closed", is_local=True)


class BlackoutRule(
    Rule,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag="blackout",
    rename={"from_": "from"},
):
    """Days on which nobody is contacted, or a freeze."""

    dates: Annotated[
        list[str], Meta(description="`2026-12-24`, `12-24` for every year, or a range `2026-12-24..2026-12-26`.")
    ] = []
    holidays: Annotated[list[str], Meta(description="Holiday calendars of the policy.")] = []
    from_: Annotated[str, Meta(description="A freeze begins: a date or a local time, `2026-12-24 18:00`.")] | None = (
        None
    )
    until: Annotated[str, Meta(description="A freeze ends; a bare date includes that day.")] | None = None

    reference = """
        `dates` (with or without a year, ranges with `..`), `holidays` calendars, or a freeze with `from` and `until`;
        in the business zone. Defer to its end.
        """
    codes = {"blackout": Code("nobody is contacted on this date")}
    mistakes = {
        "empty-blackout": Mistake(
            "A blackout without days.",
            "Add `dates`, `holidays`, or `from` and `until`.",
            "forms",
            looks_at=("dates", "holidays", "from", "until"),
        ),
        "half-freeze": Mistake(
            "A freeze with a beginning or an end only.",
            "Add the other one.",
            "forms",
            looks_at=("from", "until"),
        ),
    }

    formed = frozenset({"dates", "from", "until"})

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> BlackoutJudge:
        """See :meth:`Rule.compile`."""
        freeze = self._freeze(policy.timezone)
        return BlackoutJudge(self, from_ms, until_ms, holidays_of(self.holidays, policy.holidays), freeze)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        spans = [dates(text) for text in self.dates]
        spans += [f"the holidays of `{name}`" for name in self.holidays]
        parts = [f"on {both(spans)}"] if spans else []
        if self.from_ is not None and self.until is not None:
            parts.append(f"from {date(self.from_)} until {until(self.until)}")
        yield f"{of(self.when)}none {', nor '.join(parts)} (time of {policy.timezone})."
        yield "What falls on these days waits until they are over."

    def check(self, c: Checker) -> None:
        """Dates and calendars must exist; a freeze has two ends."""
        for index, text in enumerate(self.dates):
            c.reads(("dates", index), "bad-date", parse_date, text)
        check_calendars(c, self.holidays)
        if (self.from_ is None) != (self.until is None):
            c.error((), "half-freeze", "a freeze needs both `from` and `until`", "add the other one")
        check_date(c, "from", self.from_, "start")
        check_date(c, "until", self.until, "end")
        if not (self.dates or self.holidays or self.from_ is not None):
            fix = "add `dates`, `holidays`, or `from` and `until`"
            c.error((), "empty-blackout", "the blackout has no days", fix)
        freeze = self._freeze(c.policy.timezone) if c.is_readable else None
        if freeze is not None and freeze[0] >= freeze[1]:
            c.error("until", "empty-span", "the freeze ends before it begins", "swap the dates")
        elif freeze is not None and not (self.dates or self.holidays):
            check_overlap(c, "freeze", freeze)

    def closing(self) -> Closing:
        """Its yearly dates; holidays and dates with a year are left out."""
        yearly = [text for text in self.dates if len(text.partition("..")[0]) <= len("12-24")]
        return Closing(Closed(days=parse_dates(yearly)), "dates", is_local=False)

    def ended(self, zone: str, now_ms: int) -> str | None:
        """Whether the freeze and all dates are past."""
        is_frozen = self.until is not None and moment(self.until, zone, "end") > now_ms
        if self.holidays or is_frozen or not are_past(self.dates, zone, now_ms):
            return None
        return f"all days of the blackout `{self.id}` are over; {TAKE_OUT}"

    def _freeze(self, zone: str) -> tuple[int, int] | None:
        if not self.from_ or not self.until:
            return None
        return moment(self.from_, zone, "start"), moment(self.until, zone, "end")


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


def _week(by_weekday: tuple[tuple[Span, ...], ...]) -> int:
    """The closed minutes of a week as bits; what passes its end comes round to its beginning."""
    week, bits = 7 * DAY_MINUTES, 0
    for day, spans in enumerate(by_weekday):
        for span in spans:
            bits |= ((1 << span.end - span.start) - 1) << day * DAY_MINUTES + span.start
    return (bits | bits >> week) & (1 << week) - 1


class ClosedJudge(Judge):
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


class QuietHoursJudge(ClosedJudge):
    """Closed hours where the customer is, or may be."""

    def __init__(self, rule: QuietHoursRule, from_ms: int, until_ms: int, holidays: Dates) -> None:
        super().__init__(rule, from_ms, until_ms, parse_closed(rule.closed, holidays))

    def zones(self, where: Where) -> tuple[str, ...]:
        """All zones in which the customer may be."""
        return where.zones


class BlackoutJudge(ClosedJudge):
    """Closed days where the business is, or a freeze."""

    def __init__(
        self, rule: BlackoutRule, from_ms: int, until_ms: int, holidays: Dates, freeze: tuple[int, int] | None
    ) -> None:
        super().__init__(rule, from_ms, until_ms, Closed(days=parse_dates(rule.dates) | holidays))
        self._freeze = freeze

    def zones(self, where: Where) -> tuple[str, ...]:
        """The business zone."""
        return (where.business_zone,)

    def shut_until(self, where: Where, at_ms: int) -> int | None:
        """The end of the freeze, or of the blackout."""
        if self._freeze and self._freeze[0] <= at_ms < self._freeze[1]:
            return self._freeze[1]
        return super().shut_until(where, at_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding until the blackout, or the freeze, is over."""
        if self._freeze and self._freeze[0] <= at_ms < self._freeze[1]:
            end_ms = min(self._freeze[1], self.until_ms)
            return self.no("blackout", f"contacts are frozen {spoken_until(end_ms, e.business_zone)}", end_ms)
        return super().explain(e, at_ms, until_ms)

    def changes_at(self, where: Where, at_ms: int) -> int:
        """The next change of either."""
        edges = [edge_ms for edge_ms in self._freeze or () if edge_ms > at_ms]
        return min([super().changes_at(where, at_ms), *edges])

    def closes_at(self, where: Where, at_ms: int) -> int:
        """The next blackout, or the beginning of the freeze."""
        end_ms = super().closes_at(where, at_ms)
        if self._freeze and at_ms < self._freeze[0]:
            return min(end_ms, self._freeze[0])
        return end_ms
