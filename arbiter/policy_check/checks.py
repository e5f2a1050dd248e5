"""The errors that a schema cannot find: unknown names, unreadable texts, windows that do not fit, contradictions.

:func:`problems` finds all of them at once. Each has the path of its place in the policy, from which
:mod:`arbiter.policy_check.files` finds the line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec.structs import replace

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import Rule
from arbiter.policy.score import parse_formula
from arbiter.policy_check import nearly
from arbiter.policy_check.checker import RuleChecker, unreadable
from arbiter.policy_check.conditions import conditions, known_name, never
from arbiter.policy_check.contradictions import contradictions
from arbiter.policy_check.problem import Path, Problem
from arbiter.policy_check.reach import Reach
from arbiter.timing.opening_hours import parse_date
from arbiter.timing.windows import duration_ms, known_zone, moment

Side = Literal["start", "end"]

_GROUND = [(field,) for field in ("timezone", "candidate_zones", "history", "permit", "departments", "segments")]
"""What must be right before rules are compared with each other."""


def problems(
    document: PolicyDocument, doubtful: frozenset[int] = frozenset(), *, is_whole: bool = True
) -> list[Problem]:
    """Every error of a policy whose types are right, in file order. Without any it can be put in force.

    ``doubtful`` rules have stand-ins for what could not be read. If the policy is not ``is_whole``, there are stand-ins
    around the rules, and rules are not compared with each other.
    """
    found: list[Problem] = []
    if not known_zone(document.timezone):
        found += _zone(("timezone",), document.timezone)
        document = replace(document, timezone="UTC")
    for check in (_top, _permits, _departments, _segments, _calendars, _rules, _exceptions):
        found += check(document)
    if not is_whole or any(problem.path[:1] in _GROUND for problem in found):
        return found
    broken = frozenset(int(problem.path[1]) for problem in found if problem.path[:1] == ("rules",))
    return found + contradictions(document, broken | doubtful)


def _zone(path: Path, name: str) -> Iterator[Problem]:
    if not known_zone(name):
        fix = nearly.zone_help(name) or "use an IANA name, for example `Europe/Lisbon`"
        yield Problem(path, "bad-zone", f"`{name}` is not a time zone", fix)


def _top(document: PolicyDocument) -> Iterator[Problem]:
    for index, zone in enumerate(document.candidate_zones):
        yield from _zone(("candidate_zones", index), zone)
    yield from unreadable(("score",), "bad-score", parse_formula, document.score)


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
                ("permit", "max", channel), "missing-permit", message, f"add `{channel}: 24h` or another duration"
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
            yield from unreadable(("holidays", name, index), "bad-date", parse_date, text)


def _rules(document: PolicyDocument) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    reach = Reach(document)
    for index, rule in enumerate(document.rules):
        path: Path = ("rules", index)
        if rule.id in seen:
            first = ("rules", seen[rule.id], "id")
            message, fix = f"rule id `{rule.id}` is used twice", "give each rule an id of its own"
            yield Problem((*path, "id"), "duplicate-id", message, fix, first=first)
        seen.setdefault(rule.id, index)
        checker = RuleChecker(document, index, reach)
        checker.conditions("when", rule.when)
        _effective(rule, checker)
        rule.check(checker)
        yield from checker.found


def _effective(rule: Rule, c: RuleChecker) -> None:
    """The rule must be in force for some time, between dates that can be read."""
    if rule.effective is not None:
        sides: list[tuple[str, str | None, Side]] = [("from", rule.effective.from_, "start"),
                                                     ("until", rule.effective.until, "end")]  # fmt: skip
        read = [text is None or c.reads(("effective", field), "bad-date", moment, text, c.policy.timezone, side)
                for field, text, side in sides]  # fmt: skip
        if all(read) and c.in_force[0] >= c.in_force[1]:
            c.error("effective", "empty-span", "`effective` ends before it begins", "swap the dates")


def _exceptions(document: PolicyDocument) -> Iterator[Problem]:
    kinds = {rule.id: rule for rule in document.rules}
    seen: dict[str, int] = {}
    for index, one in enumerate(document.exceptions):
        path: Path = ("exceptions", index)
        if one.id in seen:
            message, fix = f"exception id `{one.id}` is used twice", "give each exception an id of its own"
            yield Problem((*path, "id"), "duplicate-id", message, fix, first=("exceptions", seen[one.id], "id"))
        seen.setdefault(one.id, index)
        for place, name in enumerate(one.rules):
            yield from known_name((*path, "rules", place), "rule", name, kinds)
            rule = kinds.get(name)
            if rule is not None and (rule.protects or not rule.codes):
                reason = "an exception cannot lift such a rule" if rule.protects else "such a rule never says no"
                message = f"`{name}` is of the kind `{rule.kind}`, and {reason}"
                yield Problem((*path, "rules", place), "cannot-lift", message, "take it out of the exception")
        yield from conditions((*path, "when"), one.when, document)
        sides: list[tuple[str, str | None, Side]] = [("from", one.from_, "start"), ("until", one.until, "end")]
        wrong = [p for field, text, side in sides if text is not None
                 for p in unreadable((*path, field), "bad-date", moment, text, document.timezone, side)]  # fmt: skip
        yield from wrong
        if one.from_ is not None and not wrong:
            zone = document.timezone
            if moment(one.from_, zone, "start") >= moment(one.until, zone, "end"):
                yield Problem((*path, "until"), "empty-span", "the exception ends before it begins", "swap the dates")
