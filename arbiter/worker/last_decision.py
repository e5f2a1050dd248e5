"""The newest published decision of a partition, to be compared with the store's state.

A decision is published only after its commit. So a store that does not know the commit of a published decision has lost
writes, for example because an older snapshot of it was restored, and must not be decided on.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition
from msgspec import Struct

from arbiter.messages import DECISIONS
from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.topics import KafkaAway, client_config

SECONDS_MAX = 10.0
POLL_SECONDS = 0.5
BACK_MAX = 100
"""How many records to go back for one that is a decision: others may stand there by mistake."""


class _Decision(Struct):
    seq: int


_decode = msgspec.json.Decoder(_Decision).decode


class LastPublished:
    """Reads ends of the decisions' topic, with a consumer of its own that commits nothing.

    A rebalance asks for many partitions at once: what is asked while one read is under way is read together next.
    """

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.topic(DECISIONS)
        self._causes = Causes()
        self._config = {
            **client_config(settings),
            "group.id": settings.group,  # it never joins it; a group of its own would take a permission of its own
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
            **self._causes.config,
        }
        self._consumer: Consumer | None = None
        self._turn = asyncio.Lock()
        self._asked: dict[int, tuple[int, int]] = {}
        self._found: dict[int, int | None] = {}

    async def seq(self, partition: int, first: int, end: int) -> int | None:
        """The ``seq`` of the newest decision among the offsets ``[first, end)``; ``None`` if there is none.

        Raises :class:`~arbiter.worker.kafka.topics.KafkaAway` if Kafka does not give it in time.
        """
        if end <= first:
            return None
        self._found.pop(partition, None)
        self._asked[partition] = (max(first, end - BACK_MAX), end)
        async with self._turn:
            if partition not in self._found:
                asked, self._asked = self._asked | {partition: (max(first, end - BACK_MAX), end)}, {}
                self._found |= await asyncio.to_thread(self._read, asked)
            return self._found.pop(partition)

    def _read(self, asked: dict[int, tuple[int, int]]) -> dict[int, int | None]:
        if self._consumer is None:
            self._consumer = Consumer(self._config)
        self._consumer.assign([TopicPartition(self._topic, number, start) for number, (start, _) in asked.items()])
        try:
            return self._newest(self._consumer, {number: end for number, (_, end) in asked.items()})
        finally:
            self._consumer.unassign()

    def _newest(self, consumer: Consumer, ends: dict[int, int]) -> dict[int, int | None]:
        newest: dict[int, int | None] = dict.fromkeys(ends)
        open_ends, until = dict(ends), monotonic() + SECONDS_MAX
        while open_ends:
            if monotonic() > until:
                why = f" ({self._causes.text})" if self._causes.text else ""
                raise KafkaAway(f"the end of {self._topic} did not come within {SECONDS_MAX:g} s{why}")
            try:
                messages = consumer.consume(BACK_MAX, POLL_SECONDS)
            except KafkaException as error:
                raise KafkaAway(self._causes.why(error.args[0])) from error
            for message in messages:
                if (failed := message.error()) is not None:
                    self._causes.failed(failed)
                number, offset = message.partition(), message.offset()
                if failed is not None or number is None or offset is None or offset >= ends[number]:
                    continue
                with suppress(msgspec.DecodeError):  # somebody else's
                    newest[number] = _decode(message.value() or b"").seq
                if offset == ends[number] - 1:
                    open_ends.pop(number, None)
        self._causes.over()
        return newest

    def close(self) -> None:
        """Let go of the consumer. Blocks for a moment."""
        if self._consumer is not None:
            self._consumer.close()
