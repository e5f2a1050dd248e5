"""A bar for each series: side by side with the value above, or one below the other with name and value."""

from __future__ import annotations

import math

from tests.dashboards.asking import Shown
from tests.dashboards.drawing import CHARACTER, GRID, INK, Box, fitting, nothing, rectangle, text, threshold_color
from tests.dashboards.reading import Panel
from tests.dashboards.units import written

BAR_MAX = 26.0


def draw(panel: Panel, shown: list[Shown], box: Box) -> list[str]:
    """The panel's picture."""
    known = [one for one in shown if not math.isnan(one.series.value)]
    if not known:
        return nothing(box)
    highest = panel.defaults.get("max") or max(one.series.value for one in known) or 1.0
    is_upright = panel.json["options"]["orientation"] == "vertical"
    if is_upright:
        cells = box.inner(6, 2, 6, 2).cut(len(known), is_upright=True)
        return [part for one, cell in zip(known, cells, strict=True) for part in _column(panel, one, cell, highest)]
    width = min(max(len(one.name) for one in known) * 11 * CHARACTER + 12, box.width * 0.55)
    cells = box.cut(len(known), is_upright=False)
    return [part for one, cell in zip(known, cells, strict=True) for part in _line(panel, one, cell, highest, width)]


def _column(panel: Panel, one: Shown, box: Box, highest: float) -> list[str]:
    said, color = _said(panel, one), _color(panel, one)
    room = box.inner(box.width * 0.12, 16, box.width * 0.12, 18)
    high = room.height * min(one.series.value / highest, 1)
    middle = box.left + box.width / 2
    return [
        rectangle(Box(room.left, room.bottom - high, room.width, high), color, ' rx="1"'),
        text(middle, room.bottom - high - 4, fitting(said, box.width + 6, 10.5), 10.5, INK, "middle"),
        text(middle, box.bottom - 4, one.name, 11, INK, "middle"),
    ]


def _line(panel: Panel, one: Shown, box: Box, highest: float, width: float) -> list[str]:
    said, color = _said(panel, one), _color(panel, one)
    high = min(BAR_MAX, box.height * 0.72)
    room = Box(box.left + width, box.top + (box.height - high) / 2, box.width - width - 58, high)
    base = box.top + box.height / 2 + 4
    return [
        text(box.left + width - 6, base, fitting(one.name, width - 8, 11), 11, INK, "end"),
        rectangle(room, GRID, ' rx="1"'),
        rectangle(Box(room.left, room.top, room.width * min(one.series.value / highest, 1), high), color, ' rx="1"'),
        text(box.right - 4, base, said, 11.5, color, "end", "bold"),
    ]


def _said(panel: Panel, one: Shown) -> str:
    return written(one.series.value, panel.unit, panel.defaults.get("decimals"))


def _color(panel: Panel, one: Shown) -> str:
    return threshold_color(one.series.value, panel.defaults["thresholds"])
