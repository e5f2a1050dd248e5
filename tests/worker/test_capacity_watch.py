"""Capacities and floors as metrics tell them: the live window of each rule, with what all partitions use of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from arbiter.ledger.capacity import Draw
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
SPRING = {"id": "spring", "kind": "floor", "reach": 60, "from": "2026-02-01", "until": "2026-04-01", "ceiling": 3}
PAST = {**SPRING, "id": "past", "from": "2026-01-01", "until": "2026-02-01"}
QUIET = {**SPRING, "id": "quiet", "mode": "shadow"}
PARTITIONS = 2
FLOOR = (
    "reach",
    "approved",
    "due",
    "behind",
    "left",
    "score_factor",
    "start_timestamp_seconds",
    "end_timestamp_seconds",
)


class Site:
    """A store, a policy in force, and the watch."""

    def __init__(self) -> None:
        self.store, self.metrics = MemoryStore(), Metrics()
        self.policies = SimpleNamespace(current=Active(1, policy(CALLS, LATER, SPRING, PAST, QUIET)))
        clock = SimpleNamespace(is_settled=True, now_ms=lambda: MONDAY + HOUR_MS)
        given: tuple[Any, Any] = self.policies, clock
        self.watch = CapacityWatch(self.store, *given, PARTITIONS, self.metrics.capacity, self.metrics.floors)
        self.draw = policy(CALLS).limits(MONDAY + HOUR_MS)[0].draw
        (self.floor,) = policy(SPRING).floors(MONDAY + HOUR_MS)

    def told(self) -> dict[str, float | None]:
        """What a scrape reads of the rule."""
        names = ("limit", "used", "left", "window_start_timestamp_seconds", "window_end_timestamp_seconds")
        sample = self.metrics.registry.get_sample_value
        return {name: sample(f"arbiter_capacity_{name}", {"rule": "calls"}) for name in names}

    def floors(self, rule: str) -> list[float | None]:
        """What a scrape reads of a floor, in the order of ``FLOOR``."""
        sample = self.metrics.registry.get_sample_value
        return [sample(f"arbiter_floor_{name}", {"rule": rule}) for name in FLOOR]

    async def use(self, used: int, draw: Draw | None = None) -> None:
        """One partition commits that it uses so many, and tells."""
        key, stocks = (draw or self.draw).key, self.store.stocks
        limit = 10 if draw is None else None
        for partition in range(PARTITIONS):
            await self.store.claim(partition, "a", 1)
        assert await stocks.restock(key, PARTITIONS, 0, 60_000)
        grant = await stocks.ask(key, ask(want=used, limit=limit))
        assert grant is not None
        spent = {key: Spent(used, grant.granted, grant.made, 60_000)}
        await self.store.commit(0, replace(FIRST, spent=spent))
        await stocks.ask(key, ask(version=2, previous=1, made=grant.made, used=used, want=0, limit=limit))


@pytest.fixture
def site() -> Site:
    """Nothing is used yet."""
    return Site()


async def test_the_live_window_is_told(site: Site) -> None:
    """The main window of the rule, in seconds; a rule that is not in force yet has none."""
    await site.watch.update()
    empty = site.told()
    await site.use(3)
    await site.watch.update()
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
    await site.watch.update()

    assert (3, 7) == (site.told()["used"], site.told()["left"])


async def test_floors_are_told_between_their_dates(site: Site) -> None:
    """From 0 on; what is due by now, what is lacking, and what that does to scores; none in shadow mode."""
    await site.watch.update()
    empty = site.floors("spring")
    await site.use(12, site.floor.draw)
    await site.watch.update()
    begin, end = site.floor.draw.start_ms, site.floor.draw.end_ms
    due = 60 * (MONDAY + HOUR_MS - begin) / (end - begin)
    dates = [begin / 1_000, end / 1_000]

    assert 12 < due < 60
    assert [60, 0, pytest.approx(due), pytest.approx(due), 60, 3, *dates] == empty
    lacking = pytest.approx(due - 12)
    factor = pytest.approx(1 + 2 * (due - 12) / due)
    assert [60, 12, pytest.approx(due), lacking, 48, factor, *dates] == site.floors("spring")
    assert {None} == {*site.floors("past"), *site.floors("quiet")}


async def test_a_floor_that_is_ahead_is_not_behind(site: Site) -> None:
    """Nothing is lacking, and its requests score as they are."""
    await site.use(60, site.floor.draw)
    await site.watch.update()

    assert [0, 0, 1] == site.floors("spring")[3:6]


async def test_without_a_policy_there_is_no_capacity(site: Site) -> None:
    """A rule that is gone is told no longer."""
    await site.watch.update()
    site.policies.current = None
    await site.watch.update()

    assert {None} == {*site.told().values(), *site.floors("spring")}
