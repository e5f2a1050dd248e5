"""What a policy's caps, consent rules and suppression lists say, in plain code, for checking.

Reads the policy as its owners write it and messages as they stand on the topics. Shares nothing with the rules of the
core. What it does not know how to judge it refuses with ``NotImplementedError``. Every customer is a party of one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

Fact = Mapping[str, Any]

FOREVER = datetime.max.replace(tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
SHAPE = frozenset(("department", "campaign", "channel", "category", "product", "partner"))
NARROWED_BY = ("channel", "department", "partner")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Approved(Struct, frozen=True):
    """A request that was approved: its decision's id and policy version, its fields, its permit."""

    id: str
    version: int
    request: Mapping[str, Any]
    begin: datetime
    end: datetime


def instant(text: str) -> datetime:
    """The moment that an RFC 3339 text names."""
    return datetime.fromisoformat(text)


def duration(text: str) -> timedelta:
    """``7d`` and the like."""
    number, unit = re.fullmatch(r"(\d+)([smhdw])", text).groups()  # type: ignore[union-attr]
    return timedelta(**{UNITS[unit]: int(number)})


def over_caps(
    document: Mapping[str, Any], version: int, approved: Sequence[Approved], profile: Mapping[str, Any]
) -> Iterator[str]:
    """A sentence for each of one customer's approvals, in the order given, that took a cap of its policy too far.

    A contact counts at the last instant of its permit, in any window that holds it.
    """
    for rule in document["rules"]:
        if rule["kind"] != "cap" or rule.get("mode", "enforce") != "enforce":
            continue
        limit = _limit(rule, document, profile)
        buckets: dict[tuple[Any, ...], list[tuple[datetime, int]]] = defaultdict(list)
        for one in approved:
            if not speaks(rule.get("counts", rule.get("when") or {}), one.request):
                continue
            bucket = buckets[tuple(one.request.get(field) for field in rule["per"] if field in SHAPE)]
            bucket.append((one.end - MILLISECOND, _cost(rule, document, one.request)))
            exempt = "cap" in document["categories"][one.request["category"]].get("exempt", [])
            if exempt or one.version != version or not speaks(rule.get("when") or {}, one.request):
                continue
            used = _most_used(bucket, rule["window"], ZoneInfo(profile.get("time_zone") or document["timezone"]))
            if used > limit:
                yield f"{one.id} takes {rule['id']} to {used} of {limit}"


def _limit(rule: Mapping[str, Any], document: Mapping[str, Any], profile: Mapping[str, Any]) -> int:
    limits = []
    for name, limit in (rule.get("limit_by") or {}).get("segment", {}).items():
        ((field, condition),) = document["segments"][name]["when"].items()
        if not field.startswith("profile.") or set(condition) != {"at_least"}:
            raise NotImplementedError(f"this segment is not understood here: {name}")
        value = profile.get("attributes", {}).get(field.removeprefix("profile."))
        if value is not None and value >= condition["at_least"]:
            limits.append(limit)
    return min(limits, default=int(rule["limit"]))


def _cost(rule: Mapping[str, Any], document: Mapping[str, Any], request: Mapping[str, Any]) -> int:
    return int(document["channels"][request["channel"]]["points"]) if rule.get("unit") == "points" else 1


def _most_used(bucket: list[tuple[datetime, int]], window: str, zone: ZoneInfo) -> int:
    """The most that is used in any window that holds the newest contact, the last of the bucket."""
    newest, (how, _, what) = bucket[-1][0], window.partition(" ")
    if how == "rolling":
        length = duration(what)
        ends = [at for at, _ in bucket if newest <= at < newest + length]
        return max(sum(cost for at, cost in bucket if end - length < at <= end) for end in ends)
    return sum(cost for at, cost in bucket if _calendar(at, what, zone) == _calendar(newest, what, zone))


def _calendar(at: datetime, unit: str, zone: ZoneInfo) -> tuple[int, ...]:
    local = at.astimezone(zone)
    if unit == "week":
        return tuple(local.isocalendar()[:2])
    return tuple(local.timetuple()[: ("year", "month", "day").index(unit) + 1])


def permits(
    document: Mapping[str, Any], request: Mapping[str, Any], facts: Sequence[Fact], begin: datetime, end: datetime
) -> bool:
    """Whether a permit ``[begin, end)`` for the request is in order, when these facts were read, in this order."""
    purpose = document["categories"][request["category"]]["purpose"]
    for rule in document["rules"]:
        if rule.get("mode", "enforce") != "enforce" or not speaks(rule.get("when") or {}, request):
            continue
        if rule["kind"] == "consent" and not _consents(rule["basis"], purpose, request, facts, begin, end):
            return False
        if rule["kind"] == "suppression" and any(until > begin for until in _suppressions(rule, facts)):
            return False
    return True


def speaks(when: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a rule with these conditions speaks about such a request."""
    if set(when) - SHAPE or any(isinstance(condition, dict) for condition in when.values()):
        raise NotImplementedError(f"this `when` is not understood here: {dict(when)}")
    return all(
        request.get(field) in (condition if isinstance(condition, list) else [condition])
        for field, condition in when.items()
    )


def _consents(
    basis: str, purpose: str, request: Mapping[str, Any], facts: Sequence[Fact], begin: datetime, end: datetime
) -> bool:
    """Every withdrawal that spans the request is lifted; with ``opt_in`` a grant spans it, until the permit's end."""
    newest: dict[tuple[Any, ...], Fact] = {}
    for fact in facts:
        if fact["type"] == "consent" and _spans(fact, purpose, request):
            named = (fact["state"], *(fact.get(field) for field in NARROWED_BY))
            if named not in newest or instant(newest[named]["captured_at"]) <= instant(fact["captured_at"]):
                newest[named] = fact
    grants = [
        fact
        for fact in newest.values()
        if fact["state"] == "granted" and instant(fact["captured_at"]) <= begin and _expiry(fact) >= end
    ]
    for withdrawal in (fact for fact in newest.values() if fact["state"] == "withdrawn"):
        if not any(_lifts(grant, withdrawal) for grant in grants):
            return False
    if request.get("partner") is not None:
        return any(grant.get("partner") is not None for grant in grants)
    return bool(grants) or basis == "opt_out"


def _spans(fact: Fact, purpose: str, request: Mapping[str, Any]) -> bool:
    return fact["purpose"] == purpose and all(fact.get(field) in {None, request.get(field)} for field in NARROWED_BY)


def _lifts(grant: Fact, withdrawal: Fact) -> bool:
    is_later = instant(grant["captured_at"]) > instant(withdrawal["captured_at"])
    return is_later and all(withdrawal.get(field) in {None, grant.get(field)} for field in NARROWED_BY)


def _expiry(fact: Fact) -> datetime:
    return instant(fact["expires_at"]) if fact.get("expires_at") else FOREVER


def _suppressions(rule: Mapping[str, Any], facts: Sequence[Fact]) -> list[datetime]:
    """Until when each list of the rule, as last heard of it, stands in the way."""
    newest: dict[str, tuple[datetime, bool, Fact]] = {}
    for fact in facts:
        if fact["type"] == "suppression" and fact["list"] in rule["lists"]:
            rank = (instant(fact["captured_at"]), fact["active"])
            if fact["list"] not in newest or newest[fact["list"]][:2] <= rank:
                newest[fact["list"]] = (*rank, fact)
    cool_down = duration(rule.get("cool_down") or "0s")
    ends = []
    for captured, is_active, fact in newest.values():
        until = _expiry(fact) if is_active else captured
        ends.append(until if until == FOREVER else until + cool_down)
    return ends
