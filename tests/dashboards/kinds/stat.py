"""A stat: the last value of each query, large, on the colour of its threshold."""

from __future__ import annotations

from tests.dashboards.asking import Shown
from tests.dashboards.drawing import PAPER, Box, fitting, rectangle, text, threshold_color
from tests.dashboards.reading import Panel
from tests.dashboards.units import written


def draw(panel: Panel, shown: list[Shown], box: Box) -> list[str]:
    """The panel's picture."""
    if not shown:
        return [
            text(
                box.left + box.width / 2,
                box.top + box.height / 2,
                str(panel.defaults["noValue"]),
                20,
                "#6e7680",
                "middle",
            )
        ]
    return [
        part
        for one, cell in zip(shown, box.cut(len(shown), is_upright=True), strict=True)
        for part in _value(panel, one, cell)
    ]


def _value(panel: Panel, one: Shown, box: Box) -> list[str]:
    value = one.series.value
    said = written(value, panel.unit, panel.defaults.get("decimals"))
    for mapping in panel.defaults.get("mappings", []):
        said = mapping["options"].get(f"{value:g}", {"text": said})["text"]
    color = threshold_color(value, panel.defaults["thresholds"])
    is_filled = panel.json["options"]["colorMode"] == "background"
    size = min(30.0, box.height * 0.55, box.width / (len(said) * 0.6))
    middle = box.left + box.width / 2, box.top + box.height / 2 + size * 0.36
    parts = [rectangle(box, color, ' rx="2"')] if is_filled else []
    parts.append(text(*middle, fitting(said, box.width, size), size, PAPER if is_filled else color, "middle", "bold"))
    return parts
