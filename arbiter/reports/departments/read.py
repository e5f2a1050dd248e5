"""Where a report's decisions and claims come from: Kafka, or files of JSON lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from arbiter.engine.input_record import InputRecord
from arbiter.ledger.identity import REF_BYTES, identity
from arbiter.messages import DECISIONS, REQUESTS, ContactRequest
from arbiter.reports.departments.tally import Seen, Tally, read_decision
from arbiter.reports.policy_diff.files import FileOfRecords
from arbiter.reports.policy_diff.lines import Lines, Unread
from arbiter.settings import Settings
from arbiter.timing.instants import HOUR_MS
from arbiter.worker.kafka.reader import Reader
from arbiter.worker.kafka.scan import Bounds, Progress, TopicReader, stored

EARLY_MS = HOUR_MS
"""A record is written after its decision is made, by another clock: begin to read so much before the period."""

TELL_EVERY = 4_096

Report = Callable[[str], None]
"""Called with a sentence about what could not be read."""


def decisions_on_kafka(kafka: TopicReader, since_ms: int, progress: Progress | None, report: Report) -> Iterator[Seen]:
    """Read the decisions published since the period's beginning. The tally decides which of them fall into the period.

    It reads to the topic's end: under the event clock a record may be written at any time after the instant it is
    about.
    """
    bounds = Bounds(since_ms=since_ms - EARLY_MS)
    for message in kafka.records(DECISIONS, bounds, progress):
        try:
            yield read_decision(message.value() or b"")
        except msgspec.DecodeError as error:
            report(f"{message.topic()}/{message.partition()}/{message.offset()}: {error}")


def claims_on_kafka(kafka: TopicReader, settings: Settings, tally: Tally, progress: Progress | None) -> None:
    """Give the tally the priorities of the requests, from the first to the last one that it counts."""
    reader = Reader(REQUESTS, settings.record_bytes, is_wall_clock=False)
    for topic, spans in tally.spans.items():
        for message in kafka.between(topic, spans, progress):
            read = reader.read(stored(message), 0)
            if isinstance(read, InputRecord) and isinstance(read.message, ContactRequest):
                tally.claim(_key(identity(read.message)), read.message.priority)


def decisions_in_file(file: Path, progress: Progress | None, report: Report) -> Iterator[Seen]:
    """Read decisions from a file that ``arbiter simulate --out`` wrote (``.gz`` too). Raises ``OSError``."""
    records, total = FileOfRecords(file), file.stat().st_size
    for number, item in enumerate(records.items()):
        if progress is not None and number % TELL_EVERY == 0:
            progress(records.read_bytes, total)
        try:
            yield read_decision(item.content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            report(f"{item.place}: {item.fault or error}")


def claims_in_file(file: Path, tally: Tally, progress: Progress | None, report: Report) -> None:
    """Like :func:`claims_on_kafka`, from a file that ``arbiter simulate`` decides. Other messages are skipped."""
    lines, total = Lines(lambda _: 0), file.stat().st_size
    for number, one in enumerate(lines.read(file)):
        if progress is not None and number % TELL_EVERY == 0:
            progress(lines.read_bytes, total)
        if isinstance(one, Unread):
            report(f"{one.place}: {one.message}")
        elif isinstance(one.message, ContactRequest):
            tally.claim(_key(identity(one.message)), one.message.priority)


def _key(request_identity: bytes) -> int:
    return int.from_bytes(request_identity[:REF_BYTES], "big")
