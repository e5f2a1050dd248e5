"""A heatmap: how many values fell into each bucket of a histogram, darker where there are more."""

from __future__ import annotations

import math

from tests.dashboards.asking import Shown, Span
from tests.dashboards.drawing import FAINT, Box, nothing, rectangle, text
from tests.dashboards.reading import Panel
from tests.dashboards.scales import times
from tests.dashboards.units import written

AXIS, FOOT = 62, 18
DARK = (8, 48, 107)


def draw(panel: Panel, shown: list[Shown], box: Box, span: Span) -> list[str]:
    """The panel's picture."""
    counts = _counts(shown)
    most = max((count for row in counts.values() for count in row.values()), default=0.0)
    if not most:
        return nothing(box)
    plot = box.inner(AXIS, 4, 8, FOOT)
    bounds = _used(counts)
    high, wide = plot.height / len(bounds), plot.width * span.step_s / (span.end - span.begin)
    unit = panel.json["options"]["yAxis"]["unit"]
    parts = []
    for number, bound in enumerate(bounds):
        top = plot.bottom - high * (number + 1)
        for when, count in counts[bound].items():
            if count > 0:
                left = plot.left + plot.width * (when - span.begin) / (span.end - span.begin) - wide
                cell = Box(max(left, plot.left), top, wide - 0.6, high - 0.6)
                parts.append(rectangle(cell, _shade(math.sqrt(count / most))))
        said = "more" if math.isinf(bound) else written(bound, unit)
        parts.append(text(plot.left - 5, top + 4, said, 10.5, FAINT, "end"))
    count = max(int(plot.width / 70), 2)
    clock = times(span.begin, span.end, count)
    for when, said in clock:
        x = plot.left + plot.width * (when - span.begin) / (span.end - span.begin)
        parts.append(text(x, plot.bottom + 14, said, 10.5, FAINT, "middle"))
    return parts


def _counts(shown: list[Shown]) -> dict[float, dict[float, float]]:
    """By upper bound and time, how many values lie between this bound and the one below."""
    rows = sorted((float(one.name), dict(one.series.points)) for one in shown)
    found: dict[float, dict[float, float]] = {}
    below: dict[float, float] = {}
    for bound, row in rows:
        found[bound] = {when: value - below.get(when, 0.0) for when, value in row.items()}
        below = row
    return found


def _used(counts: dict[float, dict[float, float]]) -> list[float]:
    """The bounds from the lowest to the highest that any value fell under."""
    bounds = list(counts)
    used = [index for index, bound in enumerate(bounds) if any(count > 0 for count in counts[bound].values())]
    return bounds[used[0] : used[-1] + 1]


def _shade(share: float) -> str:
    pale = (222, 235, 247)
    return "#" + "".join(f"{round(light + (dark - light) * share):02x}" for light, dark in zip(pale, DARK, strict=True))
