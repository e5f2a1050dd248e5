"""Kafka's record batches as the consumer reads them: bounded when unpacked, and never a reason to stop reading.

aiokafka unpacks a batch whatever it grows to, and raises for a header name that is not UTF-8. Here a batch that cannot
be unpacked, or that would grow beyond :data:`UNPACKED_BYTES_MAX`, is handed on as one record whose value is an
:class:`Unread`, and such a name as an :class:`OddName`: both become dead letters, and their neighbours are read.
"""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint
from msgspec import Struct

UNPACKED_BYTES_MAX: Final = 64 * 1024 * 1024
"""How much a batch may unpack to, and about how much of a partition is unpacked per fetch."""

SCRATCH_BYTES: Final = 1024 * 1024
GROWTH: Final = 8
"""Room to unpack into, which is enough for nearly every batch, and by how much more is tried then."""

HEADERS_MAX: Final = 10_000
LONG_BYTES: Final = 1024 * 1024
"""A batch up to this length cannot have so many headers that they would not fit in memory."""

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_ATTRIBUTES: Final = slice(21, 23)
_LENGTH: Final = struct.Struct(">i")
_OVERHEAD: Final = 12  # offset and length, before what the length counts
_MAGIC: Final = 16
_CODEC: Final = 0x07
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = 16


class TooLong(Exception):
    """It would unpack to more than it may."""


class Unread(bytes):
    """The value of a record that stands for records which cannot be read, from offset ``first`` to its own."""

    first: int
    why: str

    @classmethod
    def of(cls, first: int, why: str) -> Unread:
        """No bytes, and why."""
        unread = cls()
        unread.first, unread.why = first, why
        return unread


class OddName(str):
    """The name of a header that is not UTF-8: its other bytes are written as ``\\xff``."""

    __slots__ = ()


class TooManyHeaders(str):
    """In the place of all headers of a record that has so many that to hold them would take gigabytes."""

    __slots__ = ()


class _Record(Struct):
    """A record as aiokafka gives it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class BoundedRecords:
    """In the place of aiokafka's ``MemoryRecords``: the batches of one partition that a fetch brought."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._unpacked = 0

    def size_in_bytes(self) -> int:
        """How many bytes were fetched."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether there is another whole batch; what is left when much was unpacked is fetched again."""
        return self._unpacked < UNPACKED_BYTES_MAX and self._end() <= len(self._data)

    def _end(self) -> int:
        if len(self._data) - self._at < _OVERHEAD:
            return len(self._data) + 1
        length: int = _LENGTH.unpack_from(self._data, self._at + 8)[0]
        return self._at + _OVERHEAD + length

    def next_batch(self) -> Any:
        """The next batch."""
        end = self._end()
        data = self._data[self._at : end]
        self._at = end
        if len(data) <= _HEADER.size or data[_MAGIC] < 2:  # noqa: PLR2004 - older formats are aiokafka's own business
            return MemoryRecords(data).next_batch()
        return BoundedBatch(data, self._count)

    def _count(self, unpacked: int) -> None:
        self._unpacked += unpacked


class BoundedBatch:
    """In the place of aiokafka's ``DefaultRecordBatch``, which it uses where nothing is wrong."""

    def __init__(self, data: bytes, unpacked: Callable[[int], None]) -> None:
        """``unpacked`` is called with how many bytes it took."""
        self._data = data
        self._stock = DefaultRecordBatch(data)
        self._on_unpacked = unpacked
        self.base_offset: int = self._stock.base_offset
        self.next_offset: int = self._stock.next_offset
        self.producer_id: int = self._stock.producer_id
        self.is_control_batch: bool = self._stock.is_control_batch
        self.is_transactional: bool = self._stock.is_transactional

    def validate_crc(self) -> bool:
        """Whether the bytes are those that were sent."""
        return bool(self._stock.validate_crc())

    def __next__(self) -> Any:
        """Used for control batches only, which are not compressed."""
        return next(self._stock)

    def __iter__(self) -> Iterator[Any]:
        """The records; what cannot be read of them as one record that says so."""
        next_to_read = self.base_offset
        try:
            plain = self._plain()
            stock = self._stock if plain is self._data else DefaultRecordBatch(plain)
            try:
                if len(plain) > LONG_BYTES and any(count > HEADERS_MAX for count in _header_counts(plain)):
                    raise CorruptRecordException("a record has too many headers")
                for record in stock:
                    yield record
                    next_to_read = record.offset + 1
            except (UnicodeDecodeError, CorruptRecordException):
                for record in _read(plain):
                    if record.offset >= next_to_read:
                        yield record
                        next_to_read = record.offset + 1
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a batch, what stands behind it is read
            last = self.next_offset - 1
            why = Unread.of(next_to_read, str(error) or type(error).__name__)
            yield _Record(last, self._stock.max_timestamp, 0, None, why, [])

    def _plain(self) -> bytes:
        """The batch, not compressed."""
        codec = self._stock.compression_type
        if not codec:
            self._on_unpacked(len(self._data))
            return self._data
        body = unpacked(codec, self._data[_HEADER.size :])
        self._on_unpacked(len(body))
        attributes = int.from_bytes(self._data[_ATTRIBUTES], "big") & ~_CODEC
        head = self._data[: _ATTRIBUTES.start] + attributes.to_bytes(2, "big")
        return head + self._data[_ATTRIBUTES.stop : _HEADER.size] + body


def unpacked(codec: int, data: bytes, limit: int = UNPACKED_BYTES_MAX) -> bytes:
    """What was compressed; :class:`TooLong`, or another error where the data is damaged."""
    return _CODECS[codec](data, limit)


def _gunzip(data: bytes, limit: int) -> bytes:
    out = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        out += member.decompress(data, limit + 1 - len(out))
        _check(len(out), limit)
        if not member.eof:
            raise CorruptRecordException("gzip: the data is cut off")
        data = member.unused_data
    return out


def _unsnappy(data: bytes, limit: int) -> bytes:
    blocks = [data]
    if data.startswith(_XERIAL):
        blocks, at = [], _XERIAL_HEADER
        while at < len(data):
            size: int = _LENGTH.unpack_from(data, at)[0]
            if size < 0:
                raise CorruptRecordException("snappy: a block has a negative size")
            blocks.append(data[at + 4 : at + 4 + size])
            at += 4 + size
    _check(sum(cramjam.snappy.decompress_raw_len(block) for block in blocks), limit)
    return b"".join(bytes(cramjam.snappy.decompress_raw(block)) for block in blocks)


class _Scratch(threading.local):
    """Room that each thread uses again and again: to make some takes longer than to fill it."""

    def __init__(self) -> None:
        self.room = bytearray(SCRATCH_BYTES)


_scratch: Final = _Scratch()


def _growing(decompress_into: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], bytes]:
    """Unpack into a buffer that grows: data that does not state its length fails if the buffer is too small."""

    def unpack(data: bytes, limit: int) -> bytes:
        room = _scratch.room
        while True:
            try:
                size = decompress_into(data, room)
            except cramjam.DecompressionError as error:
                if "whole buffer" not in str(error):
                    raise
                _check(len(room) + 1, limit)
                room = bytearray(min(GROWTH * len(room), max(limit, len(room) + 1)))
            else:
                _check(size, limit)
                return bytes(memoryview(room)[:size])

    return unpack


def _check(size: int, limit: int) -> None:
    if size > limit:
        raise TooLong(f"it unpacks to more than {limit // 1024**2} MiB")


_CODECS: Final[dict[int, Callable[[bytes, int], bytes]]] = {
    1: _gunzip,
    2: _unsnappy,
    3: _growing(cramjam.lz4.decompress_into),
    4: _growing(cramjam.zstd.decompress_into),
}


def _read(batch: bytes) -> Iterator[_Record]:
    """The records of a batch that is not compressed, with any header names. (Kafka: "Record Batch", format 2.)"""
    base, _, _, _, _, attributes, _, first_ms, max_ms, *_, count = _HEADER.unpack_from(batch)
    is_log_time, at = bool(attributes & 0x08), _HEADER.size
    for _ in range(count):
        length, at = decode_varint(batch, at)
        end = at + length
        if not at < end <= len(batch):
            raise CorruptRecordException("a record reaches beyond its batch")
        delta_ms, at = decode_varint(batch, at + 1)
        delta, at = decode_varint(batch, at)
        key, at = _bytes(batch, at)
        value, at = _bytes(batch, at)
        headers, at = _headers(batch, at, end)
        if at != end:
            raise CorruptRecordException("a record is not as long as it says")
        yield _Record(base + delta, max_ms if is_log_time else first_ms + delta_ms, is_log_time, key, value, headers)


def _header_counts(batch: bytes) -> Iterator[int]:
    """How many headers each record has, without reading them."""
    at, count = _HEADER.size, _HEADER.unpack_from(batch)[-1]
    for _ in range(count):
        length, start = decode_varint(batch, at)
        at = start + 1
        for _ in range(2):
            _, at = decode_varint(batch, at)
        for _ in range(2):
            size, at = decode_varint(batch, at)
            at += max(size, 0)
        yield decode_varint(batch, at)[0]
        at = start + length


def _headers(batch: bytes, at: int, end: int) -> tuple[list[tuple[str, bytes | None]], int]:
    count, at = decode_varint(batch, at)
    if count > HEADERS_MAX:
        return [(TooManyHeaders(f"{count:,} headers"), None)], end
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(count):
        name, at = _bytes(batch, at)
        value, at = _bytes(batch, at)
        headers.append((_name(name or b""), value))
    return headers, at


def _name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return OddName(name.decode("utf-8", "backslashreplace"))


def _bytes(batch: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(batch, at)
    if length < 0:
        return None, at
    if at + length > len(batch):
        raise CorruptRecordException("a field reaches beyond its batch")
    return batch[at : at + length], at + length
