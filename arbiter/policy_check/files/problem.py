"""A problem of a policy file as text: place, code, message, the line with a caret, the fix."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import Literal

from msgspec import Struct

SOURCE_MAX = 120
"""The longest part of a source line that is shown, in characters."""
CUT = "\N{HORIZONTAL ELLIPSIS}"
INDENT = 4

Part = Literal["place", "error", "warning", "message", "source", "caret", "help", "gap"]


class FileProblem(Struct, frozen=True, kw_only=True):
    """A problem in a file. ``line`` and ``column`` count from 1; both are 0 for the file as a whole."""

    file: str
    line: int
    column: int
    code: str
    message: str
    help: str = ""
    severity: Literal["error", "warning"] = "error"
    source: str = ""

    @property
    def order(self) -> tuple[str, int, int, str]:
        """The sorting key: the place."""
        return self.file, self.line, self.column, self.message

    @property
    def place(self) -> str:
        """Where it is: ``file:line:column``, or the file."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        """The problem as text of one to four lines, without a newline at the end."""
        return "".join(text for _, text in self.parts()).rstrip("\n")

    def parts(self, width: int | None = None, *, shows_source: bool = True) -> Iterator[tuple[Part, str]]:
        """The text in parts that can be coloured, folded to ``width`` columns.

        ``shows_source`` is false if the lines above show the place already.
        """
        label = f"{'warning: ' if self.severity == 'warning' else ''}{self.code}"
        yield "place", self.place
        yield self.severity, f": {label}"
        begun = len(self.place) + len(label) + len(": : ")
        yield "message", f":{_folded(printable(self.message), width, begun, INDENT)}\n"
        if shows_source and self.source.strip():
            shown, caret = _window(self.source, self.column, min(width - INDENT, SOURCE_MAX) if width else SOURCE_MAX)
            yield "source", f"{' ' * INDENT}{shown}\n"
            yield "caret", f"{' ' * (INDENT + caret)}^\n"
        if self.help:
            yield "help", "  help:"
            yield "message", f"{_folded(printable(self.help), width, len('  help: '), len('  help: '))}\n"


def text_parts(problems: Iterable[FileProblem], width: int | None = None) -> Iterator[tuple[Part, str]]:
    """Many problems in parts, with a blank line after each place. Several problems of one place show its line once."""
    before: FileProblem | None = None
    for problem in problems:
        is_again = before is not None and before.place == problem.place and before.line > 0
        if before is not None and not is_again:
            yield "gap", "\n"
        yield from problem.parts(width, shows_source=not is_again)
        before = problem


def _folded(text: str, width: int | None, begun: int, indent: int) -> str:
    """A space and the text, folded to ``width`` columns. ``begun`` columns of the first line are taken.

    If the first word does not fit behind them, the text begins in a new line. Without a width it is one line.
    """
    if width is None:
        return f" {text}"
    margin = " " * indent
    is_full = begun + text.find(" ") > width
    lines = textwrap.wrap(
        text, max(width, 2 * indent), initial_indent=margin if is_full else " " * begun, subsequent_indent=margin,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return "\n" + "\n".join(lines) if is_full else " " + "\n".join(lines).lstrip(" ")


def _window(source: str, column: int, size: int) -> tuple[str, int]:
    """The part of a line around a column, with a mark where it is cut, and the column in that part (from 0)."""
    start = max(0, column - size * 3 // 4) if len(source) > size else 0
    shown = printable(source[start : start + size])
    if start:
        shown = CUT + shown[1:]
    if start + size < len(source):
        shown = shown[:-1] + CUT
    return shown, column - 1 - start


def printable(text: str) -> str:
    """The text with one space for a tab and one mark for what harms a terminal, so that the caret fits."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
