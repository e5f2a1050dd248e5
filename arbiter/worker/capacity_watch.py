"""How the live window of each capacity stands, read from the central entries every 15 seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from arbiter import log_events
from arbiter.ledger.capacity import Want
from arbiter.metrics import CapacityMetrics
from arbiter.policy.ruleset import Policy
from arbiter.state.store import StateDamaged, Store, StoreUnavailable
from arbiter.worker.clock import StoreClock
from arbiter.worker.policy_watcher import Policies

LOOK_SECONDS: Final = 15.0


class CapacityWatch:
    """Reads what all partitions use. It asks for no token, so it changes nothing."""

    def __init__(
        self, store: Store, policies: Policies, clock: StoreClock, partitions: int, metrics: CapacityMetrics
    ) -> None:
        self._store = store
        self._policies = policies
        self._clock = clock
        self._partitions = partitions
        self._metrics = metrics

    async def keep_watching(self) -> None:
        """Look, for ever."""
        while True:
            try:
                await self.look()
            except (StoreUnavailable, StateDamaged) as error:
                log_events.CAPACITY_UNREAD(why=error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Set the metrics of how each live window stands. :class:`StoreUnavailable`, :class:`StateDamaged`."""
        active = self._policies.current
        wants = [] if active is None or not self._clock.is_settled else _live(active.policy, self._clock.now_ms())
        self._tell(wants, await self._used([want.draw.key for want in wants]) if wants else [])

    async def _used(self, keys: list[str]) -> list[int]:
        """Places in use; of a window without a central entry what the partitions have booked."""
        found = await self._store.stocks.used(keys)
        return [await self._booked(key) if used is None else used for key, used in zip(keys, found, strict=True)]

    async def _booked(self, key: str) -> int:
        load = self._store.load_spent
        kept = await asyncio.gather(*(load(partition, [key]) for partition in range(self._partitions)))
        return sum(one.used for (one,) in kept)

    def _tell(self, wants: Iterable[Want], used: Iterable[int]) -> None:
        stands = [((want.rule,), want, max(count, 0)) for want, count in zip(wants, used, strict=True)]
        metrics = self._metrics
        metrics.limit.put({label: want.limit or 0 for label, want, _ in stands})
        metrics.used.put({label: count for label, _, count in stands})
        metrics.left.put({label: max((want.limit or 0) - count, 0) for label, want, count in stands})
        metrics.begins.put({label: want.draw.start_ms / 1_000 for label, want, _ in stands})
        metrics.ends.put({label: want.draw.end_ms / 1_000 for label, want, _ in stands})


def _live(policy: Policy, now_ms: int) -> list[Want]:
    """The main window of each rule that is in force and counts."""
    document = policy.document
    spans = {rule.id: rule.in_force(document.timezone) for rule in document.rules}
    found: dict[str, Want] = {}
    for want in policy.limits(now_ms):
        from_ms, until_ms = spans[want.rule]
        if from_ms <= now_ms < until_ms:
            found.setdefault(want.rule, want)
    return list(found.values())
