"""Counts again, from approvals alone, whether any customer or household went over a cap of the policy.

It is written for checking, so it shares nothing with the worker: it reads the policy's YAML itself, has its own
windows, and looks at the approvals in the order in which they were given. An approval counts at the last instant of its
permit, or when its desk says that the contact was made. A party is the household that a customer's profile names, else
the customer.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from ruamel.yaml import YAML

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


KIND = ("department", "campaign", "channel", "category", "product", "partner")
NUMBERS = ("priority", "value", "propensity")

Kind = tuple[str | None, ...]
"""The values of the fields in ``KIND``."""


class Approval(Struct, frozen=True):
    """An approved contact: its place in the order of approvals, its kind (``KIND``, ``NUMBERS``), and its permit.

    ``at`` is when it counts: when it was made, else the last instant at which it may be made.
    """

    place: int
    kind: Kind
    numbers: tuple[float | None, ...]
    customer: str
    not_before: datetime
    at: datetime


class Customer(Struct, frozen=True):
    """What a cap may ask about a customer."""

    zone: str | None
    attributes: Mapping[str, object]
    household: str | None = None


NOBODY = Customer(None, {})


class Breach(Struct, frozen=True):
    """An approval that took its customer over a cap."""

    rule: str
    customer: str
    place: int
    at: datetime
    used: int
    limit: int


def read_policy(folder: Path) -> dict[str, Any]:
    """All YAML files of a policy folder as one mapping, their rules in one list."""
    together: dict[str, Any] = {"rules": []}
    for file in sorted(folder.glob("*.yaml")):
        if not file.name.endswith(".test.yaml"):
            content = YAML(typ="safe").load(file.read_text()) or {}
            together["rules"] += content.pop("rules", None) or []
            for key, value in content.items():
                both = isinstance(value, dict) and isinstance(together.get(key), dict)
                together[key] = {**together[key], **value} if both else value
    return together


def breaches(policy: Mapping[str, Any], approvals: list[Approval], customers: Mapping[str, Customer]) -> list[Breach]:
    """The approvals, in the order given, that exceed a cap they had to obey in one of their windows."""
    kinds = {approval.kind for approval in approvals}
    caps = [_Cap(rule, policy, kinds) for rule in enforced(policy, "cap")]
    people = People(policy, customers)
    by_customer: dict[str, list[Approval]] = defaultdict(list)
    by_party: dict[str, list[Approval]] = defaultdict(list)
    for approval in approvals:
        by_customer[approval.customer].append(approval)
        by_party[people.party(approval.customer)].append(approval)
    found: list[Breach] = []
    for cap in caps:
        for name, own in (by_party if cap.is_of_party else by_customer).items():
            counted = [approval for approval in own if approval.kind in cap.counted]
            if counted:
                found += cap.breaches(counted, people, people.zone(name))
    return found


def enforced(policy: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """The rules of a kind that can say no."""
    return [rule for rule in policy["rules"] if rule["kind"] == kind and rule.get("mode", "enforce") == "enforce"]


class People:
    """The customers, and which of them are one party."""

    def __init__(self, policy: Mapping[str, Any], customers: Mapping[str, Customer]) -> None:
        self._customers = customers
        self._segments = policy.get("segments") or {}
        self._zone = str(policy["timezone"])
        self._known: dict[str, tuple[Customer, set[str]]] = {}
        self._zones: dict[str, set[str]] = defaultdict(set)
        for name, customer in customers.items():
            for unit in {name, self.party(name)}:
                self._zones[unit].add(customer.zone or self._zone)

    def party(self, name: str) -> str:
        """The household of a customer, or the customer alone."""
        household = self._customers.get(name, NOBODY).household
        return name if household is None else f"household {household}"

    def zone(self, name: str) -> ZoneInfo:
        """The zone of a customer, or the common zone of a party; else the business zone."""
        zones = self._zones.get(name, ())
        return ZoneInfo(next(iter(zones)) if len(zones) == 1 else self._zone)

    def of(self, name: str) -> tuple[Customer, set[str]]:
        """A customer and the customer's segments."""
        known = self._known.get(name)
        if known is None:
            customer = self._customers.get(name, NOBODY)
            within = {key for key, text in self._segments.items() if matches(text["when"], {}, customer, set())}
            known = self._known[name] = customer, within
        return known


class _Cap:
    """One cap rule, read from its mapping. ``counted`` are the kinds of contacts that it may count."""

    def __init__(self, rule: Mapping[str, Any], policy: Mapping[str, Any], kinds: set[Kind]) -> None:
        self.rule = rule
        when = rule.get("when") or {}
        counts = rule.get("counts", when)
        self.is_of_party = "party" in rule["per"]
        self.per = [KIND.index(field) for field in rule["per"] if field not in {"party", "customer"}]
        self.zone = str(policy["timezone"])
        prices = {name: (channel or {}).get("points", 1) for name, channel in policy["channels"].items()}
        self.prices = prices if rule.get("unit") == "points" else dict.fromkeys(prices, 1)
        how, _, self.unit = rule["window"].partition(" ")
        self.rolling = _duration(self.unit) if how == "rolling" else None
        effective = rule.get("effective") or {}
        self.begin = moment(effective.get("from", "0001-01-03"), self.zone)
        self.end = moment(effective.get("until", "9999-12-28"), self.zone, is_end=True)
        # Few kinds, many contacts: what the kind alone decides is decided once.
        exempt = {name for name, text in policy["categories"].items() if "cap" in (text.get("exempt") or [])}
        self.counted = {kind for kind in kinds if fits(counts, kind)}
        self.obeying = {kind for kind in kinds if fits(when, kind) and kind[KIND.index("category")] not in exempt}
        self.counts = {key: condition for key, condition in counts.items() if key not in KIND}
        self.when = {key: condition for key, condition in when.items() if key not in KIND}

    def breaches(self, approvals: list[Approval], people: People, zone: ZoneInfo) -> Iterator[Breach]:
        """The approvals of one party or customer that went over the cap; all are of counted kinds."""
        buckets: dict[Kind, list[tuple[datetime, int]]] = defaultdict(list)
        for approval in approvals:
            customer, segments = people.of(approval.customer)
            numbers = dict(zip(NUMBERS, approval.numbers, strict=True))
            if self.counts and not matches(self.counts, numbers, customer, segments):
                continue
            bucket = buckets[tuple(approval.kind[index] for index in self.per)]
            bucket.append((approval.at, self.prices[str(approval.kind[KIND.index("channel")])]))
            must_obey = approval.kind in self.obeying and self.begin <= approval.not_before < self.end
            if must_obey and matches(self.when, numbers, customer, segments):
                limit = self._limit(segments)
                used = self._most_used(bucket, zone, limit)
                if used > limit:
                    yield Breach(self.rule["id"], approval.customer, approval.place, approval.at, used, limit)

    def _limit(self, segments: set[str]) -> int:
        special = (self.rule.get("limit_by") or {}).get("segment", {})
        return min((limit for name, limit in special.items() if name in segments), default=int(self.rule["limit"]))

    def _most_used(self, bucket: list[tuple[datetime, int]], zone: ZoneInfo, limit: int) -> int:
        """The highest use in any window that contains the newest approval, the last in the bucket."""
        at = bucket[-1][0]
        in_all = sum(cost for _, cost in bucket)
        if in_all <= limit:
            return in_all
        if self.rolling is not None:
            length = self.rolling
            ends = [end for end, _ in bucket if at <= end < at + length]
            return max(sum(cost for when, cost in bucket if end - length < when <= end) for end in ends)
        window = calendar(at, zone, self.unit)
        return sum(cost for when, cost in bucket if calendar(when, zone, self.unit) == window)


def _duration(text: str) -> timedelta:
    number, unit = re.fullmatch(r"(\d+)([smhdw])", text).groups()  # type: ignore[union-attr]
    return timedelta(**{UNITS[unit]: int(number)})


def calendar(at: datetime, zone: ZoneInfo, unit: str) -> tuple[object, ...]:
    """What tells one calendar window from another."""
    local = at.astimezone(zone)
    if unit == "week":
        return tuple(local.isocalendar()[:2])
    if unit == "quarter":
        return local.year, (local.month - 1) // 3
    if unit == "hour":
        return *local.timetuple()[:4], local.utcoffset()
    return tuple(local.timetuple()[: ("year", "month", "day").index(unit) + 1])


def moment(written: object, zone: str, *, is_end: bool = False) -> datetime:
    """The instant of a date or local time; of a date that is an end, the one after it."""
    text = str(written)
    local = datetime.fromisoformat(text)
    if is_end and len(text) == len("2026-12-24"):
        local += timedelta(days=1)
    return (local if local.tzinfo else local.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


def fits(when: Mapping[str, Any], kind: Kind) -> bool:
    """Whether the conditions on the kind of contact hold."""
    fields = dict(zip(KIND, kind, strict=True))
    return matches({key: when[key] for key in KIND if key in when}, fields, NOBODY, set())


def matches(
    when: Mapping[str, Any], fields: Mapping[str, str | float | None], customer: Customer, segments: set[str]
) -> bool:
    """Whether all conditions of a ``when`` hold; a field that is missing never matches."""
    for key, condition in when.items():
        if key == "segment":
            refused = _list(condition.get("not")) if isinstance(condition, dict) else None
            if segments & set(refused) if refused is not None else not segments & set(_list(condition)):
                return False
            continue
        value = customer.attributes.get(key[8:]) if key.startswith("profile.") else fields[key]
        if value is None or not _holds(condition, value):
            return False
    return True


def _holds(condition: object, value: Any) -> bool:
    if not isinstance(condition, dict):
        return _is_one_of(value, _list(condition))
    if "not" in condition and _is_one_of(value, _list(condition["not"])):
        return False
    if "at_least" in condition or "below" in condition:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and condition.get("at_least", -math.inf) <= value < condition.get("below", math.inf)
    return True


def _is_one_of(value: object, listed: list[Any]) -> bool:
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in listed)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
