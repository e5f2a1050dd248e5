"""Where partitions' logs begin and end, asked with a client of its own.

Not with ``AdminClient.list_offsets``: librdkafka 2.15 asks for leaders that it does not know yet in two threads at a
time there, and one may go on with what the other has freed. That ended workers with SIGSEGV when they started on new
topics. ``offsets_for_times`` sends the same request, for many partitions at a time, and waits in the calling thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from threading import Lock
from typing import Any, Final

from confluent_kafka import Consumer, KafkaException, TopicPartition
from faust.types import TP

from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.topics import TIMEOUT_SECONDS, KafkaAway, client_config

LATEST: Final = -1
EARLIEST: Final = -2
NEWEST: Final = -3
"""Asked for in place of a time; the last is the record with the highest timestamp. Kafka's protocol, ListOffsets."""


class LogOffsets:
    """Asks where logs begin and end, for a loop or for threads; only :meth:`of` blocks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = Lock()
        self._client: Consumer | None = None
        self.causes: Final = Causes()

    def of(self, tps: Collection[TP], which: int, timeout: float = TIMEOUT_SECONDS) -> dict[TP, int]:
        """The offset of each partition: :data:`EARLIEST`, or :data:`LATEST` that is committed; -1 for none.

        Raises :class:`KafkaAway`, also if one partition has no leader.
        """
        if not tps:
            return {}
        client = self._connected()
        try:
            found = client.offsets_for_times([TopicPartition(*tp, which) for tp in tps], timeout)
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
        except KafkaException as error:
            client.poll(0)  # lets the client report errors and log lines to `causes`
            self._forget(client)
            raise KafkaAway(self.causes.why(error.args[0])) from error
        self.causes.over()
        return {TP(one.topic, one.partition): one.offset for one in found}

    async def ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First and end offset of each partition; the end is that of committed transactions. :class:`KafkaAway`."""
        wanted = list(tps)
        first, end = await asyncio.gather(*(asyncio.to_thread(self.of, wanted, which) for which in (EARLIEST, LATEST)))
        return {tp: (first[tp], end[tp]) for tp in wanted}

    async def ends(self, tps: Iterable[TP]) -> dict[TP, int]:
        """End offset of each partition, that of committed transactions. :class:`KafkaAway`."""
        return await asyncio.to_thread(self.of, list(tps), LATEST)

    def _connected(self) -> Consumer:
        with self._lock:
            if self._client is None:
                self._client = Consumer(self._config())
            return self._client

    def _forget(self, client: Consumer) -> None:
        """It goes on asking whoever led the partitions before; a new one looks who leads them now."""
        with self._lock:
            if self._client is client:
                self._client = None

    def _config(self) -> dict[str, Any]:
        return {
            **client_config(self._settings),
            **self.causes.config,
            "group.id": self._settings.group,  # the client wants one; it never joins
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
