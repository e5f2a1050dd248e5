"""Values over time: lines, or areas on top of each other, and a legend below."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tests.dashboards.asking import Shown, Span
from tests.dashboards.drawing import (
    CHARACTER,
    FAINT,
    GRID,
    INK,
    PALETTE,
    Box,
    color_of,
    fitting,
    moves,
    nothing,
    path,
    rectangle,
    text,
)
from tests.dashboards.reading import Panel
from tests.dashboards.scales import marks, times
from tests.dashboards.units import factor, written

AXIS, FOOT, LINE = 62, 18, 15
LEGEND_LINES_MAX = 3

Points = list[tuple[float, float]]


def draw(panel: Panel, shown: list[Shown], box: Box, span: Span) -> list[str]:
    """The panel's picture."""
    known = [one for one in shown if not all(math.isnan(value) for _, value in one.series.points)]
    if not known:
        return nothing(box)
    colors = _colors(panel, known)
    legend = _legend([one.name for one in known], colors, box)
    plot = box.inner(AXIS, 4, 8, FOOT + LINE * (1 + max(line for line, _ in legend)))
    is_stacked = panel.defaults["custom"]["stacking"]["mode"] == "normal"
    layers = _stacked(known) if is_stacked else [[*one.series.points] for one in known]
    low, high = _reach(panel, layers)
    scaled = factor(high, panel.unit)
    heights = [scaled * mark for mark in marks(low / scaled, high / scaled, 4 if plot.height > 90 else 2)]
    scale = _Scale(plot, span, heights[0], heights[-1])
    parts = [*_grid(panel, heights, scale), *_clock(scale)]
    for number in reversed(range(len(layers))) if is_stacked else range(len(layers)):
        parts += _layer(layers[number], colors[number], scale, is_stacked)
    return [*parts, *(part for _, part in legend)]


class _Scale:
    """From times and values to pixels."""

    def __init__(self, plot: Box, span: Span, low: float, high: float) -> None:
        self.plot, self.span = plot, span
        self._low, self._high = low, high

    def x(self, when: float) -> float:
        """A time's place."""
        return self.plot.left + self.plot.width * (when - self.span.begin) / (self.span.end - self.span.begin)

    def y(self, value: float) -> float:
        """A value's place."""
        share = (value - self._low) / (self._high - self._low)
        return self.plot.bottom - self.plot.height * min(max(share, 0), 1)


def _reach(panel: Panel, layers: Sequence[Points]) -> tuple[float, float]:
    values = [value for layer in layers for _, value in layer if not math.isnan(value)]
    low, high = panel.defaults.get("min", min(values)), max(values)
    return low, high if high > low else low + 1


def _stacked(shown: list[Shown]) -> list[Points]:
    """Each series on top of those before it; where a series has no value it adds nothing."""
    below: dict[float, float] = {}
    layers: list[Points] = []
    whens = sorted({when for one in shown for when, _ in one.series.points})
    for one in shown:
        own = {when: value for when, value in one.series.points if not math.isnan(value)}
        below = {when: below.get(when, 0.0) + own.get(when, 0.0) for when in whens}
        layers.append(list(below.items()))
    return layers


def _layer(points: Points, color: str, scale: _Scale, is_filled: bool) -> list[str]:
    parts = []
    for run in _runs(points, scale.span.step_s):
        way = [(scale.x(when), scale.y(value)) for when, value in run]
        if len(way) == 1:
            way.append((way[0][0] + 2, way[0][1]))
        if is_filled:
            floor = scale.plot.bottom
            area = [(way[0][0], floor), *way, (way[-1][0], floor)]
            parts.append(f'<path d="{moves(area)}Z" fill="{_pale(color)}"/>')
        parts.append(path(way, color))
    return parts


def _runs(points: Points, step_s: float) -> list[Points]:
    """A line ends where values are missing."""
    runs: list[Points] = [[]]
    for when, value in points:
        if math.isnan(value) or (runs[-1] and when - runs[-1][-1][0] > 1.5 * step_s):
            runs.append([])
        if not math.isnan(value):
            runs[-1].append((when, value))
    return [run for run in runs if run]


def _pale(color: str) -> str:
    """The colour as it is on white paper at a third of its strength, but not to be seen through."""
    parts = [int(color[index : index + 2], 16) for index in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - part) * 0.4):02x}" for part in parts)


def _grid(panel: Panel, heights: list[float], scale: _Scale) -> list[str]:
    parts = []
    for value in heights:
        y = scale.y(value)
        parts.append(
            f'<line x1="{scale.plot.left:.1f}" x2="{scale.plot.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        )
        parts.append(text(scale.plot.left - 5, y + 4, written(round(value, 9), panel.unit), 10.5, FAINT, "end"))
    return parts


def _clock(scale: _Scale) -> list[str]:
    count = max(int(scale.plot.width / 70), 2)
    return [
        text(scale.x(when), scale.plot.bottom + 15, said, 10.5, FAINT, "middle")
        for when, said in times(scale.span.begin, scale.span.end, count)
    ]


def _colors(panel: Panel, shown: list[Shown]) -> list[str]:
    fixed = {
        one["matcher"]["options"]: color_of(one["properties"][0]["value"]["fixedColor"])
        for one in panel.json["fieldConfig"]["overrides"]
    }
    return [fixed.get(one.name, PALETTE[number % len(PALETTE)]) for number, one in enumerate(shown)]


def _legend(names: list[str], colors: list[str], box: Box) -> list[tuple[int, str]]:
    """Names with their colours, as many in a line as fit; with the number of their line."""
    size = 10.5
    places: list[tuple[int, float, str, str]] = []
    line, x = 0, 0.0
    for name, color in zip(names, colors, strict=True):
        said = fitting(name, box.width - 30, size)
        width = 22 + len(said) * size * CHARACTER
        if x and x + width > box.width:
            line, x = line + 1, 0.0
        if line < LEGEND_LINES_MAX:
            places.append((line, x, said, color))
        x += width
    lines = 1 + places[-1][0]
    found = []
    for line, x, said, color in places:
        y = box.bottom - 3 - LINE * (lines - 1 - line)
        left = box.left + 4 + x
        mark = rectangle(Box(left, y - 5, 11, 3), color)
        found.append((line, mark + text(left + 15, y, said, size, INK)))
    return found
