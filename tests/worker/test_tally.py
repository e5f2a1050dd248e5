"""What is counted of requests, permits and outcomes, once their batch is confirmed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from arbiter.messages import OUTCOMES
from arbiter.worker.policy_watcher import Active
from tests.harness.partition import CUSTOMERS, PartitionCluster
from tests.inputs.builders import policy

TWO = {"id": "two", "kind": "cap", "per": ["party"], "limit": 2, "window": "rolling 1d"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> PartitionCluster:
    """A partition with a cap of two a day."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    world = PartitionCluster()
    world.in_force.current = Active(1, policy(TWO))
    return world


def counted(world: PartitionCluster, name: str) -> dict[tuple[str, ...], float]:
    """What is not 0 of a counter, by the values of its labels in the order of their names."""
    family = next(one for one in world.metrics.registry.collect() if one.name == f"arbiter_{name}")
    return {tuple(one.labels[label] for label in sorted(one.labels)): one.value for one in family.samples if one.value}


async def test_requests_are_counted_once_by_the_priority_that_they_asked_for(world: PartitionCluster) -> None:
    """A repeat, and a later decision on the same request, are not another request."""
    for number, priority in enumerate((0, 24.9, 25, 74, 75, 99.9, 100)):
        world.request(f"r{number}", CUSTOMERS[number], priority=priority)
    world.request("r6", CUSTOMERS[6], priority=100)
    world.request("strange", CUSTOMERS[8], department="nobody")
    await world.run()
    bands = {"0-24": 2, "25-49": 1, "50-74": 1, "75-99": 2, "100": 1}

    assert counted(world, "requests") == {("cards", band): count for band, count in bands.items()} | {
        ("other", "50-74"): 1
    }


async def test_findings_are_counted_by_rule_and_department(world: PartitionCluster) -> None:
    """The department is who asked."""
    for name in ("a", "b", "c"):
        world.request(name)
    await world.run()

    assert {("cards", "two"): 1} == counted(world, "findings")


async def test_approvals_are_counted_by_how_many_contacts_the_customer_then_has(world: PartitionCluster) -> None:
    """In the week that ends with the permit; the other customer's are not counted."""
    world.request("x", CUSTOMERS[1])
    for name in ("a", "b", "c"):
        world.request(name)
    await world.run()

    assert {("1",): 2, ("2",): 1} == counted(world, "contacts_in_week")


async def test_what_became_of_requests_is_counted(world: PartitionCluster) -> None:
    """Each event once: what a decision tells, and what an outcome tells; a repeated complaint is none."""
    for number, name in enumerate(("sent", "bounced", "cancelled", "late")):
        world.request(name, CUSTOMERS[number])
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    world.request("waits", CUSTOMERS[0])
    world.request("too much", CUSTOMERS[0])
    world.request("expires", CUSTOMERS[0], expires_at=soon)
    world.request("dry", CUSTOMERS[5], dry_run=True)
    await world.run()
    now = datetime.now(UTC).isoformat()
    told = [("sent", "sent", 0), ("bounced", "bounced", 1), ("cancelled", "cancelled", 2), ("sent", "complained", 0)]
    for name, kind, number in [*told, told[-1], ("too much", "cancelled", 0)]:
        outcome = {"request_id": name, "customer_id": CUSTOMERS[number], "department": "cards", "kind": kind, "at": now}
        world.put(outcome, OUTCOMES)
    await world.run()

    assert {
        ("cards", "approve"): 5,
        ("cards", "defer"): 2,  # the second time with another `retry_at`, since the first contact was sent
        ("cards", "expire"): 1,
        ("cards", "send"): 1,
        ("cards", "bounce"): 1,
        ("cards", "cancel"): 1,
        ("cards", "withdraw"): 1,
    } == counted(world, "lifecycle_events")
    assert {("cards",): 1} == counted(world, "complaints")


async def test_latency_is_of_first_decisions(world: PartitionCluster) -> None:
    """A repeated request is answered, and is no other request; a dry run is one."""
    for name in ("a", "b", "a"):
        world.request(name)
    world.request("dry", CUSTOMERS[1], dry_run=True)
    await world.run()
    (family,) = world.metrics.latency_seconds.collect()

    assert 4 == len(world.decisions)
    assert [3] == [sample.value for sample in family.samples if sample.name.endswith("_count")]
