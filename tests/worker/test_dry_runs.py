"""A dry run is decided as any request, and leaves nothing in the store."""

from __future__ import annotations

import pytest
from msgspec.structs import asdict

from arbiter.messages.canary import CANARY
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.policy_watcher import Active
from tests.harness.partition import CUSTOMERS, PARTITIONS, P, PartitionCluster
from tests.inputs.builders import policy

CALLS = {"id": "calls", "kind": "cap", "per": ["party"], "limit": 9, "window": "calendar day"}
HOLD = {"id": "auction", "kind": "arbitration", "hold": "1h", "when": {"campaign": "slow"}}
OF_THE_CANARY = next(
    name for name in (f"{CANARY}-{number}" for number in range(100)) if partition_of(name, PARTITIONS) == P
)
PASSES = {"head", "outbox"}
"""What every commit writes anew."""


def kept(world: PartitionCluster) -> dict[str, object]:
    """What the store has of the partition, but for what each commit replaces."""
    return {name: value for name, value in asdict(world.store.kept(P)).items() if name not in PASSES}


@pytest.mark.parametrize(
    ("customer", "fields", "outcome"),
    [
        (CUSTOMERS[0], {}, "approved"),
        (CUSTOMERS[0], {"campaign": "slow"}, "approved"),
        (CUSTOMERS[0], {"channel": "pigeon"}, "rejected"),
        (OF_THE_CANARY, {"department": CANARY, "channel": CANARY, "category": CANARY}, "rejected"),
    ],
)
async def test_a_dry_run_leaves_nothing(customer: str, fields: dict[str, str], outcome: str) -> None:
    """For a customer whom nobody knew: no ledger, no answer, no timer, no permit to look after."""
    world = PartitionCluster()
    world.in_force.current = Active(1, policy(CALLS, HOLD))
    world.request("known", CUSTOMERS[1])
    await world.run()
    before = kept(world)
    world.request("dry", customer, dry_run=True, **fields)
    await world.run()

    assert outcome == world.outcomes["dry"]
    assert before == kept(world)
    assert [f"c:{CUSTOMERS[1]}"] == [*world.store.kept(P).ledgers]
