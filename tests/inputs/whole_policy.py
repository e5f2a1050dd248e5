"""A policy in which every kind of rule has something to say, and variants of it to change to."""

from __future__ import annotations

from typing import Any

from msgspec import json

from arbiter.policy.ruleset import Policy, load
from tests.inputs.builders import document

DAYS = ("weekdays", "weekend")

RULES: tuple[dict[str, Any], ...] = (
    {"id": "service-opt-out", "kind": "consent", "basis": "opt_out", "when": {"category": "service"}},
    {"id": "do-not-contact", "kind": "suppression", "lists": ["do_not_contact"], "scope": "party"},
    {
        "id": "complaint", "kind": "suppression", "lists": ["complaint"], "cool_down": "2d",
        "when": {"category": "promotional"},
    },
    {
        "id": "nights", "kind": "quiet_hours", "holidays": ["bank"],
        "closed": {"weekdays": "21:00-09:00", "weekend": ["00:00-10:00", "18:00-24:00"], "holidays": "all day"},
    },
    {"id": "feast", "kind": "blackout", "dates": ["12-25", "02-29"], "when": {"channel": ["phone", "sms"]}},
    {
        "id": "three-a-week", "kind": "cap", "per": ["party"], "limit": 3, "window": "rolling 7d",
        "when": {"category": "promotional"}, "keep": {"slots": 1, "for": {"product": "retention"}},
        "limit_by": {"segment": {"private": 2}},
    },
    {
        "id": "two-a-day", "kind": "cap", "per": ["customer", "channel"], "limit": 2, "window": "calendar day",
        "counts": {},
    },
    {
        "id": "points", "kind": "cap", "per": ["party", "department"], "limit": 9, "unit": "points",
        "window": "calendar week", "when": {"category": ["promotional", "service"]},
    },
    {
        "id": "after-complaint", "kind": "conflict", "when": {"product": "card"}, "within": "3d",
        "after": {"outcome": "complained"},
    },
    {
        "id": "call-then-call", "kind": "conflict", "when": {"channel": "phone"}, "within": "20h", "per": "customer",
        "after": {"channel": "phone"},
    },
    {"id": "auction", "kind": "arbitration", "hold": "2h", "when": {"campaign": "auction"}},
    {"id": "control", "kind": "holdout", "share": 0.3, "salt": "s", "when": {"campaign": "trial"}},
    {"id": "trial", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d", "mode": "shadow"},
)  # fmt: skip

SHARED: tuple[dict[str, Any], ...] = (
    {
        "id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": 3, "window": "calendar week",
        "hourly": 1,
    },
    {"id": "letters", "kind": "capacity", "when": {"channel": "mail"}, "limit": 1, "window": "calendar day"},
)  # fmt: skip
"""What all customers draw on; for one partition, where nobody else's hand is in it."""

STRICTER: tuple[dict[str, Any], ...] = (
    {"id": "three-a-week", "limit": 2, "keep": None},
    {"id": "points", "limit": 6, "window": "rolling 3d"},
    {"id": "nights", "closed": {"every day": "20:00-10:30"}},
    {"id": "control", "mode": "off"},
    {"id": "calls", "limit": 2},
)


def whole_document(zone: str, start: str, end: str, *, shared: bool, version: int = 1) -> dict[str, Any]:
    """The policy of a bank in ``zone``; ``start`` and ``end`` are days between which a campaign should reach some.

    Odd versions are as written above, even ones stricter in part and laxer in part.
    """
    rules = list(RULES)
    if shared:
        dated = {"from": start, "until": end}
        rules += [
            *SHARED,
            {"id": "spring", "kind": "floor", "reach": 4, "when": {"product": "loan"}, **dated},
            {"id": "seminar", "kind": "cell", "size": 2, "deadline": end, "when": {"campaign": "seminar"}},
        ]
    if version % 2 == 0:
        changed = {rule["id"]: rule for rule in STRICTER}
        merged = [{**rule, **changed.get(rule["id"], {})} for rule in rules]
        rules = [{key: value for key, value in rule.items() if value is not None} for rule in merged]
    written = document(
        *rules,
        timezone=zone,
        candidate_zones=["Europe/Lisbon", "America/New_York"],
        waiting_max=6,
        history="60d",
        holidays={"bank": [start]},
        permit={"min": "10m", "max": {"email": "24h", "sms": "12h", "phone": "4h", "mail": "5d", "push": "2h"}},
        segments={"private": {"owner": "private-desk", "when": {"profile.balance": {"at_least": 1000}}}},
    )
    written["channels"]["push"] = {"points": 1, "on_silence": "release"}
    return written


def compiled(written: dict[str, Any], version: int) -> Policy:
    """A document as a version of the policy."""
    return load(json.encode(written), version, f"{version:064d}")
