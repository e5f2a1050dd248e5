"""Where few places are left, a partition lets those go first who asked before them elsewhere, for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from arbiter.metrics import Metrics
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Commit, CommitResult, Due, Wait
from arbiter.timing.instants import MINUTE_MS
from arbiter.worker.health import Health
from arbiter.worker.partition.global_order import GlobalOrder
from arbiter.worker.partition.retry import RetryPolicy
from tests.inputs.builders import MONDAY

WEEK = "calls/week:0:1"
HERE, THERE = 1, 0


def empty(partition: int) -> Commit:
    """A first commit of nothing."""
    return Commit(1, f"o{partition}", 1, 0, MONDAY, {}, {}, {}, 1, {}, b"")


async def across(*commits: tuple[int, Commit], clock: str = "wall") -> GlobalOrder:
    """One of two partitions after these commits."""
    store = MemoryStore()
    for partition, commit in commits:
        assert await store.claim(partition, f"o{partition}", 1) is not None
        assert CommitResult.OK is (await store.commit(partition, commit))[0]
    health, settings = Health(Metrics()), SimpleNamespace(clock=clock)
    shared: Any = SimpleNamespace(partitions=2, store=store, settings=settings, health=health)
    return GlobalOrder(shared, HERE, RetryPolicy(shared))


def line(partition: int, asked: dict[str, int], due_ms: int = MONDAY) -> tuple[int, Commit]:
    """Parties that are due at one instant, with when they asked."""
    timers: dict[str, int | None] = dict.fromkeys(asked, due_ms)
    return partition, replace(empty(partition), timers=timers, queue_keys={name: (ms, 0) for name, ms in asked.items()})


def due(*asked: int, at_ms: int = MONDAY) -> list[Due]:
    """Those of the own partition, in their order."""
    return [(at_ms, (ms, 0), f"c:{ms}") for ms in asked]


async def test_the_first_go_on_as_far_as_there_are_places() -> None:
    """Two places, and one asked before the second of ours: only the first goes on."""
    one = await across(line(THERE, {"c:z": 15, "c:y": 99}))

    assert due(10) == list(await one.due_first(due(10, 20, 30), places=2))
    assert due(10, 14) == list(await one.due_first(due(10, 14, 20, 30), places=2))


@pytest.mark.parametrize(
    ("others", "at_ms", "places", "clock"),
    [
        ({"c:z": 99}, MONDAY, 1, "wall"),
        ({"c:z": 1}, MONDAY + 1, 1, "wall"),
        ({"c:z": 1}, MONDAY, 0, "wall"),
        ({"c:z": 1}, MONDAY, 1_000, "wall"),
        ({"c:z": 1}, MONDAY, 1, "event"),
    ],
    ids=["they asked later", "no whole second", "no place", "many places", "event clock"],
)
async def test_nobody_is_held_back_without_need(others: dict[str, int], at_ms: int, places: int, clock: str) -> None:
    """Where nobody comes before, or it makes no difference, all who are due go on."""
    one = await across(line(THERE, others), clock=clock)

    assert due(10, 20, at_ms=at_ms) == list(await one.due_first(due(10, 20, at_ms=at_ms), places))


async def test_who_does_not_move_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other partition may have no worker: after a while all go on, and it is not looked at for some time."""
    one = await across(line(THERE, {"c:z": 1}))
    assert [] == list(await one.due_first(due(10), places=1))
    monkeypatch.setattr("arbiter.worker.partition.global_order.YIELD_SECONDS", 0.0)

    assert due(10) == list(await one.due_first(due(10), places=1))
    monkeypatch.setattr("arbiter.worker.partition.global_order.YIELD_SECONDS", 60.0)
    assert due(10, at_ms=MONDAY + MINUTE_MS) == list(await one.due_first(due(10, at_ms=MONDAY + MINUTE_MS), places=1))


async def test_a_place_that_came_back_is_for_the_first_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two places one is for who waits elsewhere; after a while both are for those here."""
    there = replace(empty(THERE), waits={Wait(WEEK, 15, 0, "c:z"): True})
    one = await across((THERE, there))
    mine = [Wait(WEEK, 10, 0, "c:a"), Wait(WEEK, 20, 0, "c:b"), Wait(WEEK, 30, 0, "c:c")]
    assert mine[:1] == list(await one.waiting_first(mine, 2))
    monkeypatch.setattr("arbiter.worker.partition.global_order.YIELD_SECONDS", 0.0)

    assert mine[:2] == list(await one.waiting_first(mine, 2))
