"""A policy in which every field that a policy can have is set: to change one at a time and see what is said."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec
from msgspec.inspect import DictType, ListType, Metadata, NoneType, StrType, StructType, Type, UnionType

from arbiter.policy_check.files.yaml_tree import Path

ASK = "ana@shop.example"
_RULE = {"owner": ASK, "why": "because"}
_SPAN = {"from": "2026-01-01", "until": "2027-12-31"}

COMPLETE: dict[str, Any] = {
    "policy": "shop",
    "owner": ASK,
    "timezone": "Europe/Lisbon",
    "unknown_customer_zone": "every_candidate",
    "candidate_zones": ["Europe/Lisbon", "Atlantic/Azores"],
    "history": "400d",
    "permit": {"min": "10m", "max": {"email": "24h", "phone": "4h"}},
    "reserve_ahead": "48h",
    "disclose": "campaign",
    "departments": {
        "shop": {"owner": ASK, "categories": ["offer", "service"], "channels": ["email", "phone"],
                 "max_priority": 80, "max_value": 100}
    },
    "channels": {"email": {"points": 1, "on_silence": "count"}, "phone": {"points": 5, "on_silence": "release"}},
    "categories": {"offer": {"purpose": "marketing", "exempt": []},
                   "service": {"purpose": "service", "exempt": ["cap"]}},
    "segments": {"vip": {"owner": ASK, "when": {"profile.balance": {"at_least": 50000}, "profile.town": "Faro"}}},
    "holidays": {"pt": ["12-25", "2026-04-03"]},
    "score": "priority * value",
    "score_defaults": {"propensity": 0.1, "value": 2.5},
    "recall": {"margin": "2h", "factor": 2},
    "waiting_max": 20,
    "rules": [
        {"id": "consent", "kind": "consent", **_RULE, "when": {"category": "offer"}, "basis": "opt_in"},
        {"id": "lists", "kind": "suppression", **_RULE, "lists": ["deceased"], "scope": "party", "cool_down": "30d"},
        {"id": "night", "kind": "quiet_hours", **_RULE, "closed": {"weekdays": "21:00-09:00", "holidays": "all day",
         "sat": ["00:00-10:00", "20:00-24:00"]}, "holidays": ["pt"]},
        {"id": "days", "kind": "blackout", **_RULE, "dates": ["12-24"], "holidays": ["pt"], "from": "2026-05-01",
         "until": "2026-05-03"},
        {"id": "week", "kind": "cap", **_RULE, "per": ["party", "channel"], "limit": 8, "window": "rolling 7d",
         "unit": "points", "when": {"category": "offer", "segment": {"not": "vip"}},
         "counts": {"category": ["offer", "service"]}, "limit_by": {"segment": {"vip": 2}},
         "keep": {"slots": 1, "for": {"product": "card"}}, "mode": "shadow", "effective": _SPAN},
        {"id": "agents", "kind": "capacity", **_RULE, "when": {"channel": "phone"}, "limit": 200,
         "window": "calendar week", "hourly": 20},
        {"id": "reach", "kind": "floor", **_RULE, "when": {"campaign": "spring"}, "reach": 10, "from": "2026-03-01",
         "until": "2026-03-31", "ceiling": 3},
        {"id": "tour", "kind": "cell", **_RULE, "when": {"campaign": "tour"}, "size": 5, "deadline": "2026-09-01"},
        {"id": "sorry", "kind": "conflict", **_RULE, "after": {"outcome": "complained", "product": "card"},
         "within": "30d", "per": "customer"},
        {"id": "best", "kind": "arbitration", **_RULE, "when": {"category": "offer"}, "hold": "30m"},
        {"id": "control", "kind": "holdout", **_RULE, "when": {"campaign": "summer"}, "share": 0.05, "salt": "2026"},
        {"id": "fields", "kind": "conflict", **_RULE, "after": {"channel": "phone"}, "within": "1d", "mode": "off",
         "when": {
            "department": "shop", "campaign": {"not": ["tour", "x"]}, "channel": "email", "category": "offer",
            "product": "card", "partner": "agency", "customer_id": "4711", "priority": {"below": 50},
            "value": 3, "propensity": {"at_least": 0.5}, "recallable": True,
            "segment": "vip", "attributes.x": 7, "profile.y": False}},
    ],
    "exceptions": [
        {"id": "stock", "rules": ["week"], "when": {"campaign": "spring"}, "approver": ASK, "reason": "stock",
         **_SPAN}
    ],
}  # fmt: skip
"""It has no error."""

RULE_FIELDS = ("id", "owner", "why", "when", "mode", "effective")
Slot = tuple[str, str]
"""A field by the class that has it and its name there."""


def complete() -> dict[str, Any]:
    """A copy to be changed."""
    return deepcopy(COMPLETE)


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar with its path."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    else:
        yield path, value


def with_value(path: Path, new: Any, policy: dict[str, Any] | None = None) -> dict[str, Any]:
    """The policy with another value at a path."""
    policy = deepcopy(policy or COMPLETE)
    holder: Any = policy
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = new
    return policy


def typed(kind: Any, value: Any, path: Path = (), slot: Slot = ("", "")) -> Iterator[tuple[Path, Slot, Type]]:
    """Each scalar of a value with the field that it is of, and each type that the field allows, by the classes."""
    for option in options(kind):
        for inner, name, item, its_slot in _parts(option, value, slot):
            yield from typed(inner, item, (*path, name), its_slot)
        if not isinstance(value, dict | list) and not isinstance(option, StructType | DictType | ListType | NoneType):
            yield path, slot, option


def _parts(kind: Type, value: Any, slot: Slot) -> Iterator[tuple[Type, str | int, Any, Slot]]:
    """What is within a value of a type: its type, its name or number, itself, and the field that it is of."""
    if isinstance(kind, StructType) and isinstance(value, dict):
        if kind.tag is None or value.get(kind.tag_field or "") == kind.tag:
            for one in kind.fields:
                if one.encode_name in value:
                    yield one.type, one.encode_name, value[one.encode_name], slot_of(kind, one.encode_name)
    elif isinstance(kind, DictType) and isinstance(value, dict):
        yield from ((kind.value_type, name, item, slot) for name, item in value.items())
    elif isinstance(kind, ListType) and isinstance(value, list):
        yield from ((kind.item_type, index, item, slot) for index, item in enumerate(value))


def slot_of(kind: StructType, name: str) -> Slot:
    """A field by its class; what all rules have is a field of all rules."""
    return ("Rule" if name in RULE_FIELDS and kind.tag is not None else kind.cls.__name__, name)


def options(kind: Type) -> list[Type]:
    """What a type allows, without annotations."""
    kind = kind.type if isinstance(kind, Metadata) else kind
    return [one for each in kind.types for one in options(each)] if isinstance(kind, UnionType) else [kind]


def slots_of(kind: Any, wanted: type[Type], slot: Slot = ("", "")) -> Iterator[Slot]:
    """Every field, at any depth, that can hold a value of the wanted type."""
    for option in options(kind):
        if isinstance(option, StructType):
            for one in option.fields:
                yield from slots_of(one.type, wanted, slot_of(option, one.encode_name))
        elif isinstance(option, DictType):
            yield from slots_of(option.value_type, wanted, slot)
        elif isinstance(option, ListType):
            yield from slots_of(option.item_type, wanted, slot)
        elif isinstance(option, wanted):
            yield slot


def type_of(struct: type[msgspec.Struct]) -> Type:
    """What msgspec knows of a class."""
    return msgspec.inspect.type_info(struct)


__all__ = ["COMPLETE", "StrType", "complete", "leaves", "options", "slots_of", "type_of", "typed", "with_value"]
