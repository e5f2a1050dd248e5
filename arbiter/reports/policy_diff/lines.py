"""Records from files: messages as on the topics, or whole records as ``kcat -J`` prints them.

The field ``type`` names the message (``request``, ``outcome``, ``profile``, ``consent``, ``preference``,
``suppression``). Without it the fields decide: a ``request_id`` makes a request, together with ``kind`` an outcome, and
neither makes a profile. For records from ``kcat`` the topic decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.input_record import InputRecord, Message
from arbiter.messages import (
    CONSENTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ContactRequest,
    Outcome,
    Profile,
)
from arbiter.reports.policy_diff.files import FileOfRecords, Item
from arbiter.timing.instants import END_MS, FAR_MS, FIRST_MS, to_ms
from arbiter.worker.kafka.reader import DeadLetter, Reader, too_long

BYTES_MAX = 256 * 1024
"""A longer line is not read, as a worker (by default) does not read a longer record."""

TOPIC_OF_TYPE = {
    "request": REQUESTS,
    "outcome": OUTCOMES,
    "profile": PROFILES,
    "consent": CONSENTS,
    "preference": CONSENTS,
    "suppression": CONSENTS,
}
INPUTS = (REQUESTS, OUTCOMES, PROFILES, CONSENTS)


class Unread(Struct, frozen=True):
    """A line that is no record: its place, and the reason as a dead letter gives it."""

    place: str
    code: str
    message: str


class _LineFields(Struct):
    """The fields by which kinds of lines differ."""

    type: str | None = None
    request_id: object = None
    kind: object = None
    topic: str | None = None
    payload: str | None = None
    partition: int | None = None
    offset: int | None = None
    ts: int = -1
    key: str | None = None
    headers: object = None


class _Line(Struct, frozen=True):
    """A line as a record for a topic's reader."""

    topic: str
    value: bytes
    timestamp: int = -1
    key: bytes | None = None
    partition: int = 0
    offset: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()


_line_fields = msgspec.json.Decoder(_LineFields).decode


class Lines:
    """Reads files, and gives each record the place it would have if the lines were sent to empty topics.

    ``read_bytes`` counts bytes as they are on the disk.
    """

    def __init__(self, home: Callable[[str], int], topic_prefix: str = "") -> None:
        """``home`` gives the partition of a customer; ``topic_prefix`` is that of the topics that ``kcat`` read."""
        self._home = home
        self._prefix = topic_prefix
        # A file has no clock: a time far ahead is refused only where the record has a time stamp to compare with.
        self._plain = {topic: Reader(topic, BYTES_MAX, is_wall_clock=True) for topic in INPUTS}
        self._stamped = {topic: Reader(topic, BYTES_MAX, is_wall_clock=False) for topic in INPUTS}
        self._offsets: Counter[tuple[str, int]] = Counter()
        self._last_ms: int | None = None
        self._asked_ms = FIRST_MS
        self.read_bytes = 0
        self.unread = 0

    def read(self, file: Path) -> Iterator[InputRecord | Unread]:
        """Every record of a file (``.gz`` too), in order. Raises ``OSError``."""
        for _, record in self.read_with_places(file):
            yield record

    def read_with_places(self, file: Path) -> Iterator[tuple[int, InputRecord | Unread]]:
        """Like :meth:`read`, with each record's offset in the unpacked file."""
        before, records = self.read_bytes, FileOfRecords(file)
        for item in records.items():
            self.read_bytes = before + records.read_bytes
            yield item.at, self._record(item)
        self.read_bytes = before + records.read_bytes

    def _record(self, item: Item) -> InputRecord | Unread:
        place, read = self._message(item)
        if isinstance(read, DeadLetter):
            self.unread += 1
            return Unread(place, read.code, read.message)
        message = read.message
        received_ms = read.received_ms if read.received_ms < FAR_MS else self._time_of(message)
        if received_ms is None:
            self.unread += 1
            text = "a line without a time stamp of its own needs a `requested_at` by which the simulated clock can go"
            return Unread(place, "missing_field", text)
        self._last_ms = received_ms
        if isinstance(message, ContactRequest):
            self._asked_ms = max(self._asked_ms, received_ms)
        topic, home = read.source[0], self._home(message.customer_id)
        offset = self._offsets[topic, home]
        self._offsets[topic, home] += 1
        return replace(read, source=(topic, home, offset), received_ms=received_ms)

    def _message(self, item: Item) -> tuple[str, InputRecord | DeadLetter]:
        """The record, or why there is none; and its place, which for one from Kafka is its place there."""
        if item.fault:
            return item.place, DeadLetter("malformed_json", item.fault)
        try:
            fields = _line_fields(item.content)
        except msgspec.DecodeError as error:
            return item.place, too_long(item.content, BYTES_MAX) or DeadLetter("malformed_json", str(error))
        if fields.payload is not None and fields.topic is not None:
            return _place_on_kafka(fields) or item.place, self._stored(fields, fields.topic, fields.payload)
        if fields.type is not None and fields.type not in TOPIC_OF_TYPE:
            text = f"`{fields.type}` is no type; known are {', '.join(TOPIC_OF_TYPE)}"
            return item.place, too_long(item.content, BYTES_MAX) or DeadLetter("wrong_type", text)
        topic = TOPIC_OF_TYPE[fields.type] if fields.type is not None else _topic_by_fields(fields)
        return item.place, self._plain[topic].read(_Line(topic, item.content), FAR_MS)

    def _stored(self, fields: _LineFields, full_name: str, payload: str) -> InputRecord | DeadLetter:
        topic = full_name.removeprefix(self._prefix)
        if topic not in INPUTS:
            return DeadLetter("misrouted", f"`{full_name}` is not an input topic of Arbiter")
        key = fields.key.encode() if fields.key is not None else None
        line = _Line(topic, payload.encode(), fields.ts, key, headers=_headers(fields.headers))
        return self._stamped[topic].read(line, FAR_MS)

    def _time_of(self, message: Message) -> int | None:
        """When a record without a time stamp arrives: when it says that it was made, a fact not before the requests
        that stand before it.
        """
        if isinstance(message, ContactRequest):
            at_ms = FAR_MS if message.requested_at is None else to_ms(message.requested_at)
            return at_ms if FIRST_MS < at_ms < END_MS else None
        if isinstance(message, Profile):
            return self._last_ms or 0
        at_ms = to_ms(message.at if isinstance(message, Outcome) else message.captured_at)
        if at_ms < END_MS:
            return max(at_ms, self._asked_ms)
        return self._asked_ms if self._asked_ms > FIRST_MS else at_ms if self._last_ms is None else self._last_ms


def _topic_by_fields(fields: _LineFields) -> str:
    if fields.request_id is None:
        return PROFILES
    return REQUESTS if fields.kind is None else OUTCOMES


def _headers(flat: object) -> tuple[tuple[str, bytes | None], ...]:
    """Headers as ``kcat`` prints them: names and values in turn."""
    if not isinstance(flat, list):
        return ()
    pairs = zip(flat[::2], flat[1::2], strict=False)
    return tuple([(str(name), None if value is None else str(value).encode()) for name, value in pairs])


def _place_on_kafka(fields: _LineFields) -> str:
    known = fields.partition is not None and fields.offset is not None
    return f"{fields.topic}/{fields.partition}/{fields.offset}" if known else ""
