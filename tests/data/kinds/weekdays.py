"""``weekdays``: contacts only on some days of the week, and none for some partners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from msgspec import Meta

from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs
from arbiter.policy.phrases import both, either, of
from arbiter.policy.phrases import days as day
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, CompiledRule, Rule
from arbiter.policy.rules.checking import Checker, Code, Mistake, Reach
from arbiter.timing.opening_hours import WEEKDAYS
from arbiter.timing.windows import calendar_window, local_time, spoken


class WeekdaysRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="weekdays"):
    """Contacts only on some days of the week."""

    days: Annotated[list[str], Meta(min_length=1, description="The days, for example `[mon, tue]`.")]
    no_partners: Annotated[list[str], Meta(description="Partners for whom nobody is contacted.")] = []

    reference = """
        A request is approved on one of the `days`, in the business zone. On other days it is deferred to the next of
        them. What is asked for one of `no_partners` is rejected.
        """
    codes = {
        "wrong_weekday": Code("contacts are made on other days of the week"),
        "partner_refused": Code("nobody is contacted for this partner"),
    }
    mistakes = {
        "unknown-weekday": Mistake("A word that is no day of the week.", "Use mon, tue … sun.", "forms"),
        "every-weekday": Mistake("A rule that allows every day.", "Remove it.", "warnings"),
    }
    stand_ins = {"days": ["mon"]}
    formed = frozenset({"days"})

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledWeekdays:
        """See :meth:`Rule.compile`."""
        return CompiledWeekdays(self, from_ms, until_ms)

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        yield f"{of(self.when)}only on {both(map(day, self.days))} (time of {policy.timezone})."
        if self.no_partners:
            yield f"None for partner {either(self.no_partners)}."

    def check(self, c: Checker) -> None:
        """The days must be days."""
        for index, name in enumerate(self.days):
            c.known(("days", index), "weekday", name, WEEKDAYS)

    def lint(self, c: Checker) -> None:
        """A rule that allows every day does nothing."""
        if set(self.days) == set(WEEKDAYS) and not self.no_partners:
            c.warning("days", "every-weekday", "the rule allows every day, so it stops nothing", "remove it")

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """It allows no other days, and no other partners."""
        return set(self.days) <= set(other.days) and set(other.no_partners) <= set(self.no_partners)


class CompiledWeekdays(CompiledRule):
    """Reads the calendar of the business zone."""

    def __init__(self, rule: WeekdaysRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._days = frozenset(map(WEEKDAYS.index, rule.days))
        self._no_partners = frozenset(rule.no_partners)

    def until(self, e: Inputs, at_ms: int) -> int:
        """The beginning of the next day that is allowed."""
        if e.request.partner in self._no_partners:
            return NEVER_MS
        begin_ms = at_ms
        while local_time(begin_ms, e.business_zone).weekday() not in self._days:
            begin_ms = calendar_window("day", e.business_zone, begin_ms)[1]
        return NOW_MS if begin_ms == at_ms else self.bounded(begin_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """Which of the two it is."""
        if until_ms == NEVER_MS:
            return self.no("partner_refused", f"nobody is contacted for partner {e.request.partner}")
        message = f"contacts are made on other days, next at {spoken(until_ms, e.business_zone)}"
        return self.no("wrong_weekday", message, until_ms)
