"""Dead letters as records: the record as it was read, the reason in headers; shorter where Kafka takes no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.ledger.model import StoredRecord
from arbiter.messages import DLQ_SUFFIX, traces
from arbiter.state.codec import OutRecord
from arbiter.timing.instants import to_datetime
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.kafka.unpacking import TooManyHeaders, Unread
from arbiter.worker.partition.inputs import Input, RoutedRecord, input_record_of

Dead = tuple[Record, DeadLetter, int]
"""A record that becomes a dead letter, why, and how often it was tried."""

OWN_HEADERS: Final = "arbiter-"
CUT: Final = "arbiter-cut-bytes"
CUT_HEADERS: Final = "arbiter-cut-headers"
CUT_KEY: Final = "arbiter-cut-key-bytes"

NEEDED: Final = frozenset(OWN_HEADERS + name for name in ("error-code", "topic", "partition", "offset", "last-offset"))
"""The headers that a letter never goes without."""

MESSAGE_MAX: Final = 1_000
"""Characters of a reason: it may repeat what the record says."""


def original(record: InputRecord | StoredRecord) -> Record:
    """The Kafka record that it was read from."""
    value = record.raw if record.value is None else record.value
    return _Original(*record.source, record.received_ms, record.key, value, record.headers)


def first_read(one: Input) -> Record:
    """The Kafka record that was read first, also where another partition forwarded it."""
    record = input_record_of(one)
    if record is not None:
        return original(record)
    assert isinstance(one, RoutedRecord)  # noqa: S101 - what forwards nothing is one
    return one.kafka_record


class _Original(Struct, frozen=True):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes
    headers: Sequence[tuple[str, bytes | None]]


def dead_letter(record: Record, letter: DeadLetter, group: str, build: str, now_ms: int, attempts: int) -> OutRecord:
    """The record for ``<topic>.dlq``: key and value byte for byte, on the same partition, the reason in headers."""
    reason: dict[str, str | int] = {
        "error-code": letter.code,
        "error-message": letter.message[:MESSAGE_MAX],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "group": group,
        "build": build,
        "time": to_datetime(now_ms).isoformat(timespec="milliseconds"),
        "attempts": attempts,
    }
    if type(record.value) is Unread:
        reason |= {"offset": record.value.first, "last-offset": record.offset}
    kept = [(key, value) for key, value in record.headers if type(key) is not TooManyHeaders]
    headers = [(str(key), value or b"") for key, value in kept if not key.startswith(OWN_HEADERS)]
    headers += [(OWN_HEADERS + name, str(text).encode("utf-8", "replace")) for name, text in reason.items()]
    return OutRecord(record.topic + DLQ_SUFFIX, record.partition, record.key, record.value, headers)


def shortened(letter: OutRecord) -> OutRecord | None:
    """A dead letter that Kafka finds too long: without its value, then its headers but the trace, then its key, with
    their sizes; at last only its code and place.

    ``None`` if nothing is left to go without.
    """
    topic, partition, key, value, headers = letter.topic, letter.partition, letter.key, letter.value, letter.headers
    kept = [header for header in headers if header[0].startswith(OWN_HEADERS) or header[0] == traces.HEADER]
    if value:
        return OutRecord(topic, partition, key, b"", [*headers, (CUT, b"%d" % len(value))])
    if cut := len(headers) - len(kept):
        return OutRecord(topic, partition, key, value, [*kept, (CUT_HEADERS, b"%d" % cut)])
    if key:
        return OutRecord(topic, partition, None, value, [*headers, (CUT_KEY, b"%d" % len(key))])
    needed = [header for header in headers if header[0] in NEEDED]
    return OutRecord(topic, partition, None, value, needed) if len(needed) < len(headers) else None
