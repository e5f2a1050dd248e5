"""How far a worker is behind: records that are not done with, and the age of the oldest of them.

Where logs end is known from the watch over progress, which asks every two seconds. Where a partition stands is known
here; of one that was never claimed here the group's committed offset is used. The time of the oldest record is that of
a record in this process, or, of a partition that stands still without one, of a record that is read for it, once.

A worker that is out of the group reports the lag of the partitions that no worker has: in an outage of Redis all
workers leave, and records wait all the same.
"""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

from faust.types import TP
from msgspec import Struct

from arbiter import log_events
from arbiter.worker.kafka.reader import Record
from arbiter.worker.kafka.topics import KafkaAway

MEASURE_SECONDS = 2.0
READ_MAX = 32
"""How many partitions are read from at one measurement, for the time of their oldest record."""


class Group(Protocol):
    """What is needed of the membership in the group."""

    @property
    def is_member(self) -> bool:
        """Whether the group has given us partitions, or none."""

    async def shared_out(self) -> set[int] | None:
        """The numbers that all members have together; ``None`` if it is sharing them out. :class:`KafkaAway`."""

    async def committed(self, tps: Collection[TP]) -> dict[TP, int]:
        """The offsets that the group knows; 0 where it knows none. :class:`KafkaAway`."""


class Consumer(Protocol):
    """What is needed of the consumer."""

    @property
    def membership(self) -> Group:
        """How it is a member of its group."""

    @property
    def assigned(self) -> Collection[int]:
        """The partition numbers that the group gives us now."""

    async def offset_ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First and end offset. :class:`KafkaAway`."""


class Reader(Protocol):
    """Reads records of a partition."""

    async def read(self, tp: TP, position: int, *, bytes_max: int) -> tuple[list[Record], int]:
        """The next records, and the position behind them. :class:`KafkaAway`."""


class Work(Protocol):
    """What is needed of the ownership of partitions."""

    def positions(self, partition: int) -> Mapping[str, int] | None:
        """The next offset of each topic that is not done with; ``None`` if it was never claimed here."""

    def oldest(self, partition: int) -> Mapping[str, int]:
        """When the first record was written (ms) that is here and not done with, of each topic that has one."""


class _Stand(Struct):
    """Where a partition of a topic stood at the last measurement: the next offset, and since when records wait (ms).

    ``is_read`` says that this is the time of the record, and not the time at which it was seen to wait.
    """

    position: int
    since_ms: float
    is_read: bool = False


class Lag:
    """The lag of one worker."""

    def __init__(
        self,
        consumer: Consumer,
        work: Work,
        reader: Reader,
        topics: Mapping[str, str],
        partitions: int,
        ends: Callable[[], Mapping[TP, int]],
    ) -> None:
        """``topics`` are the input topics, each with its label; ``ends`` gives where the logs end that we have."""
        self._consumer = consumer
        self._group = consumer.membership
        self._work = work
        self._reader = reader
        self._topics = topics
        self._partitions = partitions
        self._fetched_ends = ends
        self._first: dict[TP, int] = {}
        self._ends: dict[TP, int] = {}
        self._committed: dict[TP, int] = {}
        self._stands: dict[TP, _Stand] = {}

    async def keep_watching(self) -> None:
        """Measure every few seconds, for ever."""
        while True:
            try:
                await self.measure()
            except KafkaAway as error:
                log_events.ENDS_UNKNOWN(why=repr(error))
            await asyncio.sleep(MEASURE_SECONDS)

    def records(self) -> dict[tuple[str, ...], float]:
        """Records that are not done with, by the label of their topic."""
        found = dict.fromkeys(self._topics.values(), 0.0)
        return _joined(found, ((self._topics[tp.topic], self._behind(tp)) for tp in list(self._ends)), operator.add)

    def seconds(self) -> dict[tuple[str, ...], float]:
        """The age of the oldest record that is not done with, by the label of its topic."""
        found = dict.fromkeys(self._topics.values(), 0.0)
        return _joined(found, ((self._topics[tp.topic], age) for tp, age in self._ages()), max)

    def records_of_partitions(self) -> dict[tuple[str, ...], float]:
        """:meth:`records` of each partition, over all topics."""
        return _joined({}, ((str(tp.partition), self._behind(tp)) for tp in list(self._ends)), operator.add)

    def seconds_of_partitions(self) -> dict[tuple[str, ...], float]:
        """:meth:`seconds` of each partition, over all topics."""
        return _joined({}, ((str(tp.partition), age) for tp, age in self._ages()), max)

    def _ages(self) -> Iterator[tuple[TP, float]]:
        """The age of the oldest record that is not done with, 0 if there is none."""
        now_ms = time.time() * 1_000
        for tp in list(self._ends):
            since_ms = self._since_ms(tp)
            yield tp, 0.0 if since_ms is None else max((now_ms - since_ms) / 1_000, 0.0)

    async def measure(self) -> None:
        """Learn where logs end, and where partitions stand that are not claimed here. :class:`KafkaAway`."""
        numbers = await self._numbers()
        tps = [TP(topic, number) for number in sorted(numbers) for topic in self._topics]
        fetched = self._fetched_ends()
        unknown = [tp for tp in tps if self._work.positions(tp.partition) is None or tp not in fetched]
        ranges = await self._consumer.offset_ranges(unknown) if unknown else {}
        self._committed = await self._group.committed(unknown) if unknown else {}
        self._first = {tp: first for tp, (first, _) in ranges.items()}
        self._ends = {tp: ranges[tp][1] if tp in ranges else fetched[tp] for tp in tps}
        before, self._stands = self._stands, {}
        still = [tp for tp in tps if self._behind(tp) and self._stands_still(tp, before.get(tp))]
        for tp in still[:READ_MAX]:
            await self._read(tp)

    async def _numbers(self) -> Collection[int]:
        """Those that we have; out of the group those that no worker has."""
        if self._group.is_member or self._consumer.assigned:
            return list(self._consumer.assigned)
        others = await self._group.shared_out()
        return () if others is None else set(range(self._partitions)) - others

    def _stands_still(self, tp: TP, before: _Stand | None) -> bool:
        """Note where it stands; whether it stood there before and its oldest record must be read to know its time."""
        position = self._position(tp)
        if before is None or before.position != position:
            self._stands[tp] = _Stand(position, time.time() * 1_000)
            return False
        self._stands[tp] = before
        return not before.is_read and tp.topic not in self._work.oldest(tp.partition)

    async def _read(self, tp: TP) -> None:
        """Read the oldest record that waits, for its time; what has none (markers) does not wait."""
        stand = self._stands[tp]
        records, _ = await self._reader.read(tp, stand.position, bytes_max=1)
        first = next((one for one in records if one.offset >= stand.position), None)
        if first is not None and first.timestamp is not None and first.timestamp >= 0:
            stand.since_ms = min(stand.since_ms, first.timestamp)
        stand.is_read = True

    def _behind(self, tp: TP) -> int:
        return max(self._ends[tp] - self._position(tp), 0)

    def _position(self, tp: TP) -> int:
        """The next offset that is not done with. What was deleted is not waited for."""
        known = self._work.positions(tp.partition)
        position = self._committed.get(tp, 0) if known is None else known.get(tp.topic, 0)
        return max(position, self._first.get(tp, 0))

    def _since_ms(self, tp: TP) -> float | None:
        """Since when its oldest record waits; ``None`` if none does."""
        here = self._work.oldest(tp.partition).get(tp.topic)
        if here is not None and here >= 0:
            return here
        if not self._behind(tp):
            return None
        stand = self._stands.get(tp)
        return stand.since_ms if stand is not None and stand.position == self._position(tp) else None


def _joined(
    found: dict[str, float], values: Iterable[tuple[str, float]], join: Callable[[float, float], float]
) -> dict[tuple[str, ...], float]:
    """What is known by label, with these values joined to it."""
    for label, value in values:
        found[label] = join(found.get(label, 0.0), value)
    return {(label,): value for label, value in found.items()}
