"""Instants in the core: whole milliseconds since 1970-01-01T00:00Z, as ``int``; their names end in ``_ms``.

An integer of milliseconds is an instant (never a local time), compares and adds exactly, and packs small; see
``docs/decisions/001-instants-are-integer-milliseconds.md``. Messages carry RFC 3339; the functions here and the reader
in ``timing.dates`` are the only bridge.

**The span.** Instants from outside are clamped here, once, to the years 1000 to 8999. A later one is ``FAR_MS``, no
end; an earlier one is ``FIRST_MS``, no beginning. The thousand years on either side of the span are a margin, so
that durations can be added to an instant and the result still be computed in every zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

FAR_MS = 253_402_300_799_999
"""The last millisecond of year 9999: stands for "no end"."""


def exact_ms(instant: datetime) -> int:
    """Milliseconds of a zone-aware datetime, rounded down; ``TypeError`` for a naive one. Not clamped."""
    # Not `// timedelta(milliseconds=1)`, which counts in microseconds and long numbers: this runs several times for
    # each record.
    since = instant - EPOCH
    return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000


FIRST_YEAR, LAST_YEAR = 1000, 8999
FIRST_MS = exact_ms(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC))
"""The first instant of the span: stands for "no beginning"."""
END_MS = exact_ms(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))
"""The end of the span; an instant from here on means "no end"."""

_LEAST_MS = exact_ms(datetime.min.replace(tzinfo=UTC))


def in_span(instant_ms: int) -> int:
    """The instant, clamped to the span."""
    if FIRST_MS <= instant_ms < END_MS:
        return instant_ms
    return FAR_MS if instant_ms >= END_MS else FIRST_MS


def to_ms(instant: datetime) -> int:
    """Milliseconds of a zone-aware datetime from outside, rounded down, in the span; ``TypeError`` for a naive one."""
    since = instant - EPOCH
    at_ms = since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000
    return at_ms if FIRST_MS <= at_ms < END_MS else in_span(at_ms)


def to_datetime(instant_ms: int) -> datetime:
    """The UTC datetime of an instant in milliseconds, clamped to the calendar."""
    if not _LEAST_MS <= instant_ms <= FAR_MS:
        instant_ms = FAR_MS if instant_ms > FAR_MS else _LEAST_MS
    return EPOCH + _MILLISECOND * instant_ms
