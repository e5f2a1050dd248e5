"""What comes back by itself: due timers, and everything that waits when the policy is another one."""

from __future__ import annotations

from typing import Final

from arbiter.core.instants import FAR_MS
from arbiter.state.store import Head, Store
from arbiter.stream.patience import Patience

DUE_MAX = 200
"""Parties that come back in one commit."""

SWEEP_MAX = 1_000_000

SWEPT: Final = "swept"
"""Among a head's positions: the policy activation under which all that waits was looked at to the last."""


class Timers:
    """One partition's timers, as far as a runner needs to know them: a bound on when the next one is due."""

    def __init__(self, store: Store, partition: int, patience: Patience, head: Head) -> None:
        """``head`` is the claim's: the last owner may have ended before all that waits was looked at."""
        self._store = store
        self._partition = partition
        self._patience = patience
        self._next_ms = 0  # no timer is due before; 0 until the store was asked
        self._activation = self._swept = head.positions.get(SWEPT, 0)
        self._to_sweep: list[str] = []

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

    async def must_sweep(self, activation: int) -> bool:
        """Whether there are parties that wait under an older policy than this one."""
        if activation != self._activation:
            self._to_sweep = [party for party, _ in await self._ask(FAR_MS, SWEEP_MAX)]
            self._activation = activation
        return bool(self._to_sweep)

    def swept(self) -> list[str]:
        """The next parties to look at because the policy is another one; none if that is done."""
        now, self._to_sweep = self._to_sweep[:DUE_MAX], self._to_sweep[DUE_MAX:]
        return now

    def done(self) -> dict[str, int]:
        """For the head's positions: the activation for which nothing is left to look at, where that is news."""
        is_news = not self._to_sweep and self._swept != self._activation
        return {SWEPT: self._activation} if is_news else {}

    def adopt(self, positions: dict[str, int]) -> None:
        """Take note of what a commit wrote of :meth:`done`."""
        self._swept = positions.get(SWEPT, self._swept)

    def unswept(self, parties: list[str]) -> None:
        """These were not looked at after all."""
        self._to_sweep = parties + self._to_sweep

    async def _ask(self, now_ms: int, limit: int) -> list[tuple[str, int]]:
        return await self._patience.ask(lambda: self._store.due(self._partition, now_ms, limit))
