"""Capacity as metrics tell it: the live window of each rule, with what all partitions use of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from arbiter.metrics import Metrics
from arbiter.state.memory import MemoryStore
from arbiter.state.stock import Spent
from arbiter.timing.instants import HOUR_MS
from arbiter.worker.capacity_watch import CapacityWatch
from arbiter.worker.policy_watcher import Active
from tests.inputs.builders import MONDAY, policy
from tests.state.commits import FIRST
from tests.state.test_stock import ask

CALLS = {"id": "calls", "kind": "capacity", "limit": 10, "window": "calendar week", "hourly": 4}
LATER = {"id": "later", "kind": "capacity", "limit": 5, "window": "calendar day", "effective": {"from": "2099-01-01"}}
PARTITIONS = 2


class Site:
    """A store, a policy in force, and the watch."""

    def __init__(self) -> None:
        self.store, self.metrics = MemoryStore(), Metrics()
        self.policies = SimpleNamespace(current=Active(1, policy(CALLS, LATER)))
        clock = SimpleNamespace(is_settled=True, now_ms=lambda: MONDAY + HOUR_MS)
        given: tuple[Any, Any] = self.policies, clock
        self.watch = CapacityWatch(self.store, *given, PARTITIONS, self.metrics.capacity)
        self.draw = policy(CALLS).limits(MONDAY + HOUR_MS)[0].draw

    def told(self) -> dict[str, float | None]:
        """What a scrape reads of the rule."""
        names = ("limit", "used", "left", "window_start_timestamp_seconds", "window_end_timestamp_seconds")
        sample = self.metrics.registry.get_sample_value
        return {name: sample(f"arbiter_capacity_{name}", {"rule": "calls"}) for name in names}

    async def use(self, used: int) -> None:
        """One partition commits that it uses so many, and tells."""
        key, stocks = self.draw.key, self.store.stocks
        for partition in range(PARTITIONS):
            await self.store.claim(partition, "a", 1)
        assert await stocks.restock(key, PARTITIONS, 0, 60_000)
        grant = await stocks.ask(key, ask(want=used))
        assert grant is not None
        spent = {key: Spent(used, grant.granted, grant.made, 60_000)}
        await self.store.commit(0, replace(FIRST, spent=spent))
        await stocks.ask(key, ask(version=2, previous=1, made=grant.made, used=used, want=0))


@pytest.fixture
def site() -> Site:
    """Nothing is used yet."""
    return Site()


async def test_the_live_window_is_told(site: Site) -> None:
    """The main window of the rule, in seconds; a rule that is not in force yet has none."""
    await site.watch.look()
    empty = site.told()
    await site.use(3)
    await site.watch.look()
    week = {
        "window_start_timestamp_seconds": site.draw.start_ms / 1_000,
        "window_end_timestamp_seconds": site.draw.end_ms / 1_000,
    }

    assert {"limit": 10, "used": 0, "left": 10, **week} == empty
    assert {"limit": 10, "used": 3, "left": 7, **week} == site.told()
    assert site.metrics.registry.get_sample_value("arbiter_capacity_limit", {"rule": "later"}) is None


async def test_a_lost_central_entry_hides_nothing(site: Site) -> None:
    """What partitions have booked is used, whatever is counted again."""
    await site.use(3)
    site.store.stocks.flush()
    await site.watch.look()

    assert (3, 7) == (site.told()["used"], site.told()["left"])


async def test_without_a_policy_there_is_no_capacity(site: Site) -> None:
    """A rule that is gone is told no longer."""
    await site.watch.look()
    site.policies.current = None
    await site.watch.look()

    assert {None} == {*site.told().values()}
