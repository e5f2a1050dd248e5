"""``blackout``: days on which nobody is contacted: dates, yearly dates, holidays, or a freeze between two instants.

They are days of the business zone. The request is deferred to their end, and a permit ends when they begin.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Where
from arbiter.policy.phrases import both, date, dates, of, until
from arbiter.policy.rules.base import TAKE_OUT, Closing, Rule
from arbiter.policy.rules.checking import Checker, Code, Mistake, check_date, check_overlap
from arbiter.policy.rules.closed import CompiledClosed, check_calendars, holidays_of
from arbiter.timing.opening_hours import (
    Closed,
    Dates,
    are_past,
    parse_date,
    parse_dates,
)
from arbiter.timing.windows import moment, spoken_until


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

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledBlackout:
        """See :meth:`Rule.compile`."""
        freeze = self._freeze(policy.timezone)
        return CompiledBlackout(self, from_ms, until_ms, holidays_of(self.holidays, policy.holidays), freeze)

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


class CompiledBlackout(CompiledClosed):
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
