"""Whose turn it is, for the sequential reference: worked out anew from the ledgers, without the worker's order."""

from __future__ import annotations

from collections.abc import Mapping

from arbiter.ledger.capacity import Draw, Level, WholeStock
from arbiter.ledger.model import Ledger
from arbiter.policy.ruleset import Policy


class Stock(WholeStock):
    """The whole limit, where nobody else draws. A cell is open if it was full when a commit began."""

    def __init__(self) -> None:
        super().__init__()
        self._full: set[Draw] = set()

    def level(self, draw: Draw, limit: int) -> Level:
        """See :class:`arbiter.ledger.capacity.Stock`."""
        level = super().level(draw, limit)
        return Level(level.here, level.used, draw in self._full)

    def begin(self, sizes: Mapping[str, int]) -> None:
        """A commit begins; ``sizes`` says how many a cell of that name needs."""
        self._full |= {draw for draw, count in self.taken.items() if count >= sizes.get(draw.name, count + 1)}

    def is_full(self, draw: Draw) -> bool:
        """Whether the cell is open."""
        return draw in self._full


def due_of(ledger: Ledger) -> int | None:
    """When the party must be looked at again by itself."""
    dues = [asked.due_ms for asked in ledger.waiting]
    dues += [due_ms for due_ms in (ledger.recall_ms, *(asked.due_ms for asked in ledger.open)) if due_ms]
    return min(dues, default=None)


def asked_first(ledger: Ledger, due_ms: int) -> tuple[int, int]:
    """When the first request was received with which a party comes back; nobody comes before who gives back."""
    if any(0 < asked.due_ms <= due_ms for asked in ledger.open):
        return 0, 0
    due = [asked for asked in ledger.waiting if asked.due_ms <= due_ms]
    return min((asked.received_ms, asked.source[2]) for asked in due)


def woken(ledgers: Mapping[str, Ledger], policy: Policy, stock: Stock, now_ms: int) -> list[str]:
    """Who may have a place that is free: of each window as many as there are, in the order in which they asked."""
    lines: dict[str, list[tuple[int, int, str]]] = {}
    for party, ledger in ledgers.items():
        for asked in ledger.waiting:
            for key in asked.awaits:
                lines.setdefault(key, []).append((asked.received_ms, asked.source[2], party))
    found: list[tuple[int, int, str]] = []
    for key, line in lines.items():
        draw, first = Draw.of(key), dict[str, tuple[int, int, str]]()
        want = policy.window(draw.name, draw.start_ms)
        for place in sorted(line):
            first.setdefault(place[2], place)
        if want is None or draw.end_ms <= now_ms:
            continue
        places = len(first) if draw.is_cell and stock.is_full(draw) else 0
        if not draw.is_cell:
            places = max(0, (want.limit or 0) - stock.taken[draw])
        found += list(first.values())[:places]
    return list(dict.fromkeys(party for _, _, party in sorted(found)))
