"""Closed hours: quiet hours, holidays and blackouts as merged intervals of instants.

A :class:`Closed` says which local times of a day are closed. :class:`Closings` computes merged ``[start, end)``
intervals from it for a set of zones (closed in one of them is closed). It says until when it is closed,
and when it closes next.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta

from msgspec import Struct

from arbiter.timing.instants import DAY_MS, END_MS, FAR_MS
from arbiter.timing.windows import LOCAL_FIRST_MS, LOCAL_LAST_MS, instant_of, local_time, start_of_day

DAY_WORDS = ("weekdays", "weekend", "every day", "holidays")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
EPOCH_DAY = date(1970, 1, 1)
CHUNK_DAYS = 7
CHUNKS_MAX = 240
"""How many weeks are cached for one set of zones."""
CLOSED_MS = 60 * 7 * DAY_MS
"""After the last date with a year, what is closed for longer than this never opens."""
YEARLY_DAYS = 8 * 366
"""Within this many days every day of the year occurs, 29 February too."""

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-4]):([0-5]\d)")
_DATE = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)")


class Span(Struct, frozen=True):
    """Closed from ``start`` to ``end``, minutes of the local day; an end past 24:00 is on the next day."""

    start: int
    end: int


ALL_DAY = Span(0, DAY_MINUTES)


class Dates(Struct, frozen=True):
    """A set of local days: exact ones (with a year) and yearly ones (month, day), both inclusive ranges."""

    exact: tuple[tuple[date, date], ...] = ()
    yearly: tuple[tuple[tuple[int, int], tuple[int, int]], ...] = ()

    def __contains__(self, day: date) -> bool:
        if any(first <= day <= last for first, last in self.exact):
            return True
        key = (day.month, day.day)
        return any(
            first <= key <= last if first <= last else key >= first or key <= last for first, last in self.yearly
        )

    def __or__(self, other: Dates) -> Dates:
        return Dates(self.exact + other.exact, self.yearly + other.yearly)

    def since(self, day: date) -> date | None:
        """The first of these days from ``day`` on."""
        found = [max(first, day) for first, last in self.exact if day <= last]
        if self.yearly:
            later = (day + timedelta(days=ahead) for ahead in range(YEARLY_DAYS))
            found += [next(one for one in later if one in Dates(yearly=self.yearly))]
        return min(found, default=None)


NO_DATES = Dates()


class Closed(Struct, frozen=True):
    """What is closed: spans by weekday (0 is Monday), spans on holidays, whole days."""

    by_weekday: tuple[tuple[Span, ...], ...] = ((),) * 7
    on_holidays: tuple[Span, ...] = ()
    holidays: Dates = NO_DATES
    days: Dates = NO_DATES

    def spans(self, day: date) -> tuple[Span, ...]:
        """The spans that begin on this local day."""
        spans = self.by_weekday[day.weekday()]
        if self.on_holidays and day in self.holidays:
            spans += self.on_holidays
        if day in self.days:
            spans += (ALL_DAY,)
        return spans

    @property
    def last(self) -> date:
        """The last of the days with a year; long ago if there is none."""
        return max([last for dates in (self.days, self.holidays) for _, last in dates.exact], default=EPOCH_DAY)

    def since(self, day: date) -> date | None:
        """The first local day from ``day`` on that may have spans; ``None`` if there are no more."""
        if any(self.by_weekday):
            return day
        dates = (self.days, self.holidays) if self.on_holidays else (self.days,)
        return min([first for first in (one.since(day) for one in dates) if first is not None], default=None)


def parse_span(text: str) -> Span:
    """``21:00-09:00`` or ``all day``; ``ValueError`` says what hours look like. A span may pass midnight."""
    if text == "all day":
        return ALL_DAY
    match = _HOURS.fullmatch(text.strip())
    if match is None or (match[3] == "24" and match[4] != "00"):
        raise ValueError(f"`{text}` is not a span of hours; write `21:00-09:00` or `all day`")
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if start == end:
        raise ValueError(f"`{text}` begins and ends at the same time; write `all day` for the whole day")
    return Span(start, end if end > start else end + DAY_MINUTES)


def parse_days(text: str) -> frozenset[int] | None:
    """The weekdays of ``mon``, ``mon-fri``, ``weekdays``, ``weekend``, ``every day``; ``None`` means holidays."""
    named = {"weekdays": frozenset(range(5)), "weekend": frozenset((5, 6)), "every day": frozenset(range(7))}
    if text == "holidays":
        return None
    if text in named:
        return named[text]
    first, dash, last = text.partition("-")
    if first in WEEKDAYS and (last in WEEKDAYS if dash else True):
        begin = WEEKDAYS.index(first)
        length = (WEEKDAYS.index(last) - begin) % 7 if dash else 0
        return frozenset((begin + step) % 7 for step in range(length + 1))
    raise ValueError(f"`{text}` is not a day; write mon … sun, `mon-fri`, weekdays, weekend, `every day` or holidays")


def parse_closed(closed: Mapping[str, str | list[str]], holidays: Dates = NO_DATES) -> Closed:
    """Closed hours from their written form: ``{weekdays: 21:00-09:00, sun: all day}``. ``ValueError`` if unreadable."""
    by_weekday: list[list[Span]] = [[] for _ in range(7)]
    on_holidays: list[Span] = []
    for days_text, hours in closed.items():
        spans = [parse_span(text) for text in ([hours] if isinstance(hours, str) else hours)]
        days = parse_days(days_text)
        if days is None:
            on_holidays += spans
        for day in days or ():
            by_weekday[day] += spans
    return Closed(tuple(map(tuple, by_weekday)), tuple(on_holidays), holidays)


def parse_dates(texts: list[str]) -> Dates:
    """Days from ``2026-12-24``, ``12-24`` (every year) and ranges ``2026-12-24..2026-12-26``, last day included."""
    exact: list[tuple[date, date]] = []
    yearly: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for text in texts:
        first, dots, last = text.partition("..")
        begin, end = _parse_date(first, text), _parse_date(last if dots else first, text)
        if isinstance(begin, date) and isinstance(end, date) and begin <= end:
            exact.append((begin, end))
        elif isinstance(begin, tuple) and isinstance(end, tuple):
            yearly.append((begin, end))
        else:
            raise ValueError(f"`{text}` is not a range of days; write two dates alike, the earlier first")
    return Dates(tuple(exact), tuple(yearly))


def parse_date(text: str) -> Dates:
    """One of the texts of :func:`parse_dates`."""
    return parse_dates([text])


def are_past(texts: list[str], zone: str, now_ms: int) -> bool:
    """Whether none of these days is today or later, in a zone."""
    days, today = parse_dates(texts), local_time(now_ms, zone).date()
    return not days.yearly and all(last < today for _, last in days.exact)


def _parse_date(text: str, whole: str) -> date | tuple[int, int]:
    match = _DATE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError
        day = date(int(match[1] or 2024), int(match[2]), int(match[3]))  # 2024: a leap year, so 02-29 is a day
    except ValueError:
        raise ValueError(f"`{whole}` is not a date; write `2026-12-24`, or `12-24` for every year") from None
    return day if match[1] else (day.month, day.day)


class Closings:
    """The closed intervals of a :class:`Closed` in a set of zones, computed week by week and cached."""

    def __init__(self, closed: Closed, zones: tuple[str, ...]) -> None:
        self._closed = closed
        self._zones = zones
        self._chunks: dict[int, tuple[list[int], list[int]]] = {}
        numbers = [((first - EPOCH_DAY).days, (last - EPOCH_DAY).days) for first, last in closed.days.exact]
        self._long = [(first, last) for first, last in numbers if last - first > 2 * CHUNK_DAYS]
        self._last_ms = (closed.last - EPOCH_DAY).days * DAY_MS
        self._open = (0, 0)  # an interval known to be open: most questions are about today
        self._shut = (0, 0)  # one known to be closed, of those that are long

    def closed_until(self, at_ms: int) -> int | None:
        """When it opens (ms), if it is closed at ``at_ms``; ``FAR_MS`` if never. ``None`` if it is open."""
        if self._open[0] <= at_ms < self._open[1]:
            return None
        if self._shut[0] <= at_ms < self._shut[1]:
            return self._shut[1]
        starts, ends = self._chunk(at_ms)
        index = bisect_right(starts, at_ms) - 1
        if index < 0 or ends[index] <= at_ms:
            return None
        until = ends[index]
        for_good_ms = max(at_ms, self._last_ms) + CLOSED_MS
        until = self._through(until)
        while until < FAR_MS and (later := self._end(until)) is not None:
            until = self._through(later) if later < for_good_ms else FAR_MS
        if until - at_ms > CHUNK_DAYS * DAY_MS:
            self._shut = (at_ms, until)
        return until

    def _through(self, at_ms: int) -> int:
        """An instant until which it is closed: later than ``at_ms`` if that lies in a long range of closed days."""
        if at_ms >= FAR_MS:
            return FAR_MS
        number = at_ms // DAY_MS
        for first, last in self._long:
            if first < number < last - CHUNK_DAYS:
                return FAR_MS if last * DAY_MS >= END_MS else (last - 2) * DAY_MS
        return at_ms

    def next_close(self, at_ms: int) -> int:
        """The first instant (ms) after ``at_ms`` at which a closed interval begins; ``FAR_MS`` if none does."""
        if self._open[0] <= at_ms < self._open[1]:
            return self._open[1]
        close_ms = self._find_close(at_ms)
        if self._end(at_ms) is None:
            self._open = (at_ms, close_ms)
        return close_ms

    def _find_close(self, at_ms: int) -> int:
        while at_ms < LOCAL_LAST_MS:
            starts, _ends = self._chunk(at_ms)
            index = bisect_right(starts, at_ms)
            if index < len(starts):
                return starts[index]
            next_day = (at_ms // DAY_MS // CHUNK_DAYS + 1) * CHUNK_DAYS
            day = self._closed.since(EPOCH_DAY + timedelta(days=next_day - 2))
            if day is None:
                return FAR_MS
            at_ms = max(next_day, (day - EPOCH_DAY).days - 2) * DAY_MS
            if self._end(at_ms) is not None:
                return at_ms
        return FAR_MS

    def _end(self, at_ms: int) -> int | None:
        """The end of the closed interval around ``at_ms`` within its week; ``None`` if it is open."""
        starts, ends = self._chunk(at_ms)
        index = bisect_right(starts, at_ms) - 1
        return ends[index] if index >= 0 and at_ms < ends[index] else None

    def _chunk(self, at_ms: int) -> tuple[list[int], list[int]]:
        number = min(max(at_ms, LOCAL_FIRST_MS), LOCAL_LAST_MS) // DAY_MS // CHUNK_DAYS
        chunk = self._chunks.get(number)
        if chunk is None:
            if len(self._chunks) > CHUNKS_MAX:
                self._chunks.clear()
            chunk = self._chunks[number] = self._intervals(number * CHUNK_DAYS)
        return chunk

    def _intervals(self, first_day: int) -> tuple[list[int], list[int]]:
        """Merged intervals of all local days that can touch the chunk: zones differ by up to a day from UTC."""
        found: list[tuple[int, int]] = []
        for offset in range(first_day - 2, first_day + CHUNK_DAYS + 2):
            day = EPOCH_DAY + timedelta(days=offset)
            for span in self._closed.spans(day):
                found += (_interval(day, span, zone) for zone in self._zones)
        starts: list[int] = []
        ends: list[int] = []
        for start, end in sorted(found):
            if start >= end:
                continue
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        return starts, ends


def _interval(day: date, span: Span, zone: str) -> tuple[int, int]:
    if span is ALL_DAY or span == ALL_DAY:
        return start_of_day(day, zone), start_of_day(day + timedelta(days=1), zone)
    midnight = datetime.combine(day, time.min)
    start = instant_of(midnight + timedelta(minutes=span.start), zone, "start")
    return start, instant_of(midnight + timedelta(minutes=span.end), zone, "end")
