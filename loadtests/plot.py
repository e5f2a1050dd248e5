"""The figures as an SVG, drawn with nothing but Python: one panel per figure, a bar per contender on a log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from loadtests.figures import Spread
from loadtests.report import Report

WIDTH, LEFT, RIGHT = 780, 110, 170
BAR, GAP, HEADING = 20, 8, 34
FONT = 'font-family="sans-serif" font-size="12"'
Row = tuple[str, Spread]


def plot(found: Report) -> str:
    """The picture; bars are medians, thin lines reach from the lowest to the highest round."""
    rows = found.summaries
    paces = [(f"{row.contender} {pace.rate:.0f}/s", pace) for row in rows for pace in row.paces]
    panels: list[tuple[str, list[Row]]] = [
        ("requests answered per second", [(row.contender, row.requests_per_second) for row in rows]),
        ("decisions published per second", [(row.contender, row.decisions_per_second) for row in rows]),
        ("worker processor time per request, µs", [(row.contender, row.worker_us_per_request) for row in rows]),
        ("worker processor time per decision, µs", [(row.contender, row.worker_us_per_decision) for row in rows]),
        ("p50 from scheduled arrival to decision, ms", [(name, pace.p50_ms) for name, pace in paces]),
        ("p99 from scheduled arrival to decision, ms", [(name, pace.p99_ms) for name, pace in paces]),
    ]
    panels = [panel for panel in panels if panel[1]]
    height = sum(HEADING + len(values) * (BAR + GAP) for _, values in panels) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 0
    for heading, values in panels:
        parts += _panel(top, heading, values)
        top += HEADING + len(values) * (BAR + GAP)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(top: int, heading: str, rows: Sequence[Row]) -> list[str]:
    lowest = min(value.low for _, value in rows)
    highest = max(value.high for _, value in rows)
    floor = 10 ** math.floor(math.log10(max(lowest, 1e-3)) - 0.3)
    span = math.log10(max(highest, floor * 10) / floor)

    def x(number: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(max(number, floor) / floor) / span

    parts = [f'<text x="8" y="{top + 22}" font-weight="bold">{escape(heading)} (log scale)</text>']
    for index, (name, value) in enumerate(rows):
        y = top + HEADING + index * (BAR + GAP)
        middle = y + BAR / 2
        parts += [
            f'<text x="{LEFT - 6}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{x(value.median) - LEFT:.1f}" height="{BAR}" fill="{_colour(name)}"/>',
            f'<line x1="{x(value.low):.1f}" x2="{x(value.high):.1f}" y1="{middle}" y2="{middle}" stroke="black"/>',
            f'<text x="{x(value.high) + 6:.1f}" y="{middle + 4}">{value.median:,.4g}</text>',
        ]
    return parts


def _colour(name: str) -> str:
    return "#2b6cb0" if name.startswith("arbiter") else "#a0aec0"
