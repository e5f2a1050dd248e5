"""What is stored is damaged, or newer than this build: who cannot be read is set aside, the others are decided for."""

from __future__ import annotations

import pytest

from arbiter.messages import CONSENTS
from arbiter.state.codec import CodecError, NewerFormat, unpack_ledger
from arbiter.state.memory import MemoryStore
from arbiter.timing.instants import DAY_MS
from tests.harness.partition import CAP, CUSTOMERS, P, PartitionCluster
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request

DAMAGED = [b"", b"garbage", bytes(40), b"\x01\xff", b"\x01\x95\x90\x90\x90\x91\xc0\x90", b"\x99\xc1"]
NEWER = [b"\x04\x90", b"\x04anything", b"\x1f", b"c\x91\x90"]


@pytest.fixture
def world() -> PartitionCluster:
    """A partition on which nothing has happened."""
    return PartitionCluster()


@pytest.mark.parametrize("stored", NEWER)
def test_a_newer_format_is_told_from_damage(stored: bytes) -> None:
    """By its number, or because what follows is an array, as in every format; the error names both formats."""
    with pytest.raises(
        NewerFormat, match=f"format {stored[0]}, written by a newer build; this build reads formats up to 3"
    ):
        unpack_ledger(stored)


@pytest.mark.parametrize("stored", DAMAGED)
def test_damage_is_not_taken_for_a_newer_format(stored: bytes) -> None:
    """Whatever stands there: it is an error of its own."""
    with pytest.raises(CodecError, match="damaged") as told:
        unpack_ledger(stored)

    assert not isinstance(told.value, NewerFormat)


@pytest.mark.parametrize("stored", DAMAGED)
async def test_a_party_that_cannot_be_read_is_set_aside(world: PartitionCluster, stored: bytes) -> None:
    """Its records are dead letters, withdrawals too; its neighbours are decided, and it is once restored."""
    ours, theirs = CUSTOMERS[:2]
    world.request("a", ours)
    world.request("b", theirs)
    await world.run()
    ledgers = world.store.kept(P).ledgers
    good, ledgers[f"c:{ours}"] = ledgers[f"c:{ours}"], stored
    withdrawal = {"type": "consent", "customer_id": ours, "purpose": "marketing", "state": "withdrawn"}
    world.put({**withdrawal, "captured_at": "2026-01-01T00:00:00Z"}, CONSENTS)
    world.request("c", ours)
    world.request("d", theirs)
    await world.run()

    assert world.outcomes == {"a": "approved", "b": "approved", "d": "approved"}
    assert world.letters == [("unreadable_state", 0), ("unreadable_state", 2)]
    assert ledgers[f"c:{ours}"] == stored
    assert world.health.reasons == []
    assert alarms(world) == 2 + 1
    ledgers[f"c:{ours}"] = good
    world.request("e", ours)
    await world.run()

    assert world.outcomes["e"] == "approved"


def alarms(world: PartitionCluster) -> float | None:
    """How many there were because of this: one for the party, one for each dead letter."""
    return world.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "unreadable_state"})


async def test_a_newer_ledger_stops_the_partition(world: PartitionCluster) -> None:
    """No dead letter, no decision: nothing is wrong with the records, and whoever can read it goes on."""
    world.request("a", CUSTOMERS[0])
    await world.run()
    ledgers = world.store.kept(P).ledgers
    ledgers[f"c:{CUSTOMERS[0]}"] = b"\x04" + ledgers[f"c:{CUSTOMERS[0]}"][1:]
    world.request("b", CUSTOMERS[1])
    world.request("c", CUSTOMERS[0])
    with pytest.raises(NewerFormat):
        await world.run()

    assert world.outcomes == {"a": "approved"}
    assert world.letters == []


@pytest.mark.parametrize("stored", [b"", b"garbage", b"\x01\xff"])
async def test_a_repeat_whose_answer_is_damaged_is_not_decided_anew(world: PartitionCluster, stored: bytes) -> None:
    """It would be approved a second time; another request of the customer is decided."""
    world.request("a")
    await world.run()
    answers = world.store.kept(P).answers
    for key, (_, expires_ms) in answers.items():
        answers[key] = (stored, expires_ms)
    world.request("a")
    world.request("b")
    await world.run()

    assert world.outcomes == {"a": "approved", "b": "approved"}
    assert world.letters == [("unreadable_state", 1)]


async def test_a_newer_answer_stops_the_partition(world: PartitionCluster) -> None:
    """As a newer ledger does."""
    world.request("a")
    await world.run()
    answers = world.store.kept(P).answers
    for key, (value, expires_ms) in answers.items():
        answers[key] = (b"\x03" + value[1:], expires_ms)
    world.request("a")
    with pytest.raises(NewerFormat):
        await world.run()

    assert world.letters == []


@pytest.mark.parametrize("clock", ["wall", "event"])
async def test_the_timer_of_a_party_that_cannot_be_read_does_not_spin(clock: str) -> None:
    """It is put off, and what waits is decided once the ledger is restored and it is looked at again."""
    store = MemoryStore()
    site = SteppedCluster(policy({**CAP, "limit": 1}), 1, MONDAY, store, clock=clock)
    site.send(grant("c1"))
    for name in "ab":
        site.send(request(name, customer_id="c1"))
    await site.settle()
    kept = store.kept(0)
    await site.end(0)
    good, kept.ledgers["c:c1"] = kept.ledgers["c:c1"], b"garbage"
    site.wait(2 * DAY_MS)
    await site.settle()
    assert [decision["outcome"] for decision in site.decisions] == ["approved", "deferred"]
    assert site.dead == []

    kept.ledgers["c:c1"] = good
    site.activate(policy({**CAP, "limit": 2}))
    await site.settle()
    await site.end(0)

    assert [decision["outcome"] for decision in site.decisions] == ["approved", "deferred", "approved"]


async def test_a_timer_that_does_not_fit_its_ledger_does_not_spin() -> None:
    """Of a party that waits for nothing, or that nobody knows: it is looked at once, and its timer is set right."""
    store = MemoryStore()
    site = SteppedCluster(policy(CAP), 1, MONDAY, store)
    site.send(request("a", customer_id="c1"))
    await site.settle()
    await site.end(0)
    kept = store.kept(0)
    right = kept.timers.copy()
    kept.timers |= {"c:c1": MONDAY, "c:nobody": MONDAY, "rubbish": MONDAY}
    await site.settle()
    await site.end(0)

    assert kept.timers == right
