"""Records out: an idempotent producer, and futures that are done when every delivery is confirmed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from arbiter.state.codec import OutRecord
from arbiter.worker.kafka.causes import Causes

POLL_SECONDS = 0.1
FULL_SECONDS = 0.01
FLUSH_SECONDS_MAX = 2.0
MESSAGE_BYTES_MAX = 64 * 1024 * 1024


class PublishFailed(Exception):
    """Kafka refused some records for good; ``failed`` has them with the reason. The others were delivered."""

    def __init__(self, failed: list[tuple[OutRecord, KafkaError]]) -> None:
        record, error = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        super().__init__(f"topic {record.topic}, partition {record.partition}: {error.str()}{more}")
        self.failed = failed


class Publisher(Protocol):
    """What a processor needs of the way out."""

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """Return once every record is in Kafka, in order per partition; :class:`PublishFailed`."""


class _Delivery:
    """Counts the confirmations of one call, in the poll thread; ``expected`` is known once all are handed over."""

    def __init__(self, finished: list[_Delivery]) -> None:
        """``finished`` is where it stands when all are confirmed, until its caller goes on."""
        self._finished = finished
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.confirmed = 0
        self.expected = -1
        self.failed: list[tuple[OutRecord, KafkaError]] = []

    def reported(self, record: OutRecord, error: KafkaError | None, _: Message) -> None:
        """What the producer calls when it knows what became of a record."""
        if error is not None:
            self.failed.append((record, error))
        self.confirmed += 1
        if self.confirmed == self.expected:
            self._finished.append(self)

    def expect(self, count: int) -> None:
        """All are handed over; whichever thread sees the last confirmation finishes."""
        self.expected = count
        if self.confirmed == count:
            self.finish()

    def finish(self) -> None:
        """Let the caller go on; in its loop, and harmless the second time."""
        if not self.done.done():
            self.done.set_result(None)


class KafkaPublisher:
    """One producer for all partitions of a process. While Kafka is away, it waits; then it goes on by itself."""

    def __init__(self, config: Mapping[str, Any], fatal: Callable[[str], None]) -> None:
        """``config`` says where and how to connect; ``fatal`` is called, in any thread, when only a restart helps."""
        self._fatal = fatal
        self.causes: Final = Causes()
        self._finished: list[_Delivery] = []
        self._stopping = threading.Event()
        self._producer = Producer(
            {
                **config,
                "acks": "all",
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 1,
                # Never give up on a record: the partition waits with it.
                "message.timeout.ms": 0,
                "message.max.bytes": MESSAGE_BYTES_MAX,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 262_144,
                "error_cb": self._on_error,
                "logger": logging.getLogger("librdkafka"),
            }
        )
        self._thread = threading.Thread(target=self._poll, name="publisher", daemon=True)
        self._thread.start()

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See :meth:`Publisher.publish`."""
        delivery = _Delivery(self._finished)
        handed_over = 0
        refused: list[tuple[OutRecord, KafkaError]] = []
        for record in records:
            error = await self._produce(record, delivery)
            if error is None:
                handed_over += 1
            else:
                refused.append((record, error))
        delivery.expect(handed_over)
        await delivery.done
        self.causes.over()
        if failed := refused + delivery.failed:
            self.causes.refused()
            raise PublishFailed(failed)

    async def _produce(self, record: OutRecord, delivery: _Delivery) -> KafkaError | None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=partial(delivery.reported, record),
                    headers=record.headers,  # type: ignore[arg-type]
                )
            except BufferError:
                await asyncio.sleep(FULL_SECONDS)
            except KafkaException as refusal:
                error: KafkaError = refusal.args[0]
                return error
            else:
                return None

    def stop(self) -> None:
        """Wait a little for what is on its way, then let go of the rest. Blocks; call it off the event loop."""
        self._producer.flush(FLUSH_SECONDS_MAX)
        self._stopping.set()
        self._thread.join(POLL_SECONDS * 10)

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(POLL_SECONDS)
            if self._finished:
                # What was confirmed together goes on together: one wake-up of the event loop.
                finished = [self._finished.pop(0) for _ in range(len(self._finished))]
                finished[0].loop.call_soon_threadsafe(_finish, finished)

    def _on_error(self, error: KafkaError) -> None:
        self.causes.failed(error)
        if error.fatal():
            self._fatal(f"the producer cannot go on: {error.str()}")


def _finish(deliveries: Sequence[_Delivery]) -> None:
    for delivery in deliveries:
        delivery.finish()
