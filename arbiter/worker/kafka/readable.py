"""What can still be read of a record that could not be taken: whose it is, and what its fields say.

The value is read field by field, as far as it is JSON: what stands before the damage is known. So a request that is cut
off, has a comma too many, or one byte that is not UTF-8, can still be answered.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from collections.abc import Iterator
from math import inf
from typing import Any, Final, cast

from msgspec import Struct

from arbiter.worker.kafka.reader import Record, is_structured
from arbiter.worker.kafka.unpacking import Unread

BYTES_MAX: Final = 1024 * 1024
"""Of a longer value only so much is read."""

TEXT_MAX: Final = 1_024
"""A longer text is no name and no id."""

DIGITS_MAX: Final = 400

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_REPLACED: Final = "\ufffd"


class Readable(Struct, frozen=True):
    """The fields of a message; ``twice`` are those that stand there with several values, so that none is believed."""

    fields: dict[str, Any] = {}
    twice: frozenset[str] = frozenset()

    def text(self, name: str) -> str:
        """A name or an id; empty if it cannot be read. A whole number stands for its digits."""
        value = self.fields.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if name in self.twice or not isinstance(value, str) or len(value) > TEXT_MAX or _REPLACED in value:
            return ""
        return value if _is_sound(value) else ""


def readable(record: Record) -> Readable:
    """What can be read of a record's value; nothing, if it has none that is an object. Never raises."""
    value = record.value
    if not value or type(value) is Unread:
        return Readable()
    text = _text(value)
    return _enveloped(text) if is_structured(record) else _fields(text)


def _enveloped(text: str) -> Readable:
    """The fields of the message in an envelope; nothing, if it has several."""
    said = _fields(text)
    data, packed = said.fields.get("data"), said.fields.get("data_base64")
    if said.twice & {"data", "data_base64"}:
        return Readable()
    if isinstance(data, dict):
        return _fields(text, next(at for name, _, at in _pairs(text) if name == "data"))
    try:
        return _fields(_text(b64decode(packed, validate=True))) if isinstance(packed, str) else Readable()
    except (binascii.Error, ValueError):
        return Readable()


def _text(value: bytes) -> str:
    return value[:BYTES_MAX].decode("utf-8-sig", "replace")


def _fields(text: str, at: int = 0) -> Readable:
    """The fields of the object that begins there."""
    fields: dict[str, Any] = {}
    twice: set[str] = set()
    for name, said, _ in _pairs(text, at):
        if name in fields and (type(said), said) != (type(fields[name]), fields[name]):
            twice.add(name)
        fields.setdefault(name, said)
    return Readable(fields, frozenset(twice))


def _pairs(text: str, at: int = 0) -> Iterator[tuple[str, Any, int]]:
    """The fields at the top of an object, up to where it cannot be read, and where each value begins.

    A value ends before a comma or a brace.
    """
    at = _next(text, at)
    while text[at : at + 1] in ("{", ","):
        try:
            name, at = _decoder.raw_decode(text, _next(text, at + 1))
            at = _next(text, at)
            if not isinstance(name, str) or text[at : at + 1] != ":":
                return
            begin = _next(text, at + 1)
            value, at = _decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return
        at = _next(text, at)
        if text[at : at + 1] not in (",", "}") or not text[at : at + 1]:
            return
        yield name, value, begin


def _next(text: str, at: int) -> int:
    return cast("re.Match[str]", _SPACE.match(text, at)).end()


def _whole(digits: str) -> float:
    return int(digits) if len(digits) <= DIGITS_MAX else inf


def _is_sound(text: str) -> bool:
    """Whether it is text that can be written: a half of a pair of surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_decoder: Final = json.JSONDecoder(parse_int=_whole, strict=False)
