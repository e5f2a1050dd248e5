"""Closed hours: parsing, merging, zones, and the nights on which clocks change."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from arbiter.timing.instants import FAR_MS
from arbiter.timing.opening_hours import Closed, Closings, parse_closed, parse_dates, parse_days, parse_span
from arbiter.timing.windows import start_of_day
from tests.inputs.builders import at

NIGHT = parse_closed({"every day": "21:00-09:00"})
LISBON = ("Europe/Lisbon",)


@pytest.mark.parametrize(
    ("when", "until"),
    [
        ("2026-03-02T20:59:59.999", None),
        ("2026-03-02T21:00", "2026-03-03T09:00"),
        ("2026-03-03T08:59:59.999", "2026-03-03T09:00"),
        ("2026-03-03T09:00", None),
    ],
)
def test_night(when: str, until: str | None) -> None:
    """Closed at 21:00:00.000 and open at 09:00:00.000."""
    assert (at(until) if until else None) == Closings(NIGHT, LISBON).closed_until(at(when))


def test_next_close() -> None:
    """The next closing is the coming evening."""
    assert at("2026-03-02T21:00") == Closings(NIGHT, LISBON).next_close(at("2026-03-02T09:00"))


def test_the_next_closing_may_be_asked_for_while_it_is_closed() -> None:
    """It is that of the next evening, and what is asked afterwards is still closed."""
    closings = Closings(NIGHT, LISBON)

    assert at("2026-03-03T21:00") == closings.next_close(at("2026-03-02T22:00"))
    assert at("2026-03-03T09:00") == closings.closed_until(at("2026-03-03T08:00"))


def test_window_belongs_to_the_day_on_which_it_began() -> None:
    """Friday's night lasts into Saturday morning; Sunday is closed for the whole day and then Monday opens."""
    closings = Closings(parse_closed({"fri": "21:00-09:00", "sun": "all day"}), LISBON)

    assert at("2026-03-07T09:00") == closings.closed_until(at("2026-03-07T03:00"))
    assert closings.closed_until(at("2026-03-06T03:00")) is None
    assert at("2026-03-09T00:00") == closings.closed_until(at("2026-03-08T00:00"))


def test_touching_spans_are_one() -> None:
    """A night that touches a closed day is one closed time."""
    closings = Closings(parse_closed({"sat": ["20:00-24:00"], "sun": "all day", "mon": "00:00-09:00"}), LISBON)

    assert at("2026-03-09T09:00") == closings.closed_until(at("2026-03-07T20:00"))


def test_every_candidate_zone_must_be_open() -> None:
    """Lisbon closes an hour before the Azores and the Azores open an hour after Lisbon."""
    closings = Closings(NIGHT, ("Europe/Lisbon", "Atlantic/Azores"))

    assert at("2026-03-03T10:00") == closings.closed_until(at("2026-03-02T21:00"))
    assert at("2026-03-03T21:00") == closings.next_close(at("2026-03-03T10:00"))


@pytest.mark.parametrize(
    ("hours", "when", "until"),
    [
        # 2026-03-29 01:00 to 02:00 does not exist in Lisbon: a start in the gap is the gap's end.
        ("01:30-05:00", "2026-03-29T01:00", "2026-03-29T04:00"),
        # 2026-10-25 01:30 comes twice: a start takes the first, an end the second.
        ("01:30-05:00", "2026-10-25T00:30", "2026-10-25T05:00"),
        ("00:00-01:30", "2026-10-25T01:29", "2026-10-25T01:30"),
    ],
)
def test_clock_changes(hours: str, when: str, until: str) -> None:
    """On the nights on which clocks change, the longer closing counts."""
    closings = Closings(parse_closed({"sun": hours}), LISBON)

    assert at(until) == closings.closed_until(at(when))


def test_gap_start_is_open_before() -> None:
    """Up to the gap it is open."""
    assert Closings(parse_closed({"sun": "01:30-05:00"}), LISBON).closed_until(at("2026-03-29T00:59:59.999")) is None


def test_never_open() -> None:
    """What is always closed never opens, and what is never closed never closes."""
    assert FAR_MS == Closings(parse_closed({"every day": "all day"}), LISBON).closed_until(at("2026-03-02"))
    assert FAR_MS == Closings(Closed(), LISBON).next_close(at("2026-03-02"))


def test_yearly_dates_far_ahead() -> None:
    """A yearly blackout is found from far away, and over the turn of the year."""
    closings = Closings(Closed(days=parse_dates(["12-30..01-02"])), LISBON)

    assert at("2026-12-30") == closings.next_close(at("2026-01-03"))
    assert at("2027-01-03") == closings.closed_until(at("2026-12-31T12:00"))


@pytest.mark.parametrize(("dates", "day"), [(["2031-06-01"], "2031-06-01"), (["02-29"], "2028-02-29")])
def test_a_day_that_is_years_ahead_is_not_overlooked(dates: list[str], day: str) -> None:
    """Nor is it once the calendar was asked today and knows that it is open for long."""
    closings = Closings(Closed(days=parse_dates(dates)), LISBON)
    open_ms = at("2026-03-02T10:00")
    start_ms = start_of_day(date.fromisoformat(day), LISBON[0])

    assert closings.closed_until(open_ms) is None
    assert start_ms == closings.next_close(open_ms)
    assert closings.closed_until(start_ms - 1) is None
    assert start_of_day(date.fromisoformat(day) + timedelta(days=1), LISBON[0]) == closings.closed_until(start_ms)


def test_closed_for_years_is_not_closed_for_good() -> None:
    """A range of days with years ends, however long it is; what the weekdays close never does."""
    years = Closings(Closed(days=parse_dates(["2026-01-01..2035-12-31"])), LISBON)
    never = Closings(parse_closed({"every day": "all day"}), LISBON)

    assert at("2036-01-01T00:00") == years.closed_until(at("2026-03-02T10:00"))
    assert at("2036-01-01T00:00") == years.closed_until(at("2035-12-31T23:59"))
    assert never.closed_until(at("2026-03-02T10:00")) == never.closed_until(at("2030-03-02T10:00")) == FAR_MS


def test_holidays() -> None:
    """Holidays add to what the weekday closes."""
    closed = parse_closed({"every day": "21:00-09:00", "holidays": "all day"}, parse_dates(["2026-06-10"]))

    assert at("2026-06-11T08:00") == Closings(closed, LISBON).closed_until(at("2026-06-09T20:30"))


@pytest.mark.parametrize(
    "text", ["21-09", "21:00", "24:00-09:00", "21:00-24:30", "9:00-21:00", "21:00-21:00", "all-day"]
)
def test_bad_hours(text: str) -> None:
    """Unreadable hours say what hours look like."""
    with pytest.raises(ValueError, match="all day"):
        parse_span(text)


@pytest.mark.parametrize("text", ["monday", "mon-", "mon-holidays", "", "Mon"])
def test_bad_days(text: str) -> None:
    """Unreadable days say what days look like."""
    with pytest.raises(ValueError, match="is not a day; write mon … sun"):
        parse_days(text)


@pytest.mark.parametrize("text", ["2026-02-30", "13-01", "2026-12-24..12-26", "2026-12-26..2026-12-24", "Christmas"])
def test_bad_dates(text: str) -> None:
    """Unreadable dates say what dates look like."""
    with pytest.raises(ValueError, match="write"):
        parse_dates([text])
