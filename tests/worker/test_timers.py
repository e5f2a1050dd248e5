"""A processor's hold on its timers: in order, a page at a time, and never an old page."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from arbiter.metrics import Metrics
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Commit, CommitResult
from arbiter.timing.instants import FAR_MS
from arbiter.worker.health import Health
from arbiter.worker.partition.retry import RetryPolicy
from arbiter.worker.partition.timers import Timers

P = 0
FIRST = Commit(1, "o", 1, 0, 0, {}, {}, {}, 1, {}, b"")


class Bench:
    """A partition's timers in the store, and a processor's hold on them."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.asked = 0
        health = Health(Metrics())
        shared: Any = SimpleNamespace(store=self, health=health)
        self.timers = Timers(self, P, RetryPolicy(shared))  # type: ignore[arg-type]
        self._seq = 0

    async def due(self, partition: int, now_ms: int, limit: int) -> Any:
        """See ``Store.due``; counts."""
        self.asked += 1
        return await self.store.due(partition, now_ms, limit)

    async def set(self, timers: dict[str, int | None]) -> None:
        """A commit that sets timers; each asked at an instant that its name says."""
        if not self._seq:
            assert await self.store.claim(P, "o", 1) is not None
        self._seq += 1
        queue_keys = {name: (int(name), 0) for name, due_ms in timers.items() if due_ms is not None}
        commit = replace(FIRST, seq=self._seq, timers=timers, queue_keys=queue_keys)
        assert CommitResult.OK is (await self.store.commit(P, commit))[0]
        self.timers.moved(timers)

    async def names(self, now_ms: int, limit: int = 2) -> list[str]:
        """Who is due."""
        return [name for _, _, name in await self.timers.due(now_ms, limit)]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Pages of four."""
    monkeypatch.setattr("arbiter.worker.partition.timers.PAGE", 4)
    return Bench()


async def test_many_of_one_instant_are_asked_for_once(bench: Bench) -> None:
    """The next few are known already; only what moved is left out."""
    await bench.set(dict.fromkeys(("7", "3", "9", "1", "5"), 10))
    assert ["1", "3"] == await bench.names(10)
    await bench.set({"1": None, "3": 99})
    assert ["5", "7"] == await bench.names(10)
    assert 1 == bench.asked
    await bench.set({"5": None, "7": None})
    assert ["9"] == await bench.names(10)
    await bench.set({"9": None})

    assert [] == await bench.names(10)
    assert ["3"] == await bench.names(99)


async def test_an_earlier_timer_makes_a_page_old(bench: Bench) -> None:
    """What was set meanwhile, and is due before the others or with them, comes in its place."""
    await bench.set(dict.fromkeys(("4", "5", "6", "7"), 10))
    assert ["4", "5"] == await bench.names(10)
    await bench.set({"4": None, "1": 10, "8": 9})

    assert ["8", "1"] == await bench.names(10)


async def test_nothing_is_asked_before_the_first_is_due(bench: Bench) -> None:
    """When nobody is due, the next instant is remembered; a commit may bring an earlier one."""
    await bench.set({"1": 50})
    assert [] == await bench.names(10)
    asked = bench.asked
    assert [] == await bench.names(49)
    assert asked == bench.asked
    await bench.set({"2": 20})

    assert ["2"] == await bench.names(30)
    assert ["2", "1"] == await bench.names(FAR_MS)
