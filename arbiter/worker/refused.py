"""Records that Kafka refuses for good: what is published in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import KafkaError

from arbiter import __version__
from arbiter.engine.routed import Forward
from arbiter.messages import DLQ_SUFFIX, ROUTED
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord
from arbiter.state.envelopes import emptied, unpack_envelope
from arbiter.worker.clock import StoreClock
from arbiter.worker.kafka.producer import PublishFailed
from arbiter.worker.kafka.reader import DeadLetter
from arbiter.worker.partition.dead_letter_record import dead_letter, original, shortened


class Worker(Protocol):
    """Who publishes."""

    @property
    def settings(self) -> Settings: ...  # noqa: D102
    @property
    def clock(self) -> StoreClock: ...  # noqa: D102


def still_to_send(records: Sequence[OutRecord], error: PublishFailed, worker: Worker) -> list[OutRecord]:
    """What was refused, and what was routed behind it: the receiver takes those only in their order."""
    why = {id(record): reason for record, reason in error.failed}
    left: list[OutRecord] = []
    broken: set[int] = set()
    for record in records:
        if id(record) in why:
            is_too_long = why[id(record)].code() == KafkaError.MSG_SIZE_TOO_LARGE
            left += _instead(record, worker) if is_too_long else [record]
            if record.topic.endswith(ROUTED):
                broken.add(record.partition)
        elif record.topic.endswith(ROUTED) and record.partition in broken:
            left.append(record)
    return left


def _instead(record: OutRecord, worker: Worker) -> list[OutRecord]:
    """What to try instead of a record that is too long: a shorter letter; or a letter, for a record that is sent on."""
    if record.topic.endswith(DLQ_SUFFIX):
        return [shortened(record) or record]
    if record.topic.endswith(ROUTED):
        envelope = unpack_envelope(record.value or b"")
        routed = envelope.open()
        if isinstance(routed, Forward):
            text = f"too long for {record.topic} on its way to partition {record.partition}: raise max.message.bytes"
            letter = DeadLetter("oversized", f"{text} of that topic, then send it again")
            first = original(routed.stored)
            sent = dead_letter(first, letter, worker.settings.group, __version__, worker.clock.now_ms(), 1)
            return [sent, OutRecord(record.topic, record.partition, record.key, emptied(envelope))]
    return [record]
