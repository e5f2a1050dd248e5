"""What all customers together draw on: capacity, as the core sees it.

A partition decides with tokens that were granted to it beforehand (see the store); the reference model draws on the
whole limit. Either way the core asks the same two things: how much is left, and take it.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Draw(Struct, frozen=True, array_like=True):
    """A place of a capacity: the rule, and the instant (ms) at which its window began."""

    rule: str
    start_ms: int


class Stock(Protocol):
    """The capacity that a decision may draw on."""

    def left(self, draw: Draw, limit: int) -> int:
        """How many places of this window may still be taken here."""

    def take(self, draw: Draw) -> None:
        """Use one place."""

    def give(self, draw: Draw) -> None:
        """Give one place back."""


class WholeStock:
    """A stock that nobody shares: the limit less what was taken. For the reference model and simulations."""

    def __init__(self) -> None:
        self.taken: dict[Draw, int] = {}

    def left(self, draw: Draw, limit: int) -> int:
        """The limit less what was taken."""
        return limit - self.taken.get(draw, 0)

    def take(self, draw: Draw) -> None:
        """Use one place."""
        self.taken[draw] = self.taken.get(draw, 0) + 1

    def give(self, draw: Draw) -> None:
        """Give one place back."""
        self.taken[draw] = max(self.taken.get(draw, 0) - 1, 0)
