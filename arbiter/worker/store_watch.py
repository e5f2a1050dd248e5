"""Whether the store can be worked with: asked once a second, busy or idle.

A store that is full, read-only or cannot save answers every question and refuses every commit. So a trouble with the
store ends only here, after a successful write. A store that evicts keys loses withdrawals and budgets in silence.
Nothing is decided on such a store, even if its memory has no limit yet.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from arbiter import log_events
from arbiter.state.store import NO_EVICTION, Durability, Store, StoreUnavailable
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import EVICTION, STORE, Health

CHECK_SECONDS = 1.0
UNLOGGED = (
    "the store keeps no append-only file: if its server ends, the budgets used, withdrawals and answers of the time "
    "since its last snapshot are lost, unless a replica takes over. Set `appendonly yes`"
)
UNSEEN = "the store does not say whether it evicts keys, so nothing is decided: allow its user INFO (`+info`)"


class StoreWatch:
    """Reads the store's clock, and writes to the store at the start and while there is trouble."""

    def __init__(self, store: Store, clock: StoreClock, health: Health) -> None:
        self._store = store
        self._clock = clock
        self._health = health
        self._was_written = False
        self._is_logged = True
        self.memory = (0, 0)
        """Bytes that the store used when it was asked last, and that it may use."""

    @property
    def is_well(self) -> bool:
        """Whether a commit would be taken, as far as is known."""
        return self._was_written and not self._health.has(STORE) and not self._health.has(EVICTION)

    async def keep_watching(self) -> None:
        """Check once a second, for ever."""
        while True:
            await self.check()
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self) -> None:
        """Read the clock, and how the store keeps what it is given; write, if it is not known that this works."""
        asked_at = monotonic()
        try:
            time_ms = await self._store.time_ms()
            self._clock.observe(time_ms, asked_at, monotonic())
            self._clock.settle()
            self._check_durability(await self._store.durability())
            if not self._was_written or self._health.has(STORE):
                await self._write()
        except StoreUnavailable as error:
            self._health.trouble(STORE, f"the store does not answer, nothing is decided: {error}")

    def _check_durability(self, durability: Durability) -> None:
        self.memory = durability.memory_used, durability.memory_limit
        if durability.eviction == NO_EVICTION:
            self._health.over(EVICTION)
        else:
            self._health.trouble(EVICTION, _evicts(durability) if durability.eviction else UNSEEN, alarm=True)
        if self._is_logged and not durability.is_logged:
            log_events.STORE_UNLOGGED(why=UNLOGGED)
        self._is_logged = durability.is_logged

    async def _write(self) -> None:
        asked_at = monotonic()
        await self._store.probe()
        self._was_written = True
        # What failed while this was on its way has failed since.
        if (self._health.began_at(STORE) or 0.0) < asked_at:
            self._health.over(STORE)


def _evicts(durability: Durability) -> str:
    lost = f"; {durability.evicted} keys are gone already, so restore the data" if durability.evicted else ""
    return (
        f"the store's maxmemory-policy is {durability.eviction}: what it evicts is a withdrawal forgotten or a budget "
        f"spent twice, so nothing is decided{lost}. Set `maxmemory-policy noeviction`"
    )
