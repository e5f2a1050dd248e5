"""What a rule kind needs to check its own rules: how to say what is wrong, and the codes it says it with.

The checker itself is in :mod:`arbiter.policy_check`; nothing that decides a request uses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol

from msgspec import Struct

from arbiter.policy.frame import PolicyFrame
from arbiter.policy.match import Condition, When
from arbiter.timing.instants import DAY_MS, HOUR_MS
from arbiter.timing.windows import duration_ms, moment, parse_window

Field = str | tuple[str | int, ...]
"""A field of the rule, or the path to a value in it."""
Span = tuple[int, int]
"""An interval [from, until) in ms."""

UNIT_MS = {
    "hour": HOUR_MS,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
    "month": 31 * DAY_MS,
    "quarter": 92 * DAY_MS,
    "year": 366 * DAY_MS,
}
"""The longest that a calendar window lasts, without the hour by which clocks are put back."""
HELD_BY = {
    "hour": ("hour", "day", "week", "month", "quarter", "year"),
    "day": ("day", "week", "month", "quarter", "year"),
    "week": ("week",),
    "month": ("month", "quarter", "year"),
    "quarter": ("quarter", "year"),
    "year": ("year",),
}
"""Calendar unit → the units whose windows hold its windows whole."""


Group = Literal["files", "yaml", "fields", "names", "forms", "contradictions", "warnings"]


class Code(Struct, frozen=True):
    """A reason code of a finding. Codes are stable: programs branch on them."""

    meaning: str
    is_budget: bool = False
    """Whether a budget has no room. The recall of another approval can then help."""
    ends_early: Literal["never", "with_room", "always"] = "never"
    """Whether the request may be decided again before the finding's end: ``with_room`` while less than the limit is
    used."""


class Mistake(Struct, frozen=True):
    """A code of ``arbiter policy check``: what is wrong, how to correct it, and where the page lists it."""

    meaning: str
    mend: str
    group: Group
    looks_at: tuple[str, ...] = ()
    """The other fields of the rule that it depends on, besides the one at whose place it is told."""

    @property
    def level(self) -> Literal["error", "warning"]:
        """What it stops: an error stops publication."""
        return "warning" if self.group == "warnings" else "error"


class Reach(Protocol):
    """Which requests and contacts a ``when`` can match. Every answer is on the safe side: it raises no false alarm."""

    def channels(self, *whens: When, kind: str) -> list[str]:
        """The channels of the requests that all of these may match and whose category obeys rules of the kind."""

    def meets(self, one: When, other: When) -> bool:
        """Whether there may be a request that both match."""

    def covers_contacts(self, wide: When, narrow: When) -> bool:
        """Whether ``wide`` surely matches every contact that ``narrow`` matches."""


class Other(Protocol):
    """Another rule of the policy, as far as a kind may ask about it without knowing its kind."""

    @property
    def id(self) -> str: ...  # noqa: D102 - see Rule

    @property
    def forbids(self) -> bool: ...  # noqa: D102 - see Rule

    def most(self, span: Span, zone: str) -> int | None: ...  # noqa: D102 - see Rule


class Checker(Protocol):
    """Takes what a rule kind finds wrong with a rule. A field is one of that rule."""

    @property
    def policy(self) -> PolicyFrame:
        """The policy around the rule."""

    @property
    def reach(self) -> Reach:
        """What its conditions can match."""

    @property
    def is_readable(self) -> bool:
        """Whether all times and windows of the rule can be read, so far."""

    @property
    def in_force(self) -> Span:
        """When the rule is in force."""

    def error(self, field: Field, code: str, message: str, fix: str, *, other: Other | None = None,
              at_key: bool = False) -> None:  # fmt: skip
        """Say what is wrong and how to correct it. ``other`` is the rule that this one collides with.

        ``at_key`` points at the field's name instead of its value.
        """

    def warning(self, field: Field, code: str, message: str, fix: str) -> None:
        """Say what is allowed but surely wrong."""

    def reads(self, field: Field, code: str, parse: Callable[..., object], text: str, *more: object) -> bool:
        """Whether ``parse`` can read a text; if not, its error is told: what is wrong, then `;`, then the fix."""

    def conditions(self, field: Field, when: When) -> None:
        """Say what is wrong with conditions: unknown fields and names, values of another type."""

    def outcomes(self, field: Field, condition: Condition, known: Iterable[str]) -> None:
        """Say what is wrong with a condition on outcomes."""

    def known(self, field: Field, what: str, name: str, names: Iterable[str]) -> None:
        """Say that a name is none of those known."""

    def always_with(self, span: Span | None = None) -> Iterator[Any]:
        """The enforced rules that surely apply to every request of this one, all the time it is in force (of ``span``).

        Each is an :class:`Other`.
        """


def check_date(c: Checker, field: str, text: str | None, side: Literal["start", "end"]) -> bool:
    """Whether a date or time can be read, or is left out."""
    return text is None or c.reads(field, "bad-date", moment, text, c.policy.timezone, side)


def check_permit_fits(c: Checker, field: str, window: str) -> None:
    """A permit ends with the calendar window that it draws on, so the shortest one must not be longer."""
    unit, least = parse_window(window).unit, c.policy.permit.min
    if unit is not None and duration_ms(least) > UNIT_MS[unit]:
        message = f"permits end with the `{window}` they draw on, and the shortest one, {least}, is longer"
        c.error(field, "window-too-short", message, "use a longer window, or lower `permit.min`")


def check_overlap(c: Checker, what: str, dates: Span) -> None:
    """The rule's own dates must overlap with the time for which it is in force."""
    if dates[1] <= c.in_force[0] or c.in_force[1] <= dates[0]:
        message = f"the {what}'s own dates lie outside of `effective`, so the rule does nothing"
        c.error("effective", "never-in-force", message, "remove `effective`, or let the two overlap", at_key=True)


def check_wanted(c: Checker, field: str, rule: str) -> None:
    """A rule that wants contacts must not apply to what another one never allows."""
    never: Other | None = next((other for other in c.always_with() if other.forbids), None)
    if never is not None:
        message = f"`{rule}` wants contacts that `{never.id}` never allows: its limit is 0"
        fix = f"raise the limit of `{never.id}`, or narrow one of the two"
        c.error(field, "wanted-but-never", message, fix, other=never)


def lint_zero(c: Checker, limit: int) -> None:
    """A limit of 0 forbids for good."""
    if limit == 0:
        message = "a limit of 0 means never: what this rule applies to is rejected, not put off until later"
        fix = "if never is meant, write `# arbiter: allow limit-zero` behind it; to try a rule out use `mode: shadow`"
        c.warning("limit", "limit-zero", message, fix)
