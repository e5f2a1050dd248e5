"""A partition while the policies in the store are lost: it decides nothing, and sees whether more was lost."""

from __future__ import annotations

import asyncio

import pytest

from arbiter.messages import REQUESTS
from arbiter.worker.policy_watcher import LOST
from tests.harness.partition import PartitionCluster


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> PartitionCluster:
    """A partition on which nothing has happened."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    return PartitionCluster()


async def test_lost_commits_are_noticed_while_the_policies_are_lost_too(world: PartitionCluster) -> None:
    """Nothing is committed then, so nobody would tell; what is there yet is only waited for."""
    world.request("a")
    process = await world.start()
    await world.settled(world.is_done)
    world.health.trouble(LOST, "the policies in the store are gone")
    world.in_force.current, current = None, world.in_force.current
    world.request("b")
    world.feed(REQUESTS, 1)
    await asyncio.sleep(0.05)
    assert 1 == len(world.health.reasons)
    world.in_force.current = current
    await world.settled(lambda: list(world.outcomes) == ["a", "b"])
    world.store.flush()
    world.in_force.current = None
    world.request("c")
    world.feed(REQUESTS, 2)
    await process.task

    assert "lost commits" in world.health.reasons[1]
