"""What is fetched: under a lease, from where it was placed, with the position reached; also what librdkafka cannot."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from confluent_kafka import KafkaError, TopicPartition
from faust.types import TP

from arbiter.settings import Settings
from arbiter.worker.kafka import fetcher as module
from arbiter.worker.kafka.fetcher import FetchedRecords, Fetcher
from arbiter.worker.kafka.scan import Stored
from arbiter.worker.kafka.topics import KafkaAway
from arbiter.worker.kafka.unpacking import HEADERS_MAX, TooManyHeaders

P = TP("contact.requests.v1", 3)
Q = TP("contact.consents.v1", 3)
EOF = KafkaError._PARTITION_EOF  # noqa: SLF001 - its name
BAD = KafkaError._BAD_COMPRESSION  # noqa: SLF001


class Message:
    """librdkafka's, of partition 3: a record, or a word about the partition."""

    def __init__(self, offset: int, error: int | None = None, tp: TP = P, headers: Any = None) -> None:
        self._offset, self._error, self._tp, self._headers = offset, error, tp, headers

    def topic(self) -> str:
        """Its topic."""
        return self._tp.topic

    def partition(self) -> int:
        """Its partition."""
        return self._tp.partition

    def offset(self) -> int:
        """Its offset; that of the end, if it is the word that the partition ends."""
        return self._offset

    def error(self) -> KafkaError | None:
        """What is said instead of a record."""
        return None if self._error is None else KafkaError(self._error, "said")

    def headers(self) -> Any:
        """Its headers; a name that is not UTF-8 breaks the client."""
        if self._headers == "broken":
            raise SystemError
        return self._headers

    def key(self) -> bytes:
        """Its key."""
        return b"k"

    def value(self) -> bytes:
        """Its value."""
        return b"v"

    def timestamp(self) -> tuple[int, int]:
        """Its time stamp and the kind of it."""
        return 1, 1_000


def record(offset: int, *headers: Any) -> Stored:
    """The record of such a message."""
    return Stored(P.topic, P.partition, offset, 1_000, b"k", b"v", headers or ())


class Client:
    """librdkafka's consumer, as far as the fetcher assigns partitions."""

    def __init__(self) -> None:
        self.assigned: dict[TP, int] = {}
        self.is_assigned = threading.Event()

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        """Read these, too."""
        for one in partitions:
            assert TP(one.topic, one.partition) not in self.assigned
            self.assigned[TP(one.topic, one.partition)] = one.offset
        self.is_assigned.set()

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        """Read these no more."""
        for one in partitions:
            del self.assigned[TP(one.topic, one.partition)]


class Careful:
    """The careful reader, with what it gives."""

    def __init__(self) -> None:
        self.answers: list[tuple[list[Any], int] | KafkaAway] = []
        self.asked: list[tuple[int, int]] = []

    async def read(self, tp: TP, position: int, *, bytes_max: int) -> tuple[list[Any], int]:
        """The next answer."""
        assert tp == P
        self.asked.append((position, bytes_max))
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaAway):
            raise answer
        return answer


class Read(Fetcher):
    """A fetcher without its thread: the test takes its turns."""

    def __init__(self) -> None:
        super().__init__(Settings(kafka="k:1", redis="redis://r:1"))
        self.client, self.careful = Client(), Careful()
        self._consumer: Any = self.client
        self._careful: Any = self.careful
        self._loop = asyncio.get_running_loop()

    def polled(self, *messages: Any) -> dict[TP, FetchedRecords]:
        """What comes of one turn in which the client gives these."""
        self._run_commands()
        fetched = self._sorted(messages) | self._careful_read
        self._careful_read = {}
        return fetched

    async def careful_turns(self) -> dict[TP, FetchedRecords]:
        """Let the careful reader do what it was asked for, and take it."""
        for _ in range(5):
            await asyncio.sleep(0)
        return self.polled()


@pytest.fixture
async def fetcher() -> Read:
    """One that has nothing."""
    return Read()


async def test_what_is_fetched_has_its_records_the_position_and_the_lease(fetcher: Read) -> None:
    """Each partition that was placed and opened is read from where it was placed; ends and gaps move the position."""
    fetcher.assign(7, {P: 10, Q: 4})
    fetcher.resume(7, [P, Q])
    fetched = fetcher.polled(Message(10), Message(12), Message(5, EOF, Q))

    assert fetcher.client.assigned == {P: 10, Q: 4}
    assert fetched == {P: FetchedRecords([record(10), record(12)], 13, 7), Q: FetchedRecords([], 5, 7)}


async def test_a_position_that_moves_without_records_is_told_once(fetcher: Read) -> None:
    """Transaction markers and aborted records are no records, and the end lies behind them."""
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])

    assert fetcher.polled(Message(13, EOF)) == {P: FetchedRecords([], 13, 7)}
    assert fetcher.polled(Message(13, EOF)) == {}


async def test_a_log_that_went_back_is_told_as_it_is(fetcher: Read) -> None:
    """Whoever takes it sees that it did; to leave such records out would hide a loss."""
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])

    assert fetcher.polled(Message(0)) == {P: FetchedRecords([record(0)], 1, 7)}


async def test_nothing_is_read_before_it_was_placed_and_opened(fetcher: Read) -> None:
    """Neither without a lease, nor under another one, nor while shut; what comes late then is nobody's."""
    fetcher.resume(7, [P])
    assert (fetcher.polled(Message(10)), fetcher.client.assigned) == ({}, {})
    fetcher.assign(7, {P: 10})
    assert (fetcher.polled(Message(10)), fetcher.client.assigned) == ({}, {})
    fetcher.resume(6, [P])
    assert (fetcher.polled(Message(10)), fetcher.client.assigned) == ({}, {})
    fetcher.resume(7, [P])
    fetcher.pause(7, [P])
    assert (fetcher.polled(Message(10)), fetcher.client.assigned) == ({}, {})


async def test_what_is_opened_again_is_read_from_where_it_got(fetcher: Read) -> None:
    """Not from where the client stands: that has fetched ahead."""
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])
    fetcher.polled(Message(10))
    fetcher.pause(7, [P])
    fetcher.resume(7, [P])
    fetcher.polled()

    assert fetcher.client.assigned == {P: 11}


async def test_numbers_that_go_end_their_leases_and_no_others(fetcher: Read) -> None:
    """An old owner can open nothing, and what stays is not touched."""
    other = TP(P.topic, 4)
    fetcher.assign(7, {P: 10})
    fetcher.assign(8, {other: 20})
    fetcher.resume(7, [P])
    fetcher.resume(8, [other])
    fetcher.end([3])
    fetcher.resume(7, [P])
    fetcher.polled(Message(10))

    assert fetcher.client.assigned == {other: 20}


async def test_a_new_lease_begins_where_it_was_placed(fetcher: Read) -> None:
    """The partition failed and was claimed again."""
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])
    fetcher.polled(Message(10), Message(11))
    fetcher.assign(8, {P: 10})
    fetcher.pause(7, [P])
    fetcher.resume(8, [P])

    assert fetcher.polled(Message(10)) == {P: FetchedRecords([record(10)], 11, 8)}


@pytest.mark.parametrize("trouble", [Message(12, BAD), Message(12, headers="broken")])
async def test_what_the_client_cannot_read_the_careful_reader_reads(fetcher: Read, trouble: Message) -> None:
    """From there on, and no more than it must; then the client goes on behind it."""
    fetcher.careful.answers = [(["letter"], 20)]
    fetcher.assign(7, {P: 11})
    fetcher.resume(7, [P])
    before = fetcher.polled(Message(11), trouble, Message(13))
    apart = dict(fetcher.client.assigned)
    read = await fetcher.careful_turns()

    assert before == {P: FetchedRecords([record(11)], 12, 7)}
    assert apart == {}
    assert fetcher.careful.asked == [(12, 1)]
    assert read == {P: FetchedRecords(["letter"], 20, 7)}  # type: ignore[list-item]
    assert fetcher.client.assigned == {P: 20}


async def test_what_may_have_killed_workers_is_read_with_care_from_the_start(fetcher: Read) -> None:
    """Up to where the log ended when it was claimed."""
    fetcher.careful.answers = [(["one"], 12), (["two"], 15)]
    fetcher.assign(7, {P: 10}, {P: 15})
    fetcher.resume(7, [P])
    fetched = [fetcher.polled(), await fetcher.careful_turns(), await fetcher.careful_turns()]

    assert fetcher.careful.asked == [(10, module.FETCH_BYTES), (12, module.FETCH_BYTES)]
    assert [there[P].position for there in fetched if there] == [12, 15]
    assert fetcher.client.assigned == {P: 15}


async def test_what_is_shut_while_it_is_read_with_care_is_not_taken(fetcher: Read) -> None:
    """And not twice, when it was opened again meanwhile."""
    fetcher.careful.answers = [(["one"], 12), (["one"], 12)]
    fetcher.assign(7, {P: 10}, {P: 12})
    fetcher.resume(7, [P])
    fetcher.pause(7, [P])
    fetcher.resume(7, [P])
    fetcher.polled()
    taken = await fetcher.careful_turns()

    assert taken == {P: FetchedRecords(["one"], 12, 7)}  # type: ignore[list-item]
    assert fetcher.client.assigned == {P: 12}


@pytest.mark.parametrize("is_careful", [False, True])
async def test_records_that_kafka_refuses_are_asked_for_again(
    fetcher: Read, monkeypatch: pytest.MonkeyPatch, *, is_careful: bool
) -> None:
    """It says why it waits, until something comes; nothing is passed over."""
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0)
    fetcher.careful.answers = [KafkaAway("damaged"), ([], 12)]
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])
    fetcher.polled(Message(10, BAD if is_careful else KafkaError.TOPIC_AUTHORIZATION_FAILED))
    if is_careful:
        await fetcher.careful_turns()
    refusal = fetcher.refusal
    await asyncio.sleep(0.01)
    await fetcher.careful_turns()
    again = dict(fetcher.client.assigned)
    fetcher.polled(Message(12, EOF))

    assert ("damaged" if is_careful else "TOPIC_AUTHORIZATION_FAILED") in refusal
    assert again == {P: 10}
    assert fetcher.refusal == ""


async def test_a_record_with_too_many_headers_has_none(fetcher: Read) -> None:
    """But says how many there were."""
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])
    (fetched,) = fetcher.polled(Message(10, headers=[("h", b"")] * (HEADERS_MAX + 1))).values()
    ((name, value),) = fetched.records[0].headers

    assert (type(name), name, value) == (TooManyHeaders, "10,001 headers", None)


async def test_a_list_is_handed_over_when_the_last_one_was_taken(fetcher: Read) -> None:
    """Commands are carried out meanwhile, so that whoever takes it may wait for them."""
    handing = asyncio.create_task(asyncio.to_thread(fetcher._hand_over, {P: FetchedRecords([], 5, 7)}))  # noqa: SLF001
    fetcher.assign(7, {P: 10})
    fetcher.resume(7, [P])
    await asyncio.to_thread(fetcher.client.is_assigned.wait, 10)
    is_waiting = not handing.done()
    fetched = await fetcher.fetch()
    await handing

    assert is_waiting
    assert fetched == {P: FetchedRecords([], 5, 7)}
