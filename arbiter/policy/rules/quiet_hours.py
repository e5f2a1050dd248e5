"""``quiet_hours``: hours of the week at which a customer is not contacted, in the customer's own zone.

A customer without a known zone is contacted only when it is open in every candidate zone, or in the business zone, as
the policy says. The request is deferred to the opening, and a permit ends when the next quiet hours begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from msgspec import Meta

from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Where
from arbiter.policy.phrases import both, days, hours, of
from arbiter.policy.rules.base import Closing, Rule
from arbiter.policy.rules.checking import Checker, Code, Mistake, Reach
from arbiter.policy.rules.closed import CompiledClosed, check_calendars, holidays_of
from arbiter.timing.opening_hours import (
    DAY_MINUTES,
    DAY_WORDS,
    WEEKDAYS,
    Closed,
    Dates,
    Span,
    parse_closed,
    parse_days,
    parse_span,
)


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
        to the day on which they begin. Evaluated in the customer's zone. Defer to the opening.
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

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledQuietHours:
        """See :meth:`Rule.compile`."""
        return CompiledQuietHours(self, from_ms, until_ms, holidays_of(self.holidays, policy.holidays))

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


def _week(by_weekday: tuple[tuple[Span, ...], ...]) -> int:
    """The closed minutes of a week as bits; what passes its end comes round to its beginning."""
    week, bits = 7 * DAY_MINUTES, 0
    for day, spans in enumerate(by_weekday):
        for span in spans:
            bits |= ((1 << span.end - span.start) - 1) << day * DAY_MINUTES + span.start
    return (bits | bits >> week) & (1 << week) - 1


class CompiledQuietHours(CompiledClosed):
    """Closed hours where the customer is, or may be."""

    def __init__(self, rule: QuietHoursRule, from_ms: int, until_ms: int, holidays: Dates) -> None:
        super().__init__(rule, from_ms, until_ms, parse_closed(rule.closed, holidays))

    def zones(self, where: Where) -> tuple[str, ...]:
        """All zones in which the customer may be."""
        return where.zones
