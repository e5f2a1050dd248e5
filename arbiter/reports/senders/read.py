"""The records to be checked: lines of a file, or what stands on a topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from arbiter.messages import REQUESTS
from arbiter.reports.policy_diff.files import FileOfRecords
from arbiter.reports.senders.kinds import KINDS, kind_of
from arbiter.reports.senders.verify import INPUTS, Checked
from arbiter.worker.kafka.readable import readable
from arbiter.worker.kafka.reader import STRUCTURED
from arbiter.worker.kafka.scan import Bounds, Progress, Stored, TopicReader, stored

TELL_EVERY = 4_096


class _Line(Struct):
    """A record as ``kcat -J`` prints it."""

    topic: str
    payload: str
    partition: int = 0
    offset: int = 0
    ts: int = -1
    key: str | None = None
    headers: list[str] = []


class _Envelope(Struct):
    specversion: str
    type: str


_line = msgspec.json.Decoder(_Line).decode
_envelope = msgspec.json.Decoder(_Envelope).decode


def in_file(file: Path, kind: str | None, prefix: str, progress: Progress) -> Iterator[Checked]:
    """The records of a file: JSON lines, a JSON array, CSV, or what ``kcat -J`` printed. Raises ``OSError``.

    ``kind`` is what all of them are, if not each says so; ``prefix`` stands before the names of topics.
    """
    records, total = FileOfRecords(file), file.stat().st_size
    for number, item in enumerate(records.items()):
        if number % TELL_EVERY == 0:
            progress(records.read_bytes, total)
        try:
            line = _line(item.content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield _plain(item.content, item.place, kind)
            continue
        topic = line.topic.removeprefix(prefix)
        place = f"{item.place} ({line.topic}/{line.partition}/{line.offset})"
        key = None if line.key is None else line.key.encode()
        names = [(name, value.encode()) for name, value in zip(line.headers[::2], line.headers[1::2], strict=False)]
        record = Stored(line.topic, line.partition, line.offset, line.ts, key, line.payload.encode(), names)
        yield Checked(place, record, topic if topic in INPUTS else "")


def _plain(content: bytes, place: str, kind: str | None) -> Checked:
    """A line that is the message itself, or a CloudEvents envelope around it."""
    try:
        _envelope(content)
        headers: Sequence[tuple[str, bytes | None]] = [("content-type", STRUCTURED)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        headers = ()
    record = Stored("", 0, 0, -1, None, content, headers)
    meant = KINDS[kind] if kind is not None else kind_of(readable(record).fields)
    is_typed = kind is None and not headers and meant.topic in (REQUESTS, *(k.topic for k in _UNTYPED))
    if is_typed and readable(record).fields.get("type") == meant.name:
        record = msgspec.structs.replace(record, value=_without_type(content))
    is_known = kind is not None or bool(readable(record).fields)
    return Checked(place, record, meant.topic if is_known else "")


_UNTYPED = (KINDS["outcome"], KINDS["profile"])


def _without_type(content: bytes) -> bytes:
    """In a file ``type`` names the kind of a message that has no such field on its topic."""
    try:
        said = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return content
    said.pop("type", None)
    return msgspec.json.encode(said)


def on_topic(kafka: TopicReader, name: str, bounds: Bounds, progress: Progress) -> Iterator[Checked]:
    """The records of an input topic, by its name in ``arbiter.messages``; ``KafkaAway``."""
    for message in kafka.records(name, bounds, progress):
        record = stored(message)
        yield Checked(f"{record.topic}/{record.partition}/{record.offset}", record, name)
