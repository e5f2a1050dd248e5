"""The processor with a fault at every step, and what must never follow from it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError

from arbiter.engine import events
from arbiter.engine.evaluation import Evaluation
from arbiter.engine.events import POSTPONE_MS
from arbiter.engine.input_record import InputRecord
from arbiter.engine.party import Party
from arbiter.engine.state import PartyState
from arbiter.messages import DECISIONS, REQUESTS, Outcome
from arbiter.state.codec import OutRecord
from arbiter.state.memory import MemoryStore
from arbiter.timing.instants import DAY_MS, to_datetime
from arbiter.worker.kafka.producer import PublishFailed
from tests.harness.faults import Crash
from tests.harness.partition import CAP, CUSTOMERS, P, PartitionCluster
from tests.harness.stepwise import SteppedCluster, told
from tests.inputs.builders import MONDAY, grant, policy, request


@pytest.fixture
def world() -> PartitionCluster:
    """A partition on which nothing has happened."""
    return PartitionCluster()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))


@pytest.mark.parametrize("step", ["load", "commit"])
@pytest.mark.parametrize("when", ["away", "lost"])
async def test_a_store_that_does_not_answer_is_asked_again(world: PartitionCluster, step: str, when: str) -> None:
    """Whether it ran the call or not: each request is decided once, in one commit that is repeated unchanged."""
    world.faults.set(P, f"{when} {step}", times=3)
    for name in ("a", "b", "c"):
        world.request(name)
    await world.run()
    head = (await MemoryStore.claim(world.store, P, "probe", 9)).head  # type: ignore[union-attr]

    assert sorted(world.outcomes) == ["a", "b", "c"]
    assert len(world.of(DECISIONS)) == 3
    assert head.seq == 1
    assert [world.commits[0]] * (4 if (when, step) == ("lost", "commit") else 1) == world.commits
    # That it works again is for its watch to say.
    assert world.health.reasons == [f"the store does not answer, nothing is decided: {when} {step}"]


@pytest.mark.parametrize(
    ("what", "step"),
    [("before", "load"), ("after", "load"), ("before", "commit"), ("after", "commit")],
)
async def test_a_process_that_ends_at_the_store_is_carried_on(world: PartitionCluster, what: str, step: str) -> None:
    """The next claim decides what was not committed and publishes what was; no decision changes."""
    world.faults.set(P, f"{what} {step}")
    for name in ("a", "b", "c"):
        world.request(name)
    with pytest.raises(Crash):
        await world.run()
    await world.run()

    assert list(world.outcomes) == ["a", "b", "c"]
    assert [*world.outcomes.values()].count("approved") == 2


@pytest.mark.parametrize("what", ["before", "after"])
async def test_a_process_that_ends_at_the_publishing_is_carried_on(world: PartitionCluster, what: str) -> None:
    """Before or after Kafka had the records: they come again byte for byte."""
    world.faults.set(P, f"{what} publish")
    for name in ("a", "b", "c"):
        world.request(name)
    with pytest.raises(Crash):
        await world.run()
    await world.run()

    assert [*world.outcomes.values()].count("approved") == 2
    assert len(world.of(DECISIONS)) == (3 if what == "before" else 6)


async def test_records_below_the_head_are_skipped(world: PartitionCluster) -> None:
    """A replay is neither decided nor published nor committed again."""
    world.request("a")
    await world.run()
    process = await world.start()
    # As if the topic had been placed too low.
    process.processor._queue._topics[REQUESTS].fetched = 0  # noqa: SLF001 - no public way leads there
    world.feed(REQUESTS, 0)
    world.request("b")
    world.feed(REQUESTS, 1)
    await world.settled(lambda: world.flow.acked[REQUESTS] == 2)
    await process.stop()

    assert list(world.outcomes) == ["a", "b"]
    assert len(world.of(DECISIONS)) == 2
    assert world.metrics.registry.get_sample_value("arbiter_replayed_records_total") == 1


async def test_a_record_that_the_core_fails_on_is_tried_again(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, on a fresh copy: what the first try left behind does not count."""
    fail_on(monkeypatch, "b", times=1)
    for name in ("a", "b", "c"):
        world.request(name)
    await world.run()

    assert [*world.outcomes] == ["a", "b", "c"]
    assert [*world.outcomes.values()].count("approved") == 2
    assert world.letters == []


async def test_a_record_that_always_fails_is_undecidable(
    world: PartitionCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It becomes a dead letter with an alarm; its party goes on as if it had never come."""
    fail_on(monkeypatch, "b", times=99)
    for name in ("a", "b", "c"):
        world.request(name)
    world.request("d", CUSTOMERS[1])
    await world.run()
    (commit,) = world.commits

    assert world.outcomes == {"a": "approved", "c": "approved", "d": "approved"}
    assert world.letters == [("undecidable", 1)]
    assert len(commit.answers) == 3
    assert world.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "undecidable"}) == 1


def fail_on(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Let the core raise in the middle of this request, after it has changed ledger and answers."""
    left = [times]

    usual = Party.apply

    def failing(party: Party, event: Any, *how: Any) -> Any:
        effects = usual(party, event, *how)
        if isinstance(event, InputRecord) and getattr(event.message, "request_id", "") == name and left[0]:
            left[0] -= 1
            raise ZeroDivisionError
        return effects

    monkeypatch.setattr(Party, "apply", failing)


async def test_a_fenced_worker_ends(world: PartitionCluster) -> None:
    """Another one has claimed the partition: nothing is published, and the process is told to end."""
    world.request("a")
    await world.start()
    await MemoryStore.claim(world.store, P, "thief", 99)
    await world.settled(lambda: world.fatal)

    assert "claimed by another worker" in world.fatal[0]
    assert world.published == []


async def test_a_store_that_lost_commits_stops_the_partition(world: PartitionCluster) -> None:
    """No decision on forgotten budgets; the worker stays and says so, and the other partitions go on."""
    world.request("a")
    process = await world.start()
    await world.settled(world.is_done)
    world.store.flush()
    world.request("b")
    world.feed(REQUESTS, 1)
    await process.task

    assert list(world.outcomes) == ["a"]
    assert "lost commits" in world.health.reasons[0]
    assert world.fatal == []


async def test_a_topic_that_goes_back_stops_the_partition(world: PartitionCluster) -> None:
    """Offsets that were read before, with other records: taken for replays they would be lost in silence."""
    world.request("a")
    process = await world.start()
    await world.settled(world.is_done)
    world.feed(REQUESTS, 0)
    await process.task

    assert "gave offset 0 after 1" in world.health.reasons[0]


async def test_a_worker_that_the_group_forgot_waits(world: PartitionCluster) -> None:
    """Without a heartbeat nothing is committed; with one it goes on."""
    world.flow.member = False
    world.request("a")
    process = await world.start()
    await asyncio.sleep(0.01)
    assert world.commits == []
    world.flow.member = True
    await world.settled(world.is_done)
    await process.stop()

    assert world.outcomes == {"a": "approved"}


async def test_a_stopped_runner_finishes_what_it_committed(world: PartitionCluster) -> None:
    """Told to stop while the reply of a commit is awaited, it still publishes and acks."""
    world.request("a")
    world.faults.set(P, "lost commit")
    process = await world.start()
    await world.settled(lambda: world.commits)
    await process.stop()

    assert world.outcomes == {"a": "approved"}
    assert world.is_done()


async def test_a_runner_stopped_while_it_loads_the_next_batch_leaves_nothing_to_repeat(world: PartitionCluster) -> None:
    """What was delivered before is not told again by the next claim, although that batch was dropped."""
    world.request("a")
    process = await world.start()
    await world.settled(world.is_done)
    world.faults.set(P, "away load", times=1_000)
    world.request("b", CUSTOMERS[1])
    world.feed(REQUESTS, 1)
    await world.settled(lambda: world.faults.left[P] < 1_000)
    await process.stop()
    world.faults.clear()
    await world.run()

    assert list(world.outcomes) == ["a", "b"]
    assert len(world.of(DECISIONS)) == 2


async def test_an_abandoned_runner_leaves_the_rest_to_the_next_claim(world: PartitionCluster) -> None:
    """Time is up while the store is away: it ends, and the next process does the work."""
    world.request("a")
    world.faults.set(P, "away commit", times=1_000)
    process = await world.start()
    await world.settled(lambda: world.faults.left[P] < 1_000)
    world.process.retry.abandon()
    await process.task
    assert world.published == []
    world.faults.clear()
    await world.run()

    assert world.outcomes == {"a": "approved"}


async def test_a_dead_letter_that_kafka_finds_too_long_goes_without_its_value(world: PartitionCluster) -> None:
    """Better the reason and the place alone than a partition that stands still."""
    world.put(b"\xff" * 100)
    too_long = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    original = world.publish

    async def refuse(records: Sequence[OutRecord]) -> None:
        if any(record.value for record in records):
            raise PublishFailed([(record, too_long) for record in records])
        await original(records)

    world.publish = refuse  # type: ignore[method-assign]
    await world.run()
    (letter,) = world.published

    assert (letter.value, dict(letter.headers)["arbiter-cut-bytes"]) == (b"", b"100")


def judging_fails(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let the core fail whenever one of these requests is decided again."""
    usual = Evaluation.decision

    def failing(evaluation: Evaluation, *, is_new: bool = True, **how: bool) -> Any:
        if evaluation.inputs.request.request_id in names and not is_new:
            raise ZeroDivisionError
        return usual(evaluation, is_new=is_new, **how)

    monkeypatch.setattr(Evaluation, "decision", failing)


def installed() -> SteppedCluster:
    """One partition on which a budget of one a day is used up, and two requests of c1 wait for it, one of c2 too."""
    one = {**CAP, "limit": 1}
    site = SteppedCluster(policy(one), 1, MONDAY, MemoryStore())
    for customer, names in (("c1", "abc"), ("c2", "de")):
        site.send(grant(customer))
        for name in names:
            site.send(request(name, customer_id=customer))
    return site


async def test_what_waits_and_cannot_be_decided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an alarm; the others of its party, and all other parties, are decided as ever."""
    site = installed()
    await site.settle()
    judging_fails(monkeypatch, "b")
    site.wait(2 * DAY_MS)
    await site.settle()
    await site.end(0)
    findings = {decision["request_id"]: decision.get("findings", []) for decision in site.decisions}

    assert {("b", "rejected"), ("c", "approved"), ("e", "approved")} == set(told(site)[5:])
    assert ["rule_error"] == [finding["code"] for finding in findings["b"]]
    assert 1 == site.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "undecidable"})


async def test_a_withdrawal_is_taken_whatever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that cannot be decided does not make a dead letter of the customer's word."""
    site = installed()
    await site.settle()
    judging_fails(monkeypatch, "b")
    site.send(grant("c1", captured=1, state="withdrawn"))
    await site.settle()
    await site.end(0)

    assert [] == site.dead
    assert {("a", "recalled"), ("b", "rejected"), ("c", "rejected"), ("a", "rejected")} == set(told(site)[5:])


async def test_what_cannot_even_be_refused_comes_back_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition goes on, and the party is looked at again some minutes later."""
    site = installed()
    await site.settle()
    usual = events.look_again

    def failing(party: PartyState) -> None:
        if "c1" in party.ledger.members:
            raise ZeroDivisionError
        usual(party)

    monkeypatch.setattr(events, "look_again", failing)
    site.wait(2 * DAY_MS)
    await site.settle()
    assert [("e", "approved")] == told(site)[5:]
    monkeypatch.undo()
    site.wait(POSTPONE_MS)
    await site.settle()
    await site.end(0)

    assert [("b", "approved")] == [one for one in told(site)[6:] if one[1] == "approved"]


async def test_a_contact_without_an_approval_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """By department and by the place of the record that told of it, never by the customer."""
    caplog.set_level(logging.WARNING, logger="arbiter")
    site = installed()
    site.send(Outcome(customer_id="c1", department="cards", request_id="none", kind="sent", at=to_datetime(MONDAY)))
    await site.settle()
    await site.end(0)

    assert "cards: a contact was sent that nobody had asked for (contact.outcomes.v1/0/0)" in caplog.messages
