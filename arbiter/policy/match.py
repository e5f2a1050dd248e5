"""``when``: which requests, and which past contacts, a rule applies to.

Keys are ANDed, a list means any of, ``not``, ``at_least`` and ``below`` do what they say, and a missing field never
matches. The part that looks only at the *shape* of a contact (department, campaign, channel, category, product,
partner) is answered once per shape and remembered; only the rest is evaluated for each request.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from arbiter.messages import ContactRequest, Scalar

SHAPE_FIELDS = ("department", "campaign", "channel", "category", "product", "partner")
NUMBER_FIELDS = ("priority", "value", "propensity")
REQUEST_FIELDS = (*SHAPE_FIELDS, "customer_id", *NUMBER_FIELDS, "recallable")

_KEYS = frozenset((*REQUEST_FIELDS, "segment"))

Listed = str | int | float | bool | list[str | int | float | bool]


class Test(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"not_": "not"}):
    """A test that is more than "one of these". Several in one test must all hold."""

    __test__ = False  # not a test case, whatever a test runner thinks of the name

    not_: Annotated[Listed, Meta(description="None of these.")] | None = None
    at_least: Annotated[float, Meta(description="This number or more.")] | None = None
    below: Annotated[float, Meta(description="Less than this number.")] | None = None


Condition = Listed | Test
When = dict[str, Condition]

NUMBERS = (int, float)
"""``bool`` is none, though Python thinks so."""

WHOLE_MAX = 10**15
"""Whole numbers below this are exact."""

SHAPES_MAX = 10_000
"""Campaigns come and go: how many shapes a matcher remembers before it starts anew."""

Predicate = Callable[[Any], bool]
"""Takes the value of one field (never ``None``), says whether it matches."""


class Subject(Protocol):
    """What a ``when`` is held against: a request or a past contact, with the customer's attributes and segments.

    ``request`` is ``None`` for a past contact, of which only the shape is remembered; ``profile`` and ``segments`` are
    ``None`` for a customer without a profile, who is in no segment and not outside of one either.
    """

    @property
    def request(self) -> ContactRequest | None: ...  # noqa: D102
    @property
    def profile(self) -> Mapping[str, Scalar] | None: ...  # noqa: D102
    @property
    def segments(self) -> frozenset[str] | None: ...  # noqa: D102


class OfContact(Struct, frozen=True, gc=False):
    """A past contact as a ``when`` sees it."""

    profile: Mapping[str, Scalar] | None
    segments: frozenset[str] | None
    request: None = None


Check = Callable[[Subject], bool]
"""Takes a subject, says whether one condition holds for it."""


class Matcher:
    """A compiled ``when``."""

    def __init__(self, when: When) -> None:
        """``ValueError`` for a field that requests do not have."""
        unknown = next((key for key in when if not (key in _KEYS or key.startswith(("attributes.", "profile.")))), None)
        if unknown is not None:
            raise ValueError(f"requests have no field `{unknown}`")
        self._shape = [(SHAPE_FIELDS.index(key), _predicate(cond)) for key, cond in when.items() if key in SHAPE_FIELDS]
        self._rest = [_check(key, cond) for key, cond in when.items() if key not in SHAPE_FIELDS]
        self._memo: dict[tuple[str | None, ...], bool] = {}
        self.shape_only = not self._rest
        """Whether the shape alone decides."""
        self.by_segment = all(key == "segment" for key in when if key not in SHAPE_FIELDS)
        """Whether shape and segments decide."""

    def shape_matches(self, shape: tuple[str | None, ...]) -> bool:
        """Whether the shape part holds, for ``shape`` in the order of ``SHAPE_FIELDS``."""
        known = self._memo.get(shape)
        if known is None:
            if len(self._memo) > SHAPES_MAX:
                self._memo.clear()
            known = all(shape[i] is not None and test(shape[i]) for i, test in self._shape)
            self._memo[shape] = known
        return known

    def rest_matches(self, subject: Subject) -> bool:
        """Whether all that is not shape holds."""
        # A loop, since this runs for each request and a generator costs twice as much.
        for check in self._rest:  # noqa: SIM110
            if not check(subject):
                return False
        return True


def _check(key: str, condition: Condition) -> Check:
    if key == "segment":
        return _segment_check(condition)
    test = _predicate(condition)
    if key.startswith("profile."):
        name = key[len("profile.") :]

        def of_profile(subject: Subject) -> bool:
            value = subject.profile.get(name) if subject.profile is not None else None
            return value is not None and test(value)

        return of_profile
    get = _attribute(key[len("attributes.") :]) if key.startswith("attributes.") else attrgetter(key)

    def of_request(subject: Subject) -> bool:
        value = get(subject.request) if subject.request is not None else None
        return value is not None and test(value)

    return of_request


def _attribute(name: str) -> Callable[[ContactRequest], Scalar]:
    return lambda request: request.attributes.get(name)


def _segment_check(condition: Condition) -> Check:
    if isinstance(condition, Test):
        others = frozenset(_listed(condition.not_))
        return lambda subject: subject.segments is not None and others.isdisjoint(subject.segments)
    names = frozenset(_listed(condition))
    return lambda subject: subject.segments is not None and not names.isdisjoint(subject.segments)


def _listed(values: Listed | None) -> list[Any]:
    if values is None:
        return []
    return values if isinstance(values, list) else [values]


def _predicate(condition: Condition) -> Predicate:
    if not isinstance(condition, Test):
        return _is_one_of(_listed(condition))
    is_refused = _is_one_of(_listed(condition.not_))
    low, high = condition.at_least, condition.below
    if low is None and high is None:
        return lambda value: not is_refused(value)
    least, bound = -math.inf if low is None else low, math.inf if high is None else high
    is_any_refused = condition.not_ is not None

    def is_between(value: Any) -> bool:
        if type(value) not in NUMBERS:
            return False
        # Not `value < inf`: a number that is infinite is below no bound, but it is not excluded where none is named.
        if value < least or (high is not None and value >= bound):
            return False
        return not (is_any_refused and is_refused(value))

    return is_between


def _is_one_of(values: list[Any]) -> Predicate:
    """``True`` must not match ``1``: Python thinks them equal, no reader of a policy does."""
    if all(isinstance(value, str) for value in values):
        return frozenset(values).__contains__
    allowed = frozenset(map(_typed, values))
    return lambda value: _typed(value) in allowed


def names_one(when: When, field: str) -> bool:
    """Whether a condition allows exactly one value of a field."""
    condition = when.get(field)
    return condition is not None and not isinstance(condition, Test) and len(set(map(_typed, _listed(condition)))) == 1


def spoken_when(when: When) -> str:
    """A condition in words, for findings: ``campaign spring, channel phone or sms``."""
    return ", ".join(f"{key} {spoken_condition(condition)}" for key, condition in when.items())


def spoken_condition(condition: Condition) -> str:
    """What one field must be, in words: ``phone or sms``, ``other than phone``, ``at least 10``."""
    if not isinstance(condition, Test):
        return " or ".join(_word(value) for value in _listed(condition))
    words = [] if condition.not_ is None else [f"other than {spoken_condition(condition.not_)}"]
    words += [] if condition.at_least is None else [f"at least {plain_number(condition.at_least)}"]
    words += [] if condition.below is None else [f"below {plain_number(condition.below)}"]
    return " and ".join(words)


def plain_number(number: float) -> str:
    """A number in all its digits, without an exponent: ``50000``, ``0.25``, ``1000000``."""
    return f"{number:.0f}" if number.is_integer() and abs(number) < WHOLE_MAX else repr(number)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _typed(value: object) -> object:
    return (bool, value) if isinstance(value, bool) else value
