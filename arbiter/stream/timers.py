"""What comes back by itself, because its time has come."""

from __future__ import annotations

from arbiter.core.instants import FAR_MS
from arbiter.state.store import Store
from arbiter.stream.patience import Patience

DUE_MAX = 200
"""Parties that come back in one commit."""


class Timers:
    """One partition's timers, as far as a runner needs to know them: a bound on when the next one is due."""

    def __init__(self, store: Store, partition: int, patience: Patience) -> None:
        self._store = store
        self._partition = partition
        self._patience = patience
        self._next_ms = 0  # no timer is due before; 0 until the store was asked

    async def due(self, now_ms: int) -> list[tuple[str, int]]:
        """The parties to come back by ``now_ms`` with their instants, the earliest first, at most ``DUE_MAX``."""
        if self._next_ms > now_ms:
            return []
        found = await self._ask(now_ms, DUE_MAX)
        if not found:
            first = await self._ask(FAR_MS, 1)
            self._next_ms = first[0][1] if first else FAR_MS + 1
        return found

    def moved(self, timers: dict[str, int | None]) -> None:
        """Take note of what a commit set."""
        self._next_ms = min([self._next_ms, *(due_ms for due_ms in timers.values() if due_ms is not None)])

    async def _ask(self, now_ms: int, limit: int) -> list[tuple[str, int]]:
        return await self._patience.ask(lambda: self._store.due(self._partition, now_ms, limit))
