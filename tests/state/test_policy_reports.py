"""What every ``PolicyStore`` promises of what workers report, and of a registry that they know to have been ahead."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from arbiter.state.policy_store import Activation, KillOrder, Order, PolicyStore, WorkerReport
from tests.state.conftest import Backend

ALONE = Order(by="rui", is_alone=True)
HOUR_MS = 3_600_000


def stop(**fields: Any) -> KillOrder:
    """An order to stop a campaign for an hour."""
    return KillOrder(**{"target": "campaign", "name": "gold", "by": "ops", "reason": "r", "for_ms": HOUR_MS, **fields})


async def in_force(policies: PolicyStore, count: int = 1) -> None:
    """So many versions, each put in force."""
    for number in range(1, count + 1):
        await policies.publish("p", f"d{number}", "ana", b"x")
        await policies.activate(number, ALONE)


async def test_workers_are_known_by_their_last_report(policies: PolicyStore) -> None:
    """All of it comes back, by name; who left is forgotten."""
    first = WorkerReport(name="a", number=3, swept=2, highest_seen=3, partitions=4, trouble="slow")
    second = WorkerReport(name="b", highest_seen=1)
    assert 3 == await policies.report(replace(first, number=2), {})
    assert 3 == await policies.report(second, {})
    assert 3 == await policies.report(first, {})
    assert [first, second] == [replace(one, silent_ms=0) for one in await policies.workers()]
    await policies.leave("a")

    assert ["b"] == [one.name for one in await policies.workers()]
    assert 0 <= (await policies.workers())[0].silent_ms < 60_000


def test_stored_names_stay_readable_by_workers_of_other_versions() -> None:
    """The names in the stored report are those that released workers write."""
    report = WorkerReport(name="a", number=3, swept=2, highest_seen=3, partitions=4, trouble="slow", silent_ms=5)

    assert {"name", "number", "swept", "met", "partitions", "trouble", "silent_ms"} == set(msgspec.to_builtins(report))


async def test_what_a_switch_stopped_is_added_up(policies: PolicyStore) -> None:
    """Over all workers and reports, by outcome; of a switch that is lifted nothing is kept."""
    await in_force(policies)
    kill, _ = await policies.kill(stop())
    worker = WorkerReport(name="a")
    await policies.report(worker, {(kill.id, "recalled"): 2, (kill.id, "deferred"): 1, (99, "recalled"): 5})
    await policies.report(replace(worker, name="b"), {(kill.id, "recalled"): 1})

    assert {"recalled": 3, "deferred": 1} == await policies.stopped(kill.id)
    await policies.lift(kill.id, "ops", "")
    assert {} == await policies.stopped(kill.id) == await policies.stopped(99)


async def test_a_lost_registry_goes_on_above_what_workers_met(backend: Backend) -> None:
    """Publishing and putting in force again gives a number that no worker takes for an old one."""
    policies = backend.policies
    await in_force(policies, 3)
    await policies.report(WorkerReport(name="a", number=3, highest_seen=3), {})
    await backend.lose_policies()
    assert await policies.active() is None
    _, nothing = await policies.kill(stop())
    await policies.publish("p", "d1", "ana", b"x")
    active = await policies.activate(1, ALONE)

    assert nothing is None
    assert active is not None
    assert (5, 1, ["gold"]) == (active.number, active.version, [kill.name for kill in active.kills])


async def test_a_registry_that_went_back_stands_still(backend: Backend) -> None:
    """No switch and no plan makes it look whole; only a version put in force by somebody, the same one too, does."""
    policies = backend.policies
    await in_force(policies)
    await policies.report(WorkerReport(name="a", number=1, highest_seen=7), {})
    kill, stopped = await policies.kill(stop())
    lifted = await policies.lift(kill.id, "ops", "")
    beside = await policies.shadow(1, "ops", "")
    numbers = [one.number for one in (stopped, lifted, beside) if one is not None]
    restored = await policies.activate(1, ALONE)

    assert [1, 1, 1] == numbers
    assert restored is not None
    assert (9, 1) == (restored.number, restored.version)
    assert restored == await policies.activate(1, ALONE)


async def test_a_switch_ordered_after_a_loss_is_not_lost_by_restoring(backend: Backend) -> None:
    """Whoever restores the registry as it was before the order has not the order: workers take that for a loss."""
    policies = backend.policies
    await in_force(policies, 3)
    worker = WorkerReport(name="a", number=3, highest_seen=3)
    assert 3 == await policies.report(worker, {})
    await backend.lose_policies()
    await policies.kill(stop())
    assert 4 == await policies.report(worker, {})
    await policies.kill(stop(for_ms=2 * HOUR_MS))

    assert 5 == await policies.report(worker, {})


async def test_what_was_ordered_while_no_worker_ran_is_known_of(backend: Backend) -> None:
    """A registry that is lost then is known to be: who starts learns that there was more."""
    policies = backend.policies
    await in_force(policies)
    await policies.kill(stop())
    await backend.lose_policies()

    assert 2 == await policies.report(WorkerReport(name="a"), {})


async def test_without_a_report_numbers_begin_at_one(policies: PolicyStore) -> None:
    """A new installation."""
    await in_force(policies)

    assert Activation(1, 1, "d1") == await policies.active()
