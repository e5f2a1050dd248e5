"""The records of a batch, read: what they are, or the dead letters that they become."""

from __future__ import annotations

from collections.abc import Iterable

from arbiter import log_events
from arbiter.engine.input_record import InputRecord
from arbiter.state.codec import NewerFormat
from arbiter.state.store import Head
from arbiter.worker.kafka.reader import DeadLetter, Record, readers_of
from arbiter.worker.partition.inputs import RoutedRecord, rank_of
from arbiter.worker.partition.poison import PoisonGuard
from arbiter.worker.partition.retry import Shared
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.work import Work


class BatchReader:
    """Reads the records of one partition, under one claim."""

    def __init__(self, shared: Shared, topics: Iterable[str], poison: PoisonGuard) -> None:
        """``topics`` are the input topics."""
        settings = shared.settings
        self._shared = shared
        self._poison = poison
        self._is_wall_clock = settings.clock == "wall"
        self._readers = readers_of(settings, topics)

    def read(self, records: list[Record], head: Head, routing: Routing, now_ms: int) -> Work:
        """The work that these records are; its inputs in the order in which they are taken."""
        work = Work(records, now_ms if self._is_wall_clock else head.now_ms)
        for record in records:
            condemned = self._poison.condemned(record) if self._poison.is_on else None
            if condemned is not None and record.topic not in self._readers:
                routing.skip(record)
            read = condemned or self._read(record, routing, now_ms)
            if isinstance(read, DeadLetter):
                work.dead.append((record, read, head.claims if condemned else 1))
            elif read is not None:
                work.inputs.append(read)
            else:
                self._shared.metrics.replays.inc()
        for reader in self._readers.values():
            if reader.unknown_fields:
                self._shared.metrics.unknown_fields.inc(reader.unknown_fields)
                reader.unknown_fields = 0
            if reader.malformed_traces:
                self._shared.metrics.malformed_traces.inc(reader.malformed_traces)
                reader.malformed_traces = 0
        # Stable: of one rank and topic they stay in offset order.
        work.inputs.sort(key=rank_of)
        return work

    def _read(self, record: Record, routing: Routing, now_ms: int) -> InputRecord | RoutedRecord | DeadLetter | None:
        """The input that the record is; ``None`` for a repeat. A reader that fails makes this record a dead letter."""
        reader = self._readers.get(record.topic)
        try:
            return routing.read(record) if reader is None else reader.read(record, now_ms)
        except NewerFormat:
            raise
        except Exception as error:  # noqa: BLE001 - this record is a dead letter, its neighbours are read
            topic, partition, offset = record.topic, record.partition, record.offset
            log_events.RECORD_UNREADABLE(exc_info=True, topic=topic, partition=partition, offset=offset)
            return DeadLetter("undecidable", f"reading failed: {type(error).__name__}")
