"""Shapes of SVG as text, Grafana's colours, and what the pictures of all kinds of panels share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

PALETTE = ("#5ba145", "#d9a300", "#3b78c4", "#d9702b", "#c4342d", "#1f9fb5", "#8a4fb0", "#2f5f8a", "#8f7d12", "#b04a86")
NAMED = {
    "green": "#3f9142", "orange": "#e8871a", "red": "#cf3b34", "blue": "#3b78c4",
    "light-blue": "#8ab8e6", "purple": "#8a4fb0",
}  # fmt: skip
INK, FAINT, GRID, PAPER, BACK = "#24292e", "#6e7680", "#e3e5e8", "#ffffff", "#f4f5f5"
CHARACTER = 0.56
"""The width of a character in units of the font's size: enough to know whether a text fits."""


@dataclass(frozen=True)
class Box:
    """A rectangle, in pixels."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.top + self.height

    def inner(self, left: float = 0, top: float = 0, right: float = 0, bottom: float = 0) -> Box:
        """The box without these margins."""
        return Box(self.left + left, self.top + top, self.width - left - right, self.height - top - bottom)

    def cut(self, count: int, is_upright: bool) -> list[Box]:
        """So many equal boxes side by side, or one below the other."""
        if is_upright:
            wide = self.width / max(count, 1)
            return [Box(self.left + index * wide, self.top, wide, self.height) for index in range(count)]
        high = self.height / max(count, 1)
        return [Box(self.left, self.top + index * high, self.width, high) for index in range(count)]


def text(
    x: float, y: float, what: str, size: float = 12, color: str = INK, anchor: str = "start", weight: str = "normal"
) -> str:
    """A line of text; ``y`` is its base line."""
    bold = f' font-weight="{weight}"' if weight != "normal" else ""
    at = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{color}"{at}{bold}>{escape(what)}</text>'


def fitting(what: str, width: float, size: float) -> str:
    """As much of a text as fits."""
    most = max(int(width / (size * CHARACTER)), 1)
    return what if len(what) <= most else what[: most - 1] + "…"


def rectangle(box: Box, fill: str, more: str = "") -> str:
    """A filled rectangle."""
    return (
        f'<rect x="{box.left:.1f}" y="{box.top:.1f}" width="{max(box.width, 0):.1f}" height="{max(box.height, 0):.1f}" '
        f'fill="{fill}"{more}/>'
    )


def path(points: Sequence[tuple[float, float]], color: str) -> str:
    """A line through points."""
    return f'<path d="{moves(points)}" fill="none" stroke="{color}" stroke-width="1.4"/>'


def moves(points: Sequence[tuple[float, float]]) -> str:
    """The way through points, as a path says it."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def color_of(name: str) -> str:
    """A colour by Grafana's name for it."""
    return NAMED.get(name, name)


def threshold_color(value: float, thresholds: Mapping[str, Any]) -> str:
    """The colour of a value: that of the highest step that it reaches."""
    reached = [one["color"] for one in thresholds["steps"] if one["value"] is None or value >= one["value"]]
    return color_of(reached[-1])


def nothing(box: Box) -> list[str]:
    """What a panel without data shows."""
    return [text(box.left + box.width / 2, box.top + box.height / 2, "No data", 13, FAINT, "middle")]
