"""Who goes first across partitions, in wall time, where little is left of a capacity.

Each partition fires its own timers, within a second of the others. So before it goes on, it reads which parties are due
in the other partitions and asked before, and leaves the capacity to them. It does so for two seconds at most: there may
be no worker for the other partition.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from time import monotonic

from arbiter.state.store import Due, Wait
from arbiter.worker.partition.retry import RetryPolicy, Shared

SCARCE = 1_000
"""If more places are left, nobody is held back."""

YIELD_SECONDS = 2.0
"""How long places are left to parties of other partitions while none of them takes one."""

REST_SECONDS = 30.0
"""How long the other partitions are not read after that."""

SECOND_MS = 1_000


class GlobalOrder:
    """One partition's view of the others."""

    def __init__(self, shared: Shared, partition: int, retry: RetryPolicy) -> None:
        self._shared = shared
        self._partition = partition
        self._retry = retry
        self._others = [number for number in range(shared.partitions) if number != partition]
        self._held_since: float | None = None
        self._passed_since: dict[str, float] = {}
        self._rests_until = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether the other partitions are read: not under the event clock, where each has its own time."""
        return bool(self._others) and self._shared.settings.clock == "wall" and monotonic() >= self._rests_until

    async def due_first(self, due: Sequence[Due], places: int) -> Sequence[Due]:
        """Those of the partition's due parties that go on now: for which a place is left when all that come before
        them in any partition have one. Windows and hours open at whole seconds; timers at other times do not compete.
        """
        racing = next((index for index, one in enumerate(due) if one[0] % SECOND_MS == 0), None)
        if racing is None or not 0 < places < SCARCE or not self.is_asked:
            return due
        store, last_ms = self._shared.store, due[-1][0]
        reads = [self._retry.ask(partial(store.due, number, last_ms, places)) for number in self._others]
        others = sorted(one for found in await asyncio.gather(*reads) for one in found)
        count = next((i for i, one in enumerate(due) if (n := bisect_left(others, one)) and n + i >= places), len(due))
        if count or not self._is_over():
            self._held_since = None if count else self._held_since
            return due[:count]
        return due

    def _is_over(self) -> bool:
        """Whether none of these could go on for :data:`YIELD_SECONDS`."""
        now = monotonic()
        if self._held_since is None:
            self._held_since = now
        if now < self._held_since + YIELD_SECONDS:
            return False
        self._held_since, self._rests_until = None, now + REST_SECONDS
        return True

    async def waiting_first(self, waiting: Sequence[Wait], places: int) -> Sequence[Wait]:
        """Of the partition's requests that wait for one window, those among the first ``places`` of all partitions."""
        own, key = waiting[:places], waiting[0].name
        if not own or not self.is_asked:
            return own
        store = self._shared.store
        reads = [self._retry.ask(partial(store.waiting, number, key, places)) for number in self._others]
        line = sorted([*own, *(wait for found in await asyncio.gather(*reads) for wait in found)])
        mine = [wait for wait in own if wait in line[:places]]
        if len(mine) == len(own):
            self._passed_since.pop(key, None)
            return own
        if monotonic() < self._passed_since.setdefault(key, monotonic()) + YIELD_SECONDS:
            return mine
        del self._passed_since[key]
        return own
