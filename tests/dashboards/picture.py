"""The picture of a dashboard: every panel with what its queries answer, where Grafana would put it."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from tests.dashboards.asking import Shown, Span, ask
from tests.dashboards.drawing import BACK, FAINT, GRID, INK, PAPER, Box, fitting, rectangle, text
from tests.dashboards.kinds import bars, heat, lines, stat, table, timeline
from tests.dashboards.reading import Panel, dashboards, panels
from tests.servers.prometheus import PrometheusServer

WIDTH, MARGIN, HEAD = 1_400, 10, 58
UNIT = 34
"""The height of one line of Grafana's grid, in pixels."""
COLUMNS = 24
FONT = "font-family=\"Inter, 'Helvetica Neue', Arial, sans-serif\""


def picture(name: str, prometheus: PrometheusServer, span: Span) -> str:
    """An SVG with all panels of a dashboard."""
    document = dashboards()[name]
    bottom = max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in document["panels"])
    height = HEAD + bottom * UNIT + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" {FONT}>',
        f"<title>{escape(document['title'])}</title>",
        rectangle(Box(0, 0, WIDTH, height), BACK),
        text(MARGIN + 4, 26, document["title"], 20, INK, weight="bold"),
        text(MARGIN + 4, 46, document["description"], 12.5, FAINT),
        text(WIDTH - MARGIN - 4, 26, _dates(span), 12.5, FAINT, "end"),
    ]
    for row in document["panels"]:
        if row["type"] == "row":
            box = _box(0, row["gridPos"]["y"], COLUMNS, 1)
            parts.append(text(box.left + 4, box.bottom - 6, f"⌄ {row['title']}", 15, INK, weight="bold"))
    for panel in panels(name):
        parts += _panel(panel, ask(panel, prometheus, span), span)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, shown: list[Shown], span: Span) -> list[str]:
    """A frame, the title, and what is shown."""
    box = _box(*panel.place)
    title = fitting(panel.title, box.width - 16, 12.5)
    frame = rectangle(box, PAPER, f' rx="3" stroke="{GRID}"')
    return [frame, text(box.left + 8, box.top + 18, title, 12.5, INK, weight="bold"), *_inside(panel, shown, span, box)]


def _inside(panel: Panel, shown: list[Shown], span: Span, box: Box) -> list[str]:
    inside = box.inner(8, 26, 8, 6)
    if panel.kind == "timeseries":
        return lines.draw(panel, shown, inside, span)
    if panel.kind == "state-timeline":
        return timeline.draw(panel, shown, inside, span)
    if panel.kind == "heatmap":
        return heat.draw(panel, shown, inside, span)
    simple = {"stat": stat.draw, "bargauge": bars.draw, "table": table.draw}
    return simple[panel.kind](panel, shown, inside)


def _box(x: int, y: int, wide: int, high: int) -> Box:
    column = (WIDTH - 2 * MARGIN) / COLUMNS
    return Box(MARGIN + x * column, HEAD + y * UNIT, wide * column - 6, high * UNIT - 6)


def _dates(span: Span) -> str:
    begin, end = (datetime.fromtimestamp(when, UTC) for when in (span.begin, span.end))
    return f"{begin:%Y-%m-%d %H:%M} to {end:%H:%M} UTC"
