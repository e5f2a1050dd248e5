"""Durations, budget windows and local time.

Every interval is ``[start, end)``. A rolling window of one day is exactly 24 hours. Calendar windows are hours,
days, ISO weeks (from Monday), months, quarters and years of a zone; a day begins at its first existing instant,
because some zones skip midnight.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from msgspec import Struct

from arbiter.timing.dates import Written, written
from arbiter.timing.instants import (
    DAY_MS,
    END_MS,
    EPOCH,
    FAR_MS,
    FIRST_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    exact_ms,
    in_span,
    to_datetime,
)

UNITS_MS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
NO_ZONES = frozenset(("localtime", "posixrules", "Factory"))
"""Entries of the zone database that are not zones."""
CALENDAR_UNITS = ("hour", "day", "week", "month", "quarter", "year")

# Nearly every calendar window begins on a quarter of an hour, so one answer serves a whole quarter.
QUARTER_MS = 15 * MINUTE_MS

# What the calendar can compute in every zone, with some years on either side.
LOCAL_FIRST_MS = exact_ms(datetime(3, 1, 1, tzinfo=EPOCH.tzinfo))
LOCAL_LAST_MS = exact_ms(datetime(9980, 1, 1, tzinfo=EPOCH.tzinfo))

_DURATION = re.compile(r"([1-9]\d{0,8})([smhdw])")


class Window(Struct, frozen=True):
    """A parsed budget window: ``rolling_ms`` for a rolling one, else ``unit`` names the calendar."""

    text: str
    rolling_ms: int | None = None
    unit: str | None = None

    @property
    def longest_ms(self) -> int:
        """An upper bound of its length (ms), to compare with how long contacts are kept."""
        if self.rolling_ms is not None:
            return self.rolling_ms
        days = {"hour": 1, "day": 2, "week": 8, "month": 32, "quarter": 93, "year": 367}
        return days[self.unit or "year"] * DAY_MS


@lru_cache(maxsize=4096)
def duration_ms(text: str) -> int:
    """Milliseconds of ``10m``, ``48h``, ``7d`` …. Raises ``ValueError``, which says what a duration looks like.

    A duration longer than the calendar counts as the calendar's length.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is not a duration; write a whole number and s, m, h, d or w, for example `48h`")
    return min(int(match[1]) * UNITS_MS[match[2]], FAR_MS)


@lru_cache(maxsize=4096)
def parse_window(text: str) -> Window:
    """The window named by ``rolling 7d`` or ``calendar week``. Raises ``ValueError``, which says what a window looks
    like.
    """
    how, _, what = text.partition(" ")
    if how == "rolling" and _DURATION.fullmatch(what):
        return Window(text, rolling_ms=duration_ms(what))
    if how == "calendar" and what in CALENDAR_UNITS:
        return Window(text, unit=what)
    raise ValueError(
        f"`{text}` is not a window; write `rolling 7d`, or `calendar` and one of {', '.join(CALENDAR_UNITS)}"
    )


def calendar_unit(text: str) -> str:
    """The unit of a calendar window, ``week`` of ``calendar week``; ``ValueError`` for any other window."""
    how, _, unit = text.partition(" ")
    if how == "calendar" and unit in CALENDAR_UNITS:
        return unit
    raise ValueError(
        f"`{text}` is not a calendar window, and only those can be shared by all customers; write `calendar` and one"
        f" of {', '.join(CALENDAR_UNITS)}"
    )


@cache
def zone_names() -> frozenset[str]:
    """The IANA names of all zones, UTC and the like included."""
    return frozenset(available_timezones()) - NO_ZONES


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of an IANA name. Raises ``ValueError`` for an unknown one.

    Where zones are files, `localtime` and the like can be opened too, but they mean something else on each machine.
    """
    try:
        if name in zone_names():
            return ZoneInfo(name)
        raise ZoneInfoNotFoundError
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"`{name}` is not a time zone; use an IANA name, for example `Europe/Lisbon`") from None


def known_zone(name: str | None) -> bool:
    """Whether ``name`` is a zone that can be used."""
    if name is None:
        return False
    try:
        zone_of(name)
    except ValueError:
        return False
    return True


def local_time(at_ms: int, zone: str) -> datetime:
    """The wall clock of ``zone`` at an instant."""
    return to_datetime(_on_calendar(at_ms)).astimezone(zone_of(zone))


def _on_calendar(at_ms: int) -> int:
    """The instant, clamped to what the calendar can compute."""
    if LOCAL_FIRST_MS <= at_ms <= LOCAL_LAST_MS:
        return at_ms
    return LOCAL_LAST_MS if at_ms > LOCAL_LAST_MS else LOCAL_FIRST_MS


def instant_of(local: datetime, zone: str, side: Literal["start", "end"]) -> int:
    """The instant (ms) at which a naive wall-clock time of ``zone`` is reached.

    A repeated time gives the earlier instant for a ``start`` and the later one for an ``end``; a skipped time
    gives the end of the gap.
    """
    tz = zone_of(zone)
    first = local.replace(tzinfo=tz, fold=0)
    second = local.replace(tzinfo=tz, fold=1)
    before, after = first.utcoffset(), second.utcoffset()
    if before is None or after is None:  # pragma: no cover - ZoneInfo always knows
        raise ValueError(f"`{zone}` has no offset")
    naive = local.replace(tzinfo=EPOCH.tzinfo)
    early, late = exact_ms(naive - before), exact_ms(naive - after)
    if before == after:
        return early
    if after > before:  # the clock jumps forward over this time
        return _end_of_gap(late, early, zone)
    return early if side == "start" else late


def _end_of_gap(low_ms: int, high_ms: int, zone: str) -> int:
    """The transition instant in ``(low, high]``: the first one with the offset that holds at ``high``."""
    target = local_time(high_ms, zone).utcoffset()
    while high_ms - low_ms > 1:
        middle = (low_ms + high_ms) // 2
        if local_time(middle, zone).utcoffset() == target:
            high_ms = middle
        else:
            low_ms = middle
    return high_ms


def start_of_day(day: date, zone: str) -> int:
    """The first existing instant (ms) of a local day."""
    return instant_of(datetime.combine(day, time.min), zone, "start")


def calendar_window(unit: str, zone: str, at_ms: int) -> tuple[int, int]:
    """``(start_ms, end_ms)`` of the calendar window of ``zone`` that holds ``at_ms``.

    A window begins when the clock first shows its local time or a later one. So windows follow each other without gap
    or overlap, and a time that is repeated belongs to the last window that had begun before.
    """
    at_ms = _on_calendar(at_ms)
    found = _calendar_window(unit, zone, at_ms // QUARTER_MS * QUARTER_MS)
    return found if found[0] <= at_ms < found[1] else _window_at(unit, zone, at_ms)


def _window_at(unit: str, zone: str, at_ms: int) -> tuple[int, int]:
    start = _floor(local_time(at_ms, zone).replace(tzinfo=None, fold=0), unit)
    while True:
        end = _next(start, unit)
        end_ms = instant_of(end, zone, "start")
        if at_ms < end_ms:
            return instant_of(start, zone, "start"), end_ms
        start = end


_calendar_window = lru_cache(maxsize=65_536)(_window_at)


def _floor(local: datetime, unit: str) -> datetime:
    if unit == "hour":
        return local.replace(minute=0, second=0, microsecond=0)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "week":
        return day - timedelta(days=day.weekday())
    if unit == "month":
        return day.replace(day=1)
    if unit == "quarter":
        return day.replace(day=1, month=day.month - (day.month - 1) % 3)
    return day.replace(day=1, month=1) if unit == "year" else day


def _next(start: datetime, unit: str) -> datetime:
    if unit in ("month", "quarter", "year"):
        months = {"month": 1, "quarter": 3, "year": 12}[unit]
        years, month = divmod(start.month - 1 + months, 12)
        return start.replace(year=start.year + years, month=month + 1)
    return start + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}[unit]


def moment(text: str, zone: str, side: Literal["start", "end"]) -> int:
    """An instant (ms, in the span) from a date, a local time or a time with an offset.

    A bare date as a ``start`` is its first instant; as an ``end`` it is the first instant after it.
    """
    try:
        one = _written(text)
    except ValueError:
        raise ValueError(f"`{text}` is not a date or time; write `2026-12-24` or `2026-12-24 18:00`") from None
    if one.local is None:
        return one.ever_ms
    if one.is_day:
        return in_span(start_of_day(one.local.date() + timedelta(days=1 if side == "end" else 0), zone))
    if one.offset_ms is None:
        return in_span(instant_of(one.local, zone, side))
    return in_span(exact_ms(one.local.replace(tzinfo=EPOCH.tzinfo)) - one.offset_ms)


def _written(text: str) -> Written:
    """A date as people write it in a file: all forms of messages, and the other forms of ISO 8601."""
    try:
        return written(text)
    except ValueError:
        local = datetime.fromisoformat(text)
    offset = local.utcoffset()
    offset_ms = None if offset is None else offset // timedelta(milliseconds=1)
    return Written(local.replace(tzinfo=None), len(text) <= len("2026-12-24"), offset_ms)


def spoken(at_ms: int, zone: str) -> str:
    """An instant as text for findings: ``2026-03-05 09:00 (Europe/Lisbon)``."""
    if at_ms >= END_MS:
        return "the end of time"
    return "the beginning of time" if at_ms <= FIRST_MS else _spoken(at_ms // MINUTE_MS, zone)


def spoken_until(end_ms: int, zone: str) -> str:
    """An end as text for findings: ``until 2026-03-05 09:00 (Europe/Lisbon)``, or ``for ever``."""
    return "for ever" if end_ms >= END_MS else f"until {spoken(end_ms, zone)}"


def _spoken(minute: int, zone: str) -> str:
    quarter, rest = divmod(minute, QUARTER_MS // MINUTE_MS)
    known = _spoken_quarter(quarter, zone)
    return f"{known[0]}{known[1] + rest:02d} ({zone})" if known else _written_out(minute, zone)


# Most findings of a day speak of some of its 96 quarters of an hour.
@lru_cache(maxsize=65_536)
def _spoken_quarter(quarter: int, zone: str) -> tuple[str, int] | None:
    """How the minutes of a quarter of an hour begin, and the first of them; ``None`` if the clock is changed in it."""
    first = local_time(quarter * QUARTER_MS, zone)
    last = local_time(quarter * QUARTER_MS + QUARTER_MS - MINUTE_MS, zone)
    if first.utcoffset() != last.utcoffset() or first.hour != last.hour or first.second:
        return None
    return first.replace(tzinfo=None).isoformat(" ", "hours") + ":", first.minute


@lru_cache(maxsize=4_096)
def _written_out(minute: int, zone: str) -> str:
    return f"{local_time(minute * MINUTE_MS, zone).replace(tzinfo=None).isoformat(' ', 'minutes')} ({zone})"
