"""What of a policy is over and does nothing any more. That is no mistake, but in the way of whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import AnyRule, BlackoutRule, CellRule, FloorRule
from arbiter.timing.opening_hours import parse_dates
from arbiter.timing.windows import local_time, moment

TAKE_OUT = "take it out when you next change the policy"


def ended(document: PolicyDocument, now_ms: int) -> list[str]:
    """A note for each rule, exception and holiday calendar whose time is over."""
    return [*_rules(document, now_ms), *_exceptions(document, now_ms), *_calendars(document, now_ms)]


def _rules(document: PolicyDocument, now_ms: int) -> Iterator[str]:
    for rule in document.rules:
        until = rule.effective.until if rule.effective is not None else None
        if until is not None and moment(until, document.timezone, "end") <= now_ms:
            yield f"rule `{rule.id}` has ended (`effective` until {until}); {TAKE_OUT}"
        else:
            yield from _own_end(rule, document, now_ms)


def _own_end(rule: AnyRule, document: PolicyDocument, now_ms: int) -> Iterator[str]:
    zone = document.timezone
    if isinstance(rule, CellRule) and moment(rule.deadline, zone, "end") <= now_ms:
        yield (
            f"the deadline of the cell `{rule.id}` ({rule.deadline}) is over: unless it was full by then, all that it "
            "speaks about is rejected; move the deadline, or take the rule out"
        )
    elif isinstance(rule, FloorRule) and moment(rule.until, zone, "end") <= now_ms:
        yield f"the floor `{rule.id}` has ended (until {rule.until}); {TAKE_OUT}"
    elif isinstance(rule, BlackoutRule) and not rule.holidays:
        is_frozen = rule.until is not None and moment(rule.until, zone, "end") > now_ms
        if not is_frozen and _are_past(rule.dates, document, now_ms):
            yield f"all days of the blackout `{rule.id}` are over; {TAKE_OUT}"


def _exceptions(document: PolicyDocument, now_ms: int) -> Iterator[str]:
    for one in document.exceptions:
        if moment(one.until, document.timezone, "end") <= now_ms:
            yield f"exception `{one.id}` has ended; {TAKE_OUT}"


def _calendars(document: PolicyDocument, now_ms: int) -> Iterator[str]:
    for name, dates in document.holidays.items():
        if dates and _are_past(dates, document, now_ms):
            yield f"all days of the holiday calendar `{name}` are over; add those to come"


def _are_past(dates: list[str], document: PolicyDocument, now_ms: int) -> bool:
    """Whether no day is today or to come."""
    days, today = parse_dates(dates), local_time(now_ms, document.timezone).date()
    return not days.yearly and all(last < today for _, last in days.exact)
