"""``when``: which requests, and which past contacts, a rule speaks about.

Keys are ANDed, a list means any of, ``not``, ``at_least`` and ``below`` do what they say, and a missing field never
matches. The part that looks only at the *shape* of a contact (department, campaign, channel, category, product,
partner) is answered once per shape and remembered; only the rest is evaluated for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from arbiter.messages import ContactRequest, Scalar

SHAPE_FIELDS = ("department", "campaign", "channel", "category", "product", "partner")
NUMBER_FIELDS = ("priority", "value", "propensity")
REQUEST_FIELDS = (*SHAPE_FIELDS, "customer_id", *NUMBER_FIELDS, "recallable")

Listed = str | int | float | bool | list[str | int | float | bool]


class Test(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, rename={"not_": "not"}):
    """A test that is more than "one of these". Several in one test must all hold."""

    __test__ = False  # not a test case, whatever a test runner thinks of the name

    not_: Annotated[Listed, Meta(description="None of these.")] | None = None
    at_least: Annotated[float, Meta(description="This number or more.")] | None = None
    below: Annotated[float, Meta(description="Less than this number.")] | None = None


Condition = Listed | Test
When = dict[str, Condition]

SHAPES_MAX = 10_000
"""Campaigns come and go: how many shapes a matcher remembers before it starts anew."""

Predicate = Callable[[Any], bool]
"""Takes the value of one field (never ``None``), says whether it matches."""


class Subject:
    """What a ``when`` is held against: a request or a past contact, with the customer's attributes and segments.

    ``request`` is ``None`` for a past contact, of which only the shape is remembered; ``profile`` is ``None`` for a
    customer without a profile, who is in no segment and not outside of one either.
    """

    __slots__ = ("_segments", "_segments_of", "profile", "request")

    def __init__(
        self,
        request: ContactRequest | None,
        profile: Mapping[str, Scalar] | None,
        segments_of: Callable[[Mapping[str, Scalar]], frozenset[str]],
    ) -> None:
        self.request = request
        self.profile = profile
        self._segments_of = segments_of
        self._segments: frozenset[str] | None = None

    @property
    def segments(self) -> frozenset[str] | None:
        """The customer's segments, worked out when first asked for."""
        if self._segments is None and self.profile is not None:
            self._segments = self._segments_of(self.profile)
        return self._segments


class Matcher:
    """A compiled ``when``."""

    def __init__(self, when: When) -> None:
        self._shape = [(SHAPE_FIELDS.index(key), _predicate(cond)) for key, cond in when.items() if key in SHAPE_FIELDS]
        self._rest = [(key, _predicate(cond), cond) for key, cond in when.items() if key not in SHAPE_FIELDS]
        self._memo: dict[tuple[str | None, ...], bool] = {}
        self.shape_only = not self._rest
        """Whether the shape alone decides."""

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
        for key, test, condition in self._rest:  # noqa: SIM110
            if not _matches(key, test, condition, subject):
                return False
        return True


def _matches(key: str, test: Predicate, condition: Condition, subject: Subject) -> bool:
    if key == "segment":
        return subject.segments is not None and _segment_matches(condition, subject.segments)
    value: object = None
    if key.startswith("profile."):
        value = subject.profile.get(key[8:]) if subject.profile is not None else None
    elif subject.request is not None:
        if key.startswith("attributes."):
            value = subject.request.attributes.get(key[11:])
        else:
            value = getattr(subject.request, key)
    return value is not None and test(value)


def _segment_matches(condition: Condition, segments: frozenset[str]) -> bool:
    if isinstance(condition, Test):
        return not segments.intersection(_listed(condition.not_))
    return bool(segments.intersection(_listed(condition)))


def _listed(values: Listed | None) -> list[Any]:
    if values is None:
        return []
    return values if isinstance(values, list) else [values]


def _predicate(condition: Condition) -> Predicate:
    if not isinstance(condition, Test):
        allowed = frozenset(map(_typed, _listed(condition)))
        return lambda value: _typed(value) in allowed
    refused = frozenset(map(_typed, _listed(condition.not_)))
    low, high = condition.at_least, condition.below

    def test(value: Any) -> bool:
        if low is not None or high is not None:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            if (low is not None and value < low) or (high is not None and value >= high):
                return False
        return _typed(value) not in refused

    return test


def _typed(value: object) -> object:
    """``True`` must not match ``1``: Python thinks them equal, no reader of a policy does."""
    return (bool, value) if isinstance(value, bool) else value
