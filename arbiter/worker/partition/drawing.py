"""What a batch draws on of what all customers share, and what it must ask before a step can stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Protocol

from arbiter.ledger.capacity import Draw, Stock


class BatchStock(Stock, Protocol):
    """A stock that counts what is taken: by window, how many more (or less, if given back).

    ``questions`` are the windows that the step must have asked about before it can stand, each with how many places
    the batch would have taken of it. ``awaited`` are the windows, by their keys, for which others wait.
    """

    changes: Counter[Draw]
    questions: dict[Draw, int]
    awaited: Collection[str]

    def opens(self, cell: Draw) -> bool:
        """Whether a cell that was not open is full now."""


class Unsettled(Exception):
    """A step must be taken again, once its ``questions`` are answered; it is undone. ``step`` tells steps apart."""

    def __init__(self, questions: dict[Draw, int], step: tuple[str, int]) -> None:
        super().__init__("what all customers share must be asked for")
        self.questions = questions
        self.step = step
