"""Who goes first across partitions, in wall time, where little is left of a capacity.

Each partition fires its own timers, within a second of the others. So before it goes on, it reads which parties are due
in the other partitions and asked before, and leaves the capacity to them. It goes on after two seconds in which none of
those moved: there may be no worker for the other partition.

How much is left is read again after that. A party that left another line in between has its place by then; on the older
number of places somebody behind it would take the place of somebody before.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from arbiter.state.store import Due, Wait
from arbiter.worker.partition.retry import RetryPolicy, Shared

SCARCE = 1_000
"""If more places are left, nobody is held back."""

YIELD_SECONDS = 2.0
"""How long places are left to parties of other partitions while none of those moves."""

LOOKS_MIN = 5
"""How often that must have been seen. An idle partition looks so often in that time; on a machine so busy that a look
takes a second, everybody else takes as long.
"""

REST_SECONDS = 30.0
"""How long the other partitions are not read after that."""

SECOND_MS = 1_000

Places = Callable[[], Awaitable[int]]
"""Reads how many places are left now."""


class _Patience:
    """How long those who come before have not moved."""

    def __init__(self) -> None:
        self._before: Sequence[Any] = ()
        self._since: float | None = None
        self._looks = 0

    def is_over(self, before: Sequence[Any]) -> bool:
        """Whether these come before since :data:`YIELD_SECONDS` and :data:`LOOKS_MIN` looks, and none of them went."""
        now = monotonic()
        if self._since is None or before != self._before:
            self._before, self._since, self._looks = before, now, 0
        self._looks += 1
        return now >= self._since + YIELD_SECONDS and self._looks >= LOOKS_MIN

    def end(self) -> None:
        """Nobody is waited for."""
        self._since = None


class GlobalOrder:
    """One partition's view of the others."""

    def __init__(self, shared: Shared, partition: int, retry: RetryPolicy) -> None:
        self._shared = shared
        self._partition = partition
        self._retry = retry
        self._others = [number for number in range(shared.partitions) if number != partition]
        self._held = _Patience()
        self._passed: dict[str, _Patience] = {}
        self._rests_until = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether the other partitions are read: not under the event clock, where each has its own time."""
        return bool(self._others) and self._shared.settings.clock == "wall" and monotonic() >= self._rests_until

    async def due_first(self, due: Sequence[Due], places: Places) -> Sequence[Due]:
        """Those of the partition's due parties that go on now: for which a place is left when all that come before
        them in any partition have one. Windows and hours open at whole seconds; timers at other times do not compete.
        """
        if all(one[0] % SECOND_MS for one in due) or not self.is_asked:
            return due
        left = await places()
        if not 0 < left < SCARCE:
            return due
        store, last_ms = self._shared.store, due[-1][0]
        reads = [self._retry.ask(partial(store.due, number, last_ms, left)) for number in self._others]
        others = sorted(one for found in await asyncio.gather(*reads) for one in found)
        count = _with_place(due, others, left)
        if count:
            count = _with_place(due, others, min(left, await places()))
        if count:
            self._held.end()
        elif self._held.is_over(others[: bisect_left(others, due[0])]):
            self._held.end()
            self._rests_until = monotonic() + REST_SECONDS
            return due
        return due[:count]

    async def waiting_first(self, waiting: Sequence[Wait], places: Places) -> Sequence[Wait]:
        """Of the partition's requests that wait for one window, those among the first ``places`` of all partitions."""
        left, key = await places(), waiting[0].name
        if not left or not self.is_asked:
            return waiting[:left]
        store = self._shared.store
        reads = [self._retry.ask(partial(store.waiting, number, key, left)) for number in self._others]
        others = sorted(wait for found in await asyncio.gather(*reads) for wait in found)
        left = min(left, await places())
        own = waiting[:left]
        first = set(sorted([*own, *others])[:left])
        mine = [wait for wait in own if wait in first]
        patience = self._passed.setdefault(key, _Patience())
        if len(mine) == len(own) or patience.is_over(others[: bisect_left(others, own[-1])]):
            del self._passed[key]
            return own
        return mine


def _with_place(due: Sequence[Due], others: Sequence[Due], places: int) -> int:
    """How many of the due parties have a place when all of the others that come before have one."""
    for index, one in enumerate(due):
        before = bisect_left(others, one)
        if before and before + index >= places:
            return index
    return len(due)
