"""What a schema cannot say about a policy: names that must exist, windows that must fit, texts that must parse.

:func:`problems` finds everything at once; each problem has the path to the thing, so that whoever has the YAML
can point at the line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from msgspec.structs import replace

from arbiter.policy import nearly
from arbiter.policy.conditions import conditions, known_name, never, outcomes
from arbiter.policy.contradictions import alone, contradictions
from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import REQUEST_FIELDS, SHAPE_FIELDS
from arbiter.policy.problem import Path, Problem
from arbiter.policy.rules import (
    AnyRule,
    ArbitrationRule,
    BlackoutRule,
    CapacityRule,
    CapRule,
    CellRule,
    ConflictRule,
    ConsentRule,
    FloorRule,
    QuietHoursRule,
    SuppressionRule,
)
from arbiter.policy.score import parse_formula
from arbiter.timing.opening_hours import parse_dates, parse_days, parse_span
from arbiter.timing.windows import CALENDAR_UNITS, duration_ms, known_zone, moment, parse_window

Side = Literal["start", "end"]

_GROUND = [(field,) for field in ("timezone", "candidate_zones", "history", "permit", "departments", "segments")]
"""What must be right before rules can be held against each other."""


_FORMS = frozenset(("bad-date", "bad-day", "bad-duration", "bad-hours", "bad-window", "not-calendar"))
"""What makes the times of a rule unreadable, so that nothing can be computed with them."""
_NEARLY: dict[str, Callable[[str], str]] = {
    "bad-day": nearly.days,
    "bad-duration": nearly.duration,
    "bad-hours": nearly.hours,
    "bad-window": nearly.window,
}
"""For texts of a form: what one that is nearly right was most likely meant to be."""


def problems(
    document: PolicyDocument, doubtful: frozenset[int] = frozenset(), *, is_whole: bool = True
) -> list[Problem]:
    """Every problem of a policy whose types are right, in file order. Empty means that it can be run.

    ``doubtful`` are rules in which something stands in for what could not be read; unless the policy ``is_whole``, so
    does something around the rules. What rules say about each other is then not looked at.
    """
    found: list[Problem] = []
    if not known_zone(document.timezone):
        found += _zone(("timezone",), document.timezone)
        document = replace(document, timezone="UTC")
    for check in (_top, _permits, _departments, _segments, _calendars, _rules, _exceptions):
        found += check(document)
    unreadable = frozenset(
        int(one.path[1]) for one in found if one.path[:1] == ("rules",) and len(one.path) > 1 and one.code in _FORMS
    )
    found += alone(document, unreadable)
    if not is_whole or any(problem.path[:1] in _GROUND for problem in found):
        return found
    broken = frozenset(int(problem.path[1]) for problem in found if problem.path[:1] == ("rules",))
    return found + contradictions(document, broken | doubtful)


def _parsed(path: Path, code: str, parse: Callable[..., object], text: str, *more: object) -> Iterator[Problem]:
    """The problem of a text that ``parse`` refuses; its error says what is wrong, then `;`, then the fix."""
    try:
        parse(text, *more)
    except ValueError as error:
        message, _, fix = str(error).partition("; ")
        meant = _NEARLY[code](text) if code in _NEARLY else ""
        yield Problem(path, code, message, f"did you mean `{meant}`?" if meant else fix)


def _zone(path: Path, name: str) -> Iterator[Problem]:
    if not known_zone(name):
        fix = nearly.zone_help(name) or "use an IANA name, for example `Europe/Lisbon`"
        yield Problem(path, "bad-zone", f"`{name}` is not a time zone", fix)


def _top(document: PolicyDocument) -> Iterator[Problem]:
    for index, zone in enumerate(document.candidate_zones):
        yield from _zone(("candidate_zones", index), zone)
    yield from _parsed(("score",), "bad-score", parse_formula, document.score)


def _permits(document: PolicyDocument) -> Iterator[Problem]:
    least = duration_ms(document.permit.min)
    for channel, text in document.permit.max.items():
        path: Path = ("permit", "max", channel)
        yield from known_name(path, "channel", channel, document.channels)
        if duration_ms(text) < least:
            message = f"the longest permit of `{channel}`, {text}, is shorter than `permit.min`, {document.permit.min}"
            yield Problem(path, "permit-too-short", message, "make it at least as long")
    for channel in document.channels:
        if channel not in document.permit.max:
            message = f"channel `{channel}` has no longest permit"
            yield Problem(
                ("permit", "max", channel), "missing-permit", message, f"add `{channel}: 24h` or what suits it"
            )


def _departments(document: PolicyDocument) -> Iterator[Problem]:
    for name, department in document.departments.items():
        for index, category in enumerate(department.categories):
            yield from known_name(("departments", name, "categories", index), "category", category, document.categories)
        for index, channel in enumerate(department.channels or ()):
            yield from known_name(("departments", name, "channels", index), "channel", channel, document.channels)


def _segments(document: PolicyDocument) -> Iterator[Problem]:
    for name, segment in document.segments.items():
        for key, condition in segment.when.items():
            yield from never(("segments", name, "when", key), key, condition)
            if not key.startswith("profile."):
                message = f"segment `{name}` looks at `{key}`"
                fix = "a segment is made of profile attributes: write `profile.` and the attribute's name"
                yield Problem(("segments", name, "when", key), "bad-segment", message, fix)


def _calendars(document: PolicyDocument) -> Iterator[Problem]:
    for name, texts in document.holidays.items():
        for index, text in enumerate(texts):
            yield from _parsed(("holidays", name, index), "bad-date", _dates, text)


def _dates(text: str) -> object:
    return parse_dates([text])


def _rules(document: PolicyDocument) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, rule in enumerate(document.rules):
        path: Path = ("rules", index)
        if rule.id in seen:
            first = ("rules", seen[rule.id], "id")
            message, fix = f"rule id `{rule.id}` is used twice", "give each rule an id of its own"
            yield Problem((*path, "id"), "duplicate-id", message, fix, first=first)
        seen.setdefault(rule.id, index)
        yield from conditions((*path, "when"), rule.when, document)
        yield from _effective(path, rule, document)
        check = _CHECKS.get(type(rule))
        if check is not None:
            yield from check(path, rule, document)


def _quiet_hours(path: Path, rule: QuietHoursRule, document: PolicyDocument) -> Iterator[Problem]:
    yield from _closed((*path, "closed"), rule)
    yield from _holidays(path, rule.holidays, document)
    if "holidays" in rule.closed and not rule.holidays:
        message, fix = (
            "`holidays` are closed but no calendar is named",
            "add `holidays: [NAME]` with a calendar of the policy",
        )
        yield Problem((*path, "closed", "holidays"), "no-calendar", message, fix)


def _conflict(path: Path, rule: ConflictRule, document: PolicyDocument) -> Iterator[Problem]:
    yield from _parsed((*path, "within"), "bad-duration", duration_ms, rule.within)
    yield from outcomes((*path, "after", "outcome"), rule.after.get("outcome"))
    after = {key: condition for key, condition in rule.after.items() if key != "outcome"}
    yield from conditions((*path, "after"), after, document)


def _arbitration(path: Path, rule: ArbitrationRule, _: PolicyDocument) -> Iterator[Problem]:
    yield from _parsed((*path, "hold"), "bad-duration", duration_ms, rule.hold)


def _suppression(path: Path, rule: SuppressionRule, _: PolicyDocument) -> Iterator[Problem]:
    if rule.cool_down is not None:
        yield from _parsed((*path, "cool_down"), "bad-duration", duration_ms, rule.cool_down)


def _closed(path: Path, rule: QuietHoursRule) -> Iterator[Problem]:
    for days, hours in rule.closed.items():
        yield from _parsed((*path, days), "bad-day", parse_days, days)
        for index, text in enumerate([hours] if isinstance(hours, str) else hours):
            place = (*path, days) if isinstance(hours, str) else (*path, days, index)
            yield from _parsed(place, "bad-hours", parse_span, text)


def _effective(path: Path, rule: AnyRule, document: PolicyDocument) -> Iterator[Problem]:
    if rule.effective is None:
        return
    spans: list[int] = []
    sides: list[tuple[str, str | None, Side]] = [
        ("from", rule.effective.from_, "start"),
        ("until", rule.effective.until, "end"),
    ]
    for field, text, side in sides:
        if text is not None:
            wrong = list(_parsed((*path, "effective", field), "bad-date", moment, text, document.timezone, side))
            yield from wrong
            if not wrong:
                spans.append(moment(text, document.timezone, side))
    if len(spans) == len(sides) and spans[0] >= spans[1]:
        yield Problem((*path, "effective"), "empty-span", "`effective` ends before it begins", "swap the dates")


def _cap(path: Path, rule: CapRule, document: PolicyDocument) -> Iterator[Problem]:
    wrong = list(_parsed((*path, "window"), "bad-window", parse_window, rule.window))
    yield from wrong
    if not wrong and parse_window(rule.window).longest_ms > duration_ms(document.history):
        message = f"the window `{rule.window}` is longer than contacts are remembered, {document.history}"
        yield Problem((*path, "window"), "window-too-long", message, "shorten it, or raise `history`")
    if ("party" in rule.per) == ("customer" in rule.per):
        yield Problem((*path, "per"), "bad-per", "`per` must name either `party` or `customer`", "name one of them")
    counts, where = (rule.when, "when") if rule.counts is None else (rule.counts, "counts")
    if rule.counts is not None:
        yield from conditions((*path, "counts"), rule.counts, document)
    for key in counts:
        if key.startswith("attributes.") or (key in REQUEST_FIELDS and key not in SHAPE_FIELDS):
            message = f"`{key}` is not remembered with a contact, so nothing would ever count"
            fix = f"say with `counts:` which past contacts count, by {', '.join(SHAPE_FIELDS)}, `profile.x` or segment"
            yield Problem((*path, where, key), "not-remembered", message, fix)
    if rule.keep is not None:
        yield from conditions((*path, "keep", "for"), rule.keep.for_, document)
        if rule.keep.slots > rule.limit:
            message = f"{rule.keep.slots} places are kept of a limit of {rule.limit}"
            yield Problem((*path, "keep", "slots"), "keep-over-limit", message, "keep fewer, or raise `limit`")
    for segment in rule.limit_by.segment:
        yield from known_name((*path, "limit_by", "segment", segment), "segment", segment, document.segments)


def _capacity(path: Path, rule: CapacityRule, _: PolicyDocument) -> Iterator[Problem]:
    unit = rule.window.removeprefix("calendar ") if rule.window.startswith("calendar ") else ""
    if unit not in CALENDAR_UNITS:
        message = f"`{rule.window}` is not a calendar window, and only those can be shared by all customers"
        meant = nearly.window(rule.window)
        fix = f"write `calendar` and one of {', '.join(CALENDAR_UNITS)}"
        fix = f"did you mean `{meant}`?" if meant.startswith("calendar ") else fix
        yield Problem((*path, "window"), "not-calendar", message, fix)
    if rule.hourly is not None and (unit == "hour" or rule.hourly > rule.limit):
        message = f"`hourly: {rule.hourly}` says no more than `limit: {rule.limit}` in a `{rule.window}`"
        yield Problem((*path, "hourly"), "idle-hourly", message, "lower it, or leave it out")


def _floor(path: Path, rule: FloorRule, document: PolicyDocument) -> Iterator[Problem]:
    sides: list[tuple[str, str, Side]] = [("from", rule.from_, "start"), ("until", rule.until, "end")]
    wrong = [p for field, text, side in sides
             for p in _parsed((*path, field), "bad-date", moment, text, document.timezone, side)]  # fmt: skip
    yield from wrong
    if not wrong and moment(rule.from_, document.timezone, "start") >= moment(rule.until, document.timezone, "end"):
        yield Problem((*path, "until"), "empty-span", "the floor ends before it begins", "swap the dates")


def _cell(path: Path, rule: CellRule, document: PolicyDocument) -> Iterator[Problem]:
    yield from _parsed((*path, "deadline"), "bad-date", moment, rule.deadline, document.timezone, "end")


def _holidays(path: Path, names: list[str], document: PolicyDocument) -> Iterator[Problem]:
    for index, name in enumerate(names):
        yield from known_name((*path, "holidays", index), "holiday calendar", name, document.holidays)


def _blackout(path: Path, rule: BlackoutRule, document: PolicyDocument) -> Iterator[Problem]:
    for index, text in enumerate(rule.dates):
        yield from _parsed((*path, "dates", index), "bad-date", _dates, text)
    yield from _holidays(path, rule.holidays, document)
    if (rule.from_ is None) != (rule.until is None):
        yield Problem(path, "half-freeze", "a freeze needs both `from` and `until`", "add the other one")
    sides: list[tuple[str, str | None, Side]] = [("from", rule.from_, "start"), ("until", rule.until, "end")]
    for field, value, side in sides:
        if value is not None:
            yield from _parsed((*path, field), "bad-date", moment, value, document.timezone, side)
    if not (rule.dates or rule.holidays or rule.from_ is not None):
        yield Problem(
            path, "empty-blackout", "the blackout has no days", "add `dates`, `holidays`, or `from` and `until`"
        )


def _exceptions(document: PolicyDocument) -> Iterator[Problem]:
    kinds = {rule.id: rule for rule in document.rules}
    seen: dict[str, int] = {}
    for index, one in enumerate(document.exceptions):
        path: Path = ("exceptions", index)
        if one.id in seen:
            message, fix = f"exception `{one.id}` is there twice", "give each exception an id of its own"
            yield Problem((*path, "id"), "duplicate-id", message, fix, first=("exceptions", seen[one.id], "id"))
        seen.setdefault(one.id, index)
        for place, name in enumerate(one.rules):
            yield from known_name((*path, "rules", place), "rule", name, kinds)
            rule = kinds.get(name)
            if isinstance(rule, ConsentRule | SuppressionRule):
                message = f"`{name}` is about consent or suppression, and nothing lifts those"
                yield Problem((*path, "rules", place), "cannot-lift", message, "take it out of the exception")
            elif isinstance(rule, FloorRule):
                message = f"`{name}` is a floor, which never says no"
                yield Problem((*path, "rules", place), "cannot-lift", message, "take it out of the exception")
        yield from conditions((*path, "when"), one.when, document)
        sides: list[tuple[str, str | None, Side]] = [("from", one.from_, "start"), ("until", one.until, "end")]
        wrong = [p for field, text, side in sides if text is not None
                 for p in _parsed((*path, field), "bad-date", moment, text, document.timezone, side)]  # fmt: skip
        yield from wrong
        if one.from_ is not None and not wrong:
            zone = document.timezone
            if moment(one.from_, zone, "start") >= moment(one.until, zone, "end"):
                yield Problem((*path, "until"), "empty-span", "the exception ends before it begins", "swap the dates")


_CHECKS: dict[type, Callable[..., Iterator[Problem]]] = {
    ArbitrationRule: _arbitration,
    BlackoutRule: _blackout,
    CapacityRule: _capacity,
    CapRule: _cap,
    CellRule: _cell,
    ConflictRule: _conflict,
    FloorRule: _floor,
    QuietHoursRule: _quiet_hours,
    SuppressionRule: _suppression,
}
