"""Charts as inline SVG: bars with their figures beside them, so that they can be read without colour, too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from msgspec import Struct

WIDTH = 760
ROW, BAR, LEFT = 28, 14, 190
NAME_MAX = 28


class Pair(Struct, frozen=True):
    """A row of a diverging chart: what goes to the left, what goes to the right, and what is written at the end."""

    name: str
    left: int
    right: int
    end: str


class Twin(Struct, frozen=True):
    """A row with a bar before and a bar after; ``mark`` is a word behind the name."""

    name: str
    mark: str
    old: int
    new: int


def diverging(rows: Sequence[Pair], label: str) -> str:
    """Bars to the left (lost) and to the right (gained) of one axis, on one scale."""
    end_width, room = 80, WIDTH - LEFT
    most = max([max(row.left, row.right) for row in rows] + [1])
    # Figures stand outside of the bars: keep room for them on both sides.
    half = (room - end_width) / 2
    scale = (half - 56) / most
    axis = LEFT + half
    parts = []
    for number, row in enumerate(rows):
        middle = number * ROW + ROW / 2
        parts.append(_name(row.name, middle))
        parts.append(_bar(axis - row.left * scale, middle - BAR / 2, row.left * scale, BAR, "lost"))
        parts.append(_bar(axis, middle - BAR / 2, row.right * scale, BAR, "gained"))
        if row.left:
            parts.append(_text(axis - row.left * scale - 6, middle, f"{row.left:,}", "figure", "end"))
        if row.right:
            parts.append(_text(axis + row.right * scale + 6, middle, f"{row.right:,}", "figure"))
        parts.append(_text(WIDTH, middle, row.end, "net", "end"))
    height = len(rows) * ROW
    parts.append(f'<line class="axis" x1="{axis:.1f}" y1="0" x2="{axis:.1f}" y2="{height}"/>')
    return _svg(parts, height, label)


def twins(rows: Sequence[Twin], label: str) -> str:
    """Two bars per row: before above, after below."""
    most = max([max(row.old, row.new) for row in rows] + [1])
    scale = (WIDTH - LEFT - 80) / most
    height, thin = 38, 10
    parts = []
    for number, row in enumerate(rows):
        top = number * height + 5
        parts.append(_name(row.name, top + thin + (0 if not row.mark else -6)))
        if row.mark:
            parts.append(_text(LEFT - 12, top + thin + 8, row.mark, "mark", "end"))
        for shift, value, kind in ((0, row.old, "before"), (thin + 2, row.new, "after")):
            parts.append(_bar(LEFT, top + shift, value * scale, thin, kind))
            parts.append(_text(LEFT + value * scale + 6, top + shift + thin / 2, f"{value:,}", f"figure {kind}-figure"))
    return _svg(parts, len(rows) * height, label)


def stacks(rows: Sequence[tuple[str, Sequence[tuple[str, int]]]], label: str) -> str:
    """One full bar per row, parted; each part is (kind, count), its share is written into it where it fits."""
    height, thick = 40, 26
    width = WIDTH - LEFT
    parts = []
    for number, (name, pieces) in enumerate(rows):
        top, x = number * height + 5, float(LEFT)
        whole = sum(count for _, count in pieces) or 1
        parts.append(_name(name, top + thick / 2))
        for kind, count in pieces:
            piece = width * count / whole
            parts.append(_bar(x, top, max(piece - 2, 0), thick, kind))
            text = f"{kind} {100 * count / whole:.1f} %"
            if piece > len(text) * 7.2:
                parts.append(_text(x + 8, top + thick / 2, text, "inside"))
            x += piece
    return _svg(parts, len(rows) * height, label)


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    if width <= 0:
        return ""
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" rx="2"/>'


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
