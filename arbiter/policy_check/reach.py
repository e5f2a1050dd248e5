"""Which requests and contacts a ``when`` can match, worked out as sets: can it match anything, does one cover another.

Everything here errs to one side: what is called empty is empty, what is said to cover does cover; where a policy is too
intricate to tell, the answer is no. So a check that builds on it raises no false alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from arbiter.policy.frame import PolicyFrame
from arbiter.policy.match import Condition, Listed, Test, When

DOMAIN = ("department", "category", "channel")
"""The fields of a request whose values the policy lists; every request has them."""

BOUNDS: dict[str, tuple[float, float]] = {"priority": (0, 100), "propensity": (0, 1)}
"""What a request can say at all (see :class:`arbiter.messages.ContactRequest`)."""

Span = tuple[int, int]
"""When a rule is in force: [from, until) in ms."""


class Values(Struct, frozen=True):
    """A set of values of one field: of ``some`` (``None``: any), none of ``none``, and in [low, high) if given."""

    some: frozenset[Any] | None = None
    none: frozenset[Any] = frozenset()
    low: float | None = None
    high: float | None = None

    @property
    def listed(self) -> frozenset[Any] | None:
        """All its values, if they are finitely many."""
        return None if self.some is None else frozenset(value for value in self.some if self.admits(value))

    @property
    def is_empty(self) -> bool:
        """Whether there is surely no such value."""
        if self.some is not None:
            return not self.listed
        return self.low is not None and self.high is not None and self.low >= self.high

    def admits(self, value: Any) -> bool:
        """Whether a value, as :func:`typed` gives it, is in the set."""
        if value in self.none or (self.some is not None and value not in self.some):
            return False
        if self.low is None and self.high is None:
            return True
        if isinstance(value, tuple) or not isinstance(value, int | float):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)

    def within(self, other: Values) -> bool:
        """Whether each of its values is surely in the other set."""
        values = self.listed
        if values is not None:
            return all(other.admits(value) for value in values)
        return (
            other.some is None
            and not any(self.admits(value) for value in other.none)
            and (other.low is None or (self.low is not None and self.low >= other.low))
            and (other.high is None or (self.high is not None and self.high <= other.high))
        )

    def meet(self, other: Values) -> Values:
        """What is in both."""
        some = other.some if self.some is None else self.some if other.some is None else self.some & other.some
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Values(some, self.none | other.none, max(lows, default=None), min(highs, default=None))


def typed(value: object) -> object:
    """A value such that true is not 1."""
    return (bool, value) if isinstance(value, bool) else value


def listed(values: Listed | None) -> frozenset[Any]:
    """The values of a condition that names one or several."""
    if values is None:
        return frozenset()
    return frozenset(map(typed, values)) if isinstance(values, list) else frozenset((typed(values),))


def values_of(condition: Condition) -> Values:
    """The values that a condition lets through."""
    if isinstance(condition, Test):
        return Values(None, listed(condition.not_), condition.at_least, condition.below)
    return Values(listed(condition))


class Reach:
    """What the departments of a policy may ask for, one bit for each (department, category, channel)."""

    def __init__(self, policy: PolicyFrame) -> None:
        self._policy = policy
        self.asks = [
            (name, category, channel)
            for name, department in policy.departments.items()
            for category in department.categories
            for channel in (policy.channels if department.channels is None else department.channels)
        ]
        self.all = (1 << len(self.asks)) - 1
        self._bits: list[dict[str, int]] = [{} for _ in DOMAIN]
        for number, ask in enumerate(self.asks):
            for bits, value in zip(self._bits, ask, strict=True):
                bits[value] = bits.get(value, 0) | 1 << number

    def obeying(self, kind: str) -> int:
        """The asks whose category is not exempt from a rule kind."""
        categories = self._policy.categories
        exempt = [name for name, category in categories.items() if kind in category.exempt]
        return self.all & ~self.having("category", exempt)

    def having(self, field: str, names: Iterable[str]) -> int:
        """The asks with one of these values in a field of the domain."""
        bits = self._bits[DOMAIN.index(field)]
        mask = 0
        for name in names:
            mask |= bits.get(name, 0)
        return mask

    def mask(self, when: When) -> int:
        """The asks that a ``when`` may match; those it surely matches if it names only fields of the domain."""
        mask = self.all
        for field, bits in zip(DOMAIN, self._bits, strict=True):
            if field in when:
                values = values_of(when[field])
                mask &= self.having(field, filter(values.admits, bits))
        return mask

    def channels(self, *whens: When, kind: str) -> list[str]:
        """The channels of the asks that all of these may match and that obey rules of the kind."""
        mask = self.obeying(kind)
        for when in whens:
            mask &= self.mask(when)
        return sorted({channel for *_, channel in self.spoken(mask)})

    def spoken(self, mask: int) -> Iterator[tuple[str, str, str]]:
        """The asks of a mask."""
        return (ask for number, ask in enumerate(self.asks) if mask >> number & 1)

    def covers(self, wide: When, narrow: When, kind: str) -> bool:
        """Whether every request that ``narrow`` matches, and that obeys rules of the kind, ``wide`` surely matches."""
        if self.mask(narrow) & self.obeying(kind) & ~self.mask(wide):
            return False
        rest = {key: condition for key, condition in wide.items() if key not in DOMAIN}
        return self.covers_contacts(rest, narrow)

    def covers_contacts(self, wide: When, narrow: When) -> bool:
        """Whether every contact that ``narrow`` matches is surely matched by ``wide``, whatever the policy lists."""
        known = self._spelt_out(narrow)
        for key, condition in wide.items():
            if key not in known:
                return False
            if not (_segments_within if key == "segment" else _within)(narrow.get(key), known[key], condition):
                return False
        return True

    def empty_fields(self, when: When) -> list[str]:
        """The fields outside the domain whose conditions no value can meet, alone or with those of a segment."""
        found = [key for key in when if key not in DOMAIN and _bounded(key, values_of(when[key])).is_empty]
        spelt = self._spelt_out(when)
        if not found and any(values.is_empty for key, values in spelt.items() if key not in DOMAIN):
            found.append("segment")
        return found

    def meets(self, one: When, other: When) -> bool:
        """Whether there may be a request that both match."""
        if not self.mask(one) & self.mask(other):
            return False
        first, second = self._spelt_out(one), self._spelt_out(other)
        shared = [key for key in first if key in second and key not in ("segment", *DOMAIN)]
        return not any(first[key].meet(second[key]).is_empty for key in shared)

    def _spelt_out(self, when: When) -> dict[str, Values]:
        """The values of each field; a single segment stands for the attributes that make it, too."""
        known = {key: _bounded(key, values_of(condition)) for key, condition in when.items()}
        condition = when.get("segment")
        names = list(condition) if isinstance(condition, list) else [condition]
        if len(names) == 1 and isinstance(names[0], str) and names[0] in self._policy.segments:
            for key, test in self._policy.segments[names[0]].when.items():
                values = values_of(test)
                known[key] = known[key].meet(values) if key in known else values
        return known


def _bounded(key: str, values: Values) -> Values:
    """The values less what the field cannot hold; ``low`` and ``high`` make a half-open range, so 100 needs care."""
    low, high = BOUNDS.get(key, (None, None))
    if low is None or high is None:
        return values
    if (values.low is not None and values.low > high) or (values.high is not None and values.high <= low):
        return Values(frozenset())
    return values


def _within(_: Condition | None, values: Values, wide: Condition) -> bool:
    return values.within(values_of(wide))


def _segments_within(narrow: Condition | None, _: Values, wide: Condition) -> bool:
    """A customer may be in several segments, or in none: one list is within another, one exclusion within a wider."""
    if narrow is None:
        return False
    if isinstance(wide, Test) != isinstance(narrow, Test):
        return False
    if isinstance(wide, Test) and isinstance(narrow, Test):
        return listed(wide.not_) <= listed(narrow.not_)
    return values_of(narrow).within(values_of(wide))


def only_domain(when: Mapping[str, Condition]) -> bool:
    """Whether a ``when`` names nothing but departments, categories and channels."""
    return all(key in DOMAIN for key in when)
