"""Reads records from files: JSON lines, a JSON array, or CSV with a column per field.

Each record has a place to name it by, and an offset by which it can be found again. ``.gz`` is unpacked, and a byte
order mark is skipped. A file is read as a stream; only a JSON array is read whole.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import IO, Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from arbiter.messages import (
    ConsentChange,
    ContactRequest,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)

BOM: Final = codecs.BOM_UTF8
WIDE_BOMS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BEGIN_BYTES: Final = 64 * 1024
CELL_CHARACTERS_MAX: Final = 2**31 - 1
"""Nothing is too long for a cell of CSV: whether a record is, its reader says."""
_MAPS: Final = ("attributes",)
"""Fields that are maps: a column ``attributes.balance`` is one entry."""
_JSON_WORD: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?|true|false")


class Item(Struct, frozen=True):
    """A record of a file: its JSON, its place, and its offset in the unpacked bytes.

    ``fault`` says why there is no record; ``content`` is then the text that stands there.
    """

    content: bytes
    place: str
    at: int
    fault: str = ""


class FileOfRecords:
    """One file. ``read_bytes`` counts bytes as they are on the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.read_bytes = 0

    def items(self) -> Iterator[Item]:
        """Every record, in order. ``OSError`` if the file cannot be read."""
        with self._path.open("rb") as raw, unpacked(self._path, raw) as text:
            begin = text.read(BEGIN_BYTES)
            text.seek(0)
            form = _form_of(begin, self._path)
            for number, item in enumerate(form(text, self._path)):
                if number % 256 == 0:
                    self.read_bytes = raw.tell()
                yield item
            self.read_bytes = raw.tell()

    def item_at(self, at: int) -> bytes:
        """The JSON of the record at an offset. Raises ``OSError``."""
        with self._path.open("rb") as raw, unpacked(self._path, raw) as text:
            form = _form_of(text.read(BEGIN_BYTES), self._path)
            text.seek(0)
            found = (item.content for item in form(text, self._path, at) if item.at == at)
            return next(found, b"")


def _form_of(begin: bytes, path: Path) -> Any:
    text = begin.removeprefix(BOM).lstrip()
    if begin.startswith(WIDE_BOMS):
        return _wide
    if text.startswith(b"["):
        return _array
    is_csv = path.name.removesuffix(".gz").lower().endswith((".csv", ".tsv"))
    return _csv if is_csv or _is_header(text.partition(b"\n")[0]) else _json_lines


def _wide(text: IO[bytes], path: Path, _from: int = 0) -> Iterator[Item]:
    """Recognise a UTF-16 file, as some programs write it, so that the error can name it."""
    yield Item(text.read(2), f"{path}:1", 0, "the file is UTF-16; save it as UTF-8")


def _json_lines(text: IO[bytes], path: Path, begin: int = 0) -> Iterator[Item]:
    text.seek(begin)
    at = begin
    for number, line in enumerate(text, 1):
        content = (line if at else line.removeprefix(BOM)).strip()
        if content:
            yield Item(content, f"{path}:{number}", at)
        at += len(line)


def _array(text: IO[bytes], path: Path, _from: int = 0) -> Iterator[Item]:
    data = text.read()
    try:
        whole = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield Item(b"", f"{path}", 0, f"byte {error.start} is not UTF-8")
        return
    decoder, skip = json.JSONDecoder(), re.compile(r"[\s,]*")
    position, number, line, counted = whole.index("[") + 1, 0, 1, 0
    while True:
        position = cast("re.Match[str]", skip.match(whole, position)).end()
        line, counted = line + whole.count("\n", counted, position), position
        if whole.startswith("]", position):
            if whole[position + 1 :].strip():
                yield Item(b"", f"{path}:{line}", position, "something stands behind the array's end")
            return
        number += 1
        place = f"{path}:{line} (record {number})"
        try:
            _, end = decoder.raw_decode(whole, position)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "it is nested too deeply"
            yield Item(b"", place, position, f"the array cannot be read from here on: {reason}")
            return
        yield Item(whole[position:end].encode(), place, position)
        position = end


class _Counted:
    """The lines of a file for ``csv``; it counts how far the reader came."""

    def __init__(self, text: IO[bytes]) -> None:
        self._text = text
        self.at = 0
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.at += len(line)
            self.line += 1
            yield line.decode("utf-8-sig" if self.line == 1 else "utf-8")


def _csv(text: IO[bytes], path: Path, _from: int = 0) -> Iterator[Item]:
    lines = _Counted(text)
    csv.field_size_limit(CELL_CHARACTERS_MAX)
    rows = csv.reader(iter(lines), dialect=_dialect(text), strict=True)
    columns: list[str] = []
    while True:
        at, line = lines.at, lines.line + 1
        try:
            row = next(rows, None)
        except (csv.Error, UnicodeDecodeError) as error:
            yield Item(b"", f"{path}:{line}", at, f"the row is no CSV in UTF-8: {error}")
            if isinstance(error, UnicodeDecodeError):
                return
            continue
        if row is None:
            return
        if not columns:
            columns = [name.strip() for name in row]
        elif any(cell.strip() for cell in row):
            yield _row(columns, row, f"{path}:{line}", at)


def _dialect(text: IO[bytes]) -> type[csv.Dialect]:
    """Comma, semicolon or tab: whichever the header has most. Excel writes all three."""
    header = text.read(BEGIN_BYTES).partition(b"\n")[0]
    text.seek(0)

    class _Form(csv.excel):
        delimiter = max(",;\t", key=lambda one: header.count(one.encode()))

    return _Form


def _row(columns: list[str], row: list[str], place: str, at: int) -> Item:
    if len(row) > len(columns):
        return Item(b"", place, at, f"the row has {len(row)} cells, the header names {len(columns)} columns")
    message: dict[str, Any] = {}
    for name, cell in zip(columns, row, strict=False):
        content = cell.strip()
        if content and name:
            outer, dot, inner = name.partition(".")
            if dot and outer in _MAPS:
                message.setdefault(outer, {})[inner] = _plain(content)
            else:
                message[name] = _value(name, content)
    return Item(_json(message), place, at)


def _value(name: str, cell: str) -> Any:
    """A cell as its field needs it: text, a number, a truth value, a list (separated by ``|``), or JSON as it is."""
    kind = _KINDS.get(name)
    if kind is list:
        return [part.strip() for part in cell.split("|")]
    if kind is dict and cell.startswith("{"):
        return msgspec.Raw(cell.encode())
    return _plain(cell) if kind in {float, bool, int} else cell


def _plain(cell: str) -> Any:
    """A number or truth value as in JSON, else text: ``007`` stays text."""
    lowered = cell.lower() if cell.lower() in {"true", "false"} else cell
    return msgspec.Raw(lowered.encode()) if _JSON_WORD.fullmatch(lowered) else cell


_json = msgspec.json.Encoder().encode


def _kinds() -> dict[str, type]:
    """What kind of value each field of any message has, by the field's name."""
    structs = (ContactRequest, Outcome, Profile, ConsentChange, PreferenceChange, SuppressionChange)
    kinds: dict[str, type] = {}
    for struct in structs:
        for name, hint in get_type_hints(struct).items():
            kinds.setdefault(name, _kind_of(hint))
    return kinds


def _kind_of(hint: Any) -> type:
    origin = get_origin(hint)
    if origin is Annotated:
        return _kind_of(get_args(hint)[0])
    if origin in {Union, UnionType}:
        return _kind_of(next(one for one in get_args(hint) if one is not type(None)))
    kind = origin or hint
    if isinstance(kind, type) and issubclass(kind, Struct):
        return dict
    return kind if isinstance(kind, type) else str


_KINDS: Final = _kinds()


def _is_header(line: bytes) -> bool:
    """Whether a first line names columns: it has the customer's column and no braces."""
    names = {name.strip(' "\r\t') for name in re.split("[,;\t]", line.decode("utf-8", "replace"))}
    return "customer_id" in names


def unpacked(file: Path, raw: IO[bytes]) -> IO[bytes]:
    """The bytes of a file that is open as ``raw``; ``.gz`` is unpacked."""
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if file.suffix == ".gz" else raw
