"""Reports what could not be read on standard error: the first places, then how many more there are."""

from __future__ import annotations

import rich_click as click

SHOWN_MAX = 20


class Unreadable:
    """Counts places that could not be read, and names the first ones."""

    def __init__(self, what: str = "lines that cannot be read") -> None:
        """``what`` is their name where they are only counted."""
        self._what = what
        self.count = 0

    def __call__(self, text: str) -> None:
        """Report one more: its place, and what is wrong there."""
        self.count += 1
        if self.count <= SHOWN_MAX:
            click.echo(text, err=True)

    def close(self) -> None:
        """Print how many more there were."""
        if self.count > SHOWN_MAX:
            click.echo(f"and {self.count - SHOWN_MAX:,} more {self._what}", err=True)
