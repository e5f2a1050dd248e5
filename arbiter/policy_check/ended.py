"""Parts of a policy whose time is over. They are no mistake, but clutter: they do nothing any more."""

from __future__ import annotations

from collections.abc import Iterator

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules.base import TAKE_OUT
from arbiter.timing.opening_hours import are_past
from arbiter.timing.windows import moment


def ended(document: PolicyDocument, now_ms: int) -> list[str]:
    """A note for each rule, exception and holiday calendar whose time is over."""
    return [*_rules(document, now_ms), *_exceptions(document, now_ms), *_calendars(document, now_ms)]


def _rules(document: PolicyDocument, now_ms: int) -> Iterator[str]:
    for rule in document.rules:
        until = rule.effective.until if rule.effective is not None else None
        if until is not None and moment(until, document.timezone, "end") <= now_ms:
            yield f"rule `{rule.id}` has ended (`effective` until {until}); {TAKE_OUT}"
        elif (note := rule.ended(document.timezone, now_ms)) is not None:
            yield note


def _exceptions(document: PolicyDocument, now_ms: int) -> Iterator[str]:
    for one in document.exceptions:
        if moment(one.until, document.timezone, "end") <= now_ms:
            yield f"exception `{one.id}` has ended; {TAKE_OUT}"


def _calendars(document: PolicyDocument, now_ms: int) -> Iterator[str]:
    for name, dates in document.holidays.items():
        if dates and are_past(dates, document.timezone, now_ms):
            yield f"all days of the holiday calendar `{name}` are over; add those to come"
