"""Values as Grafana writes them, by the unit of a panel."""

from __future__ import annotations

import math
from collections.abc import Callable

SPANS = ((86_400.0, "days"), (3_600.0, "hours"), (60.0, "mins"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SHORT = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))
BYTES = ((2.0**30, " GiB"), (2.0**20, " MiB"), (2.0**10, " KiB"))


def written(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit."""
    if math.isnan(value):
        return "–"
    return WRITERS[unit](value, decimals)


def factor(value: float, unit: str) -> float:
    """What values of about this size are written in: minutes are 60 seconds, and KiB 1024 bytes."""
    scale = {"bytes": BYTES, "s": SPANS}.get(unit, ())
    return next((one for one, _ in scale if value >= 2 * one), 1.0)


def _number(value: float, decimals: int | None) -> str:
    if decimals is None:
        decimals = 0 if value == round(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text and decimals > 1 else text


def _scaled(value: float, decimals: int | None, scale: tuple[tuple[float, str], ...], base: str = "") -> str:
    for factor, name in scale:
        if abs(value) >= factor:
            return _number(value / factor, 1 if decimals is None else max(decimals, 1)) + name
    return _number(value, decimals) + base


def _seconds(value: float, decimals: int | None) -> str:
    for factor, name in SPANS:
        if abs(value) >= factor:
            return f"{_number(value / factor, decimals if factor <= 1 else 1)} {name}"
    return f"{_number(value, decimals)} s"


def _per_second(name: str) -> Callable[[float, int | None], str]:
    return lambda value, decimals: f"{_scaled(value, decimals, SHORT)} {name}/s"


WRITERS: dict[str, Callable[[float, int | None], str]] = {
    "none": _number,
    "short": lambda value, decimals: _scaled(value, decimals, SHORT),
    "percentunit": lambda value, decimals: f"{_number(value * 100, decimals)}%",
    "s": _seconds,
    "bytes": lambda value, decimals: _scaled(value, decimals, BYTES, " B"),
    "ops": _per_second("ops"),
    "reqps": _per_second("req"),
}
