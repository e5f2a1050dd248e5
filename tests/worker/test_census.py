"""The census: what waits, by department, code and age, in the partitions that are ours; and it rests a lot."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from arbiter.worker.census import REST_SECONDS, SHARE, Census
from arbiter.worker.policy_watcher import Active
from tests.harness.partition import CUSTOMERS, P, PartitionCluster
from tests.inputs.builders import policy

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}
DEPARTMENTS = ("cards", "loans")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> PartitionCluster:
    """A partition where two requests of one customer wait for a cap, and one of another has waited for long."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    world = PartitionCluster()
    world.in_force.current = Active(1, policy(ONE))
    for name in ("a", "b", "c"):
        world.request(name)
    world.request("d", CUSTOMERS[1])
    return world


def census(world: PartitionCluster, claimed: list[int]) -> Census:
    """A census of these partitions."""
    return Census(world.store, lambda: claimed, lambda: DEPARTMENTS)


async def test_what_waits_is_counted(world: PartitionCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Absolute numbers, told when a round is complete; approvals do not wait."""
    await world.run()
    counted = census(world, [P])
    before = counted.requests(), counted.ages(), counted.oldest(), counted.ended()
    await counted.count()

    assert ({}, {}, {}, {}) == before
    assert {("cards", "cap_reached"): 2.0} == counted.requests()
    assert {("1h",): 2.0} == {labels: count for labels, count in counted.ages().items() if count}
    assert {"cards", "loans", "other"} == {department for (department,) in counted.oldest()}
    assert 0 < counted.oldest()["cards",] < 60
    assert 0 == counted.oldest()["loans",]
    assert abs(counted.ended()[()] - datetime.now(UTC).timestamp()) < 60

    later = datetime.now(UTC) + timedelta(hours=7)
    monkeypatch.setattr("arbiter.worker.census.time", later.timestamp)
    await counted.count()

    assert {("1d",): 2.0} == {labels: count for labels, count in counted.ages().items() if count}
    assert counted.oldest()["cards",] > 7 * 3_600


async def test_a_partition_that_is_gone_is_counted_by_its_next_owner(world: PartitionCluster) -> None:
    """At once, not with the next round."""
    await world.run()
    claimed = [P]
    counted = census(world, claimed)
    await counted.count()
    claimed.clear()

    assert {} == counted.requests()
    assert 0 == sum(counted.ages().values()) == sum(counted.oldest().values())


async def test_it_rests_for_most_of_the_time(world: PartitionCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions have the processor: after a page that took a second it rests for nearly a minute."""
    await world.run()
    instants, rests = iter(range(1_000)), list[float]()

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("arbiter.worker.census.perf_counter", lambda: next(instants))
    monkeypatch.setattr(asyncio, "sleep", rest)
    await census(world, [P]).count()

    # Ledgers took one second, answers another.
    assert [2 / SHARE] == rests
    assert min(rests) > REST_SECONDS
