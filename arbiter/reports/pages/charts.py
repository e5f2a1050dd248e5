"""Charts as inline SVG: bars with figures beside them, so that they can be read without colour.

A bar's ``kind`` is a class of the page's style and selects its colour.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from arbiter.printable import in_html

WIDTH = 760
ROW, BAR, LEFT = 28, 14, 190
NAME_MAX = 28
NAME_WIDTH = 62
GRID_STEPS = 5
INSIDE_WIDTH = 7.2
"""About how wide a character inside a bar is."""

Piece = tuple[str, int]
"""Kind and count."""


class Bar(Struct, frozen=True):
    """A row of :func:`bars`: ``part`` of ``whole`` is drawn darker, and ``figure`` stands behind it."""

    name: str
    whole: int
    part: int
    figure: str


class Pair(Struct, frozen=True):
    """A row of a diverging chart: the value to the left, the value to the right, and the text at the end."""

    name: str
    left: int
    right: int
    end: str


class Twin(Struct, frozen=True):
    """A row with a bar for before and one for after; ``mark`` is a word behind the name."""

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
    """Two bars per row: before on top, after below."""
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


def stacks(rows: Sequence[tuple[str, Sequence[Piece]]], label: str) -> str:
    """One stacked bar per row. The share of each part is written into it where it fits."""
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
    """One bar per row on a common scale: the darker part first, the figure at the end."""
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
    """One stacked column per row, from left to right, with as many names below as fit."""
    height, below, top, left = 200.0, 22, 14, 56
    most = max([sum(count for _, count in pieces) for _, pieces in rows] + [1])
    step = (WIDTH - left) / max(len(rows), 1)
    width = min(step - min(step * 0.2, 6), 48)
    parts = [part for line in _grid(most) for part in _grid_line(line, top + height - height * line / most, left)]
    every = max(-(-len(rows) * NAME_WIDTH // (WIDTH - left)), 1)
    for number, (name, pieces) in enumerate(rows):
        x, y = left + number * step + (step - width) / 2, top + height
        for kind, count in pieces:
            tall = height * count / most
            y -= tall
            parts.append(_bar(x, y, width, tall, kind, f"{name}: {count:,}", radius=0))
        middle = x + width / 2
        if number % every == 0 and middle + NAME_WIDTH / 2 < WIDTH:
            parts.append(_text(middle, top + height + below / 2 + 3, name, "figure", "middle"))
    return _svg(parts, top + height + below, label)


def _grid(most: int) -> range:
    """Round figures from 0 to ``most``, at most five steps."""
    step = next(
        factor * 10**power for power in range(20) for factor in (1, 2, 5) if factor * 10**power * GRID_STEPS >= most
    )
    return range(0, most + 1, step)


def _grid_line(figure: int, y: float, left: int) -> tuple[str, str]:
    line = f'<line class="axis" x1="{left}" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}"/>'
    return line, _text(left - 8, y, f"{figure:,}", "figure", "end")


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{in_html(label)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )


def _bar(x: float, y: float, width: float, height: float, kind: str, title: str = "", radius: int = 2) -> str:
    if width <= 0 or height <= 0:
        return ""
    box = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" rx="{radius}"'
    return f'<rect class="{kind}" {box}>{f"<title>{in_html(title)}</title>" if title else ""}</rect>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'dominant-baseline="central">{in_html(text)}</text>'
    )


def _name(name: str, middle: float) -> str:
    shown = name if len(name) <= NAME_MAX else f"{name[: NAME_MAX - 1]}…"
    title = f"<title>{in_html(name)}</title>" if shown != name else ""
    return (
        f'<text class="name" x="{LEFT - 12}" y="{middle:.1f}" text-anchor="end" '
        f'dominant-baseline="central">{in_html(shown)}{title}</text>'
    )
