"""Fetches the records of the partitions that were claimed, with librdkafka, in a thread that hands over lists.

A claim *assigns* a partition: it gives the offset at which reading begins, and a number, the lease. Everything that is
fetched names its lease, so that what was read for an earlier claim can be dropped. Nothing is read before *resume*;
*pause* takes the partition from the client. This client is in no group, so nothing else moves a position.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from operator import methodcaller
from queue import Empty, SimpleQueue
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from faust.types import TP
from msgspec import Struct

from arbiter import log_events
from arbiter.settings import Settings
from arbiter.worker.kafka.bounded_reader import BoundedReader
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.reader import INPUTS, Record
from arbiter.worker.kafka.scan import Stored
from arbiter.worker.kafka.topics import KafkaAway, client_config
from arbiter.worker.kafka.unpacking import HEADERS_MAX, TooManyHeaders

GATHER_SECONDS: Final = 0.01
"""How long records gather in the client before a list of them is handed over."""

FETCH_WAIT_MS: Final = 20
FETCH_BYTES_MIN: Final = 16 * 1024
"""A fetch of many partitions costs as much as deciding some requests: it waits so long (ms), or for so many bytes."""

FETCH_BYTES: Final = 1024 * 1024
"""How much one fetch brings at most, unless a single batch is longer; all of it is unpacked at once."""

QUEUED_KIB: Final = 32 * 1024
QUEUED_RECORDS: Final = 20_000
RECEIVE_BYTES: Final = 256 * 1024 * 1024
"""The longest response, and the most that a zstd batch may unpack to. A longer batch could not be read at all."""

REFUSED_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 1.0
JOIN_SECONDS_MAX: Final = 2.0


_EOF: Final = KafkaError._PARTITION_EOF  # noqa: SLF001 - its name
_UNREADABLE: Final = frozenset(
    (
        KafkaError._BAD_COMPRESSION,  # noqa: SLF001 - as above
        KafkaError._BAD_MSG,  # noqa: SLF001
        KafkaError._CRIT_SYS_RESOURCE,  # noqa: SLF001
        KafkaError._NOT_IMPLEMENTED,  # noqa: SLF001
        KafkaError._UNDERFLOW,  # noqa: SLF001
        KafkaError.INVALID_MSG,
        KafkaError.MSG_SIZE_TOO_LARGE,
    )
)
"""What says that a batch cannot be read, and not that Kafka is away or refuses."""

# Not `message.headers()`: for a name that is not UTF-8 that gives a broken list, and the error comes up elsewhere.
_headers: Final = methodcaller("headers")


class FetchedRecords(Struct, frozen=True):
    """What was fetched for one partition of one topic.

    ``position`` is the next offset to fetch: past the last record, and past what has no records (transaction
    markers, aborted transactions, compacted offsets), so ``records`` may be empty. ``lease`` is that of the
    :meth:`Fetcher.assign` under which it was read.
    """

    records: list[Record]
    position: int
    lease: int


class _Place(Struct):
    """Where one partition of one topic stands."""

    lease: int
    position: int
    bounded_until: int
    is_open: bool = False
    is_assigned: bool = False


class Fetcher:
    """One worker's. Places are touched in the thread only; what is public is called in the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._careful = BoundedReader(settings)
        self.causes: Final = Causes()
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._places: dict[TP, _Place] = {}
        self._by_name: dict[tuple[str | None, int | None], TP] = {}
        self._refused: dict[TP, str] = {}
        self._careful_read: dict[TP, FetchedRecords] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = threading.Event()
        self._taken = threading.Event()
        self._arrived = asyncio.Event()
        self._fetched: Mapping[TP, FetchedRecords] = {}

    @property
    def refusal(self) -> str:
        """Why Kafka gives no records of some partition, if it does not."""
        return next(iter(list(self._refused.values())), "")

    def start(self, failed: Callable[[BaseException], None]) -> None:
        """Begin, in the event loop; ``failed`` is called in it when only a new process can go on."""
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._consumer = Consumer(self._config())
        self._thread = threading.Thread(target=self._run, name="fetcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fetch nothing any more. Blocks for a moment; call it off the event loop."""
        self._stopping.set()
        self._taken.set()
        self._thread.join(JOIN_SECONDS_MAX)

    def assign(self, lease: int, positions: Mapping[TP, int], bounded_until: Mapping[TP, int] | None = None) -> None:
        """Read from these positions under this lease from now on; nothing is read until :meth:`resume`.

        Records before ``bounded_until`` are read by a reader that bounds the memory that a batch takes.
        """
        places = {tp: _Place(lease, at, (bounded_until or {}).get(tp, 0)) for tp, at in positions.items()}
        self._commands.put(lambda: self._place(places))

    def resume(self, lease: int, tps: Iterable[TP]) -> None:
        """Read these partitions, if the lease is the current one."""
        wanted = list(tps)
        self._commands.put(lambda: self._open(lease, wanted))

    def pause(self, lease: int, tps: Iterable[TP]) -> None:
        """Do not read these partitions, if the lease is the current one. What was fetched already may still arrive."""
        unwanted = list(tps)
        self._commands.put(lambda: self._shut(lease, unwanted))

    def end(self, numbers: Iterable[int]) -> None:
        """End every lease on these partition numbers."""
        ended = frozenset(numbers)
        self._commands.put(lambda: self._end(ended))

    async def fetch(self) -> Mapping[TP, FetchedRecords]:
        """Wait until something was fetched, and give all that was fetched since the last call."""
        await self._arrived.wait()
        self._arrived.clear()
        fetched, self._fetched = self._fetched, {}
        self._taken.set()
        return fetched

    # In the thread

    def _config(self) -> dict[str, Any]:
        return {
            **client_config(self._settings),
            **self.causes.config,
            "group.id": self._settings.group,  # the client wants one; it never joins
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "check.crcs": True,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "fetch.min.bytes": FETCH_BYTES_MIN,
            "fetch.max.bytes": FETCH_BYTES,
            "fetch.message.max.bytes": FETCH_BYTES,
            "message.max.bytes": FETCH_BYTES,
            "receive.message.max.bytes": RECEIVE_BYTES,
            "queued.max.messages.kbytes": QUEUED_KIB,
            "queued.min.messages": QUEUED_RECORDS,
            "fetch.queue.backoff.ms": int(GATHER_SECONDS * 1_000),
        }

    def _run(self) -> None:
        try:
            self._look_around()
            while not self._stopping.is_set():
                self._run_commands()
                fetched = self._sorted(self._consumer.consume(self._settings.max_poll_records, GATHER_SECONDS))
                fetched |= self._careful_read
                self._careful_read = {}
                if fetched:
                    self._hand_over(fetched)
            self._consumer.close()
        except BaseException as error:  # noqa: BLE001 - a thread that ends in silence would be an outage in silence
            self._loop.call_soon_threadsafe(self._failed, error)

    def _look_around(self) -> None:
        """Learn who leads the partitions: the client would look a second after the first one is opened."""
        for name in INPUTS:
            with suppress(KafkaException):
                self._consumer.list_topics(self._settings.topic(name), LOOK_SECONDS)

    def _run_commands(self) -> None:
        try:
            while True:
                self._commands.get_nowait()()
        except Empty:
            pass

    def _hand_over(self, fetched: Mapping[TP, FetchedRecords]) -> None:
        """Let the event loop take it, and fetch no more before it has: nothing piles up while that is busy."""
        self._taken.clear()
        self._loop.call_soon_threadsafe(self._arrive, fetched)
        while not self._taken.wait(GATHER_SECONDS) and not self._stopping.is_set():
            self._run_commands()

    def _arrive(self, fetched: Mapping[TP, FetchedRecords]) -> None:
        self._fetched = fetched
        self._arrived.set()

    def _place(self, places: Mapping[TP, _Place]) -> None:
        self._unassign(places)
        self._places.update(places)
        for tp in places:
            self._by_name[tp.topic, tp.partition] = tp

    def _open(self, lease: int, tps: Iterable[TP]) -> None:
        """Assign them at the positions reached."""
        opened = []
        for tp in tps:
            place = self._places.get(tp)
            if place is None or place.lease != lease or place.is_open:
                continue
            place.is_open = True
            if place.position < place.bounded_until:
                self._read_carefully(tp, place)
            else:
                opened.append(tp)
        self._assign(opened)

    def _assign(self, tps: Iterable[TP]) -> None:
        assigned = []
        for tp in tps:
            place = self._places[tp]
            place.is_assigned = True
            assigned.append(TopicPartition(*tp, place.position))
        if assigned:
            self._consumer.incremental_assign(assigned)

    def _shut(self, lease: int, tps: Iterable[TP]) -> None:
        self._unassign([tp for tp in tps if (place := self._places.get(tp)) is not None and place.lease == lease])

    def _end(self, numbers: frozenset[int]) -> None:
        ended = [tp for tp in self._places if tp.partition in numbers]
        self._unassign(ended)
        for tp in ended:
            del self._places[tp]

    def _unassign(self, tps: Iterable[TP]) -> None:
        taken_away = []
        for tp in tps:
            place = self._places.get(tp)
            self._refused.pop(tp, None)
            if place is not None:
                place.is_open = False
                if place.is_assigned:
                    place.is_assigned = False
                    taken_away.append(TopicPartition(*tp))
        if taken_away:
            self._consumer.incremental_unassign(taken_away)

    def _sorted(self, messages: Iterable[Message]) -> dict[TP, FetchedRecords]:
        """The messages by partition, with the positions that they lead to."""
        by_place: dict[TP, list[Message]] = {}
        for message in messages:
            tp = self._by_name.get((message.topic(), message.partition()))
            if tp is not None:
                by_place.setdefault(tp, []).append(message)
            elif (error := message.error()) is not None:
                log_events.FETCHER_NOTICE(why=error)
        fetched: dict[TP, FetchedRecords] = {}
        for tp, there in by_place.items():
            place = self._places.get(tp)
            if place is None or not place.is_assigned:
                continue
            before = place.position
            records = self._records(tp, place, there)
            if records or place.position != before:
                fetched[tp] = FetchedRecords(records, place.position, place.lease)
        return fetched

    def _records(self, tp: TP, place: _Place, messages: Iterable[Message]) -> list[Record]:
        """The records among these messages, up to the first that this client cannot read."""
        records: list[Record] = []
        for message in messages:
            error = message.error()
            if error is not None:
                if not self._went_on(tp, place, message, error):
                    break
                continue
            record = _stored(tp, message)
            if record is None:
                place.position = message.offset() or 0
                self._read_carefully(tp, place)
                break
            records.append(record)
            place.position = record.offset + 1
        if tp in self._refused and records:
            del self._refused[tp]
        return records

    def _went_on(self, tp: TP, place: _Place, message: Message, error: KafkaError) -> bool:
        """Handle an error that came in place of a record; whether records of this partition may follow it."""
        if error.code() == _EOF:
            self._refused.pop(tp, None)
            place.position = message.offset() or 0
            return True
        if error.code() in _UNREADABLE:
            log_events.BATCH_UNREADABLE(topic=tp.topic, partition=tp.partition, why=error.str())
            self._read_carefully(tp, place)
        else:
            self._ask_again(tp, place, f"{tp.topic}, partition {tp.partition}: {error.name()}: {error.str()}")
        return False

    # What this client does not read

    def _read_carefully(self, tp: TP, place: _Place) -> None:
        """Take the partition from the client, and let the bounded reader go on."""
        self._take_away(tp, place)
        self._loop.call_soon_threadsafe(self._begin_careful, tp, place, place.position)

    def _take_away(self, tp: TP, place: _Place) -> None:
        if place.is_assigned:
            place.is_assigned = False
            self._consumer.incremental_unassign([TopicPartition(*tp)])

    def _begin_careful(self, tp: TP, place: _Place, position: int) -> None:
        task = self._loop.create_task(self._carefully(tp, place, position))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carefully(self, tp: TP, place: _Place, position: int) -> None:
        try:
            # Beside what may have killed workers only what the client cannot read: one batch.
            bytes_max = FETCH_BYTES if position < place.bounded_until else 1
            records, reached = await self._careful.read(tp, position, bytes_max=bytes_max)
        except KafkaAway as error:
            why = f"{tp.topic}, partition {tp.partition}: {error}"
            self._commands.put(lambda: self._ask_again(tp, place, why))
        else:
            self._commands.put(lambda: self._go_on(tp, place, position, FetchedRecords(records, reached, place.lease)))

    def _go_on(self, tp: TP, place: _Place, begun_at: int, read: FetchedRecords) -> None:
        if self._places.get(tp) is not place or not place.is_open or place.position != begun_at:
            return
        self._refused.pop(tp, None)
        place.position = read.position
        self._careful_read[tp] = read
        self._reopen(tp, place)

    def _ask_again(self, tp: TP, place: _Place, why: str) -> None:
        """Kafka gives no records, for lack of a permission or since data is damaged. Ask again, as during an outage."""
        if self._places.get(tp) is not place or not place.is_open:
            return
        self._refused[tp] = why
        self.causes.refused()
        self._take_away(tp, place)
        again = lambda: self._commands.put(lambda: self._reopen(tp, place))  # noqa: E731 - one deferred command
        self._loop.call_soon_threadsafe(self._loop.call_later, REFUSED_SECONDS, again)

    def _reopen(self, tp: TP, place: _Place) -> None:
        if self._places.get(tp) is place and place.is_open and not place.is_assigned:
            place.is_open = False
            self._open(place.lease, [tp])


def _stored(tp: TP, message: Message) -> Stored | None:
    """A message as a record; ``None`` if a name among its headers is not UTF-8."""
    try:
        headers = _headers(message) or ()
    except SystemError:
        return None
    if len(headers) > HEADERS_MAX:
        headers = [(TooManyHeaders(f"{len(headers):,} headers"), None)]
    key: Any = message.key()
    return Stored(tp.topic, tp.partition, message.offset() or 0, message.timestamp()[1], key, message.value(), headers)
