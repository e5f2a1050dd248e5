"""A dead letter as it stands on its topic, without its value, and the marks that say what became of letters.

A mark is a record on the same partition, behind the letters that it is about. So whoever reads the topic knows what
became of them, and what is kept is kept equally long.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec
from msgspec import Struct

from arbiter.messages import DLQ_SUFFIX
from arbiter.state.codec import OutRecord
from arbiter.worker.kafka.scan import Stored
from arbiter.worker.partition.dead_letter_record import CUT, CUT_HEADERS, CUT_KEY, OWN_HEADERS

MARK: Final = OWN_HEADERS + "mark"
"""The header of a mark. No dead letter has it: headers of senders that begin so are left out of letters."""

ATTEMPTS: Final = "replay-attempts"
"""The header of a replayed record: how often it was replayed. A letter made of that record has it, too."""

REPLAY_OF: Final = "replay-of"
"""The header of a replayed record: the place of its letter."""

ATTEMPTS_MAX: Final = 1_000_000
CLAIM_BYTES: Final = 65_536
UNKNOWN: Final = "unknown"

State = Literal["open", "replayed", "parked"]

_DEPARTMENT: Final = re.compile(rb'"department"\s*:\s*"([^"\\]{1,64})"')


class Mark(Struct, frozen=True):
    """What was done with the letters at these offsets of the mark's partition; by whom, and why."""

    state: State
    offsets: list[int]
    by: str = ""
    reason: str = ""


class Letter(Struct):
    """What is known of a dead letter without its value. ``sender`` is what it says of itself, so it may be wrong.

    ``topic`` is the full name of its own topic, ``source`` the place of the record that it was made of.
    """

    topic: str
    partition: int
    offset: int
    at_ms: int
    code: str
    message: str
    source: tuple[str, int, int]
    last_offset: int | None
    sender: str
    attempts: int
    is_cut: bool
    state: State = "open"
    because: str = ""

    @property
    def place(self) -> str:
        """How commands name it."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def input_topic(self) -> str:
        """The full name of the topic that the record came from."""
        return self.topic.removesuffix(DLQ_SUFFIX)


def read_letter(record: Stored) -> Letter:
    """The letter that stands there. What is missing or odd in its headers is as if it said nothing."""
    headers = {name: value or b"" for name, value in record.headers}
    last = _number(headers, OWN_HEADERS + "last-offset")
    where = [_number(headers, OWN_HEADERS + name) for name in ("partition", "offset")]
    partition, offset = (-1 if number is None else number for number in where)
    return Letter(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        _text(headers, OWN_HEADERS + "error-code") or UNKNOWN,
        _text(headers, OWN_HEADERS + "error-message"),
        (_text(headers, OWN_HEADERS + "topic"), partition, offset),
        last,
        sender(headers, record.value or b""),
        min(_number(headers, ATTEMPTS) or 0, ATTEMPTS_MAX),
        any(name in headers for name in (CUT, CUT_HEADERS, CUT_KEY)),
    )


def read_mark(record: Stored) -> Mark | None:
    """The mark that this record is; ``None`` if it is a letter, or nothing that can be read."""
    try:
        return msgspec.json.decode(record.value or b"", type=Mark)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def is_mark(record: Stored) -> bool:
    """Whether it is a mark, and no letter."""
    return any(name == MARK for name, _ in record.headers)


def mark_record(topic: str, partition: int, mark: Mark) -> OutRecord:
    """The record for a mark."""
    return OutRecord(topic, partition, None, msgspec.json.encode(mark), [(MARK, mark.state.encode())])


def sender(headers: Mapping[str, bytes], value: bytes) -> str:
    """Who says that they sent it: the department that the value names, or else the source of the event."""
    found = _DEPARTMENT.search(value[:CLAIM_BYTES])
    return found[1].decode("utf-8", "backslashreplace") if found else _text(headers, "ce_source")[:64] or UNKNOWN


def _text(headers: Mapping[str, bytes], name: str) -> str:
    return headers.get(name, b"").decode("utf-8", "backslashreplace")


def _number(headers: Mapping[str, bytes], name: str) -> int | None:
    digits = headers.get(name, b"")
    return int(digits) if digits.isdigit() and len(digits) < len(str(2**63)) else None
