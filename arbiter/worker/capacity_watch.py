"""How the live window of each capacity stands, and each floor: read from the central entries every 15 seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from arbiter import log_events
from arbiter.ledger.capacity import Want
from arbiter.metrics import CapacityMetrics, FloorMetrics
from arbiter.policy.rules import CompiledFloor
from arbiter.policy.ruleset import Policy
from arbiter.state.store import StateDamaged, Store, StoreUnavailable
from arbiter.worker.clock import StoreClock
from arbiter.worker.policy_watcher import Policies

UPDATE_SECONDS: Final = 15.0


class CapacityWatch:
    """Reads what all partitions use. It asks for no token, so it changes nothing."""

    def __init__(
        self,
        store: Store,
        policies: Policies,
        clock: StoreClock,
        partitions: int,
        metrics: CapacityMetrics,
        floors: FloorMetrics,
    ) -> None:
        self._store = store
        self._policies = policies
        self._clock = clock
        self._partitions = partitions
        self._metrics = metrics
        self._floors = floors

    async def keep_watching(self) -> None:
        """Update the metrics, for ever."""
        while True:
            try:
                await self.update()
            except (StoreUnavailable, StateDamaged) as error:
                log_events.CAPACITY_UNREAD(why=error)
            await asyncio.sleep(UPDATE_SECONDS)

    async def update(self) -> None:
        """Set the metrics of how all stand. :class:`StoreUnavailable`, :class:`StateDamaged`."""
        active, now_ms = self._policies.current, self._clock.now_ms() if self._clock.is_settled else None
        if active is None or now_ms is None:
            self._set([], [])
            self._set_floors([], [], 0)
            return
        wants, floors = _live(active.policy, now_ms), active.policy.floors(now_ms)
        keys = [*(want.draw.key for want in wants), *(floor.draw.key for floor in floors)]
        used = [max(count, 0) for count in await self._used(keys)] if keys else []
        self._set(wants, used[: len(wants)])
        self._set_floors(floors, used[len(wants) :], now_ms)

    async def _used(self, keys: list[str]) -> list[int]:
        """Places in use; of a window without a central entry what the partitions have booked."""
        found = await self._store.stocks.used(keys)
        return [await self._booked(key) if used is None else used for key, used in zip(keys, found, strict=True)]

    async def _booked(self, key: str) -> int:
        load = self._store.load_spent
        kept = await asyncio.gather(*(load(partition, [key]) for partition in range(self._partitions)))
        return sum(one.used for (one,) in kept)

    def _set(self, wants: Iterable[Want], used: Iterable[int]) -> None:
        stands = [((want.rule,), want, count) for want, count in zip(wants, used, strict=True)]
        metrics = self._metrics
        metrics.limit.put({label: want.limit or 0 for label, want, _ in stands})
        metrics.used.put({label: count for label, _, count in stands})
        metrics.left.put({label: max((want.limit or 0) - count, 0) for label, want, count in stands})
        metrics.begins.put({label: want.draw.start_ms / 1_000 for label, want, _ in stands})
        metrics.ends.put({label: want.draw.end_ms / 1_000 for label, want, _ in stands})

    def _set_floors(self, floors: Iterable[CompiledFloor], approved: Iterable[int], now_ms: int) -> None:
        stands = [((one.id,), one, done) for one, done in zip(floors, approved, strict=True)]
        metrics = self._floors
        metrics.reach.put({label: one.reach for label, one, _ in stands})
        metrics.approved.put({label: done for label, _, done in stands})
        metrics.due.put({label: one.expected(now_ms) for label, one, _ in stands})
        metrics.behind.put({label: max(one.expected(now_ms) - done, 0) for label, one, done in stands})
        metrics.left.put({label: max(one.reach - done, 0) for label, one, done in stands})
        metrics.factor.put({label: one.factor(done, now_ms) for label, one, done in stands})
        metrics.begins.put({label: one.draw.start_ms / 1_000 for label, one, _ in stands})
        metrics.ends.put({label: one.draw.end_ms / 1_000 for label, one, _ in stands})


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
