"""Topics read back without a consumer group: the newest records, those of a span of time, or a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.topics import KafkaAway, client_config

TIMEOUT_SECONDS = 10.0
POLL_SECONDS = 0.2
MESSAGES_MAX = 5_000
SILENT_SECONDS_MAX = 30.0

Progress = Callable[[int, int], None]
"""Called with how many records were read, and how many there are to read."""


class Bounds(Struct, frozen=True):
    """How much of a topic is read: at most ``last`` records, the newest, shared out over its partitions; of those only
    what was written at ``since_ms`` or later. ``None`` does not bound.
    """

    last: int | None = None
    since_ms: int | None = None


class Stored(Struct, frozen=True):
    """A record as it stands on a topic, as :class:`arbiter.worker.kafka.reader.Reader` reads it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()


def stored(message: Message) -> Stored:
    """A client's message as a record."""
    key: Any = message.key()
    headers: Any = message.headers() or []
    return Stored(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        key,
        message.value(),
        headers,
    )


class TopicReader:
    """Reads what stands on topics now; a context manager. Every method raises :class:`KafkaAway`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._causes = Causes()
        config: dict[str, Any] = {
            **client_config(settings),
            "group.id": f"{settings.group}-reader",  # the client wants one; it never joins it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            **self._causes.config,
        }
        self._consumer = Consumer(config)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def partitions(self, name: str) -> int:
        """How many partitions a topic (named as in ``arbiter.messages``) has."""
        topic = self._settings.topic(name)
        try:
            found = self._consumer.list_topics(topic, TIMEOUT_SECONDS).topics[topic]
        except KafkaException as error:
            raise self._away(error) from error
        if found.error is not None:
            raise KafkaAway(f"topic {topic}: {found.error.str()}")
        return len(found.partitions)

    def records(self, name: str, bounds: Bounds, progress: Progress | None = None) -> Iterator[Message]:
        """The records of a topic within the bounds, up to its present end. Each partition's come in order."""
        topic, count = self._settings.topic(name), self.partitions(name)
        try:
            spans = {number: self._span(topic, number, count, bounds) for number in range(count)}
            yield from self.between(topic, spans, progress)
        except KafkaException as error:
            raise self._away(error) from error

    def between(
        self, topic: str, spans: dict[int, tuple[int, int]], progress: Progress | None = None
    ) -> Iterator[Message]:
        """The records of a topic (by its full name) at the offsets ``[begin, end)`` of each partition."""
        left = {number: span for number, span in spans.items() if span[0] < span[1]}
        total, read = sum(end - begin for begin, end in left.values()), 0
        try:
            self._consumer.assign([TopicPartition(topic, number, begin) for number, (begin, _) in left.items()])
            heard = monotonic()
            while left:
                batch = self._consumer.consume(MESSAGES_MAX, POLL_SECONDS)
                for message in _within(batch, left):
                    read += 1
                    yield message
                if progress is not None:
                    progress(read, total)
                if batch:
                    heard = monotonic()
                elif monotonic() - heard > SILENT_SECONDS_MAX:
                    raise KafkaAway(f"nothing more of {topic} came for {SILENT_SECONDS_MAX:g} s")
            self._consumer.unassign()
        except KafkaException as error:
            raise self._away(error) from error

    def ends(self, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Where partitions of a topic (by its full name) end now."""
        try:
            return {number: self._watermarks(topic, number)[1] for number in partitions}
        except KafkaException as error:
            raise self._away(error) from error

    def record(self, topic: str, partition: int, offset: int) -> Stored | None:
        """A single record of a topic (by its full name); ``None`` if it is not there any more."""
        found = [stored(message) for message in self.between(topic, {partition: (offset, offset + 1)})]
        return found[0] if found and found[0].offset == offset else None

    def _away(self, error: KafkaException) -> KafkaAway:
        self._consumer.poll(0)  # lets the client report errors and log lines to `causes`
        return KafkaAway(self._causes.why(error.args[0]))

    def _span(self, topic: str, number: int, count: int, bounds: Bounds) -> tuple[int, int]:
        low, high = self._watermarks(topic, number)
        if bounds.since_ms is not None:
            low = max(low, self._offset_at(topic, number, bounds.since_ms, high))
        if bounds.last is not None:
            low = max(low, high - max(bounds.last // count, 1))
        return low, high

    def _watermarks(self, topic: str, number: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT_SECONDS)
        return low, high

    def _offset_at(self, topic: str, number: int, at_ms: int, high: int) -> int:
        (place,) = self._consumer.offsets_for_times([TopicPartition(topic, number, max(at_ms, 0))], TIMEOUT_SECONDS)
        offset: int = place.offset
        return offset if offset >= 0 else high


def _within(batch: Sequence[Message], left: dict[int, tuple[int, int]]) -> Iterator[Message]:
    """The records of a batch that are wanted; takes the partitions that are done out of ``left``."""
    for message in batch:
        number, offset = message.partition() or 0, message.offset() or 0
        if not _is_record(message):
            left.pop(number, None)  # the end of a partition that ends in records that are not given out
        elif number in left:
            end = left[number][1]
            if offset < end:
                yield message
            if offset >= end - 1:
                del left[number]


def _is_record(message: Message) -> bool:
    """Whether it is a record, and not the notice that the partition ends here; any other notice is an error."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
        raise KafkaException(error)
    return error is None
