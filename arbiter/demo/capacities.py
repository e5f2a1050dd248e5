"""Counts again, from requests and approvals alone, how full each window of a capacity was.

Like ``arbiter.demo.caps`` it is written for checking; it shares the reading of policies with that module and nothing
with the worker. A contact takes a place in the window in which its permit begins. A cancelled contact gives it back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from arbiter.demo.caps import KIND, NUMBERS, Kind, People, calendar, enforced, fits, matches, moment


class Wish(Struct, frozen=True):
    """A request or an approved contact, as a capacity sees it; ``at`` is when it takes a place."""

    kind: Kind
    numbers: tuple[float | None, ...]
    customer: str
    at: datetime


class Window(Struct, frozen=True):
    """One window of a capacity: its places, how many were asked for and given, and how many requests were deferred in
    it.
    """

    rule: str
    label: str
    limit: int
    asked: int
    admitted: int
    put_off: int

    @property
    def over(self) -> int:
        """How many were admitted beyond the limit."""
        return max(self.admitted - self.limit, 0)


def windows(
    policy: Mapping[str, Any],
    people: People,
    asked: Iterable[Wish],
    admitted: Iterable[Wish],
    put_off: Iterable[tuple[str, Hashable, datetime]],
) -> list[Window]:
    """Every window of every capacity in which anything was asked for or given, in order.

    ``asked`` are all requests by the time of asking, ``admitted`` the approvals by the begin of their permits.
    ``put_off`` says which rule deferred which request, and when. A request counts once per window.
    """
    every, given, told = list(asked), list(admitted), list(put_off)
    found: list[Window] = []
    for rule in enforced(policy, "capacity"):
        named = {rule["window"].removeprefix("calendar "): rule["limit"]}
        if "hourly" in rule:
            named["hour"] = rule["hourly"]
        capacity = _Capacity(rule, policy, people, {wish.kind for wish in (*every, *given)})
        for unit, limit in named.items():
            asks, gives = capacity.count(every, unit), capacity.count(given, unit)
            waited = {(calendar(at, capacity.zone, unit), key) for name, key, at in told if name == rule["id"]}
            waits = Counter(key for key, _ in waited)
            found += [
                Window(rule["id"], _label(key, unit), limit, asks[key], gives[key], waits[key])
                for key in sorted(asks.keys() | gives.keys())
            ]
    return found


class _Capacity:
    """One capacity rule, read from its mapping."""

    def __init__(self, rule: Mapping[str, Any], policy: Mapping[str, Any], people: People, kinds: set[Kind]) -> None:
        when = rule.get("when") or {}
        zone = str(policy["timezone"])
        exempt = {name for name, text in policy["categories"].items() if "capacity" in (text.get("exempt") or [])}
        effective = rule.get("effective") or {}
        self.zone = ZoneInfo(zone)
        self._people = people
        self._begin = moment(effective.get("from", "0001-01-03"), zone)
        self._end = moment(effective.get("until", "9999-12-28"), zone, is_end=True)
        self._kinds = {kind for kind in kinds if fits(when, kind) and kind[KIND.index("category")] not in exempt}
        self._when = {key: condition for key, condition in when.items() if key not in KIND}

    def count(self, wishes: list[Wish], unit: str) -> Counter[tuple[Any, ...]]:
        """How many of these draw on each window."""
        counts: Counter[tuple[Any, ...]] = Counter()
        keys: dict[datetime, tuple[Any, ...]] = {}
        for wish in wishes:
            if wish.kind in self._kinds and self._begin <= wish.at < self._end and self._speaks_of(wish):
                # Every zone's hours, and so its windows, begin at a whole quarter.
                quarter = wish.at.replace(minute=wish.at.minute // 15 * 15, second=0, microsecond=0)
                key = keys.get(quarter)
                if key is None:
                    key = keys[quarter] = calendar(wish.at, self.zone, unit)
                counts[key] += 1
        return counts

    def _speaks_of(self, wish: Wish) -> bool:
        if not self._when:
            return True
        customer, segments = self._people.of(wish.customer)
        return matches(self._when, dict(zip(NUMBERS, wish.numbers, strict=True)), customer, segments)


def _label(key: tuple[Any, ...], unit: str) -> str:
    """The name of a window: the Monday of a week, else its numbers."""
    if unit == "week":
        return f"week of {date.fromisocalendar(key[0], key[1], 1)}"
    return f"{unit} {'-'.join(f'{part:02d}' for part in key if isinstance(part, int))}"
