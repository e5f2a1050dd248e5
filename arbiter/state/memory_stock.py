"""The central entries of capacity in this process; a :class:`~arbiter.state.memory.MemoryStore` has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from arbiter.state.stock import Ask, Grant, Kept


class _Entry(Struct):
    """What one partition was granted and uses, and by which owner's word."""

    epoch: int
    version: int
    granted: int
    used: int


class _Central(Struct):
    made: int
    entries: dict[int, _Entry]
    is_open: bool = False

    def grant(self, granted: int) -> Grant:
        entries = self.entries.values()
        return Grant(self.made, granted, sum(e.granted for e in entries), sum(e.used for e in entries), self.is_open)


class MemoryStocks:
    """``Stocks`` in this process. Windows are kept while it runs."""

    def __init__(self, kept: Callable[[int], Any]) -> None:
        """``kept`` gives a partition's state: its ``head`` and what it ``spent``."""
        self._kept = kept
        self._made = 0
        self._central: dict[str, _Central] = {}

    def flush(self) -> None:
        """Lose everything."""
        self._central.clear()

    async def ask(self, key: str, ask: Ask) -> Grant | None:
        """See ``Stocks.ask``."""
        central = self._central.get(key)
        if central is None or central.made < ask.sealed:
            return None
        entry = central.entries.get(ask.partition) or _Entry(0, 0, 0, 0)
        last, this = (entry.epoch, entry.version), (ask.epoch, ask.version)
        if last >= this:
            return central.grant(entry.granted if last == this else 0)
        has_lost_writes = ask.previous and ask.made == central.made and last != (ask.epoch, ask.previous)
        if has_lost_writes or ask.used > entry.granted:
            return None
        granted = ask.used + ask.want
        if ask.limit is not None:
            others = sum(e.granted for p, e in central.entries.items() if p != ask.partition)
            granted = max(ask.used, min(granted, ask.limit - others))
        central.entries[ask.partition] = _Entry(ask.epoch, ask.version, granted, ask.used)
        used = sum(entry.used for entry in central.entries.values())
        central.is_open = central.is_open or (ask.opens_at is not None and used >= ask.opens_at)
        return central.grant(granted)

    async def restock(self, key: str, partitions: int, sealed: int, ttl_ms: int) -> bool:  # noqa: ARG002 - see class
        """See ``Stocks.restock``."""
        there = self._central.get(key)
        if there is not None and there.made >= sealed:
            return True
        kept = [self._kept(partition) for partition in range(partitions)]
        if any(part.head is None for part in kept):
            return False
        self._made = made = max(self._made, sealed) + 1
        entries = {}
        for partition, part in enumerate(kept):
            used = part.spent.get(key, Kept()).used
            part.spent[key] = Kept(used, made)
            entries[partition] = _Entry(part.head.epoch, 0, used, used)
        self._central[key] = _Central(made, entries, there is not None and there.is_open)
        return True

    async def used(self, keys: Sequence[str]) -> list[int | None]:
        """See ``Stocks.used``."""
        found = [self._central.get(key) for key in keys]
        return [None if one is None else one.grant(0).all_used for one in found]

    async def keys(self) -> list[str]:
        """See ``Stocks.keys``."""
        return list(self._central)
