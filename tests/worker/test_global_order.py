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
from arbiter.worker.partition.global_order import GlobalOrder, Places
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


def left(*numbers: int) -> Places:
    """How many places are left, each time it is read; the last number stays."""
    read = iter(numbers)

    async def places() -> int:
        return next(read, numbers[-1])

    return places


async def test_the_first_go_on_as_far_as_there_are_places() -> None:
    """Two places, and one asked before the second of ours: only the first goes on."""
    one = await across(line(THERE, {"c:z": 15, "c:y": 99}))

    assert due(10) == list(await one.due_first(due(10, 20, 30), left(2)))
    assert due(10, 14) == list(await one.due_first(due(10, 14, 20, 30), left(2)))


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

    assert due(10, 20, at_ms=at_ms) == list(await one.due_first(due(10, 20, at_ms=at_ms), left(places)))


async def test_who_does_not_move_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other partition may have no worker: after a while all go on, and it is not looked at for some time."""
    one = await across(line(THERE, {"c:z": 1}))
    assert [] == list(await one.due_first(due(10), left(1)))
    monkeypatch.setattr("arbiter.worker.partition.global_order.YIELD_SECONDS", 0.0)
    monkeypatch.setattr("arbiter.worker.partition.global_order.LOOKS_MIN", 1)

    assert due(10) == list(await one.due_first(due(10), left(1)))
    monkeypatch.setattr("arbiter.worker.partition.global_order.YIELD_SECONDS", 60.0)
    assert due(10, at_ms=MONDAY + MINUTE_MS) == list(await one.due_first(due(10, at_ms=MONDAY + MINUTE_MS), left(1)))


async def test_a_place_that_came_back_is_for_the_first_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two places one is for who waits elsewhere; after a while both are for those here."""
    there = replace(empty(THERE), waits={Wait(WEEK, 15, 0, "c:z"): True})
    one = await across((THERE, there))
    mine = [Wait(WEEK, 10, 0, "c:a"), Wait(WEEK, 20, 0, "c:b"), Wait(WEEK, 30, 0, "c:c")]
    assert mine[:1] == list(await one.waiting_first(mine, left(2)))
    monkeypatch.setattr("arbiter.worker.partition.global_order.YIELD_SECONDS", 0.0)
    monkeypatch.setattr("arbiter.worker.partition.global_order.LOOKS_MIN", 1)

    assert mine[:2] == list(await one.waiting_first(mine, left(2)))


async def test_who_has_just_gone_has_a_place() -> None:
    """Of two places one is taken by a party that left its line before that was read: one is for who is there still."""
    one = await across(line(THERE, {"c:z": 15}))

    assert [] == list(await one.due_first(due(20, 30), left(2, 1)))


async def test_who_has_just_been_woken_has_a_place() -> None:
    """As above, for those who wait for a place."""
    one = await across((THERE, replace(empty(THERE), waits={Wait(WEEK, 15, 0, "c:z"): True})))
    mine = [Wait(WEEK, 20, 0, "c:a"), Wait(WEEK, 30, 0, "c:b")]

    assert [] == list(await one.waiting_first(mine, left(2, 1)))


async def test_it_is_patient_as_long_as_those_before_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long they take for all of them: the time begins anew with each who goes, and ends with the last."""
    now = [100.0]
    monkeypatch.setattr("arbiter.worker.partition.global_order.monotonic", lambda: now[0])
    monkeypatch.setattr("arbiter.worker.partition.global_order.LOOKS_MIN", 3)
    lines = [{"c:x": 1, "c:y": 2, "c:z": 3}, {"c:y": 2, "c:z": 3}, {"c:z": 3}]
    orders = [await across(line(THERE, one)) for one in lines]
    one = orders[0]
    found = []
    for other in (*orders, *orders[-1:] * 2):
        monkeypatch.setattr(one._shared, "store", other._shared.store)  # noqa: SLF001 - what was committed there meanwhile
        found.append(list(await one.due_first(due(10), left(1))))
        now[0] += 1.5

    assert [[], [], [], [], due(10)] == found
