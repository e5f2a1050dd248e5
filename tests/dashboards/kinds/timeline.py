"""A state timeline: a bar for each series, in the colour of its value at each time, and what the colours mean."""

from __future__ import annotations

from tests.dashboards.asking import Shown, Span
from tests.dashboards.drawing import CHARACTER, FAINT, INK, Box, nothing, rectangle, text, threshold_color
from tests.dashboards.reading import Panel
from tests.dashboards.scales import times

AXIS, FOOT, LEGEND, SIZE = 24, 18, 16, 10.5


def draw(panel: Panel, shown: list[Shown], box: Box, span: Span) -> list[str]:
    """The panel's picture."""
    if not shown:
        return nothing(box)
    plot = box.inner(AXIS, 4, 8, FOOT + LEGEND)
    parts = []
    for one, row in zip(shown, plot.cut(len(shown), is_upright=False), strict=True):
        parts.append(text(plot.left - 5, row.top + row.height / 2 + 4, one.name, SIZE, FAINT, "end"))
        parts += _row(panel, one, row.inner(0, 1, 0, 1), span)
    for when, said in times(span.begin, span.end, max(int(plot.width / 70), 2)):
        parts.append(text(_x(when, plot, span), plot.bottom + 14, said, SIZE, FAINT, "middle"))
    return [*parts, *_legend(panel, box)]


def _row(panel: Panel, one: Shown, row: Box, span: Span) -> list[str]:
    """A cell for each stretch of time with one value."""
    stretches: list[tuple[float, float, float]] = []
    for when, value in one.series.points:
        if stretches and stretches[-1][2] == value and when - stretches[-1][1] < 1.5 * span.step_s:
            stretches[-1] = (stretches[-1][0], when, value)
        else:
            stretches.append((when, when, value))
    parts = []
    for begin, end, value in stretches:
        left, right = _x(begin, row, span), min(_x(end + span.step_s, row, span), row.right)
        color = threshold_color(value, panel.defaults["thresholds"])
        parts.append(rectangle(Box(left, row.top, right - left, row.height), color))
    return parts


def _x(when: float, box: Box, span: Span) -> float:
    return box.left + box.width * (when - span.begin) / (span.end - span.begin)


def _legend(panel: Panel, box: Box) -> list[str]:
    """The words of the values, each beside its colour."""
    parts, left = [], box.left + 4
    for mapping in panel.defaults["mappings"]:
        for value, word in mapping["options"].items():
            color = threshold_color(float(value), panel.defaults["thresholds"])
            parts.append(rectangle(Box(left, box.bottom - 8, 11, 4), color))
            parts.append(text(left + 15, box.bottom - 2, word["text"], SIZE, INK))
            left += 15 + len(word["text"]) * SIZE * CHARACTER + 12
    return parts
