"""Two rules of which one is always at least as strict: then the other can never be what stops a contact.

One function per rule kind says whether ``a`` says no wherever ``b`` does, given that ``a`` speaks about everything that
``b`` speaks about. It follows from the rules' meaning (docs/policy-reference.md), for every customer, at every instant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import Test, When
from arbiter.policy.problem import Problem
from arbiter.policy.reach import Reach, Span, listed, span_of
from arbiter.policy.rules import (
    AnyRule,
    CapacityRule,
    CapRule,
    ConflictRule,
    ConsentRule,
    QuietHoursRule,
    SuppressionRule,
)
from arbiter.timing import opening_hours
from arbiter.timing.opening_hours import DAY_MINUTES, parse_closed
from arbiter.timing.windows import duration_ms, parse_window

WITHIN = {
    "hour": ("hour", "day", "week", "month", "quarter", "year"),
    "day": ("day", "week", "month", "quarter", "year"),
    "week": ("week",),
    "month": ("month", "quarter", "year"),
    "quarter": ("quarter", "year"),
    "year": ("year",),
}
"""Calendar unit → the units whose windows hold its windows whole."""
WEEK_MINUTES = 7 * DAY_MINUTES


def always_stricter(document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """Rules that another, enforced one leaves nothing to stop. Of two that are alike the later one is told."""
    for kind, covers in _COVERS.items():
        tag = str(kind.__struct_config__.tag)
        rules: list[tuple[int, Any, int, Span]] = [
            (index, rule, reach.mask(rule.when) & reach.obeying(tag), span_of(rule, document.timezone))
            for index, rule in enumerate(document.rules)
            if isinstance(rule, kind) and rule.mode != "off"
        ]
        told: set[int] = set()
        for index, idle, narrow, (from_ms, until_ms) in rules:
            for other, strict, wide, span in rules:
                if index == other or other in told or strict.mode != "enforce" or not narrow or narrow & ~wide:
                    continue
                is_long_enough = span[0] <= from_ms and until_ms <= span[1]
                if is_long_enough and reach.covers(strict.when, idle.when, tag) and covers(strict, idle, reach):
                    told.add(index)
                    yield _idle(index, idle, other, strict)
                    break


def _idle(index: int, idle: AnyRule, other: int, strict: AnyRule) -> Problem:
    said = [_limits(rule) for rule in (strict, idle)]
    compared = f" ({said[0]} against {said[1]})" if said[0] else ""
    message = (
        f"rule `{idle.id}` can never be what stops a contact: `{strict.id}` is always at least as strict{compared}"
    )
    fix = f"remove `{idle.id}`, or make it stricter where it should say more"
    return Problem(("rules", index, "id"), "always-stricter", message, fix, "warning", first=("rules", other, "id"))


def _limits(rule: AnyRule) -> str:
    return f"{rule.limit} in {rule.window}" if isinstance(rule, CapRule | CapacityRule) else ""


def _cap(a: CapRule, b: CapRule, reach: Reach) -> bool:
    counts_a, counts_b = (rule.when if rule.counts is None else rule.counts for rule in (a, b))
    return (
        a.unit == b.unit
        and reach.covers_contacts(counts_a, counts_b)
        and _shares(a, b, counts_b)
        and _holds(a, b)
        and _leaves_less(a, b)
    )


def _shares(a: CapRule, b: CapRule, counts_b: When) -> bool:
    """Whether contacts that share a budget of ``b`` share one of ``a``."""
    if "customer" in a.per and "customer" not in b.per:
        return False
    finer = set(a.per) - set(b.per) - {"party", "customer"}
    return all(_pinned(b.when, field) and b.when[field] == counts_b.get(field) for field in finer)


def _pinned(when: When, field: str) -> bool:
    condition = when.get(field)
    return condition is not None and not isinstance(condition, Test) and len(listed(condition)) == 1


def _holds(a: CapRule, b: CapRule) -> bool:
    """Whether the window of ``a`` holds that of ``b`` whole, at every instant."""
    wide, narrow = parse_window(a.window), parse_window(b.window)
    if wide.rolling_ms is not None:
        return wide.rolling_ms >= narrow.longest_ms
    # A party's windows are in the zone that its members share, a customer's in the customer's own.
    same_zone = ("party" in a.per) == ("party" in b.per)
    return narrow.unit is not None and same_zone and (wide.unit or "") in WITHIN[narrow.unit]


def _leaves_less(a: CapRule, b: CapRule) -> bool:
    """Whether the limit of ``a`` is never above that of ``b``, whatever segments and headroom say."""
    by_a, by_b = a.limit_by.segment, b.limit_by.segment
    if by_a.keys() == by_b.keys() and (b.keep is None or b.keep == a.keep):
        return a.limit <= b.limit and all(limit <= by_b[name] for name, limit in by_a.items())
    kept = b.keep.slots if b.keep else 0
    return max([a.limit, *by_a.values()]) <= min([b.limit, *by_b.values()]) - kept


def _capacity(a: CapacityRule, b: CapacityRule, _: Reach) -> bool:
    units = [rule.window.removeprefix("calendar ") for rule in (a, b)]
    in_total = units[0] in WITHIN[units[1]] and a.limit <= b.limit
    return in_total and (b.hourly is None or (a.hourly is not None and a.hourly <= b.hourly))


def _consent(a: ConsentRule, b: ConsentRule, _: Reach) -> bool:
    return a.basis == b.basis  # an opt-out within an opt-in is a contradiction, told as such


def _suppression(a: SuppressionRule, b: SuppressionRule, _: Reach) -> bool:
    lasting = [duration_ms(rule.cool_down) if rule.cool_down else 0 for rule in (a, b)]
    return set(b.lists) <= set(a.lists) and (a.scope == "party" or b.scope == "customer") and lasting[0] >= lasting[1]


def _conflict(a: ConflictRule, b: ConflictRule, reach: Reach) -> bool:
    after_a, after_b = ({k: c for k, c in rule.after.items() if k != "outcome"} for rule in (a, b))
    if ("outcome" in a.after) != ("outcome" in b.after):
        return False
    outcomes = [{"campaign": rule.after["outcome"]} if "outcome" in rule.after else {} for rule in (a, b)]
    return (
        reach.covers_contacts(outcomes[0], outcomes[1])
        and reach.covers_contacts(after_a, after_b)
        and (a.per == "party" or b.per == "customer")
        and duration_ms(a.within) >= duration_ms(b.within)
    )


def _quiet_hours(a: QuietHoursRule, b: QuietHoursRule, _: Reach) -> bool:
    closed_a, closed_b = parse_closed(a.closed), parse_closed(b.closed)
    if _week(closed_b.by_weekday) & ~_week(closed_a.by_weekday):
        return False
    in_holidays = set(closed_b.on_holidays) <= set(closed_a.on_holidays) and set(b.holidays) <= set(a.holidays)
    return not closed_b.on_holidays or in_holidays


def _week(by_weekday: tuple[tuple[opening_hours.Span, ...], ...]) -> int:
    """The closed minutes of a week as bits; what passes its end comes round to its beginning."""
    bits = 0
    for day, spans in enumerate(by_weekday):
        for span in spans:
            bits |= ((1 << span.end - span.start) - 1) << day * DAY_MINUTES + span.start
    return (bits | bits >> WEEK_MINUTES) & (1 << WEEK_MINUTES) - 1


_COVERS: dict[type[Any], Callable[[Any, Any, Reach], bool]] = {
    CapRule: _cap,
    CapacityRule: _capacity,
    ConflictRule: _conflict,
    ConsentRule: _consent,
    QuietHoursRule: _quiet_hours,
    SuppressionRule: _suppression,
}
