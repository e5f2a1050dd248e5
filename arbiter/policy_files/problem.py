"""Something wrong in a policy file, and how it is told: place, code, message, the line with a caret, the fix."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

SOURCE_MAX = 120
"""How much of a source line is shown, in characters around the place."""


class FileProblem(Struct, frozen=True, kw_only=True):
    """A problem in a file. ``line`` and ``column`` count from 1; both are 0 where the file as a whole is meant."""

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
        """What problems are sorted by: where they are."""
        return self.file, self.line, self.column, self.message

    def __str__(self) -> str:
        """The problem as text of one to four lines, without a newline at the end."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        label = "warning: " if self.severity == "warning" else ""
        lines = [f"{place}: {label}{self.code}: {self.message}"]
        if self.source.strip():
            start = max(0, self.column - SOURCE_MAX * 3 // 4)
            shown = self.source[start : start + SOURCE_MAX]
            lines += [f"    {_printable(shown)}", f"    {' ' * (self.column - 1 - start)}^"]
        if self.help:
            lines.append(f"  help: {self.help}")
        return "\n".join(lines)


def _printable(text: str) -> str:
    """The text with one space for a tab and one mark for what a terminal must not see, so that the caret fits."""
    return "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
