"""What stands still is told, with the place, and only if nothing else has told it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from faust.types import TP

from arbiter.worker.health import STORE, Health
from arbiter.worker.kafka.progress import COVERAGE, MEMBERSHIP, STALLED, Progress
from tests.harness.hand_clock import Clock

INPUTS = ("requests", "consents")
BOUND = 30.0


class Group:
    """The consumer, and its membership, as progress sees them."""

    def __init__(self) -> None:
        self.may_join, self.is_member, self.refusal = True, True, ""
        self.numbers, self.ends = {0, 1}, dict[TP, int]()
        self.shared: set[int] | None = {0, 1}

    @property
    def membership(self) -> Group:
        """How it is a member of its group."""
        return self

    @property
    def assigned(self) -> set[int]:
        """What the group gives."""
        return self.numbers

    async def shared_out(self) -> set[int] | None:
        """What all have."""
        return self.shared

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Where logs end."""
        return {tp: self.ends.get(tp, 0) for tp in tps}


class Work(dict[int, dict[str, int]]):
    """How far partitions have come."""

    def reached(self, partition: int) -> dict[str, int] | None:
        """See ``Ownership``."""
        return self.get(partition)


@pytest.fixture
def group() -> Group:
    """Two partitions, both ours, both empty."""
    return Group()


@pytest.fixture
def work() -> Work:
    """Both partitions are claimed, and level with their logs."""
    return Work({0: {"requests": 0}, 1: {"requests": 0}})


@pytest.fixture
def progress(group: Group, work: Work, health: Health) -> Progress:
    """What is tested."""
    return Progress(group, work, health, INPUTS, 2, BOUND)


async def passes(progress: Progress, clock: Clock, seconds: float = BOUND) -> None:
    """Check, let time pass, check again."""
    await progress.check()
    clock.now += seconds
    await progress.check()


async def test_records_that_wait_without_a_commit_are_told(
    progress: Progress, group: Group, work: Work, health: Health, clock: Clock
) -> None:
    """After the bound, with the place, and as an alarm; whoever moves on begins the wait anew."""
    await passes(progress, clock)
    level = list(health.reasons)
    group.ends[TP("requests", 1)] = 7
    await passes(progress, clock, BOUND - 1)
    soon = list(health.reasons)
    work[1] = {"requests": 3}
    await passes(progress, clock, BOUND - 1)
    moved = list(health.reasons)
    await passes(progress, clock)
    (said,) = health.reasons
    work[1] = {"requests": 7}
    await progress.check()

    assert (level, soon, moved) == ([], [], [])
    assert said == "partition 1: no commit for 30 s; partition 1 of requests ends at offset 7 and is decided up to 3"
    assert health.reasons == []


async def test_what_is_assigned_but_not_claimed_is_told(
    progress: Progress, work: Work, health: Health, clock: Clock
) -> None:
    """Also if the worker itself believes that all is well."""
    del work[0]
    await passes(progress, clock)

    assert health.reasons == ["partition 0: no commit for 30 s; partition 0 is not claimed"]
    assert health.has(STALLED)


@pytest.mark.parametrize("key", [STORE, "group", "policy", "clock", "partition 1"])
async def test_what_has_a_reason_is_not_told_twice(
    progress: Progress, group: Group, health: Health, clock: Clock, key: str
) -> None:
    """Records wait since the store is away, say: that is told already."""
    group.ends[TP("requests", 1)] = 7
    health.trouble(key, "known")
    await passes(progress, clock)

    assert health.reasons == ["known"]


async def test_partitions_that_no_worker_has_are_told(
    progress: Progress, group: Group, health: Health, clock: Clock
) -> None:
    """A worker that is assigned nothing is well while others have all, and is not when nobody has."""
    group.numbers = set()
    await passes(progress, clock)
    idle = list(health.reasons)
    group.shared = set()
    await passes(progress, clock)

    assert idle == []
    assert health.has(COVERAGE)
    assert health.reasons == ["no worker of the group has partitions 0, 1: their records wait"]


async def test_a_rebalance_without_end_is_told(progress: Progress, group: Group, health: Health, clock: Clock) -> None:
    """A usual one is not; who stays outside by intention says so elsewhere."""
    group.is_member, group.shared = False, None
    await passes(progress, clock, BOUND - 1)
    usual = list(health.reasons)
    await passes(progress, clock)
    endless = health.has(MEMBERSHIP)
    group.may_join = False
    await progress.check()

    assert usual == []
    assert endless
    assert health.reasons == []


async def test_all_is_shared_out_once_the_group_says_so(progress: Progress, group: Group) -> None:
    """Not while it is sharing out, not while a partition has no worker, and not if this worker is no member."""
    seen = [progress.is_covered]
    for shared, is_member in ((None, True), ({0}, True), ({0, 1}, False), ({0, 1}, True), (None, True)):
        group.shared, group.is_member = shared, is_member
        await progress.check()
        seen.append(progress.is_covered)

    assert [False, False, False, False, True, False] == seen
