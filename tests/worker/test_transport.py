"""The batch transport: what the group is told, what a lease gets, and where Faust's own consumer goes wrong."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.partitioner import murmur2 as kafka_murmur2
from faust.transport.drivers.aiokafka import Consumer as StockConsumer
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st
from intervaltree import IntervalTree  # type: ignore[import-untyped]

from arbiter.settings import Settings
from arbiter.worker.kafka.app import make_app
from arbiter.worker.kafka.pacing import pause_after, unhurried
from arbiter.worker.kafka.partitioner import murmur2, partition_of
from arbiter.worker.kafka.transport import Batch, Consumer, ConsumerThread, handing_on

P = TP("contact.requests.v1", 3)
Q = TP("contact.consents.v1", 3)


def record(offset: int) -> Any:
    """A record of partition 3."""
    return ConsumerRecord(P.topic, P.partition, offset, 1_000, 0, b"k", b"v", None, 1, 1, ())


def bare(kind: type[Any], **attributes: Any) -> Any:
    """An instance without what its constructor would start."""
    made: Any = object.__new__(kind)
    made.__dict__.update(attributes)
    return made


def new_offset(kind: type[Any], acked: list[int], committed: int | None, gaps: tuple[tuple[int, int], ...] = ()) -> Any:
    """What a consumer of this kind would commit."""
    consumer = bare(
        kind,
        _acked=defaultdict(list, {P: list(acked)}),
        _acked_index=defaultdict(set, {P: set(acked)}),
        _committed_offset=defaultdict(lambda: None, {P: committed}),
        _gap=defaultdict(IntervalTree, {P: IntervalTree.from_tuples(gaps)}),
    )
    return kind._new_offset(consumer, P)  # noqa: SLF001 - the method in question


@pytest.mark.parametrize(
    ("acked", "committed", "gaps", "unread", "stock"),
    [
        ([36], 35, (), 35, 37),
        ([5, 6], None, (), 4, 7),
        ([5, 12], 4, ((6, 10),), 9, 10),
    ],
)
def test_fausts_consumer_guesses_what_was_done(
    acked: list[int], committed: int | None, gaps: tuple[tuple[int, int], ...], unread: int, stock: int
) -> None:
    """It commits past records that were never acked: it takes offsets, and its own idea of gaps, for what was done."""
    offered = new_offset(StockConsumer, acked, committed, gaps)

    assert offered == stock
    assert unread not in acked
    assert unread < offered


@pytest.mark.parametrize(("acked", "expected"), [([36], 37), ([5, 6], 7), ([12, 40, 99], 100), ([], None)])
def test_ours_commits_one_past_the_last_ack(acked: list[int], expected: int | None) -> None:
    """Acks stand for whole batches in order, so whatever lies between two of them was done or never was."""
    assert new_offset(Consumer, acked, None) == expected


def test_an_ack_is_reported_once() -> None:
    """What was committed is forgotten, so that the next commit has something new to say."""
    consumer = bare(Consumer, _acked=defaultdict(list, {P: [4, 9]}), _acked_index=defaultdict(set, {P: {4, 9}}))

    assert consumer._new_offset(P) == 10  # noqa: SLF001 - the method in question
    assert consumer._new_offset(P) is None  # noqa: SLF001 - as above


class FakeKafka:
    """aiokafka's consumer, as far as the thread looks at it."""

    def __init__(self) -> None:
        self.positions: dict[TP, int] = {}
        self._fetcher = SimpleNamespace(_fetch_waiters=set())

    def seek(self, tp: TP, offset: int) -> None:
        """Take note."""
        self.positions[tp] = offset

    def state_value(self, tp: TP) -> Any:
        """The state of an assigned partition."""
        return SimpleNamespace(has_valid_position=True, position=self.positions[tp])


@pytest.fixture
def kafka() -> FakeKafka:
    """A consumer with nothing assigned."""
    return FakeKafka()


@pytest.fixture
def thread(kafka: FakeKafka) -> ConsumerThread:
    """The consumer's thread, without a thread."""
    made: ConsumerThread = bare(ConsumerThread, _consumer=kafka)
    made._no_leases()  # noqa: SLF001 - stands for the constructor
    return made


def polled(thread: ConsumerThread, kafka: FakeKafka, *records: Any, position: int) -> dict[TP, Batch]:
    """What a poll gives when aiokafka drained these records and then stands at ``position``."""
    kafka.positions[P] = position
    drained = {P: list(records)} if records else {}
    return thread._batches(kafka, drained)  # noqa: SLF001 - what the poll calls


async def test_a_batch_has_its_records_the_position_and_the_lease(thread: ConsumerThread, kafka: FakeKafka) -> None:
    """The position is aiokafka's: past what has no records."""
    await thread.place(7, {P: 10})
    thread.open(7, [P])
    records = [record(10), record(12)]

    assert polled(thread, kafka, *records, position=15) == {P: Batch(records, 15, 7)}
    assert kafka.positions == {P: 15}


async def test_records_that_kafka_refuses_are_asked_for_again(
    thread: ConsumerThread, kafka: FakeKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer lives on and says why it waits; what was drained beside the error is not passed over."""
    monkeypatch.setattr("arbiter.worker.kafka.transport.REFUSED_SECONDS", 0)
    await thread.place(7, {P: 10, Q: 5})
    thread.open(7, [P, Q])
    errors: list[Exception] = [TopicAuthorizationFailedError("t")]

    async def fetched_records(*_: Any, **__: Any) -> dict[TP, list[Any]]:
        kafka.positions[P] = 12
        if errors:
            raise errors.pop()
        return {P: [record(10), record(11)]}

    fetcher = SimpleNamespace(
        _closed=False, fetched_records=fetched_records, _subscriptions=SimpleNamespace(fetch_context=nullcontext)
    )
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=kafka))
    consumer = SimpleNamespace(_closed=False, _fetcher=fetcher, seek=kafka.seek, _subscription=subscription)
    thread.consumer = SimpleNamespace(flow_active=True)  # type: ignore[assignment]

    assert await thread._fetch_records(consumer, None) == {}  # noqa: SLF001 - what Faust calls
    assert (kafka.positions, thread.refusal) == ({P: 10, Q: 5}, "TopicAuthorizationFailedError('t')")
    batches = await thread._fetch_records(consumer, None)  # noqa: SLF001
    assert [one.offset for one in batches[P].records] == [10, 11]
    assert thread.refusal == ""


async def test_a_position_that_moves_without_records_is_told(thread: ConsumerThread, kafka: FakeKafka) -> None:
    """Transaction markers and aborted records are an empty batch, once."""
    await thread.place(7, {P: 10})
    thread.open(7, [P])

    assert polled(thread, kafka, position=13) == {P: Batch([], 13, 7)}
    assert polled(thread, kafka, position=13) == {}


async def test_nothing_is_read_before_it_was_placed_and_opened(thread: ConsumerThread, kafka: FakeKafka) -> None:
    """Neither without a lease, nor under another one, nor while shut."""
    thread.open(7, [P])
    assert polled(thread, kafka, record(10), position=11) == {}
    await thread.place(7, {P: 10})
    assert polled(thread, kafka, record(10), position=11) == {}
    thread.open(6, [P])
    assert polled(thread, kafka, record(10), position=11) == {}
    thread.open(7, [P])
    thread.shut(7, [P])

    assert polled(thread, kafka, record(10), position=11) == {}


async def test_a_rebalance_ends_every_lease(thread: ConsumerThread, kafka: FakeKafka) -> None:
    """What was fetched before is nobody's, and an old owner can open nothing."""
    await thread.place(7, {P: 10})
    thread.open(7, [P])
    thread._end_leases()  # noqa: SLF001 - what both halves of a rebalance begin with
    thread.open(7, [P])

    assert polled(thread, kafka, record(10), position=11) == {}


async def test_a_waiting_poll_sees_what_is_shut(thread: ConsumerThread) -> None:
    """The choice that aiokafka was given follows every change, else it would drain what nobody takes."""
    given = thread._open  # noqa: SLF001 - what aiokafka is given
    await thread.place(7, {P: 10})
    thread.open(7, [P])
    assert P in given
    thread._end_leases()  # noqa: SLF001 - what both halves of a rebalance begin with

    assert P not in given


def test_an_empty_choice_of_partitions_is_still_a_choice(thread: ConsumerThread) -> None:
    """Else aiokafka would hand out every partition while none is claimed."""
    assert thread._open  # noqa: SLF001 - what aiokafka is given
    assert P not in thread._open  # noqa: SLF001 - as above


@pytest.mark.parametrize(("has_records", "expected"), [(True, ["asked node 1", "woken"]), (False, ["asked node 1"])])
async def test_what_a_fetch_brought_is_handed_out_before_the_pause(has_records: bool, expected: list[str]) -> None:
    """A poll that waits looks again while the fetch is still held to be under way; one that brought nothing ends."""
    seen: list[str] = []

    async def fetch(node: int) -> bool:
        seen.append(f"asked node {node}")
        return has_records

    under_way = asyncio.ensure_future(unhurried(fetch, lambda: seen.append("woken"))(1))
    await asyncio.sleep(0)

    assert (expected, has_records) == (seen, not under_way.done())
    assert has_records is await under_way


@pytest.mark.parametrize(("used_ms", "pause_ms"), [(0.1, 5), (1, 9), (2, 18), (30, 25)])
def test_the_thread_rests_nine_times_as_long_as_a_fetch_took(used_ms: float, pause_ms: float) -> None:
    """But never so short that every record is fetched alone, nor so long that one would wait noticeably."""
    assert pause_ms == pytest.approx(1_000 * pause_after(used_ms / 1_000))


class Polled(Consumer):
    """A consumer whose next poll brings these batches; ``is_flowing`` is false in a rebalance."""

    should_stop = False

    def __init__(self, batches: dict[TP, Batch], *, is_flowing: bool = True) -> None:
        self.app = SimpleNamespace(consumer_generation_id=4)  # type: ignore[assignment]
        self.flow_active = True
        self._polled = batches, is_flowing

    async def _getmany(self, *_: Any) -> Any:
        batches, self.flow_active = self._polled
        return batches


async def handed_on(consumer: Consumer) -> list[list[Any]]:
    """The messages that the agent hands on, for each event."""
    events: list[list[Any]] = []

    class Stream:
        def noack(self) -> Stream:
            return self

        async def events(self) -> AsyncIterator[Any]:
            async for _, message in consumer.getmany(1.0):
                events.append([])
                yield SimpleNamespace(message=message)

    def deliver(message: Any) -> None:
        events[-1].append(message)

    await handing_on(deliver)(Stream())
    return events


async def test_one_event_brings_a_message_for_each_partition() -> None:
    """Faust's cost is per event; each message is acked by itself, up to where its own poll got."""
    other = TP(P.topic, 5)
    batches = {P: Batch([record(7), record(8)], 12, 1), other: Batch([], 3, 2)}
    (messages,) = await handed_on(Polled(batches))

    assert [(P, 11, batches[P]), (other, 2, batches[other])] == [(m.tp, m.offset, m.value) for m in messages]


@pytest.mark.parametrize(("batches", "is_flowing"), [({}, True), ({P: Batch([record(7)], 8, 1)}, False)])
async def test_no_event_without_records_or_in_a_rebalance(batches: dict[TP, Batch], *, is_flowing: bool) -> None:
    """What was read under a lease that ends is read again by whoever claims the partition."""
    assert [] == await handed_on(Polled(batches, is_flowing=is_flowing))


@given(st.binary(max_size=64))
def test_murmur2_is_kafkas(data: bytes) -> None:
    """The same hash as that of Kafka's own producers, whatever the key."""
    assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


def test_homes_are_spread_over_all_partitions() -> None:
    """A thousand customers reach each of 32 partitions."""
    assert {partition_of(f"customer-{number}", 32) for number in range(1_000)} == set(range(32))


def test_a_worker_makes_no_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would make one named after the group in the current one, for tables that there are not."""
    monkeypatch.chdir(tmp_path)

    async def start() -> None:
        await make_app(Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1", group="who")).on_first_start()

    asyncio.run(start())

    assert list(tmp_path.iterdir()) == []
