"""What all customers together draw on: capacity, as the core sees it.

A partition decides with tokens that were granted to it beforehand (see ``arbiter.state.stock``); the reference model
draws on the whole limit. Either way the core asks how much is left, and takes it.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from msgspec import Struct

CELL = "/cell"


class Draw(Struct, frozen=True, array_like=True, gc=False):
    """A place in one window of a capacity: ``<rule>/<unit>``, and when the window begins and ends (ms)."""

    name: str
    start_ms: int
    end_ms: int

    @property
    def is_cell(self) -> bool:
        """Whether it counts who waits for a cell. A cell has one window for all time, and approvals take nothing from
        it.
        """
        return self.name.endswith(CELL)

    @property
    def key(self) -> str:
        """The window as one word: ``call-centre/week:1772409600000:1773014400000``."""
        return f"{self.name}:{self.start_ms}:{self.end_ms}"

    @classmethod
    def of(cls, key: str) -> Draw:
        """The window of a ``key``."""
        name, start_ms, end_ms = key.rsplit(":", 2)
        return cls(name, int(start_ms), int(end_ms))


class Want(Struct, frozen=True, gc=False):
    """A place that a request may take, and the limit of places; ``None`` where the rule only counts.

    ``opens_at`` is set for a cell: it opens for good once so many places were in use at the same time.
    """

    rule: str
    draw: Draw
    limit: int | None
    opens_at: int | None = None


class Level(Struct, frozen=True, gc=False):
    """How a window stands: places that may be taken here and now, and how many are used by everybody together.

    ``used`` below the limit with nothing ``here`` means that the rest is set aside elsewhere and soon comes back or
    is used up. ``is_open`` says that there once were as many in use as a cell needs.
    """

    here: int
    used: int
    is_open: bool = False


class Stock(Protocol):
    """The capacity that a decision may draw on."""

    def level(self, draw: Draw, limit: int) -> Level | None:
        """How the window stands; ``None`` if that was not looked up. Then a rule says yes, and ``take`` asks."""

    def need(self, draw: Draw) -> None:
        """It must be looked up, or the answer cannot stand."""

    def take(self, draw: Draw) -> None:
        """Use one place."""

    def give(self, draw: Draw) -> None:
        """Give one place back."""


class WholeStock:
    """A stock that nobody shares: the limit less what was taken. For the reference model and simulations."""

    def __init__(self) -> None:
        self.taken: Counter[Draw] = Counter()
        self._most: Counter[Draw] = Counter()

    def level(self, draw: Draw, limit: int) -> Level:
        """The limit less what was taken."""
        used = self.taken[draw]
        return Level(limit - used, used, self._most[draw] >= limit)

    def need(self, draw: Draw) -> None:
        """Everything is known."""

    def take(self, draw: Draw) -> None:
        """Use one place."""
        self.taken[draw] += 1
        self._most[draw] = max(self._most[draw], self.taken[draw])

    def give(self, draw: Draw) -> None:
        """Give one place back."""
        self.taken[draw] -= 1


class EmptyStock:
    """No capacity at all: where none was provided for, what needs it has to ask again."""

    def level(self, draw: Draw, limit: int) -> Level:  # noqa: ARG002 - alike for all
        """Nothing here, and nothing known to be used."""
        return Level(0, 0)

    def need(self, draw: Draw) -> None:
        """There is nothing to be looked up."""

    def take(self, draw: Draw) -> None:
        """Do nothing: nothing is counted."""

    def give(self, draw: Draw) -> None:
        """Do nothing: nothing was taken."""


class CapacityJournal:
    """What one party takes of a stock, recorded. It can undo what a failed step took, and see again what it saw.

    A step that fails is undone by leading the party through all its former steps once more. They must then end as
    they did, although other parties have drawn on the stock since: so they are shown the same levels, and what they
    take was taken already.
    """

    def __init__(self, stock: Stock) -> None:
        self._stock = stock
        self._seen: list[Level | None] = []
        self.moves: list[tuple[Draw, int]] = []
        self._mark = (0, 0)
        self._shown: int | None = None

    def begin(self) -> None:
        """A step begins."""
        self._mark = (len(self._seen), len(self.moves))
        self._shown = None

    def rewind(self) -> None:
        """Undo the step that was begun last; then show again what the steps before it saw, until the next begins."""
        seen, moved = self._mark
        for draw, sign in reversed(self.moves[moved:]):
            (self._stock.give if sign > 0 else self._stock.take)(draw)
        del self._seen[seen:], self.moves[moved:]
        self._shown = 0

    def moved(self) -> dict[Draw, int]:
        """What the step under way took more of than it gave back (above 0), and less (below)."""
        net: dict[Draw, int] = {}
        for draw, sign in self.moves[self._mark[1] :]:
            net[draw] = net.get(draw, 0) + sign
        return net

    def level(self, draw: Draw, limit: int) -> Level | None:
        """See ``Stock.level``."""
        if self._shown is not None:
            self._shown += 1
            return self._seen[self._shown - 1]
        level = self._stock.level(draw, limit)
        self._seen.append(level)
        return level

    def need(self, draw: Draw) -> None:
        """See ``Stock.need``."""
        if self._shown is None:
            self._stock.need(draw)

    def take(self, draw: Draw) -> None:
        """See ``Stock.take``."""
        self._move(draw, 1)

    def give(self, draw: Draw) -> None:
        """See ``Stock.give``."""
        self._move(draw, -1)

    def _move(self, draw: Draw, sign: int) -> None:
        if self._shown is None:
            (self._stock.take if sign > 0 else self._stock.give)(draw)
            self.moves.append((draw, sign))
