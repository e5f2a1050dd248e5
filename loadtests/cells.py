"""Tables of figures, for a terminal or a page, and how a figure is written."""

from __future__ import annotations

from msgspec import Struct
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.figures import Spread


class Cells(Struct, frozen=True):
    """A table, for a terminal or a page."""

    title: str
    headings: list[str]
    rows: list[list[str]]


def print_cells(cells: Cells, console: Console) -> None:
    """Print one table."""
    table = Table(title=cells.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for index, heading in enumerate(cells.headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=not index)
    for row in cells.rows:
        table.add_row(*row)
    console.print(table, "")


def markdown(cells: Cells) -> str:
    """The same table for a page."""
    lines = [cells.headings, ["---"] * len(cells.headings), *cells.rows]
    return "\n".join([f"**{cells.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def told(value: Spread) -> str:
    """The median, and in brackets the lowest and highest."""
    if value.low == value.high:
        return short(value.median)
    return f"{short(value.median)} ({short(value.low)}–{short(value.high)})"


def short(number: float) -> str:
    """Three digits are as much as such a figure is good for: 12.3, 0.045, 12,300."""
    if not number:
        return "0"
    decimals = 2 - int(f"{number:e}".partition("e")[2])
    return f"{round(number, decimals):,.{max(decimals, 0)}f}"
