"""Charts as inline SVG: bars with their figures beside them, so that they can be read without colour, too.

A bar's ``kind`` is a class of the page's style, and names its colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from msgspec import Struct

WIDTH = 760
ROW, BAR, LEFT = 28, 14, 190
NAME_MAX = 28
INSIDE_WIDTH = 7.2
"""About how wide a character inside a bar is."""

Piece = tuple[str, int]
"""Kind and count."""


class Bar(Struct, frozen=True):
    """A row of :func:`bars`: ``part`` of ``whole`` is drawn stronger, ``figure`` stands behind it."""

    name: str
    whole: int
    part: int
    figure: str


def stacks(rows: Sequence[tuple[str, Sequence[Piece]]], label: str) -> str:
    """One full bar per row, parted; the share of each part is written into it where it fits."""
    height, thick = 34, 24
    width = WIDTH - LEFT
    parts = []
    for number, (name, pieces) in enumerate(rows):
        top, x = number * height + 5, float(LEFT)
        whole = sum(count for _, count in pieces) or 1
        parts.append(_name(name, top + thick / 2))
        for kind, count in pieces:
            piece = width * count / whole
            parts.append(_bar(x, top, max(piece - 1, 0), thick, kind, f"{name}: {count:,}"))
            text = f"{100 * count / whole:.0f} %"
            if piece > len(text) * INSIDE_WIDTH + 8:
                parts.append(_text(x + piece / 2, top + thick / 2, text, f"inside {kind}-inside", "middle"))
            x += piece
    return _svg(parts, len(rows) * height + 4, label)


def bars(rows: Sequence[Bar], label: str) -> str:
    """One bar per row on a common scale, from the left; its stronger part first, its figure behind it."""
    most = max([row.whole for row in rows] + [1])
    scale = (WIDTH - LEFT - 150) / most
    parts = []
    for number, row in enumerate(rows):
        middle = number * ROW + ROW / 2
        parts.append(_name(row.name, middle))
        parts.append(_bar(LEFT, middle - BAR / 2, row.whole * scale, BAR, "pale"))
        parts.append(_bar(LEFT, middle - BAR / 2, row.part * scale, BAR, "strong"))
        parts.append(_text(LEFT + row.whole * scale + 8, middle, row.figure, "figure"))
    return _svg(parts, len(rows) * ROW, label)


def columns(rows: Sequence[tuple[str, Sequence[Piece]]], label: str) -> str:
    """A column per row, from left to right, its pieces on each other; as many names below as there is room for."""
    height, bottom, top, left = 200.0, 22, 14, 56
    most = max([sum(count for _, count in pieces) for _, pieces in rows] + [1])
    step = (WIDTH - left) / max(len(rows), 1)
    gap = min(step * 0.2, 6)
    width = min(step - gap, 48)
    parts = []
    for line in (0, most // 2, most):
        y = top + height - height * line / most
        parts.append(f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}"/>')
        parts.append(_text(left - 8, y, f"{line:,}", "figure", "end"))
    every = max(-(-len(rows) * 62 // (WIDTH - left)), 1)
    for number, (name, pieces) in enumerate(rows):
        x, y = left + number * step + (step - width) / 2, top + height
        for kind, count in pieces:
            tall = height * count / most
            y -= tall
            parts.append(_bar(x, y, width, tall, kind, f"{name}: {count:,}", radius=0))
        if number % every == 0:
            parts.append(_text(x + width / 2, top + height + bottom / 2 + 3, name, "figure", "middle"))
    return _svg(parts, top + height + bottom, label)


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _bar(x: float, y: float, width: float, height: float, kind: str, title: str = "", radius: int = 2) -> str:
    if width <= 0 or height <= 0:
        return ""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" rx="{radius}"'
    return f'<rect class="{kind}" {box}>{f"<title>{escape(title)}</title>" if title else ""}</rect>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'dominant-baseline="central">{escape(text)}</text>'
    )


def _name(name: str, middle: float) -> str:
    shown = name if len(name) <= NAME_MAX else f"{name[: NAME_MAX - 1]}…"
    title = f"<title>{escape(name)}</title>" if shown != name else ""
    return (
        f'<text class="name" x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end" '
        f'dominant-baseline="central">{escape(shown)}{title}</text>'
    )
