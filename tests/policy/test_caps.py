"""The cap: rolling and calendar windows, points, scopes, what counts, who may know."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.messages import Profile
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_ms
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

PROMO = {"category": "promotional"}


def cap(limit: int, window: str, **fields: Any) -> dict[str, Any]:
    """A cap on promotional contacts per party."""
    return {"id": "cap", "kind": "cap", "per": ["party"], "limit": limit, "window": window, "when": PROMO, **fields}


def test_rolling_cap_frees_at_the_exact_moment() -> None:
    """A contact counts at the last instant of its permit and leaves the window exactly one window later."""
    desk = Desk(policy(cap(1, "rolling 7d")), grant())
    first = desk.ask(request("a"))
    second = desk.ask(request("b", expires_at=MONDAY + 30 * DAY_MS), MONDAY + HOUR_MS)
    frees = MONDAY + DAY_MS - 1 + 7 * DAY_MS

    assert MONDAY + DAY_MS == first.valid_until_ms
    assert ("deferred", frees) == (second.outcome, second.retry_at_ms)
    finding = second.findings[0]
    assert (1, 1, "rolling 7d", "cap", "cap-owner") == (
        finding.used,
        finding.limit,
        finding.window,
        finding.rule,
        finding.owner,
    )
    assert [("cards", "email", MONDAY + DAY_MS - 1)] == [
        (c.department, c.channel, to_ms(c.at)) for c in finding.contacts
    ]
    assert ["cap_reached"] == codes(desk.ask(request("c"), frees - 1))
    assert [("b", [])] == [(one.request.request_id, codes(one)) for one in desk.tick(frees)][:1]


def test_calendar_cap() -> None:
    """A calendar week ends the permit that draws on it, and opens again on Monday in the customer's zone."""
    rules = policy(cap(1, "calendar week", per=["customer"]))
    desk = Desk(rules, grant(), Profile(customer_id="c1", time_zone="America/New_York"))
    sunday = at("2026-03-08T20:00")
    first, second = desk.ask(request("a"), sunday), desk.ask(request("b"), sunday)

    assert at("2026-03-09T04:00") == first.valid_until_ms
    assert at("2026-03-09T04:00") == second.retry_at_ms


@pytest.mark.parametrize(("early_ms", "outcome"), [(0, "deferred"), (1, "approved")])
def test_a_calendar_window_begins_with_its_first_instant(early_ms: int, outcome: str) -> None:
    """What was sent at midnight on Monday is in the new week, what was sent a millisecond before is in the old one."""
    week = at("2026-03-02")
    desk = Desk(policy(cap(1, "calendar week")), grant())
    desk.ask(request("a"), week - early_ms * HOUR_MS)
    desk.tell("a", "sent", week - early_ms)

    assert outcome == desk.ask(request("b"), MONDAY).outcome


def test_calendar_cap_without_time_left() -> None:
    """Minutes before the window ends there is no permit long enough: it waits for the next window."""
    desk = Desk(policy(cap(1, "calendar day", when={}, counts={"category": "promotional"})), grant())
    decided = desk.ask(request(), at("2026-03-02T23:55"))

    assert (["permit_too_short"], at("2026-03-03")) == (codes(decided), decided.retry_at_ms)


def test_points() -> None:
    """Points weigh channels; a contact that costs more than the limit never fits."""
    desk = Desk(policy(cap(6, "rolling 7d", unit="points")), grant())

    assert [] == codes(desk.ask(request("a", channel="phone")))
    assert [] == codes(desk.ask(request("b")))
    third = desk.ask(request("c"))
    assert (["cap_reached"], 6) == (codes(third), third.findings[0].used)
    never = Desk(policy(cap(4, "rolling 7d", unit="points")), grant()).ask(request("d", channel="phone"))
    assert ("rejected", None) == (never.outcome, never.next_eligible_at_ms)


def test_cap_of_zero_never_opens() -> None:
    """A cap of 0 means never, not unlimited."""
    assert "rejected" == Desk(policy(cap(0, "rolling 7d")), grant()).ask(request()).outcome


@pytest.mark.parametrize(
    ("per", "other", "expected"),
    [
        (["party"], {"department": "loans"}, ["cap_reached"]),
        (["party", "department"], {"department": "loans"}, []),
        (["party", "campaign"], {"campaign": "gold"}, ["cap_reached"]),
        (["party", "campaign"], {"campaign": "silver"}, []),
        (["party", "channel"], {"channel": "phone"}, []),
        (["party", "product"], {}, ["cap_reached"]),  # a missing field is a bucket of its own
        (["party", "product"], {"product": "card"}, []),
        (["party", "category"], {"campaign": "silver"}, ["cap_reached"]),
    ],
)
def test_scopes(per: list[str], other: dict[str, Any], expected: list[str]) -> None:
    """Only contacts that are equal on `per` share a budget."""
    desk = Desk(policy(cap(1, "rolling 7d", per=per)), grant())
    desk.ask(request("a"))

    assert expected == codes(desk.ask(request("b", **other)))


def test_counts_other_than_when() -> None:
    """A cap may count all contacts but bind only some; what does not count itself needs only room that is left."""
    rule = cap(1, "rolling 7d", when={"channel": "phone"}, counts={"channel": "email"})
    desk = Desk(policy(rule), grant())

    assert [] == codes(desk.ask(request("a")))
    assert [] == codes(desk.ask(request("b")))
    assert ["cap_reached"] == codes(desk.ask(request("c", channel="phone")))


def test_limit_by_segment() -> None:
    """A segment has its own limit; a customer in several has the strictest."""
    segments = {
        "private": {"owner": "o", "when": {"profile.balance": {"at_least": 50_000}}},
        "young": {"owner": "o", "when": {"profile.age": {"below": 30}}},
    }
    rules = policy(cap(5, "rolling 7d", limit_by={"segment": {"private": 2, "young": 1}}), segments=segments)
    desk = Desk(rules, grant(), Profile(customer_id="c1", attributes={"balance": 60_000, "age": 29}))
    desk.ask(request("a"))
    decided = desk.ask(request("b"))

    assert (["cap_reached"], 1) == (codes(decided), decided.findings[0].limit)


def test_points_at_todays_prices() -> None:
    """Past contacts are priced at today's points."""
    desk = Desk(policy(cap(3, "rolling 7d", unit="points")), grant())
    desk.ask(request("a"))
    dearer = {"email": {"points": 3}, "sms": {}, "phone": {}, "mail": {}}
    desk.policy = policy(cap(3, "rolling 7d", unit="points"), channels=dearer)

    assert 3 == desk.ask(request("b")).findings[0].used


def test_disclosure() -> None:
    """Another desk's campaign is told only where the policy says so."""
    for disclose, expected in (("department", None), ("campaign", "gold")):
        desk = Desk(policy(cap(1, "rolling 7d"), disclose=disclose), grant())
        desk.ask(request("a"))

        assert expected == desk.ask(request("b")).findings[0].contacts[0].campaign
