"""Collects what a rule kind finds wrong with a rule, with the place in the policy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import Condition, When
from arbiter.policy.rules import Rule
from arbiter.policy.rules.checking import Field, Other
from arbiter.policy_check import conditions, nearly
from arbiter.policy_check.problem import Path, Problem
from arbiter.policy_check.reach import Reach, Span

FORMS = frozenset(("bad-date", "bad-day", "bad-duration", "bad-hours", "bad-window", "not-calendar"))
"""Codes of times and windows that cannot be read, so that nothing can be computed with them."""
_NEARLY: dict[str, Callable[[str], str]] = {
    "bad-day": nearly.days,
    "bad-duration": nearly.duration,
    "bad-hours": nearly.hours,
    "bad-window": nearly.window,
    "not-calendar": nearly.calendar_window,
}
"""Code → correction of a text that is nearly right."""


class RuleChecker:
    """Collects the problems of one rule. See :class:`arbiter.policy.rules.checking.Checker`."""

    def __init__(
        self, document: PolicyDocument, index: int, reach: Reach, beside: frozenset[int] = frozenset()
    ) -> None:
        self.policy = document
        self.reach = reach
        self.found: list[Problem] = []
        self._index = index
        self._rule = document.rules[index]
        self._beside = beside

    @property
    def is_readable(self) -> bool:
        """See ``Checker.is_readable``."""
        return not any(problem.code in FORMS for problem in self.found)

    @property
    def in_force(self) -> Span:
        """See ``Checker.in_force``."""
        return self._rule.in_force(self.policy.timezone)

    def error(
        self, field: Field, code: str, message: str, fix: str, *, other: Other | None = None, at_key: bool = False
    ) -> None:
        """See ``Checker.error``."""
        self._report(field, code, message, fix, other=other, at_key=at_key)

    def warning(self, field: Field, code: str, message: str, fix: str, *, other: Other | None = None) -> None:
        """See ``Checker.warning``."""
        self._report(field, code, message, fix, severity="warning", other=other)

    def _report(
        self, field: Field, code: str, message: str, fix: str, *, other: Other | None,
        at_key: bool = False, severity: Literal["error", "warning"] = "error",
    ) -> None:  # fmt: skip
        first: Path | None = None if other is None else ("rules", self._number_of(other), "id")
        self.found.append(Problem(self.path(field), code, message, fix, severity, first, at_key=at_key))

    def _number_of(self, other: Other) -> int:
        return [id(rule) for rule in self.policy.rules].index(id(other))

    def path(self, field: Field) -> Path:
        """The path of a field of the rule."""
        return ("rules", self._index, *((field,) if isinstance(field, str) else field))

    def reads(self, field: Field, code: str, parse: Callable[..., object], text: str, *more: object) -> bool:
        """See ``Checker.reads``."""
        wrong = list(unreadable(self.path(field), code, parse, text, *more))
        self.found += wrong
        return not wrong

    def conditions(self, field: Field, when: When) -> None:
        """See ``Checker.conditions``."""
        self.found += conditions.conditions(self.path(field), when, self.policy)

    def outcomes(self, field: Field, condition: Condition, known: Iterable[str]) -> None:
        """See ``Checker.outcomes``."""
        self.found += conditions.outcomes(self.path(field), condition, known)

    def known(self, field: Field, what: str, name: str, names: Iterable[str]) -> None:
        """See ``Checker.known``."""
        self.found += conditions.known_name(self.path(field), what, name, names)

    def always_with(self, span: Span | None = None) -> Iterator[Rule]:
        """See ``Checker.always_with``."""
        begin_ms, end_ms = span or self.in_force
        mine = self.reach.mask(self._rule.when)
        for index, other in enumerate(self.policy.rules):
            if index not in self._beside or other is self._rule or not mine:
                continue
            # The other rule must bind every request of this one: no category among them may be exempt from it.
            is_bound = not mine & ~self.reach.obeying(other.kind)
            there = other.in_force(self.policy.timezone)
            is_long_enough = there[0] <= begin_ms and end_ms <= there[1]
            if is_bound and is_long_enough and self.reach.covers(other.when, self._rule.when, other.kind):
                yield other


def unreadable(path: Path, code: str, parse: Callable[..., object], text: str, *more: object) -> Iterator[Problem]:
    """The error of a text that ``parse`` refuses with a ``ValueError``: message, `;`, fix."""
    try:
        parse(text, *more)
    except ValueError as error:
        message, _, fix = str(error).partition("; ")
        meant = _NEARLY[code](text) if code in _NEARLY else ""
        yield Problem(path, code, message, f"did you mean `{meant}`?" if meant else fix)
