"""What could not be read, named on standard error: the first places, then how many more there are."""

from __future__ import annotations

import rich_click as click

SHOWN_MAX = 20


class Unreadable:
    """Counts places that could not be read, and names the first of them."""

    def __init__(self, what: str = "lines that cannot be read") -> None:
        """``what`` they are called when they are too many to name."""
        self._what = what
        self.count = 0

    def __call__(self, text: str) -> None:
        """Name one more: its place and what is wrong there."""
        self.count += 1
        if self.count <= SHOWN_MAX:
            click.echo(text, err=True)

    def close(self) -> None:
        """Say how many were not named."""
        if self.count > SHOWN_MAX:
            click.echo(f"and {self.count - SHOWN_MAX:,} more {self._what}", err=True)
