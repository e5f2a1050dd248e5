"""The timers of one partition that are due."""

from __future__ import annotations

from arbiter.state.store import Due, Store
from arbiter.timing.instants import FAR_MS
from arbiter.worker.partition.retry import RetryPolicy

DUE_MAX = 200
"""How many parties one commit reviews because their timers are due, at one instant."""

PASSED_MAX = 1_000
"""How many timers fire in one commit of a replay, on the way through its records."""

PAGE = 2_000
"""Parties asked for at a time: to find the first of many that are due at one instant, all of them are looked at."""


class Timers:
    """What a processor knows of its timers: a bound on when the next one is due, and the next ones if more are due than
    one commit takes.
    """

    def __init__(self, store: Store, partition: int, retry: RetryPolicy) -> None:
        self._store = store
        self._partition = partition
        self._retry = retry
        self._next_ms = 0  # no timer is due before; 0 until the store was asked
        self._page: list[Due] = []

    async def due(self, now_ms: int, limit: int = DUE_MAX) -> list[Due]:
        """The parties whose timers are due by ``now_ms``, at most ``limit``, in their order."""
        if self._next_ms > now_ms:
            return []
        if len(self._page) < limit or self._page[limit - 1][0] > now_ms:
            self._page = await self._ask(now_ms, max(PAGE, limit))
        if not self._page:
            first = await self._ask(FAR_MS, 1)
            self._next_ms = first[0][0] if first else FAR_MS + 1
        return self._page[:limit]

    def moved(self, timers: dict[str, int | None]) -> None:
        """Take note of what a commit set."""
        if not timers:
            return
        first_ms = min((due_ms for due_ms in timers.values() if due_ms is not None), default=FAR_MS)
        self._next_ms = min(self._next_ms, first_ms)
        self._page = [timer for timer in self._page if timer[2] not in timers]
        if self._page and first_ms <= self._page[-1][0]:
            self._page = []

    async def _ask(self, now_ms: int, limit: int) -> list[Due]:
        return await self._retry.ask(lambda: self._store.due(self._partition, now_ms, limit))
