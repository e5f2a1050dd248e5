"""Whose turn it is across partitions, in wall time, where only few places are left of what all customers share.

Each partition looks for itself at what is due, and within a second of the others. So before it goes on it looks who is
due elsewhere and asked before, and leaves the places to them; but not for long, since nobody may decide there.
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
"""Where more places are left, nobody is held back for them."""

YIELD_SECONDS = 2.0
"""How long places are left to those who are due elsewhere while nothing happens there."""

REST_SECONDS = 30.0
"""How long the others are not looked at after that: maybe nobody decides there."""

SECOND_MS = 1_000


class GlobalOrder:
    """The other partitions, as one of them sees them."""

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
        """Whether the others are looked at: not under the event clock, where all are at different times."""
        return bool(self._others) and self._shared.settings.clock == "wall" and monotonic() >= self._rests_until

    async def in_turn(self, due: Sequence[Due], places: int) -> Sequence[Due]:
        """Those of the partition's who go on now: for whom there is a place when all who come before have one, or
        before whom nobody comes. Windows and hours open at whole seconds; who is due at another time does not race.
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
        """Whether nobody of these could go on for long enough."""
        now = monotonic()
        if self._held_since is None:
            self._held_since = now
        if now < self._held_since + YIELD_SECONDS:
            return False
        self._held_since, self._rests_until = None, now + REST_SECONDS
        return True

    async def first(self, waiting: Sequence[Wait], places: int) -> Sequence[Wait]:
        """Of the partition's who wait for one window, those who are among the first ``places`` of all partitions."""
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
