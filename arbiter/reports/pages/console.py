"""Consoles that print through rich, and keep names from controlling the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from arbiter.printable import in_line, in_text, raw

WIDTH_MIN = 20
WIDTH_PIPED = 400
"""Where nobody looks at a width, nothing is folded or cut: a program or a file gets whole lines."""


class _SafeConsole(Console):
    """Escapes the text of all that is printed; colours and cursor movements are rich's own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else in_text(text), style, control)


def terminal(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error: as wide as the terminal, unlimited where there is none."""
    stream = raw(sys.stderr if stderr else sys.stdout)
    console = _SafeConsole(file=stream)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDTH_PIPED
    return console


def cell(text: str) -> str:
    """A name or free text for a table cell: one line, no markup."""
    return escape(in_line(text))


def paragraph(console: Console, text: str, style: str = "", indent: int = 0, hanging: int = 0) -> None:
    """Print ``text`` without markup, with its indentation kept. Further lines are indented by ``hanging`` more."""
    text = in_line(text)
    head, width = text[:hanging], max(console.width - indent - hanging, WIDTH_MIN)
    for line in Text(text[hanging:]).wrap(console, width):
        console.print(Text(f"{' ' * indent}{head}{line.plain.rstrip()}", style=style), soft_wrap=True)
        head = " " * hanging
