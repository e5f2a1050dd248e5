"""The settled time: when every rule says yes at once, however far it is; and what is told where there is none."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.engine.settling import SEARCHED_DAYS
from arbiter.messages import OwnMaximum, PreferenceChange, SuppressionChange
from arbiter.timing.instants import DAY_MS, FAR_MS, HOUR_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
ONE_A_WEEK = {"id": "one-a-week", "kind": "cap", "per": ["party"], "limit": 1, "window": "calendar week"}
HALF_AN_HOUR = {"email": "30m", "sms": "30m", "phone": "30m", "mail": "30m"}


def wish(**fields: Any) -> PreferenceChange:
    """What customer ``c1`` asks for."""
    return PreferenceChange(customer_id="c1", captured_at=to_datetime(MONDAY), **fields)


def test_a_refused_request_is_told_when_calls_begin() -> None:
    """The budget is free again at midnight, when nobody is called: the time that is told is nine o'clock."""
    desk = Desk(policy(NIGHT, ONE_A_WEEK), grant())
    desk.ask(request("a"))

    answer = desk.ask(request("b", expires_at=MONDAY + DAY_MS))

    assert ("rejected", at("2026-03-09T09:00")) == (answer.outcome, answer.next_eligible_at_ms)
    assert "could be approved at 2026-03-09 09:00" in answer.findings[-1].message


def test_months_of_hours_that_never_meet() -> None:
    """The customer's evenings are the policy's nights until a rule ends in April; the request waits for that day."""
    spring = {"id": "spring", "kind": "quiet_hours", "closed": {"every day": "09:00-20:00"},
              "effective": {"until": "2026-04-10"}}  # fmt: skip
    desk = Desk(policy(NIGHT, spring), grant(), wish(closed={"every day": "20:00-21:00"}))

    answer = desk.ask(request(expires_at=at("2026-12-30T00:00")))

    assert ("deferred", at("2026-04-11T08:00")) == (answer.outcome, answer.retry_at_ms)  # summer time


def test_what_can_never_be_is_promised_at_no_time() -> None:
    """Where the customer's hours and the policy's never meet, no date is told that is not one."""
    desk = Desk(policy(NIGHT), grant(), wish(closed={"every day": "09:00-21:00"}))

    answer = desk.ask(request(expires_at=at("2026-12-30T00:00")))

    assert ("rejected", None) == (answer.outcome, answer.next_eligible_at_ms)
    assert "at no time before that is it known" in answer.findings[-1].message


def test_the_search_ends_and_says_how_far_it_looked() -> None:
    """A request that never expires is not searched for for ever."""
    desk = Desk(policy(NIGHT), grant(), wish(closed={"every day": "09:00-21:00"}))

    answer = desk.ask(request(expires_at=MONDAY + 9_000 * DAY_MS))

    assert ("rejected", None) == (answer.outcome, answer.next_eligible_at_ms)
    assert SEARCHED_DAYS == 400
    assert "at no time until 2027-04-07 21:00" in answer.findings[-1].message


def test_a_long_closing_is_one_step_of_the_search() -> None:
    """A blackout of three years, then a night: the time that is told is the morning after."""
    rebuilt = {"id": "rebuilt", "kind": "blackout", "dates": ["2026-01-01..2028-12-31"]}
    desk = Desk(policy(rebuilt, NIGHT), grant())

    answer = desk.ask(request())

    assert ("rejected", ["blackout", "would_expire"]) == (answer.outcome, [one.code for one in answer.findings])
    assert at("2029-01-01T09:00") == answer.next_eligible_at_ms


def test_settled_far_past_the_expiry() -> None:
    """A list that ends next year, a snooze after that, and an own maximum: the first time without any of them."""
    lists = {"id": "lists", "kind": "suppression", "lists": ["do_not_contact"]}
    desk = Desk(policy(lists, NIGHT), grant(), wish(snooze_until=to_datetime(at("2027-06-01T22:00"))))
    desk.send(
        SuppressionChange(
            customer_id="c1", list="do_not_contact", active=True, captured_at=to_datetime(MONDAY),
            expires_at=to_datetime(at("2027-01-01T00:00")),
        ),
        MONDAY,
    )  # fmt: skip

    answer = desk.ask(request(expires_at=MONDAY + DAY_MS))

    assert ("rejected", at("2027-06-02T08:00")) == (answer.outcome, answer.next_eligible_at_ms)


def test_no_next_time_after_a_consent_that_runs_out() -> None:
    """When the budget frees, the consent is over: nothing is known to be possible then."""
    desk = Desk(policy(ONE_A_WEEK), grant(expires_at=MONDAY + 3 * DAY_MS))
    desk.ask(request("a"))

    answer = desk.ask(request("b", expires_at=MONDAY + DAY_MS))

    assert ("rejected", None) == (answer.outcome, answer.next_eligible_at_ms)
    assert "could be approved" not in answer.findings[-1].message


def test_a_request_that_a_cell_stops_is_told_no_time() -> None:
    """Nobody knows when enough customers wait."""
    seminar = {"id": "seminar", "kind": "cell", "size": 3, "deadline": "2026-03-20"}
    desk = Desk(policy(seminar, NIGHT), grant())

    answer = desk.ask(request(expires_at=at("2026-03-03T08:00")), at("2026-03-02T21:30"))

    assert ("rejected", None) == (answer.outcome, answer.next_eligible_at_ms)


def test_a_cell_is_waited_for_until_the_last_instant_though_that_is_at_night() -> None:
    """It may fill this afternoon; the request is not refused because it expires at night."""
    seminar = {"id": "seminar", "kind": "cell", "size": 3, "deadline": "2026-03-20"}
    desk = Desk(policy(seminar, NIGHT), grant())

    answer = desk.ask(request(expires_at=at("2026-03-03T03:00")))

    assert ("deferred", at("2026-03-03T02:50")) == (answer.outcome, answer.retry_at_ms)
    assert ["cell_too_small", "quiet_hours"] == codes(desk.tick(at("2026-03-03T03:00"))[0])


def test_a_cell_without_a_deadline_is_waited_for_by_what_never_expires() -> None:
    """It is looked at again after a year, and not refused."""
    seminar = {"id": "seminar", "kind": "cell", "size": 3, "deadline": "9999-12-31"}
    desk = Desk(policy(seminar), grant())

    answer = desk.ask(request(expires_at=FAR_MS))

    assert ("deferred", MONDAY + 366 * DAY_MS) == (answer.outcome, answer.retry_at_ms)
    assert "it has no deadline" in answer.findings[0].message


def test_a_held_request_is_told_when_it_could_be_approved_after_the_close() -> None:
    """It expires before the auction closes, in the night: what is told is the morning."""
    auction = {"id": "auction", "kind": "arbitration", "hold": "4h"}
    desk = Desk(policy(auction, NIGHT), grant())
    now_ms = at("2026-03-02T19:00")

    answer = desk.ask(request(expires_at=now_ms + HOUR_MS), now_ms)

    assert ["held_for_arbitration", "would_expire"] == [one.code for one in answer.findings]
    assert at("2026-03-03T09:00") == answer.next_eligible_at_ms


def test_a_full_waiting_room_tells_the_settled_time() -> None:
    """What cannot wait is told when it would be heard again."""
    desk = Desk(policy(NIGHT, ONE_A_WEEK, waiting_max=1), grant())
    for name in ("a", "b"):
        desk.ask(request(name))

    answer = desk.ask(request("c"))

    assert ["cap_reached", "waiting_full"] == [one.code for one in answer.findings]
    assert at("2026-03-09T09:00") == answer.next_eligible_at_ms


def test_what_cannot_wait_opens_no_auction() -> None:
    """A request that finds the waiting room full is not held, so its auction does not stand open with nobody in it."""
    auction = {"id": "auction", "kind": "arbitration", "hold": "1h", "when": {"campaign": "auction"}}
    desk = Desk(policy(NIGHT, auction, waiting_max=1), grant())
    night_ms = at("2026-03-02T22:00")
    desk.ask(request("waits"), night_ms)
    assert "waiting_full" in codes(desk.ask(request("full", campaign="auction"), night_ms))
    desk.tick(at("2026-03-03T09:00"))

    answer = desk.ask(request("held", campaign="auction"), at("2026-03-03T10:00"))

    assert ("deferred", at("2026-03-03T11:00")) == (answer.outcome, answer.retry_at_ms)


@pytest.mark.parametrize(("begins", "expected"), [("2026-03-02T21:03", "2026-03-02T21:03"), (None, "2026-03-03T09:00")])
def test_a_permit_that_is_too_short_until_an_exception_begins(begins: str | None, expected: str) -> None:
    """Ten minutes are not left before the night; an exception that begins sooner makes them enough."""
    lift = {"id": "lift", "rules": ["night"], "approver": "head", "reason": "a test", "from": f"{begins}+00:00",
            "until": "2026-03-02 23:00"}  # fmt: skip
    desk = Desk(policy(NIGHT, exceptions=[lift] if begins else []), grant())

    answer = desk.ask(request(), at("2026-03-02T20:55"))

    assert ("deferred", at(expected)) == (answer.outcome, answer.retry_at_ms)


def test_hourly_windows_beside_short_openings() -> None:
    """It is open for twelve minutes around each full hour, where an hourly budget cuts every permit; then it is not."""
    closed = [f"{hour:02}:06-{hour:02}:54" for hour in range(24)]
    hourly = {"id": "hourly", "kind": "cap", "per": ["customer"], "limit": 5, "window": "calendar hour",
              "effective": {"until": "2026-03-20"}}  # fmt: skip
    desk = Desk(
        policy(hourly), grant(), wish(closed={"every day": closed}, maximum=OwnMaximum(limit=5, window="rolling 1d"))
    )

    answer = desk.ask(request())

    assert ("deferred", at("2026-03-21T00:54")) == (answer.outcome, answer.retry_at_ms)
