"""Test files → tests, or everything that is wrong with them, as ``arbiter policy check`` says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec import Struct

from arbiter.ledger.names import nearest
from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import MEANINGS
from arbiter.policy_check.files import FileProblem
from arbiter.policy_check.files.folder import TEST_SUFFIX as SUFFIX
from arbiter.policy_check.files.folder import look_into
from arbiter.policy_check.files.odd import odd_characters
from arbiter.policy_check.files.source import Source, read_source, whole
from arbiter.policy_check.files.words import SINGULAR, Whole, shapes_against
from arbiter.policy_check.files.yaml_tree import Path, Place, TooManyValues, expand, read_tree
from arbiter.policy_tests.document import Case, CaseFile, Given, Request
from arbiter.policy_tests.schema import plain_cases_schema
from arbiter.policy_tests.times import HELP, Times

TIMES = frozenset(
    ("at", "expires_at", "valid_until", "retry_at", "next_eligible_at", "not_before", "send_after", "requested_at",
     "snooze_until")
)  # fmt: skip
NAMED = {"department": "departments", "channel": "channels", "category": "categories"}
REQUIRED = ("department", "channel", "category")
OWN_RULES = frozenset(
    ("departments", "channels", "categories", "customer-preference", "expires_at", "reserve_ahead", "requested_at",
     "waiting_max", "cancelled")
)  # fmt: skip
"""What a finding may name besides the policy's rules: its settings, and the customer's own rules."""


__all__ = ["OWN_RULES", "SUFFIX", "Test", "read_test_file", "read_test_text", "read_tests"]


class Test(Struct, frozen=True):
    """One test, ready to run. ``line`` is where it begins in ``file``."""

    file: str
    line: int
    case: Case
    given: Given
    request: Request
    times: Times


def read_tests(folder: FilePath, document: PolicyDocument) -> tuple[list[Test], list[FileProblem]]:
    """The tests beside a policy, by file and line, and what is wrong with the files."""
    files = look_into(folder).tests
    if not files:
        fix = "write one, or have one written: `arbiter policy test --new REQUEST_ID`"
        return [], [whole(str(folder), "no-tests", f"the folder has no *{SUFFIX} files", fix)]
    tests: list[Test] = []
    problems: list[FileProblem] = []
    for path in files:
        read, wrong = read_test_file(path, document)
        tests += read
        problems += wrong
    return tests, sorted(set(problems), key=lambda problem: problem.order)


def read_test_file(path: FilePath, document: PolicyDocument) -> tuple[list[Test], list[FileProblem]]:
    """The tests of one file; none if anything in it is wrong."""
    source = read_source(path)
    return ([], [source]) if isinstance(source, FileProblem) else read_test_text(source, document)


def read_test_text(source: Source, document: PolicyDocument) -> tuple[list[Test], list[FileProblem]]:
    """Like :func:`read_test_file`, for a text that was already read."""
    node, problems = read_tree(source)
    if node is None:
        return [], problems
    places: dict[Path, Place] = {}
    try:
        value = expand(node, (), source, places)
    except TooManyValues as error:
        return [], [source.problem(1, 1, "too-many-values", str(error), "use fewer aliases (`*name`)")]
    file = _File(source, value, places, problems)
    tests = file.tests(document)
    return ([] if file.problems else tests), file.problems


class _File:
    """One file on its way from plain values to tests."""

    def __init__(
        self, source: Source, value: dict[str, Any], places: dict[Path, Place], problems: list[FileProblem]
    ) -> None:
        self._source = source
        self._value = value
        self._places = places
        self.problems = problems

    def tests(self, document: PolicyDocument) -> list[Test]:
        """The tests that can be made from what the file has."""
        wrong = {path for path, place in self._places.items() if place.is_reported}
        for path, _, problem in odd_characters(self._value, self._places):
            wrong.add(path)
            self.problems.append(problem)
        shapes = list(shapes_against(plain_cases_schema(), Whole(self._value, self._places, "the file")))
        for shape in shapes:
            if shape.path not in wrong:
                self._report(shape.path, shape.code, shape.message, shape.help, at_key=shape.at_key)
        wrong |= {shape.path for shape in shapes}
        self._check_names(document)
        for path, value in _leaves(self._value, ()):
            if not any(path[: len(one)] == one for one in wrong if one):
                self._check_leaf(path, value, document)
        if self.problems:
            return []
        file = msgspec.convert(self._value, CaseFile)
        made = [self._test(index, case, file, document) for index, case in enumerate(file.tests)]
        return [test for test in made if test is not None]

    def _test(self, index: int, case: Case, file: CaseFile, document: PolicyDocument) -> Test | None:
        path: Path = ("tests", index)
        asked = {**file.request, **case.request}
        missing = [name for name in REQUIRED if name not in asked]
        for name in missing:
            fix = f"add `{name}:` to its `request`, or to that at the top of the file"
            self._report(path, "missing-field", f"the request of test `{case.name}` has no `{name}`", fix)
        at = case.at or file.at
        if at is None:
            fix = "add `at:` to the test, or to the top of the file"
            self._report(path, "missing-field", f"test `{case.name}` does not say when: it has no `at`", fix)
        if missing or at is None or self.problems:
            return None
        times = Times(at, document.timezone)
        given = msgspec.convert({**file.given, **case.given}, Given)
        line = self._places[path].value[0]
        return Test(self._source.name, line, case, given, msgspec.convert(asked, Request), times)

    def _check_names(self, document: PolicyDocument) -> None:
        seen: dict[str, int] = {}
        shared = [rule.id for rule in document.rules if rule.is_shared]
        for index in range(len(_listed(self._value.get("tests")))):
            path: Path = ("tests", index, "name")
            name = self._at(path)
            if not isinstance(name, str):
                continue
            if name in seen:
                text = f"`{name}` is the name of the test in line {seen[name]}, too"
                self._report(path, "duplicate-name", text, "give each test a name of its own")
            seen.setdefault(name, self._places[path].value[0])
        holders: list[Path] = [("given", "used")]
        holders += [("tests", index, "given", "used") for index in range(len(_listed(self._value.get("tests"))))]
        for holder in holders:
            used = self._at(holder)
            for name in used if isinstance(used, dict) else ():
                if name not in shared:
                    text = f"the policy has no capacity, floor or cell `{name}`"
                    self._report((*holder, name), "unknown-rule", text, nearest(name, shared), at_key=True)

    def _at(self, path: Path) -> Any:
        """The value at a path; ``None`` if the file has none there."""
        value: Any = self._value
        for part in path:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def _check_leaf(self, path: Path, value: Any, document: PolicyDocument) -> None:
        field = next(part for part in reversed(path) if isinstance(part, str))
        if field in TIMES and isinstance(value, str):
            self._check_time(path, value, document.timezone)
        elif field in NAMED and "invalid" not in self._expected_codes(path):
            known: Iterable[str] = getattr(document, NAMED[field])
            if value not in known:
                text = f"the policy has no {SINGULAR[NAMED[field]]} `{value}`"
                self._report(path, f"unknown-{field}", text, nearest(str(value), known))
        elif "expect" in path and field in ("rules", "rules_include", "shadow"):
            rules = [rule.id for rule in document.rules]
            if value not in rules and value not in OWN_RULES:
                self._report(path, "unknown-rule", f"the policy has no rule `{value}`", nearest(str(value), rules))
        elif "expect" in path and field == "codes" and value not in MEANINGS:
            self._report(path, "unknown-code", f"there is no reason code `{value}`", nearest(str(value), MEANINGS))

    def _check_time(self, path: Path, value: str, zone: str) -> None:
        is_own = path in (("at",), (*path[:2], "at")) and path[:1] != ("given",)
        try:
            if is_own:
                Times(value, zone)
            else:
                Times("2000-01-01", zone)(value)
        except ValueError as error:
            wrong = str(error).partition(";")[0]
            self._report(path, "bad-time", wrong if wrong.startswith("`") else f"`{value}` is no time", HELP)

    def _expected_codes(self, path: Path) -> list[str]:
        """The codes that the test around this place expects."""
        if path[0] != "tests" or len(path) < 2:  # noqa: PLR2004 - the path of a test
            return []
        return _listed(self._at((*path[:2], "expect", "codes")))

    def _report(self, path: Path, code: str, message: str, fix: str, *, at_key: bool = False) -> None:
        while path and path not in self._places:
            path, at_key = path[:-1], True
        place = self._places[path]
        line, column = place.key if place.key and at_key else place.value
        self.problems.append(self._source.problem(line, column, code, message, fix))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    else:
        yield path, value
