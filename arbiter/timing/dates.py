"""Parses instants as text: RFC 3339, and the variants that senders use.

Senders write ``2026-03-04T10:00:00.1234567Z``, ``2026-03-04 10:00:00 +0100``, a leap second, ``9999-12-31`` for "no
end", Java's ``+1000000000-12-31T23:59:59.999999999Z``, Postgres' ``infinity``. All of these are read. Fractions of a
millisecond are rounded down, and instants beyond the span of ``timing.instants`` are clamped.
"""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Final

from msgspec import Struct

from arbiter.timing.instants import (
    DAY_MS,
    EPOCH,
    FAR_MS,
    FIRST_MS,
    FIRST_YEAR,
    HOUR_MS,
    LAST_YEAR,
    MINUTE_MS,
    SECOND_MS,
)
from arbiter.timing.instants import in_span as _in_span

LATEST_OFFSET_MS: Final = -12 * HOUR_MS
"""The zone in which a wall clock shows a given time last."""

_EVER: Final = {"infinity": FAR_MS, "+infinity": FAR_MS, "-infinity": FIRST_MS}

_WRITTEN: Final = re.compile(
    r"(?P<sign>[+−-])?(?P<year>\d{4,12})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:(?:[Tt]|\s+)(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?"
    r"\s*(?P<offset>[Zz]|[Uu][Tt][Cc]|[Gg][Mm][Tt]|(?P<east>[+−-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d)"
    r"(?::?(?P<seconds>\d\d))?)?)?(?:\[[\w/+-]+\])?)?(?P<era>\s+BC)?",
    re.ASCII,
)


class Written(Struct, frozen=True):
    """A date as it was written.

    ``local`` is the wall clock; ``None`` beyond the span, where ``ever_ms`` has the clamped instant. ``offset_ms`` is
    how far the wall clock is ahead of UTC; ``None`` if the text does not say.
    """

    local: datetime | None
    is_day: bool
    offset_ms: int | None
    ever_ms: int = 0


def written(text: str) -> Written:
    """Parse a date, with or without a time of day. Raises ``ValueError`` if it is not a date of the calendar."""
    text = text.strip()
    ever_ms = _EVER.get(text.lower())
    if ever_ms is not None:
        return Written(None, False, 0, ever_ms)
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"`{text}` is not a date")
    year = int(match["year"]) if match["sign"] in (None, "+") and not match["era"] else -1
    # The Gregorian calendar repeats itself after 400 years.
    day = date(2000 + year % 400, int(match["month"]), int(match["day"]))
    offset_ms, is_day = _offset_ms(match), match["hour"] is None
    clock = timedelta() if is_day else _clock(match)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return Written(None, is_day, offset_ms, FAR_MS if year > LAST_YEAR else FIRST_MS)
    return Written(datetime(year, day.month, day.day) + clock, is_day, offset_ms)  # noqa: DTZ001 - a wall clock


def _clock(match: re.Match[str]) -> timedelta:
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    millis = int(((match["fraction"] or "") + "000")[:3])
    if second == 60:  # noqa: PLR2004 - a leap second is the end of its minute
        second, millis = 59, 999
    is_midnight = hour == 24 and not (minute or second or millis)  # noqa: PLR2004 - the end of the day
    if (hour > 23 and not is_midnight) or minute > 59 or second > 59:  # noqa: PLR2004 - of a clock
        raise ValueError(f"`{match[0]}` is no time of a day")
    return timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=millis)


def _offset_ms(match: re.Match[str]) -> int | None:
    if match["offset"] is None:
        return None
    if match["east"] is None:
        return 0
    hours, minutes, seconds = int(match["hours"]), int(match["minutes"] or 0), int(match["seconds"] or 0)
    if hours > 23 or minutes > 59 or seconds > 59:  # noqa: PLR2004 - of a clock
        raise ValueError(f"`{match['offset']}` is no offset from UTC")
    offset_ms = hours * HOUR_MS + minutes * MINUTE_MS + seconds * SECOND_MS
    return offset_ms if match["east"] == "+" else -offset_ms


def instant_ms(text: str, *, latest: bool = False) -> int:
    """Parse an instant; gives milliseconds, clamped to the span. Raises ``ValueError``, which says what is wrong.

    With ``latest``, a text without an offset or a time of day gives the latest instant that it can mean.
    """
    shown = text.strip()[:64]
    try:
        one = written(text)
    except ValueError:
        raise ValueError(f"`{shown}` is no date and time; write `2026-03-04T10:00:00Z`") from None
    if one.local is None:
        return one.ever_ms
    if not latest and (one.is_day or one.offset_ms is None):
        raise ValueError(f"`{shown}` names no offset from UTC; write `2026-03-04T10:00:00Z` or `+01:00` for the `Z`")
    since = one.local.replace(tzinfo=EPOCH.tzinfo) - EPOCH
    wall_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    if one.is_day:
        wall_ms += DAY_MS - 1
    return _in_span(wall_ms - (LATEST_OFFSET_MS if one.offset_ms is None else one.offset_ms))
