"""Durations, windows and local time, on the nights on which clocks change too."""

from __future__ import annotations

from datetime import date

import pytest

from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from arbiter.timing.windows import calendar_window, duration_ms, moment, parse_window, start_of_day, zone_of
from tests.inputs.builders import at


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30_000), ("10m", 10 * MINUTE_MS), ("48h", 48 * HOUR_MS), ("7d", 7 * DAY_MS), ("2w", 14 * DAY_MS)],
)
def test_duration(text: str, expected: int) -> None:
    """A number and a unit give milliseconds."""
    assert expected == duration_ms(text)


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "1.5h", "7 d", "P7D", "1y", "7D"])
def test_duration_refused(text: str) -> None:
    """Anything else is refused with what a duration looks like."""
    with pytest.raises(ValueError, match="is not a duration; write a whole number and s, m, h, d or w"):
        duration_ms(text)


@pytest.mark.parametrize(
    "text", ["7d", "rolling", "rolling week", "calendar", "calendar 7d", "calendar Week", "sliding 7d"]
)
def test_window_refused(text: str) -> None:
    """A window says how it moves and how long it is."""
    with pytest.raises(ValueError, match="is not a"):
        parse_window(text)


def test_unknown_zone() -> None:
    """A zone is an IANA name; paths and nonsense are refused alike."""
    for name in ("Lisbon", "Europe/Atlantis", "../etc/passwd", ""):
        with pytest.raises(ValueError, match="is not a time zone"):
            zone_of(name)


@pytest.mark.parametrize(
    ("unit", "zone", "when", "start", "end"),
    [
        ("hour", "Europe/Lisbon", "2026-03-02T10:59:59.999", "2026-03-02T10:00", "2026-03-02T11:00"),
        ("hour", "Asia/Kolkata", "2026-03-02T10:00", "2026-03-02T09:30", "2026-03-02T10:30"),
        ("day", "Europe/Lisbon", "2026-03-29T12:00", "2026-03-29T00:00", "2026-03-29T23:00"),
        ("day", "Europe/Lisbon", "2026-10-25T12:00", "2026-10-24T23:00", "2026-10-26T00:00"),
        ("day", "America/New_York", "2026-03-02T04:59:59.999", "2026-03-01T05:00", "2026-03-02T05:00"),
        # Sao Paulo skipped midnight: the day began at 01:00 local, which is 03:00 UTC.
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T03:00", "2018-11-05T02:00"),
        # Samoa skipped a whole day, 2011-12-30.
        ("day", "Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("week", "Europe/Lisbon", "2026-03-01T23:59:59.999", "2026-02-23T00:00", "2026-03-02T00:00"),
        ("week", "Europe/Lisbon", "2026-03-02T00:00", "2026-03-02T00:00", "2026-03-09T00:00"),
        ("month", "Europe/Lisbon", "2026-03-31T22:59:59.999", "2026-03-01T00:00", "2026-03-31T23:00"),
        ("quarter", "Europe/Lisbon", "2026-05-05T00:00", "2026-03-31T23:00", "2026-06-30T23:00"),
        ("year", "Europe/Lisbon", "2024-02-29T12:00", "2024-01-01T00:00", "2025-01-01T00:00"),
        ("month", "UTC", "2024-02-29T23:59:59.999", "2024-02-01T00:00", "2024-03-01T00:00"),
    ],
)
def test_calendar_window(unit: str, zone: str, when: str, start: str, end: str) -> None:
    """A calendar window is half open and follows the zone's clock."""
    assert (at(start), at(end)) == calendar_window(unit, zone, at(when))


def test_repeated_hour_is_one_window() -> None:
    """When the clock goes back, the repeated local hour is one window of two hours."""
    assert (at("2026-10-25T00:00"), at("2026-10-25T02:00")) == calendar_window(
        "hour", "Europe/Lisbon", at("2026-10-25T01:30")
    )


def test_moment() -> None:
    """A bare date starts with its first instant and ends after its last; offsets are respected."""
    assert at("2026-12-24T00:00") == moment("2026-12-24", "Europe/Lisbon", "start")
    assert at("2026-12-25T00:00") == moment("2026-12-24", "Europe/Lisbon", "end")
    assert at("2026-07-01T17:00") == moment("2026-07-01 18:00", "Europe/Lisbon", "start")
    assert at("2026-07-01T16:00") == moment("2026-07-01T18:00+02:00", "Europe/Lisbon", "start")
    with pytest.raises(ValueError, match="is not a date or time"):
        moment("24.12.2026", "Europe/Lisbon", "start")


def test_start_of_day_in_gap() -> None:
    """A skipped midnight gives the end of the gap."""
    assert at("2018-11-04T03:00") == start_of_day(date(2018, 11, 4), "America/Sao_Paulo")
