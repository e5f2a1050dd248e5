"""Reads what librdkafka cannot, or must not: batches that are damaged, unpack to too much, or have killed workers.

librdkafka unpacks a batch whatever it grows to, and stands still at one that it cannot unpack. Here aiokafka fetches
it, and ``unpacking.py`` bounds what becomes of it; the partition goes back to librdkafka behind it.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as stock_fetcher
from aiokafka.errors import KafkaError
from faust.types import TP

from arbiter.settings import Settings
from arbiter.worker.kafka.reader import Record
from arbiter.worker.kafka.topics import KafkaAway
from arbiter.worker.kafka.unpacking import BoundedRecords

# Each fetcher looks it up when a fetch has come.
stock_fetcher.MemoryRecords = BoundedRecords

SECONDS_MAX: Final = 30.0
WAIT_MS: Final = 500


class BoundedReader:
    """Reads one partition at a time, a bounded number of bytes."""

    def __init__(self, settings: Settings) -> None:
        self._config: dict[str, Any] = {
            "bootstrap_servers": settings.kafka.split(","),
            "group_id": None,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "fetch_max_wait_ms": WAIT_MS,
            **_login(settings),
        }
        self._alone = asyncio.Lock()

    async def read(self, tp: TP, position: int, *, bytes_max: int) -> tuple[list[Record], int]:
        """The next records from this position on, and the position behind them. :class:`KafkaAway` says why there are
        none.

        It gives at least one batch, and no more batches than fit in ``bytes_max``.
        """
        async with self._alone:
            try:
                return await asyncio.wait_for(self._read(TopicPartition(*tp), position, bytes_max), SECONDS_MAX)
            except TimeoutError as error:
                raise KafkaAway(f"nothing came for {SECONDS_MAX:g} s") from error
            except KafkaError as error:
                raise KafkaAway(repr(error)) from error

    async def _read(self, tp: TopicPartition, position: int, bytes_max: int) -> tuple[list[Record], int]:
        consumer = AIOKafkaConsumer(**self._config, max_partition_fetch_bytes=bytes_max)
        await consumer.start()
        try:
            consumer.assign([tp])
            consumer.seek(tp, position)
            while True:
                records = (await consumer.getmany(timeout_ms=WAIT_MS)).get(tp, [])
                reached = await consumer.position(tp)
                if records or reached != position:
                    return list(records), reached
        finally:
            await consumer.stop()


def _login(settings: Settings) -> dict[str, Any]:
    protocol = settings.kafka_security_protocol
    login: dict[str, Any] = {"security_protocol": protocol}
    if protocol.endswith("SSL"):
        login["ssl_context"] = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    if protocol.startswith("SASL"):
        login["sasl_mechanism"] = settings.kafka_sasl_mechanism
        login["sasl_plain_username"] = settings.kafka_username
        login["sasl_plain_password"] = settings.kafka_password
    return login
