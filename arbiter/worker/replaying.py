"""A replay that is paced: records of the past go onto the topics a stretch of time after another.

Under the event clock each partition goes by its own records. Put there all at once, one partition may be a year ahead
of another, and has taken the places of a year. So a stretch is put there only once all that came before it is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from time import monotonic
from typing import Protocol

from confluent_kafka import KafkaError, Message, Producer
from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.engine.rule_inputs import asked_at
from arbiter.messages import ContactRequest
from arbiter.settings import Settings
from arbiter.state.store import Head
from arbiter.worker.kafka.topics import client_config

LOOK_SECONDS = 0.005
LOOK_SECONDS_MAX = 0.1
STALL_SECONDS = 60.0
FLUSH_SECONDS = 60.0


class ReplayStalled(Exception):
    """Nobody decides what was put onto the topics, or Kafka does not take it; the text says where it stands."""


class Heads(Protocol):
    """A store whose heads can be read."""

    async def heads(self, partitions: int) -> list[Head | None]:
        """What each partition remembers of its last commit."""


class Stretch(Struct, frozen=True):
    """Records that go onto the topics together: only facts, or requests that were asked for within the bound."""

    records: list[InputRecord]


def stretches(records: Iterable[InputRecord], ahead_ms: int) -> Iterator[Stretch]:
    """The records in their order, cut where a fact follows a request or a request a fact, and where the newest request
    would be more than ``ahead_ms`` later than the first.
    """
    current: list[InputRecord] = []
    begin_ms, has_requests = 0, False
    for record in records:
        is_request = isinstance(message := record.message, ContactRequest)
        at_ms = asked_at(message, record.received_ms) if isinstance(message, ContactRequest) else begin_ms
        if current and (is_request != has_requests or (is_request and at_ms > begin_ms + ahead_ms)):
            yield Stretch(current)
            current = []
        if not current:
            begin_ms, has_requests = at_ms, is_request
        current.append(record)
    if current:
        yield Stretch(current)


class Replay:
    """Puts stretches onto the topics of an installation, each once those before it are decided."""

    def __init__(self, settings: Settings, store: Heads, partitions: int) -> None:
        self._settings = settings
        self._store = store
        self._partitions = partitions
        self._producer = Producer(
            {
                **client_config(settings),
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
                "linger.ms": 2,
                "log_level": 0,  # that Kafka is away is said by whoever replays
            }
        )
        self._ends: dict[tuple[str, int], int] = {}
        self._failed: KafkaError | None = None
        self.records = 0
        self.stretches = 0

    async def put(self, stretch: Stretch) -> None:
        """Put a stretch there, and return when it is decided; :class:`ReplayStalled`."""
        for record in stretch.records:
            await self._produce(record)
        left = await asyncio.to_thread(self._producer.flush, FLUSH_SECONDS)
        if self._failed is not None or left:
            why = self._failed.str() if self._failed is not None else f"{left} records are not taken"
            raise ReplayStalled(f"Kafka does not take the records: {why}")
        await self._decided()
        self.records += len(stretch.records)
        self.stretches += 1

    def close(self) -> None:
        """Forget what Kafka did not take."""
        self._producer.purge()

    async def _produce(self, record: InputRecord) -> None:
        message = record.message
        # A request without `requested_at` is of the time at which its record was made.
        is_stamped = isinstance(message, ContactRequest) and message.requested_at is None
        value = record.raw if record.value is None else record.value
        while True:
            try:
                self._producer.produce(
                    self._settings.topic(record.source[0]),
                    value,
                    message.customer_id.encode(),
                    timestamp=record.received_ms if is_stamped else 0,
                    headers=list(record.headers),
                    on_delivery=self._delivered,
                )
            except BufferError:
                await asyncio.to_thread(self._producer.poll, LOOK_SECONDS_MAX)
            else:
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failed = error
            return
        place = message.topic() or "", message.partition() or 0
        self._ends[place] = max(self._ends.get(place, 0), (message.offset() or 0) + 1)

    async def _decided(self) -> None:
        behind, since, pause = self._ends, monotonic(), LOOK_SECONDS
        while True:
            heads = await self._store.heads(self._partitions)
            positions = [head.positions if head is not None else {} for head in heads]
            left = {(topic, number): end for (topic, number), end in self._ends.items()
                    if number >= len(positions) or positions[number].get(topic, 0) < end}  # fmt: skip
            if not left:
                self._ends = {}
                return
            if left.keys() != behind.keys():
                behind, since = left, monotonic()
            if monotonic() > since + STALL_SECONDS:
                (topic, number), end = next(iter(left.items()))
                text = f"partition {number} of {topic} is not decided up to offset {end}"
                raise ReplayStalled(f"{text}: is a worker running, with ARBITER_CLOCK=event and ready?")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LOOK_SECONDS_MAX)
