"""Which requests and contacts a ``when`` can match, as sets: is it empty, does it cover another one.

Every yes is certain; where a policy is too intricate, the answer is no. So no check that builds on it raises a false
alarm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from arbiter.policy.frame import PolicyFrame
from arbiter.policy.match import Condition, Listed, Test, When

DOMAIN = ("department", "category", "channel")
"""The fields whose values the policy lists. Every request has them."""

BOUNDS: dict[str, tuple[float, float]] = {"priority": (0, 100), "propensity": (0, 1)}
"""The range of a request's numbers (see :class:`arbiter.messages.ContactRequest`)."""

Span = tuple[int, int]
"""When a rule is in force: [from, until) in ms."""


class Values(Struct, frozen=True):
    """A set of values of one field: those in ``some`` (``None``: any), but not in ``none``, within [low, high)."""

    some: frozenset[Any] | None = None
    none: frozenset[Any] = frozenset()
    low: float | None = None
    high: float | None = None

    @property
    def listed(self) -> frozenset[Any] | None:
        """Its values, if there are finitely many."""
        return None if self.some is None else frozenset(value for value in self.some if self.admits(value))

    @property
    def is_empty(self) -> bool:
        """Whether it is surely empty."""
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
        """Whether it is surely a subset of the other."""
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
        """The values in both."""
        some = other.some if self.some is None else self.some if other.some is None else self.some & other.some
        lows = [low for low in (self.low, other.low) if low is not None]
        highs = [high for high in (self.high, other.high) if high is not None]
        return Values(some, self.none | other.none, max(lows, default=None), min(highs, default=None))


def typed(value: object) -> object:
    """A value that does not take true for 1."""
    return (bool, value) if isinstance(value, bool) else value


def listed(values: Listed | None) -> frozenset[Any]:
    """The values that a condition lists."""
    if values is None:
        return frozenset()
    return frozenset(map(typed, values)) if isinstance(values, list) else frozenset((typed(values),))


def values_of(condition: Condition) -> Values:
    """The values that meet a condition."""
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
        """The asks with one of these values in a field of ``DOMAIN``."""
        bits = self._bits[DOMAIN.index(field)]
        mask = 0
        for name in names:
            mask |= bits.get(name, 0)
        return mask

    def mask(self, when: When) -> int:
        """The asks that a ``when`` may match. It surely matches them if it names only fields of ``DOMAIN``."""
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
        return sorted({channel for *_, channel in self.listed(mask)})

    def listed(self, mask: int) -> Iterator[tuple[str, str, str]]:
        """The asks of a mask."""
        return (ask for number, ask in enumerate(self.asks) if mask >> number & 1)

    def covers(self, wide: When, narrow: When, kind: str) -> bool:
        """Whether ``wide`` surely matches every request that ``narrow`` matches and that obeys rules of the kind."""
        if self.mask(narrow) & self.obeying(kind) & ~self.mask(wide):
            return False
        rest = {key: condition for key, condition in wide.items() if key not in DOMAIN}
        return self.covers_contacts(rest, narrow)

    def covers_contacts(self, wide: When, narrow: When) -> bool:
        """Whether ``wide`` surely matches every contact that ``narrow`` matches, whatever the policy lists."""
        known = self._spelt_out(narrow)
        for key, condition in wide.items():
            if key not in known:
                return False
            if not (_segments_within if key == "segment" else _within)(narrow.get(key), known[key], condition):
                return False
        return True

    def empty_fields(self, when: When) -> list[str]:
        """The fields outside of ``DOMAIN`` whose conditions no value meets, alone or with those of a segment."""
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
        """The values of each field. A single segment adds the attributes that define it."""
        known = {key: _bounded(key, values_of(condition)) for key, condition in when.items()}
        condition = when.get("segment")
        names = list(condition) if isinstance(condition, list) else [condition]
        if len(names) == 1 and isinstance(names[0], str) and names[0] in self._policy.segments:
            for key, test in self._policy.segments[names[0]].when.items():
                values = values_of(test)
                known[key] = known[key].meet(values) if key in known else values
        return known


def _bounded(key: str, values: Values) -> Values:
    """The values that the field can hold. ``high`` itself can be one of them."""
    low, high = BOUNDS.get(key, (None, None))
    if low is None or high is None:
        return values
    if (values.low is not None and values.low > high) or (values.high is not None and values.high <= low):
        return Values(frozenset())
    return values


def _within(_: Condition | None, values: Values, wide: Condition) -> bool:
    return values.within(values_of(wide))


def _segments_within(narrow: Condition | None, _: Values, wide: Condition) -> bool:
    """Of two lists the shorter is within the longer, of two exclusions the other way round.

    A customer may be in several segments or in none, so a list is never within an exclusion.
    """
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
