"""Errors in conditions: unknown fields and names, values of the wrong type, tests that nothing meets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from arbiter.ledger.names import nearest
from arbiter.messages import Scalar
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.match import (
    NUMBER_FIELDS,
    NUMBERS,
    REQUEST_FIELDS,
    SHAPE_FIELDS,
    Condition,
    Test,
    When,
    plain_number,
)
from arbiter.policy_check.problem import Path, Problem


def conditions(path: Path, when: When, policy: PolicyFrame) -> Iterator[Problem]:
    """The errors of the conditions at a path."""
    names: dict[str, Iterable[str]] = {
        "department": policy.departments, "channel": policy.channels,
        "category": policy.categories, "segment": policy.segments,
    }  # fmt: skip
    for key, condition in when.items():
        place: Path = (*path, key)
        yield from never(place, key, condition)
        if key.startswith(("attributes.", "profile.")):
            continue
        if key != "segment" and key not in REQUEST_FIELDS:
            fix = nearest(key, (*REQUEST_FIELDS, "segment")) + " (or `attributes.x`, `profile.x`)"
            yield Problem(place, "unknown-field", f"requests have no field `{key}`", fix)
        for at, value in _values(place, condition):
            if type(value) not in _types_of(key):
                yield _other_type(at, key, value)
            elif key in names:
                yield from known_name(at, key, str(value), names[key])


def _values(path: Path, condition: Condition) -> Iterator[tuple[Path, Scalar]]:
    """The values that a condition names, each with its place."""
    values: object = condition
    if isinstance(condition, Test):
        values, path = condition.not_, (*path, "not")
    if isinstance(values, list):
        yield from (((*path, index), value) for index, value in enumerate(values))
    elif isinstance(values, str | int | float):
        yield path, values


def _types_of(key: str) -> tuple[type, ...]:
    """The types of a field's values. A value of another type never equals one."""
    if key in NUMBER_FIELDS:
        return NUMBERS
    if key == "recallable":
        return (bool,)
    return (str,) if key in (*SHAPE_FIELDS, "customer_id", "segment") else (str, bool, *NUMBERS)


def _other_type(path: Path, key: str, value: Scalar) -> Problem:
    said = f'`"{value}"`' if isinstance(value, str) else f"`{str(value).lower()}`"
    what = "a text" if isinstance(value, str) else "true or false" if isinstance(value, bool) else "a number"
    types = _types_of(key)
    if types == (str,):
        wanted, fix = "a text", f'put it in quotes: `"{str(value).lower()}"`'
    elif types == (bool,):
        wanted, fix = "true or false", "write `true` or `false`, without quotes"
    else:
        wanted, fix = "a number", "write a number, without quotes"
    return Problem(path, "never-matches", f"`{key}` is {wanted}, but {said} is {what}, so it would never match", fix)


def never(path: Path, key: str, condition: Condition) -> Iterator[Problem]:
    """The error of a condition that no value meets, whatever the field."""
    if isinstance(condition, Test):
        yield from _test(path, key, condition)
        low, high = condition.at_least, condition.below
        if low is not None and high is not None and low >= high:
            message = (
                f"no number is at least {plain_number(low)} and below {plain_number(high)}, so `{key}` never matches"
            )
            yield Problem(path, "impossible-condition", message, "swap the two numbers", at_key=True)
    elif condition == []:
        message = f"the list of `{key}` is empty, so nothing matches"
        yield Problem(path, "impossible-condition", message, f"name some, or remove `{key}`", at_key=True)


def _test(path: Path, key: str, test: Test) -> Iterator[Problem]:
    is_number = test.at_least is not None or test.below is not None
    if not is_number and test.not_ is None:
        yield Problem(path, "empty-test", f"the test of `{key}` is empty", "write `not`, `at_least` or `below`")
    if is_number and (key == "segment" or key in REQUEST_FIELDS) and key not in NUMBER_FIELDS:
        message, fix = f"`{key}` is not a number", "`at_least` and `below` are for numbers; name what is meant"
        yield Problem(path, "not-a-number", message, fix)


def known_name(path: Path, what: str, name: str, known: Iterable[str]) -> Iterator[Problem]:
    """The error of a name that is not known."""
    names = set(known)
    if name not in names:
        yield Problem(path, f"unknown-{what.replace(' ', '-')}", f"unknown {what} `{name}`", nearest(name, names))


def outcomes(path: Path, condition: Condition, known: Iterable[str]) -> Iterator[Problem]:
    """The errors of a condition on outcomes."""
    yield from never(path, "outcome", condition)
    for at, value in _values(path, condition):
        yield from known_name(at, "outcome", str(value), known)
