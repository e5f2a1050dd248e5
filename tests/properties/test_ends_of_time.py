"""Instants at the ends of the calendar, in every field of every message and policy, in every zone: nothing fails."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice, product
from typing import Any
from zoneinfo import available_timezones

import msgspec
import pytest

from arbiter.engine.render import encoded
from arbiter.engine.state import Anomaly, LifecycleEvent
from arbiter.ledger.facts import Refused
from arbiter.ledger.model import Decision
from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import Policy
from arbiter.policy_check.checks import problems
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.timing.instants import DAY_MS, END_MS, FIRST_MS, HOUR_MS
from tests.inputs.builders import MONDAY, Desk, codes, document, grant, request
from tests.inputs.written import read

ENDS = (
    "9999-12-31T23:59:59.9999999Z",
    "9999-12-31T23:59:59-14:00",
    "+1000000000-12-31T23:59:59.999999999Z",
    "infinity",
    "9000-01-01T00:00:00Z",
    "8999-12-31T23:59:59.999Z",
    "2106-02-07T06:28:16Z",
    "1969-12-31T23:59:59.9999999Z",
    "1000-01-01T00:00:00Z",
    "0999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    "-1000000000-01-01T00:00:00Z",
)
DAYS = ("9999-12-31", "9000-01-01", "8999-12-31", "1969-12-31", "1000-01-01", "0001-01-01")
EVERY_END = ("Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12", "America/Metlakatla", "Antarctica/Troll", "UTC")
"""Zones in which all are tried; in the others some, in turn."""
PROTECTIVE = ("withdrawal", "suppression", "preference", "complaint")
CHUNKS = 8
ZONES = [sorted(available_timezones() - {"localtime", "Factory"})[start::CHUNKS] for start in range(CHUNKS)]
IN_EVERY_ZONE = pytest.mark.parametrize("zones", ZONES, ids=map(str, range(CHUNKS)))

RULES: list[dict[str, Any]] = [
    {"id": "listed", "kind": "suppression", "lists": ["do_not_contact", "complaint"], "cool_down": "999999999w"},
    {"id": "night", "kind": "quiet_hours", "closed": {"every day": ["20:00-09:00", "12:30-12:45"]}},
    {"id": "day-cap", "kind": "cap", "per": ["customer"], "limit": 5, "window": "rolling 400d"},
    {"id": "calls", "kind": "capacity", "limit": 50, "window": "calendar quarter", "hourly": 20},
    {"id": "after", "kind": "conflict", "after": {"outcome": "complained"}, "within": "400d"},
    {"id": "gather", "kind": "arbitration", "hold": "10m", "when": {"channel": "mail"}},
    *(
        {"id": f"per-{unit}", "kind": "cap", "per": ["party"], "limit": 4, "window": f"calendar {unit}"}
        for unit in ("hour", "day", "week", "month", "year")
    ),
]


def compiled(zone: str, *rules: dict[str, Any], **fields: Any) -> Policy:
    """A policy in a zone with these rules, without those that `arbiter policy check` finds wrong."""
    written = document(*rules, timezone=zone, **fields)
    while True:
        parsed = msgspec.json.decode(msgspec.json.encode(written), type=PolicyDocument)
        wrong = {one.path[1] for one in problems(parsed) if one.severity == "error" and one.path[0] == "rules"}
        if not wrong:
            return Policy(parsed, 1, "")
        written["rules"] = [rule for number, rule in enumerate(written["rules"]) if number not in wrong]


def believed(desk: Desk, sample: str, now_ms: int, **fields: Any) -> list[Any]:
    """What a desk makes of a record, if the reader lets it through; all that is told can be published and stored."""
    record = read(sample, **fields)
    if sample in PROTECTIVE and fields.get("kind") in (None, "unsubscribed"):
        assert not hasattr(record, "code"), (sample, fields, record)
    told: list[Any] = []
    if not hasattr(record, "code"):
        told = desk.send(record.message, now_ms)
        assert unpack_ledger(pack_ledger(desk.ledger)) == desk.ledger
    told += desk.tick(now_ms + HOUR_MS)
    for one in told:
        assert isinstance(one, Decision | Anomaly | Refused | LifecycleEvent)
        if isinstance(one, Decision):
            decision, _ = encoded(one)
            assert "rule_error" not in [finding.code for finding in decision.findings]
            retry_ms = one.retry_at_ms
            assert retry_ms is None or retry_ms > one.decided_at_ms, decision
    return told


FIELDS = {
    "request": ("requested_at", "send_after", "expires_at"),
    "grant": ("captured_at", "expires_at"),
    "preference": ("captured_at", "snooze_until"),
    "complaint": ("at",),
    "suppression": ("captured_at", "expires_at"),
    "withdrawal": ("captured_at", "expires_at"),
}


def history(desk: Desk, now_ms: int, end: str, zone: str) -> None:
    """A customer's records with every field at this end of the calendar, one after another; each is asked about."""
    believed(desk, "profile", now_ms, time_zone=zone)
    desk.send(grant(), now_ms)
    planned = request("planned", send_after=now_ms + 3 * HOUR_MS, expires_at=now_ms + 9 * DAY_MS)
    desk.send(planned, now_ms)
    for number, (sample, fields) in enumerate(FIELDS.items()):
        for field in fields:
            own = {"request_id": f"{field}-{end}"} if sample == "request" else {}
            believed(desk, sample, now_ms, **{field: end}, **own)
            for channel in ("email", "phone", "mail"):
                asked = {"request_id": f"{number}-{field}-{channel}", "channel": channel}
                believed(desk, "request", now_ms, **asked, expires_at=end if field == "at" else None)
    for kind in ("sent", "bounced", "responded", "unsubscribed"):
        believed(desk, "complaint", now_ms, request_id="planned", kind=kind, at=end)
    assert [] == desk.ledger.open
    assert desk.ask(request("last", expires_at=now_ms + DAY_MS), now_ms).outcome == "rejected"


@IN_EVERY_ZONE
def test_no_field_of_a_message_fails_at_an_end_of_the_calendar(zones: list[str]) -> None:
    """Every field × every end × every zone: what protects is taken, and after a withdrawal nothing stays approved."""
    ends = cycle(ENDS)
    for zone in zones:
        policy = compiled(zone, *RULES)
        for end in ENDS if zone in EVERY_END else islice(ends, 2):
            history(Desk(policy), MONDAY, end, zone)


@IN_EVERY_ZONE
def test_no_clock_fails_at_an_end_of_the_calendar(zones: list[str]) -> None:
    """As a simulation may set it: whatever is added to an instant, every zone can compute with it."""
    clocks = cycle((FIRST_MS + 1, FIRST_MS + 40 * DAY_MS, -DAY_MS, END_MS - 40 * DAY_MS, END_MS - 1))
    for zone in zones:
        for now_ms in islice(clocks, 5 if zone in EVERY_END else 1):
            history(Desk(compiled(zone, *RULES)), now_ms, "infinity", zone)


def dated_rules(begin: str, end: str) -> Iterator[dict[str, Any]]:
    """Rules with all the dates that a policy can have."""
    common = {"effective": {"from": begin, "until": end}}
    yield {"id": "listed", "kind": "suppression", "lists": ["do_not_contact"], **common}
    yield {"id": "night", "kind": "quiet_hours", "closed": {"every day": "20:00-09:00"}, **common}
    yield {"id": "frozen", "kind": "blackout", "from": begin, "until": end, "when": {"channel": "mail"}, **common}
    yield {"id": "days", "kind": "blackout", "dates": [f"{begin[:10]}..{end[:10]}"], "when": {"channel": "sms"}}
    yield {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "calendar week", **common}
    yield {"id": "calls", "kind": "capacity", "limit": 2, "window": "calendar month", **common}
    yield {"id": "reach", "kind": "floor", "reach": 3, "from": begin, "until": end, **common}
    yield {"id": "start", "kind": "cell", "size": 2, "deadline": end, "when": {"channel": "phone"}, **common}
    yield {"id": "gather", "kind": "arbitration", "hold": "10m", "when": {"campaign": "x"}, **common}


@IN_EVERY_ZONE
def test_no_date_of_a_policy_fails_at_an_end_of_the_calendar(zones: list[str]) -> None:
    """Every pair of ends × every zone, as days and as local times."""
    pairs = cycle(enumerate(product(DAYS, DAYS)))
    for zone in zones:
        for number, (begin, end) in islice(pairs, len(DAYS) ** 2 if zone in EVERY_END else 3):
            clock = ("", " 23:59:59.9999999")[number % 2]
            rules = list(dated_rules(begin + clock, end + clock))
            lift = {"id": "lifted", "rules": ["week"], "approver": "a", "reason": "r", "from": begin, "until": end}
            policy = compiled(zone, *rules, exceptions=[lift])
            desk = Desk(policy, grant())
            for channel in ("email", "sms", "phone", "mail"):
                for later in (0, HOUR_MS):
                    told = desk.send(request(f"{channel}{later}", channel=channel), MONDAY + later)
                    assert "rule_error" not in [
                        code for one in told if isinstance(one, Decision) for code in codes(one)
                    ]
            desk.tick(MONDAY + 90 * DAY_MS)
