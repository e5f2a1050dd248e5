"""Axes: round values for the marks of an axis, and times of day."""

from __future__ import annotations

import math
from datetime import UTC, datetime

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400)


def marks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values from the first at or below ``low`` to the first at or above ``high``."""
    span = (high - low) or abs(high) or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * one for one in ROUND if power * one >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, max(last, first + 1) + 1)]


def times(begin: float, end: float, count: int) -> list[tuple[float, str]]:
    """Round times in between, and how they are written."""
    step = next((one for one in SECONDS if (end - begin) / one <= count), SECONDS[-1])
    first = math.ceil(begin / step)
    pattern = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86_400 else "%d %b"
    places = [index * float(step) for index in range(first, math.floor(end / step) + 1)]
    return [(place, datetime.fromtimestamp(place, UTC).strftime(pattern)) for place in places]
