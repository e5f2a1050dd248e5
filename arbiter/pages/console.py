"""Paragraphs on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

WIDTH_MIN = 20


def paragraph(console: Console, text: str, style: str = "", indent: int = 0, hanging: int = 0) -> None:
    """Print ``text`` without markup; it stays indented, by ``hanging`` more, where it goes on in the next line."""
    head, width = text[:hanging], max(console.width - indent - hanging, WIDTH_MIN)
    for line in Text(text[hanging:]).wrap(console, width):
        console.print(Text(f"{' ' * indent}{head}{line.plain.rstrip()}", style=style), soft_wrap=True)
        head = " " * hanging
