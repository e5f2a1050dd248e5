"""Each rule kind at its boundaries, through the whole decision."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.messages import Profile, SuppressionChange
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

# consent

THEN = MONDAY - 300 * DAY_MS
"""When consents were captured."""


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], "consent_missing"),
        ([grant()], None),
        ([grant(channel="sms")], "consent_missing"),
        ([grant(channel="email")], None),
        ([grant(department="loans")], "consent_missing"),
        ([grant(purpose="service")], "consent_missing"),
        ([grant(expires_at=MONDAY)], "consent_expired"),
        ([grant(captured=MONDAY + 1)], "consent_missing"),
        ([grant(captured=THEN + 1), grant(captured=THEN + 2, state="withdrawn")], "consent_withdrawn"),
        ([grant(captured=THEN + 2), grant(captured=THEN + 2, state="withdrawn")], "consent_withdrawn"),
        ([grant(captured=THEN + 3), grant(captured=THEN + 2, state="withdrawn")], None),
        # "stop all marketing" is not overruled by an older e-mail opt-in, but by a later one, for e-mail
        ([grant(captured=THEN + 1, channel="email"), grant(captured=THEN + 2, state="withdrawn")], "consent_withdrawn"),
        ([grant(captured=THEN + 3, channel="email"), grant(captured=THEN + 2, state="withdrawn")], None),
        ([grant(captured=THEN + 3, channel="sms"), grant(captured=THEN + 2, state="withdrawn")], "consent_withdrawn"),
        # a general grant does not lift a special withdrawal
        ([grant(captured=THEN + 3), grant(captured=THEN + 2, state="withdrawn", channel="email")], "consent_withdrawn"),
        # a withdrawal that does not span the request does not matter
        ([grant(), grant(captured=THEN + 2, state="withdrawn", channel="sms")], None),
        # the lifting grant has run out: the withdrawal stands again
        (
            [grant(captured=THEN + 3, expires_at=MONDAY), grant(captured=THEN + 2, state="withdrawn")],
            "consent_withdrawn",
        ),
    ],
)
def test_consent_opt_in(records: list[Any], expected: str | None) -> None:
    """What spans, lifts and expires decides an opt-in."""
    decided = Desk(policy(), *records).ask(request())

    assert ([expected] if expected else []) == codes(decided)
    assert ("rejected" if expected else "approved") == decided.outcome


def test_consent_opt_out() -> None:
    """Under opt-out nothing is needed, but a withdrawal stops it."""
    rule = {"id": "out", "kind": "consent", "basis": "opt_out", "when": {"category": "service"}}
    desk = Desk(policy(rule))

    assert [] == codes(desk.ask(request("a", category="service")))
    desk.send(grant(purpose="service", state="withdrawn"), MONDAY)
    assert ["consent_withdrawn"] == codes(desk.ask(request("b", category="service")))


def test_partner_needs_its_own_grant() -> None:
    """A grant that names no partner does not cover one."""
    desk = Desk(policy(), grant())
    assert ["consent_missing"] == codes(desk.ask(request("a", partner="insurer")))

    desk.send(grant(partner="insurer"), MONDAY)
    assert [] == codes(desk.ask(request("b", partner="insurer")))
    assert ["consent_missing"] == codes(desk.ask(request("c", partner="telco")))


def test_consent_expiry_ends_the_permit() -> None:
    """An approval is not good for longer than the consent, and none is given for less than the shortest permit."""
    soon = MONDAY + 3 * HOUR_MS
    desk = Desk(policy(), grant(expires_at=soon))

    assert soon == desk.ask(request("a")).valid_until_ms
    assert ["consent_expired"] == codes(desk.ask(request("b"), soon - 10 * MINUTE_MS + 1))
    assert [] == codes(desk.ask(request("c"), soon - 10 * MINUTE_MS))


def test_records_arrive_out_of_order() -> None:
    """The newest record of each thing stands, in whatever order they were read."""
    desk = Desk(policy(), grant(captured=5), grant(captured=4, expires_at=6))

    assert [] == codes(desk.ask(request()))


# suppression


def suppressed(
    name: str = "deceased", *, active: bool = True, captured: int = MONDAY, expires: int | None = None
) -> SuppressionChange:
    """A record of a suppression list."""
    until = None if expires is None else to_datetime(expires)
    return SuppressionChange(
        customer_id="c1", list=name, active=active, captured_at=to_datetime(captured), expires_at=until
    )


LISTS = {"id": "lists", "kind": "suppression", "lists": ["deceased", "complaint"], "cool_down": "30d"}


def test_suppression_without_end_rejects() -> None:
    """A list with no known end is a reject, for exempt categories too."""
    desk = Desk(policy(LISTS), grant(), suppressed())

    assert "rejected" == desk.ask(request("a")).outcome
    assert ["suppressed"] == codes(desk.ask(request("b", category="regulatory")))


def test_suppression_cool_down() -> None:
    """After it closed, the cool-down defers to its end."""
    desk = Desk(
        policy(LISTS), grant(), suppressed("complaint"), suppressed("complaint", active=False, captured=MONDAY + 1)
    )
    decided = desk.ask(request("a", expires_at=MONDAY + 60 * DAY_MS), MONDAY + 2)

    assert ("deferred", MONDAY + 1 + 30 * DAY_MS) == (decided.outcome, decided.retry_at_ms)


def test_suppression_newest_stands() -> None:
    """An older record read later changes nothing; at equal times the one that suppresses stands."""
    desk = Desk(
        policy({**LISTS, "cool_down": None}),
        grant(),
        suppressed(active=False, captured=THEN + 5),
        suppressed(captured=THEN + 4),
    )
    assert [] == codes(desk.ask(request("a")))

    desk.send(suppressed(captured=THEN + 5), MONDAY)
    assert ["suppressed"] == codes(desk.ask(request("b")))


def test_other_lists_do_not_matter() -> None:
    """A rule minds the lists it names."""
    assert [] == codes(Desk(policy(LISTS), grant(), suppressed("newsletter")).ask(request()))


# quiet hours and blackout

NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}


def test_quiet_hours_in_the_customers_zone() -> None:
    """Ten in the morning UTC is five in New York."""
    desk = Desk(policy(NIGHT), grant(), Profile(customer_id="c1", time_zone="America/New_York"))
    decided = desk.ask(request())

    assert ("deferred", at("2026-03-02T14:00")) == (decided.outcome, decided.retry_at_ms)


@pytest.mark.parametrize(
    ("unknown", "zones", "retry"),
    [
        ("every_candidate", [], "2026-03-03T10:00"),
        ("business", [], "2026-03-03T09:00"),
        ("every_candidate", ["America/New_York"], None),
        ("business", ["America/New_York"], "2026-03-03T09:00"),
    ],
)
def test_unknown_zone(unknown: str, zones: list[str], retry: str | None) -> None:
    """Without a zone it must be open in every candidate zone, or in the business zone, as the policy says."""
    rules = policy(NIGHT, unknown_customer_zone=unknown, candidate_zones=["Europe/Lisbon", "Atlantic/Azores"])
    desk = Desk(rules, grant(), Profile(customer_id="c1", time_zones=zones))

    assert (at(retry) if retry else None) == desk.ask(request(), at("2026-03-02T21:30")).retry_at_ms


def test_zone_that_does_not_exist_is_unknown() -> None:
    """A profile with a zone that nobody knows is one without a zone, never one without quiet hours."""
    desk = Desk(policy(NIGHT), grant(), Profile(customer_id="c1", time_zone="Europe/Atlantis"))

    assert ["quiet_hours"] == codes(desk.ask(request(), at("2026-03-02T21:30")))


def test_quiet_hours_end_the_permit() -> None:
    """A permit ends when quiet hours begin; ten minutes before, it is still given, a millisecond later it waits."""
    desk = Desk(policy(NIGHT), grant())

    assert at("2026-03-02T21:00") == desk.ask(request("a")).valid_until_ms
    assert [] == codes(desk.ask(request("b"), at("2026-03-02T20:50")))
    late = desk.ask(request("c"), at("2026-03-02T20:50") + 1)
    assert (["permit_too_short"], at("2026-03-03T09:00")) == (codes(late), late.retry_at_ms)


def test_exempt_category_passes_at_night_but_counts() -> None:
    """A legal notice goes out at night, and still counts where a cap counts it."""
    rules = policy(NIGHT, {"id": "cap", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"})
    desk = Desk(rules, grant())

    assert "approved" == desk.ask(request("a", category="regulatory"), at("2026-03-02T22:00")).outcome
    assert "approved" == desk.ask(request("b", category="regulatory"), at("2026-03-02T22:00")).outcome
    assert "cap_reached" in codes(desk.ask(request("c"), at("2026-03-03T10:00")))


def test_blackout_and_freeze() -> None:
    """Dates and a freeze defer to their end, in the business zone; the freeze's last day is included."""
    days = {"id": "days", "kind": "blackout", "dates": ["2026-03-02"]}
    freeze = {"id": "freeze", "kind": "blackout", "from": "2026-03-02 08:00", "until": "2026-03-03"}
    decided = Desk(policy(days, freeze), grant()).ask(request())

    assert ["blackout", "blackout"] == codes(decided)
    assert at("2026-03-04") == decided.retry_at_ms


def test_blackout_ends_the_permit() -> None:
    """No permit reaches into a blackout or a freeze."""
    days = {"id": "days", "kind": "blackout", "dates": ["03-03"]}
    freeze = {"id": "freeze", "kind": "blackout", "from": "2026-03-02 18:00", "until": "2026-03-02 19:00"}

    assert at("2026-03-03") == Desk(policy(days), grant()).ask(request()).valid_until_ms
    assert at("2026-03-02T18:00") == Desk(policy(freeze), grant()).ask(request()).valid_until_ms


# mode and effective


def test_shadow_rules_only_report() -> None:
    """A rule in shadow mode reports what it would have said and cuts no permit."""
    desk = Desk(policy({**NIGHT, "mode": "shadow"}), grant())
    decided = desk.ask(request(), at("2026-03-02T22:00"))

    assert ("approved", ["quiet_hours"]) == (decided.outcome, [f.code for f in decided.shadow])
    assert at("2026-03-03T22:00") == decided.valid_until_ms


def test_effective_span() -> None:
    """A rule holds from its first instant through its last day, and a "no" ends with the rule."""
    rule = {**NIGHT, "closed": {"every day": "all day"}, "effective": {"from": "2026-03-02", "until": "2026-03-03"}}
    desk = Desk(policy(rule), grant())

    assert [] == codes(desk.ask(request("a"), at("2026-03-01T12:00")))
    assert at("2026-03-02") == desk.ask(request("b"), at("2026-03-01T12:00")).valid_until_ms
    assert at("2026-03-04") == desk.ask(request("c")).retry_at_ms
    assert [] == codes(desk.ask(request("d"), at("2026-03-04")))


def test_a_consent_rule_of_the_future() -> None:
    """It does not stop a contact before it begins, but no permit reaches into a time at which it would say no."""
    rule = {
        "id": "service-too", "kind": "consent", "basis": "opt_in", "when": {"category": "service"},
        "effective": {"from": "2026-03-02 18:00"},
    }  # fmt: skip
    desk = Desk(policy(rule))
    now = desk.ask(request("a", category="service"))
    consented = Desk(policy(rule), grant(purpose="service")).ask(request("a", category="service"))

    assert ("approved", at("2026-03-02T18:00")) == (now.outcome, now.valid_until_ms)
    assert MONDAY + DAY_MS == consented.valid_until_ms
    assert ["consent_missing"] == codes(desk.ask(request("b", category="service"), at("2026-03-02T18:00")))


def test_a_cap_of_the_future_cuts_no_permit() -> None:
    """Only a calendar window that the contact draws on ends its permit."""
    cap = {"id": "daily", "kind": "cap", "per": ["party"], "limit": 1, "window": "calendar day"}
    later = {**cap, "effective": {"from": "2026-06-01"}}

    assert at("2026-03-03T00:00") == Desk(policy(cap), grant()).ask(request("a")).valid_until_ms
    assert MONDAY + DAY_MS == Desk(policy(later), grant()).ask(request("a")).valid_until_ms
