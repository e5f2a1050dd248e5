"""A new activation reaches everything that it concerns: some parties per commit, between the records, after a crash."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from arbiter.messages import DECISIONS, OUTCOMES
from arbiter.policy.kill_switches import Kill
from arbiter.state.memory import wall_clock_ms
from arbiter.worker.policy_watcher import Active
from tests.harness.faults import Crash
from tests.harness.partition import CUSTOMERS, P, PartitionCluster
from tests.inputs.builders import policy

COUNT = 12
NIGHTLESS = {"id": "ten", "kind": "cap", "per": ["party"], "limit": 10, "window": "rolling 1d"}
NONE = {**NIGHTLESS, "limit": 0}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> PartitionCluster:
    """A partition with an unsent approval of each of some customers; sweeps go by three parties."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    monkeypatch.setattr("arbiter.worker.partition.sweep.PAGE", 5)
    monkeypatch.setattr("arbiter.worker.partition.sweep.SWEPT_MAX", 3)
    world = PartitionCluster()
    world.in_force.current = Active(1, policy(NIGHTLESS))
    for number in range(COUNT):
        world.request(f"r{number}", CUSTOMERS[number])
    return world


def killed(number: int = 2, until_ms: int | None = None) -> Active:
    """The same policy under a switch on the campaign of all requests."""
    end_ms = wall_clock_ms() + 3_600_000 if until_ms is None else until_ms
    kill = Kill(1, "campaign", "spring", end_ms, False, "ops", "a wrong rate")
    return Active(number, policy(NIGHTLESS, kills=[kill]))


def told(world: PartitionCluster) -> list[tuple[str, str]]:
    """(request, outcome) of all decisions, each once, in order."""
    decisions = [msgspec.json.decode(record.value or b"") for record in world.of(DECISIONS)]
    by_id = {decision["decision_id"]: decision for decision in decisions}
    return [(decision["request_id"], decision["outcome"]) for decision in by_id.values()]


def outcomes(world: PartitionCluster, outcome: str) -> list[str]:
    """The requests that were ever told this, sorted."""
    return sorted(name for name, what in told(world) if what == outcome)


ALL = sorted(f"r{number}" for number in range(COUNT))


async def swept(world: PartitionCluster, number: int) -> None:
    """Run a process until the sweep for this activation is committed."""
    process = await world.start()
    await world.settled(lambda: world.store.kept(P).head and world.store.kept(P).head.swept == number)  # type: ignore[union-attr]
    await process.stop()


async def test_a_switch_recalls_every_unsent_approval(world: PartitionCluster) -> None:
    """Also of parties that nothing else would bring back, by three per commit; and each waits again."""
    await world.run()
    commits = len(world.commits)
    world.in_force.current = killed()
    await swept(world, 2)
    made = world.commits[commits:]

    assert outcomes(world, "approved") == outcomes(world, "recalled") == outcomes(world, "deferred") == ALL
    assert max(len(commit.ledgers) for commit in made) == 3
    assert [commit.swept for commit in made] == [1] * (len(made) - 1) + [2]


async def test_a_sweep_that_is_done_is_not_done_again(world: PartitionCluster) -> None:
    """The next owner finds in the head that it is."""
    await world.run()
    world.in_force.current = killed()
    await swept(world, 2)
    commits = len(world.commits)
    world.request("late", CUSTOMERS[COUNT])
    await world.run()

    assert len(world.commits) == commits + 1
    assert world.commits[-1].swept == 2


@pytest.mark.parametrize("step", ["before", "after"])
async def test_a_crash_in_the_middle_is_made_good(world: PartitionCluster, step: str) -> None:
    """The next owner begins again; nobody is forgotten, and nothing is recalled twice."""
    await world.run()
    world.in_force.current = killed()
    process = await world.start()
    await world.settled(lambda: len(outcomes(world, "recalled")) >= 3)
    world.faults.set(P, f"{step} commit")
    with pytest.raises(Crash):
        await process.task
    partly = outcomes(world, "recalled")
    await swept(world, 2)

    assert 3 <= len(partly) < COUNT
    assert outcomes(world, "recalled") == ALL
    assert len(told(world)) == 3 * COUNT


async def test_records_are_decided_in_between(world: PartitionCluster) -> None:
    """A request that comes while the sweep goes on does not wait for its end."""
    await world.run()
    world.in_force.current = killed()
    process = await world.start()
    await world.settled(lambda: len(outcomes(world, "recalled")) >= 3)
    offset = world.request("meanwhile", CUSTOMERS[COUNT], campaign="autumn")
    world.feed("contact.requests.v1", offset)
    await world.settled(lambda: ("meanwhile", "approved") in told(world))
    recalled = len(outcomes(world, "recalled"))
    await world.settled(lambda: len(outcomes(world, "recalled")) == COUNT)
    await process.stop()

    assert recalled < COUNT


async def test_a_switch_that_is_lifted_lets_all_go_on(world: PartitionCluster) -> None:
    """What waits is decided again at once: under a new number without the switch."""
    await world.run()
    world.in_force.current = killed()
    await swept(world, 2)
    world.in_force.current = Active(3, policy(NIGHTLESS))
    await swept(world, 3)

    assert [name for name, outcome in told(world)[-COUNT:] if outcome == "approved"] != []
    assert outcomes(world, "approved") == sorted([*ALL, *ALL])


async def test_a_switch_that_ends_lets_all_go_on(world: PartitionCluster) -> None:
    """By the timers of what waits, without anybody's doing and without a new activation."""
    await world.run()
    end_ms = wall_clock_ms() + 400
    world.in_force.current = killed(until_ms=end_ms)
    process = await world.start()
    await world.settled(lambda: len(outcomes(world, "recalled")) == COUNT)
    process.processor.wake()

    async with asyncio.timeout(20):
        while outcomes(world, "approved") != sorted([*ALL, *ALL]):
            process.processor.wake()
            await asyncio.sleep(0.01)
    await process.stop()


async def test_an_older_activation_is_not_swept_for(world: PartitionCluster) -> None:
    """A worker that has not heard of the newest one yet neither sweeps nor commits under an older one."""
    world.in_force.current = killed(5)
    await world.run()
    world.next_policy = killed(5)
    world.in_force.current = Active(4, policy(NIGHTLESS))
    world.request("late", CUSTOMERS[COUNT])
    await world.run()

    assert {commit.swept for commit in world.commits if commit.activation == 5} == {5}
    assert dict(told(world))["late"] == "deferred"


async def test_recall_takes_back_what_the_new_policy_does_not_allow(world: PartitionCluster) -> None:
    """Ordered with the activation; without it unsent approvals stand, whatever the new policy says."""
    await world.run()
    world.in_force.current = Active(2, policy(NONE))
    world.request("one-more", CUSTOMERS[COUNT])
    await swept(world, 2)
    stood = outcomes(world, "recalled")
    world.in_force.current = Active(3, policy(NONE), recalls=3)
    await swept(world, 3)

    assert stood == []
    assert outcomes(world, "recalled") == ALL
    assert outcomes(world, "rejected") == sorted([*ALL, "one-more"])


async def test_a_recall_that_was_passed_over_is_made_up_for(world: PartitionCluster) -> None:
    """The next activation came before this partition had looked: it still recalls."""
    await world.run()
    world.in_force.current = Active(3, policy(NONE), recalls=2)
    await swept(world, 3)

    assert outcomes(world, "recalled") == ALL


async def test_what_was_sent_is_left_alone(world: PartitionCluster) -> None:
    """There is nothing to take back."""
    await world.run()
    sent = {"customer_id": CUSTOMERS[0], "department": "cards", "request_id": "r0", "kind": "sent"}
    world.put({**sent, "at": "2026-11-25T00:00:00Z"}, OUTCOMES)
    await world.run()
    world.in_force.current = killed()
    await swept(world, 2)

    assert outcomes(world, "recalled") == [name for name in ALL if name != "r0"]


async def test_a_shadow_policy_sweeps_nothing(world: PartitionCluster) -> None:
    """It changes no answer, so nobody has to be looked at again; the next real change is swept as ever."""
    await swept(world, 1)
    world.in_force.current = Active(2, policy(NIGHTLESS, shadow=policy(NONE, version=2)), shadow_moves=1)
    world.request("after", CUSTOMERS[0])
    before = len(world.commits)
    await world.run()
    commits = world.commits[before:]
    world.in_force.current = Active(3, policy(NONE), recalls=3)
    await swept(world, 3)

    assert [(2, 1)] == [(commit.activation, commit.swept) for commit in commits]
    assert sorted([*ALL, "after"]) == outcomes(world, "recalled")
