"""A table: the answers of all queries, joined by one label, with the headings that the panel gives them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tests.dashboards.asking import Shown
from tests.dashboards.drawing import FAINT, GRID, INK, Box, fitting, nothing, text, threshold_color
from tests.dashboards.reading import Panel
from tests.dashboards.units import written

LINE = 24
SIZE = 11.5


@dataclass
class _Table:
    key: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def draw(panel: Panel, shown: list[Shown], box: Box) -> list[str]:
    """The panel's picture."""
    rows = _rows(panel, shown)
    if not rows:
        return nothing(box)
    headings = list(_headings(panel).values())
    properties = _properties(panel)
    first = 1.6
    wide = box.width / (len(headings) - 1 + first)
    lefts = [box.left + (0 if number == 0 else wide * (first + number - 1)) for number in range(len(headings))]
    parts = []
    for heading, left in zip(headings, lefts, strict=True):
        parts.append(text(left + 8, box.top + 16, fitting(heading, wide - 8, SIZE), SIZE, FAINT, weight="bold"))
    for number, row in enumerate(rows[: int((box.height - LINE) / LINE)]):
        y = box.top + LINE * (number + 1)
        parts.append(f'<line x1="{box.left:.1f}" x2="{box.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>')
        for heading, left in zip(headings, lefts, strict=True):
            said, color = _cell(row.get(heading), properties.get(heading, {}))
            width = wide * (first if heading == headings[0] else 1) - 12
            parts.append(text(left + 8, y + 16, fitting(said, width, SIZE), SIZE, color))
    return parts


def _rows(panel: Panel, shown: list[Shown]) -> list[dict[str, Any]]:
    """As Grafana's transformations make them: joined by the label, renamed, sorted."""
    label = panel.json["transformations"][0]["options"]["byField"]
    headings = _headings(panel)
    found: dict[str, dict[str, Any]] = {}
    for one in shown:
        key = one.series.labels[label]
        found.setdefault(key, {headings[label]: key})[headings[f"Value #{one.target}"]] = one.series.value
    rows = list(found.values())
    for order in panel.json["options"].get("sortBy", []):
        rows.sort(key=lambda row: row.get(order["displayName"], -math.inf), reverse=order["desc"])
    return rows


def _headings(panel: Panel) -> dict[str, str]:
    organize = panel.json["transformations"][-1]["options"]
    found: dict[str, str] = dict(
        sorted(organize["renameByName"].items(), key=lambda one: organize["indexByName"][one[0]])
    )
    return found


def _properties(panel: Panel) -> dict[str, dict[str, Any]]:
    return {
        one["matcher"]["options"]: {each["id"]: each["value"] for each in one["properties"]}
        for one in panel.json["fieldConfig"]["overrides"]
    }


def _cell(value: Any, properties: dict[str, Any]) -> tuple[str, str]:
    if value is None:
        return "", INK
    if isinstance(value, str):
        return value, INK
    color = threshold_color(value, properties["thresholds"]) if "thresholds" in properties else INK
    for mapping in properties.get("mappings", []):
        if f"{value:g}" in mapping["options"]:
            return mapping["options"][f"{value:g}"]["text"], color
    return written(value, properties["unit"], properties.get("decimals")), color
