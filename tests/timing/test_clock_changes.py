"""Every window of every zone, around every change of its clock."""

from __future__ import annotations

from zoneinfo import available_timezones

import pytest

from arbiter.timing.instants import HOUR_MS, MINUTE_MS, to_datetime
from arbiter.timing.opening_hours import Closings, parse_closed
from arbiter.timing.windows import CALENDAR_UNITS, calendar_window
from tests.inputs.builders import Desk, at, policy, request
from tests.inputs.clocks import transitions

ZONES = sorted(available_timezones())
YEARS = (2011, 2026)
"""In 2011 Samoa skipped a day and Newfoundland's clocks still changed at one minute past midnight."""

AROUND = sorted(step * 20 * MINUTE_MS + off for step in range(-15, 16) for off in (-1, 0, 1))
CLOSED = Closings, parse_closed({"every day": ["21:00-00:30", "01:30-02:30", "03:00-04:00"]})


@pytest.mark.parametrize("year", YEARS)
def test_calendar_windows_follow_each_other(year: int) -> None:
    """The window that holds an instant holds it, ends later, and the next one begins at its end."""
    for zone in ZONES:
        for change_ms in transitions(zone, year):
            for at_ms in (change_ms + around for around in AROUND):
                for unit in CALENDAR_UNITS:
                    start_ms, end_ms = calendar_window(unit, zone, at_ms)
                    place = f"{unit} of {zone} at {to_datetime(at_ms)}"
                    assert start_ms <= at_ms < end_ms, place
                    assert calendar_window(unit, zone, start_ms) == (start_ms, end_ms), place
                    assert calendar_window(unit, zone, end_ms - 1) == (start_ms, end_ms), place
                    assert calendar_window(unit, zone, end_ms)[0] == end_ms, place


@pytest.mark.parametrize("year", YEARS)
def test_closings_follow_each_other(year: int) -> None:
    """A closing ends later than now, and is over then; what closes next is open until the instant before."""
    kind, closed = CLOSED
    for zone in ZONES:
        for change_ms in transitions(zone, year):
            closings = kind(closed, (zone,))
            for at_ms in (change_ms + around for around in AROUND):
                until_ms = closings.closed_until(at_ms)
                place = f"{zone} at {to_datetime(at_ms)}"
                if until_ms is None:
                    close_ms = closings.next_close(at_ms)
                    assert at_ms < close_ms < at_ms + 24 * HOUR_MS, place
                    assert closings.closed_until(close_ms - 1) is None, place
                    assert closings.closed_until(close_ms) is not None, place
                else:
                    assert at_ms < until_ms < at_ms + 24 * HOUR_MS, place
                    assert closings.closed_until(until_ms - 1) == until_ms, place
                    assert closings.closed_until(until_ms) is None, place


def test_a_clock_that_goes_back_two_hours() -> None:
    """At Troll the hours from one to three are repeated; the last of them lasts until both are over."""
    hour = {"id": "hour", "kind": "cap", "per": ["customer"], "limit": 1, "window": "calendar hour"}
    now_ms = at("2026-10-25T01:30")  # the clock shows half past one for the second time
    desk = Desk(policy(hour, timezone="Antarctica/Troll"))
    desk.ask(request("a", category="service", expires_at=now_ms + 20 * 24 * HOUR_MS), now_ms)

    answer = desk.ask(request("b", category="service", expires_at=now_ms + 20 * 24 * HOUR_MS), now_ms)

    assert ("deferred", at("2026-10-25T03:00")) == (answer.outcome, answer.retry_at_ms)
