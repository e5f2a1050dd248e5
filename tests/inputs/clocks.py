"""When the clocks of a zone change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from arbiter.timing.instants import DAY_MS, to_datetime, to_ms


def transitions(zone: str, year: int) -> list[int]:
    """The instants (ms) of a year at which the offset of a zone changes; of changes on one day only the last."""
    info = ZoneInfo(zone)

    def offset(at_ms: int) -> object:
        return to_datetime(at_ms).astimezone(info).utcoffset()

    found = []
    begin_ms, end_ms = (to_ms(datetime(number, 1, 1, tzinfo=UTC)) for number in (year, year + 1))
    for at_ms in range(begin_ms, end_ms, DAY_MS):
        low_ms, high_ms = at_ms, at_ms + DAY_MS
        after = offset(high_ms)
        if offset(low_ms) == after:
            continue
        while high_ms - low_ms > 1:
            middle_ms = (low_ms + high_ms) // 2
            low_ms, high_ms = (low_ms, middle_ms) if offset(middle_ms) == after else (middle_ms, high_ms)
        found.append(high_ms)
    return found
