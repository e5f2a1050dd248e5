"""The customer's own rules."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.messages import PreferenceChange
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request


def wish(**fields: Any) -> PreferenceChange:
    """The customer's own rules, captured long ago."""
    return PreferenceChange(customer_id="c1", captured_at=to_datetime(1), **fields)


@pytest.mark.parametrize(
    ("fields", "outcome", "retry"),
    [
        ({"refused_channels": ["email"]}, "rejected", None),
        ({"refused_channels": ["sms"]}, "approved", None),
        ({"refused_products": ["card"]}, "rejected", None),
        ({"snooze_until": to_datetime(MONDAY + DAY_MS)}, "deferred", MONDAY + DAY_MS),
        ({"snooze_until": to_datetime(MONDAY)}, "approved", None),
        ({"closed": {"every day": "08:00-12:00"}}, "deferred", MONDAY + 2 * HOUR_MS),
        ({"maximum": {"limit": 0, "window": "rolling 7d"}}, "rejected", None),
    ],
)
def test_preferences(fields: dict[str, Any], outcome: str, retry: int | None) -> None:
    """The customer's wishes are rules with `owner: customer`, whatever the priority."""
    change = msgspec.convert(
        {"type": "preference", "customer_id": "c1", "captured_at": to_datetime(1), **fields}, PreferenceChange
    )
    decided = Desk(policy(), grant(), change).ask(request(product="card", priority=100))

    assert (outcome, retry) == (decided.outcome, decided.retry_at_ms)
    assert all(f.owner == "customer" and f.code == "customer_preference" for f in decided.findings)


def test_legal_notice_passes_preferences() -> None:
    """Only an exemption that names `preference` passes."""
    desk = Desk(policy(), grant(), wish(refused_channels=["email"]))

    assert "rejected" == desk.ask(request("a", category="service")).outcome
    assert "approved" == desk.ask(request("b", category="regulatory")).outcome


def test_preferred_channel_is_a_hint() -> None:
    """An approval by another channel carries the preferred one as an obligation."""
    decided = Desk(policy(), grant(), wish(preferred_channel="sms")).ask(request())

    assert ("approved", "sms") == (decided.outcome, decided.preferred_channel)


def test_own_quiet_hours_end_the_permit() -> None:
    """A permit ends where the customer's own quiet hours begin."""
    desk = Desk(policy(), grant(), wish(closed={"every day": "18:00-08:00"}))

    assert at("2026-03-02T18:00") == desk.ask(request()).valid_until_ms


@pytest.mark.parametrize(
    "closed",
    [
        {"Mon \u2013 Fri": "20:00 \u2013 9:30", "Sun": "All Day"},
        {" MON-FRI ": ["20:00-09:30"], "sun": "all\u00a0day"},
    ],
)
def test_own_hours_are_read_whatever_their_dashes_and_case(closed: dict[str, Any]) -> None:
    """The customer's word is not lost over its form; a policy's is held to it."""
    desk = Desk(policy(), grant())
    desk.send(PreferenceChange(customer_id="c1", captured_at=to_datetime(MONDAY - 1), closed=closed), MONDAY)

    assert desk.ledger.members["c1"].preferences is not None
    assert {"mon-fri", "sun"} == set(desk.ledger.members["c1"].preferences.closed)
    assert codes(desk.ask(request(), at("2026-03-03T09:29:00"))) == ["customer_preference"]
    assert codes(desk.ask(request("r2"), at("2026-03-03T09:30:00"))) == []
