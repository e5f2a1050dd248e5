"""The processor, when all goes well: what is decided together, what is committed, what goes where."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from arbiter.engine.routed import Forward
from arbiter.ledger.keys import customer_party
from arbiter.messages import CONSENTS, DECISIONS, DLQ_SUFFIX, PROFILES, REQUESTS, ROUTED
from arbiter.state.codec import unpack_outbox
from arbiter.state.envelopes import unpack_envelope
from arbiter.worker.health import TOPICS
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.policy_watcher import Active
from tests.harness.partition import CAP, CUSTOMERS, STRANGER, P, PartitionCluster
from tests.inputs.builders import policy


@pytest.fixture
def world() -> PartitionCluster:
    """A partition on which nothing has happened."""
    return PartitionCluster()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))


async def test_requests_are_decided_committed_published_and_acked(world: PartitionCluster) -> None:
    """Of three requests for one customer two fit, and the decisions carry CloudEvents headers and the place."""
    for name in ("a", "b", "c"):
        world.request(name)
    await world.run()

    assert world.outcomes == {"a": "approved", "b": "approved", "c": "deferred"}
    assert world.flow.acked == {REQUESTS: 3}
    first = world.of(DECISIONS)[0]
    assert first.partition == P
    assert dict(first.headers)["ce_id"].decode() == msgspec.json.decode(first.value or b"")["decision_id"]


async def test_everything_that_waits_is_one_commit(world: PartitionCluster) -> None:
    """Facts and requests together; the commit holds positions, ledgers, answers and the outbox."""
    world.put({"customer_id": CUSTOMERS[0]}, PROFILES)
    world.request("a")
    world.request("b", CUSTOMERS[1])
    await world.run()
    (commit,) = world.commits

    assert commit.positions == {PROFILES: 1, REQUESTS: 2}
    assert set(commit.ledgers) == {customer_party(customer) for customer in CUSTOMERS[:2]}
    assert len(commit.answers) == len(unpack_outbox(commit.outbox)) == 2


async def test_a_suppression_comes_before_what_was_sent_earlier(world: PartitionCluster) -> None:
    """Of what waits together facts are first, suppressions before all."""
    suppression = {"type": "suppression", "customer_id": CUSTOMERS[0], "list": "dnc", "active": True}
    world.in_force.current = Active(1, policy({"id": "dnc", "kind": "suppression", "lists": ["dnc"]}))
    world.request("a")
    world.put({**suppression, "captured_at": "2026-01-01T00:00:00Z"}, CONSENTS)
    await world.run()

    assert world.outcomes == {"a": "rejected"}


async def test_requests_are_let_in_when_the_facts_are_read(world: PartitionCluster) -> None:
    """Until the facts that were there at the claim are committed, only their topics are open."""
    world.put({"customer_id": CUSTOMERS[0]}, PROFILES)
    world.faults.set(P, "away load", times=3)
    process = await world.start()
    await asyncio.sleep(0)
    assert world.flow.open_topics == {CONSENTS, PROFILES}
    await world.settled(world.is_done)
    await asyncio.sleep(0)
    await process.stop()

    assert world.flow.open_topics == set(INPUTS)


async def test_the_same_request_again_gets_the_same_bytes(world: PartitionCluster) -> None:
    """In another record, in the same batch or a later one; nothing is spent."""
    world.request("a")
    world.request("a")
    await world.run()
    world.request("a")
    await world.run()

    assert len(world.of(DECISIONS)) == 3
    assert len({record.value for record in world.of(DECISIONS)}) == 1


async def test_an_id_used_twice_is_a_dead_letter_and_the_first_stands(world: PartitionCluster) -> None:
    """The core refuses; the record goes where a person looks."""
    world.request("a")
    offset = world.request("a", campaign="autumn")
    await world.run()

    assert world.outcomes == {"a": "approved"}
    assert world.letters == [("request_id_reused", offset)]


async def test_poison_is_set_aside_and_its_neighbours_are_decided(world: PartitionCluster) -> None:
    """One dead letter each, published before the commit that passes over them."""
    world.request("a")
    poison = [world.put(b"\xff"), world.put(None)]
    world.request("b")
    await world.run()

    assert list(world.outcomes) == ["a", "b"]
    assert world.letters == [("not_utf8", poison[0]), ("empty", poison[1])]
    assert world.published[0].topic == REQUESTS + DLQ_SUFFIX


async def test_a_record_on_a_foreign_partition_goes_home(world: PartitionCluster) -> None:
    """Undecided, through the outbox, on the topic that only arbiters write; its neighbours stay."""
    world.is_whole = False
    world.request("a", STRANGER)
    world.request("b")
    await world.run()
    (sent,) = world.of(ROUTED)
    routed = unpack_envelope(sent.value or b"").open()
    assert isinstance(routed, Forward)

    assert world.outcomes == {"b": "approved"}
    assert (sent.partition, routed.party) == (P + 1, f"c:{STRANGER}")
    assert (routed.stored.raw, routed.stored.source) == (world.log[REQUESTS, P][0].value, (REQUESTS, P, 0))
    assert routed.stored.hops == 1
    assert sent in unpack_outbox(world.commits[0].outbox)


async def test_an_outdated_policy_decides_nothing(world: PartitionCluster) -> None:
    """The store has met a newer activation: the worker takes it over and decides anew."""
    world.request("a")
    world.next_policy = world.in_force.current = Active(5, policy(CAP, version=5))
    await world.run()
    world.in_force.current = Active(4, policy({**CAP, "limit": 9}, version=4))
    world.request("b")
    await world.run()
    versions = [msgspec.json.decode(record.value or b"")["policy"]["version"] for record in world.of(DECISIONS)]

    assert versions == [5, 5]


async def test_without_a_policy_nothing_is_decided(world: PartitionCluster) -> None:
    """The processor waits, and stops when it is told to."""
    world.in_force.current = None
    world.request("a")
    process = await world.start()
    await asyncio.sleep(0)
    await process.stop()

    assert world.commits == []
    assert world.published == []


async def test_while_a_topic_is_gone_nothing_is_decided(world: PartitionCluster) -> None:
    """It may have held a withdrawal. What waits is decided once the topic is there again."""
    world.health.trouble(TOPICS, "contact.consents.v1 is gone")
    world.request("a")
    process = await world.start()
    await asyncio.sleep(0.1)
    before = len(world.commits)
    world.health.over(TOPICS)
    await world.settled(world.is_done)
    await process.stop()

    assert [0, 1] == [before, len(world.of(DECISIONS))]


async def test_a_full_runner_shuts_its_topics_and_opens_them_again(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it cannot hold stays in Kafka."""
    monkeypatch.setattr("arbiter.worker.partition.record_queue.HIGH_RECORDS", 5)
    monkeypatch.setattr("arbiter.worker.partition.record_queue.LOW_RECORDS", 2)
    monkeypatch.setattr("arbiter.worker.partition.record_queue.RECORDS_MAX", 2)
    for number in range(9):
        world.request(f"r{number}", CUSTOMERS[number])
    process = await world.start()
    assert world.flow.open_topics == set()
    await world.settled(world.is_done)
    await process.stop()

    assert world.flow.open_topics == set(INPUTS)
    assert [len(unpack_outbox(commit.outbox)) for commit in world.commits] == [2, 2, 2, 2, 1]


async def test_a_commit_that_would_grow_too_long_is_cut(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The requests that do not fit any more come with the next one, each decided once."""
    monkeypatch.setattr("arbiter.worker.partition.output.OUTBOX_BYTES_MAX", 1_500)
    for number in range(7):
        world.request(f"r{number}", CUSTOMERS[number])
    world.put(b"poison")
    await world.run()

    assert list(world.outcomes) == [f"r{number}" for number in range(7)]
    assert len(world.commits) > 1
    assert len(world.of(DECISIONS)) == 7
    assert world.letters == [("malformed_json", 7)]


async def test_the_event_clock_does_not_depend_on_batches(world: PartitionCluster) -> None:
    """A request is decided at its own time, with the newest one as the floor, and the head keeps it."""
    for number, day in enumerate((1, 9, 5)):
        world.request(f"r{number}", CUSTOMERS[number], requested_at=f"2020-01-0{day}T00:00:00Z")
    await world.run(clock="event")
    decided = [msgspec.json.decode(record.value or b"")["decided_at"][:10] for record in world.of(DECISIONS)]

    assert decided == ["2020-01-01", "2020-01-09", "2020-01-09"]


async def test_what_shadows_would_have_done_is_counted(world: PartitionCluster) -> None:
    """By rule in shadow mode, and how often it would have stopped an approval; by pair of outcomes for a policy."""
    trial = {**CAP, "id": "trial", "limit": 1, "mode": "shadow"}
    world.in_force.current = Active(1, policy(CAP, trial, shadow=policy({**CAP, "limit": 0}, version=2)))
    for name in ("a", "b", "c", "c"):
        world.request(name)
    await world.run()
    sample = world.metrics.registry.get_sample_value

    assert (2.0, 1.0) == tuple(
        sample(f"arbiter_shadow_{what}_total", {"rule": "trial"}) for what in ("findings", "would_stop")
    )
    assert {("approved", "rejected"): 2.0, ("deferred", "rejected"): 1.0, ("approved", "approved"): None} == {
        (live, shadow): sample("arbiter_shadow_policy_decisions_total", {"live": live, "shadow": shadow})
        for live, shadow in (("approved", "rejected"), ("deferred", "rejected"), ("approved", "approved"))
    }


async def test_a_shadow_policy_that_fails_while_judging_is_an_alarm(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its numbers would be wrong; every request gets its answer."""
    shadow = policy(version=2)
    monkeypatch.setattr(shadow, "terms", lambda *_: 1 // 0)
    world.in_force.current = Active(1, policy(CAP, shadow=shadow))
    world.request("a")
    await world.run()
    said = msgspec.json.decode(world.of(DECISIONS)[0].value or b"")

    assert ("approved", "rule_error") == (said["outcome"], said["shadow_policy"]["outcome"])
    assert world.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "shadow-rule-error"}) == 1.0
    assert [] == world.letters
