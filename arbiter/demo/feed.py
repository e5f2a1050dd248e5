"""Sends the demonstration's records in bulk, with Kafka's own partitioning, and a few unreadable ones among them."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from arbiter.demo.customers import Fact
from arbiter.demo.generate import Dated
from arbiter.messages import REQUESTS

POISON: tuple[bytes, ...] = (
    b"",
    b'{"request_id": "poison-2", "customer_id": "client-0',
    b'{"request_id": "poison-3 \xff\xfe"}',
    b'{"request_id": "poison-4", "customer_id": "client-00004", "department": "cards"}',
    b'{"request_id": "poison-5", "customer_id": "client-00005", "department": "cards", "campaign": 5}',
)
"""Nobody can read these: nothing, cut off, not UTF-8, fields missing, a wrong type."""

POISON_FROM_REQUESTS = 500
FULL_QUEUE_SECONDS = 0.1
FLUSH_SECONDS = 60.0


class FeedError(RuntimeError):
    """The broker did not take a record."""


class Feed:
    """A producer that counts; a context manager. ``sent`` counts the requests handed over, poison included."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                # The embedded broker gives one batch per fetch and keeps 5 MiB per partition: few, big, packed batches.
                "linger.ms": 100,
                "batch.num.messages": 10_000,
                "compression.type": "gzip",
                "compression.level": 1,
                "queue.buffering.max.messages": 500_000,
                # A customer's home is where Kafka's Java client would send its records.
                "partitioner": "murmur2_random",
                # What matters comes as an error; the rest would be written into the progress bar.
                "log_level": 0,
            }
        )
        self._failed: KafkaError | None = None
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What is still unsent after an error is not worth waiting for; the broker may be gone.
        self._producer.purge()
        self._producer.close()

    def facts(self, facts: Iterable[Fact]) -> None:
        """Send profiles and consents, and wait until they are there."""
        self.tell(facts)
        self.flush()

    def tell(self, facts: Iterable[Fact]) -> None:
        """Send facts; they are on their way when this returns."""
        for fact in facts:
            self._send(fact.topic, fact.customer_id, fact.value)

    def requests(self, requests: Iterable[Dated]) -> None:
        """Send requests; they are on their way when this returns."""
        for request in requests:
            self._send(REQUESTS, request.customer_id, request.value)
            self.sent += 1
        self._producer.poll(0)

    def poison(self, number: int) -> None:
        """Send the unreadable record of that number, with a client's key."""
        self._send(REQUESTS, f"client-{number + 1:05d}", POISON[number])
        self.sent += 1

    def flush(self) -> None:
        """Wait until the broker has everything. Raises :class:`FeedError` if it does not take it."""
        left = self._producer.flush(FLUSH_SECONDS)
        if self._failed is not None:
            raise FeedError(f"the broker refused a record: {self._failed.str()}")
        if left:
            raise FeedError(f"the broker did not take {left} records within {FLUSH_SECONDS:.0f} s")

    def _send(self, topic: str, key: str, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(FULL_QUEUE_SECONDS)
            else:
                return

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed = error
