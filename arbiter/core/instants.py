"""Instants inside the core: whole milliseconds since 1970-01-01T00:00Z, as ``int``, in names that end in ``_ms``.

An integer of milliseconds is an instant (never a local time), compares and adds exactly, and packs small; see
``docs/decisions/001-instants-are-integer-milliseconds.md``. Messages carry RFC 3339; these two functions are the
only bridge.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

FAR_MS = 253_402_300_799_999
"""The last millisecond of year 9999: what "no end" means where a number is needed."""


def to_ms(instant: datetime) -> int:
    """Milliseconds of a zone-aware datetime, rounded down; ``TypeError`` for a naive one."""
    # Not `// timedelta(milliseconds=1)`, which counts in microseconds and long numbers: this runs several times for
    # each record.
    since = instant - EPOCH
    return since.days * DAY_MS + since.seconds * SECOND_MS + since.microseconds // 1_000


def to_datetime(instant_ms: int) -> datetime:
    """The UTC datetime of an instant in milliseconds."""
    return EPOCH + timedelta(0, 0, 0, instant_ms)
