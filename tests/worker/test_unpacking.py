"""Record batches as they come from Kafka: whatever is wrong with one, it is told, bounded, and the next one is read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import cramjam
import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition

from arbiter.messages import REQUESTS
from arbiter.worker.kafka import unpacking
from arbiter.worker.kafka.reader import DeadLetter, Reader
from arbiter.worker.kafka.unpacking import BoundedRecords, OddName, TooLong, TooManyHeaders, Unread, unpacked
from arbiter.worker.partition.dead_letter_record import dead_letter
from tests.servers.raw_kafka import Raw
from tests.servers.raw_kafka import batch as raw_batch

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
LIMIT = 1024 * 1024
Headers = Sequence[tuple[str, bytes]]


@pytest.fixture(autouse=True)
def _lower_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES_MAX", LIMIT)
    monkeypatch.setattr(unpacked, "__defaults__", (LIMIT,))


def batch(base: int, *values: bytes, codec: str = "none", headers: Headers = ()) -> bytes:
    """A batch as a broker gives it: the first record at offset ``base``."""
    builder = DefaultRecordBatchBuilder(2, CODECS[codec], False, -1, -1, -1, 100 * LIMIT)
    for number, value in enumerate(values):
        assert builder.append(number, number, b"k", value, [*headers]) is not None
    return signed(struct.pack(">q", base) + bytes(builder.build())[8:])


def signed(data: bytes) -> bytes:
    """The batch with the checksum of what it is now."""
    return data[:17] + struct.pack(">I", calc_crc32c(data[21:])) + data[21:]


def squeezed(data: bytes, codec: str, body: bytes) -> bytes:
    """A batch of one plain record with this for its body, said to be compressed."""
    head = data[:21] + struct.pack(">h", CODECS[codec]) + data[23:61]
    return signed(head[:8] + struct.pack(">i", len(head) + len(body) - 12) + head[12:] + body)


def read(*batches: bytes, position: int = 0) -> tuple[list[Any], int]:
    """The records that the consumer hands on, and the next position."""
    data = BoundedRecords(b"".join(batches))
    records = PartitionRecords(TopicPartition("t", 0), data, [], position, None, None, True, READ_COMMITTED)
    return list(records), records.next_fetch_offset


def bomb(codec: str, size: int) -> bytes:
    """So many zeros, compressed."""
    zeros = bytes(size)
    if codec == "gzip":
        squeeze = zlib.compressobj(9, wbits=31)
        return squeeze.compress(zeros) + squeeze.flush()
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(zeros))
    return bytes({"lz4": cramjam.lz4, "zstd": cramjam.zstd}[codec].compress(zeros))


@pytest.mark.parametrize("codec", CODECS)
def test_ordinary_batches_are_read_as_ever(codec: str) -> None:
    """All records, with what belongs to them, whatever they were compressed with."""
    values = [b"x" * 9_000, b"", b"z"]
    records, position = read(batch(5, *values, codec=codec, headers=[("h", b"1")]), batch(8, b"y", codec=codec))

    assert [(record.offset, record.value, record.key) for record in records] == [
        (5, values[0], b"k"), (6, b"", b"k"), (7, b"z", b"k"), (8, b"y", b"k")
    ]  # fmt: skip
    assert records[0].headers == (("h", b"1"),)
    assert position == 9


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
def test_a_batch_that_unpacks_to_too_much_is_one_record_that_says_so(codec: str) -> None:
    """It names the offsets that it stands for; the batch before it is read, and the position is behind it."""
    bad = squeezed(batch(1, b"a", b"b", b"c"), codec, bomb(codec, 4 * LIMIT))
    (before, unread), position = read(batch(0, b"before"), bad)

    assert before.value == b"before"
    assert isinstance(unread.value, Unread)
    assert (unread.value.first, unread.offset, position) == (1, 3, 4)
    assert "unpacks to more than 1 MiB" in unread.value.why


@pytest.mark.parametrize("codec", ["gzip", "lz4", "zstd"])
def test_unpacking_ends_at_the_limit(codec: str) -> None:
    """Just as much is unpacked, one byte more is not, also where the data grows a thousandfold."""
    assert unpacked(CODECS[codec], bomb(codec, LIMIT)) == bytes(LIMIT)
    with pytest.raises(TooLong):
        unpacked(CODECS[codec], bomb(codec, LIMIT + 1))


def test_blocks_of_snappy_are_bounded_together() -> None:
    """As Java's clients write it: many blocks, none of which is too long."""
    block = bomb("snappy", LIMIT // 2)
    framed = b"\x82SNAPPY\x00" + bytes(8) + 3 * (struct.pack(">i", len(block)) + block)
    with pytest.raises(TooLong):
        unpacked(2, framed)


@pytest.mark.parametrize("codec", [name for name in CODECS if name != "none"])
@pytest.mark.parametrize("cut", [0, 3, 9])
def test_a_damaged_batch_is_one_record_that_says_so(codec: str, cut: int) -> None:
    """Data that is cut off, or is something else."""
    data = bomb(codec, 1_000)
    for body in (data[: len(data) - 4 - cut], b"garbage" * 3):
        (unread,), position = read(squeezed(batch(7, b"a", b"b"), codec, body))

        assert isinstance(unread.value, Unread)
        assert (unread.value.first, position) == (7, 9)


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_name_that_is_not_utf8_is_handed_on(codec: str) -> None:
    """In a readable form, told from one that is; the other records of the batch are read as ever."""
    plain = batch(3, b"a", b"b", headers=[("caf\u00e9", b"1"), ("good", b"2")])
    odd = plain.replace("caf\u00e9".encode(), b"caf\xe9\xff", 1)
    odd = signed(odd) if codec == "none" else squeezed(odd, codec, packed(codec, odd[61:]))
    (first, second), position = read(odd)

    assert [(name, type(name)) for name, _ in first.headers] == [("caf\\xe9\\xff", OddName), ("good", str)]
    assert (first.value, second.value, second.headers) == (b"a", b"b", (("caf\u00e9", b"1"), ("good", b"2")))
    assert (first.offset, first.timestamp, first.key, position) == (3, 0, b"k", 5)


def packed(codec: str, data: bytes) -> bytes:
    """The data, compressed."""
    module = {"gzip": cramjam.gzip, "lz4": cramjam.lz4, "zstd": cramjam.zstd}.get(codec)
    return bytes(cramjam.snappy.compress_raw(data) if module is None else module.compress(data))


def test_records_that_do_not_fit_in_their_batch_are_told() -> None:
    """What could be read before is read; the rest is one record that says from where on."""
    data = bytearray(batch(0, b"a", b"bb", b"c"))
    data[data.index(b"bb") - 1] = 0x7E
    records, position = read(signed(bytes(data)))

    assert records[0].value == b"a"
    assert isinstance(records[-1].value, Unread)
    assert (records[-1].value.first, records[-1].offset, position) == (1, 2, 3)


def test_a_fetch_is_unpacked_only_so_far() -> None:
    """What is left is fetched again, from the position that was reached."""
    batches = [batch(number, bytes(LIMIT // 2), codec="zstd") for number in range(5)]
    records, position = read(*batches)

    assert [record.offset for record in records] == [0, 1]
    assert position == 2


def test_a_batch_that_is_cut_off_is_left_for_the_next_fetch() -> None:
    """As brokers send them at the end of what they send."""
    whole = batch(0, b"a")
    records, position = read(whole, batch(1, b"b")[:-1])

    assert ([record.value for record in records], position) == ([b"a"], 1)
    assert not BoundedRecords(whole[:9]).has_next()


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_record_with_millions_of_headers_is_not_held_with_them(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its value is read, its neighbours with their headers; it becomes a letter that says how many there were."""
    monkeypatch.setattr(unpacking, "UNPACKED_BYTES_MAX", 8 * LIMIT)
    monkeypatch.setattr(unpacked, "__defaults__", (8 * LIMIT,))
    many = Raw(b"value", b"key", [(b"", b"")] * (LIMIT + 1))
    data = raw_batch(Raw(b"a", None, [(b"h", b"1")]), many, Raw(b"b"), codec=codec)
    (before, odd, after), position = read(data)

    assert (before.value, before.headers, after.value, position) == (b"a", (("h", b"1"),), b"b", 3)
    assert (odd.value, odd.key, [*odd.headers]) == (b"value", b"key", [("1,048,577 headers", None)])
    assert type(odd.headers[0][0]) is TooManyHeaders
    letter = Reader(REQUESTS, 9_999, is_wall_clock=True).read(odd, 0)
    assert isinstance(letter, DeadLetter)
    assert (letter.code, letter.message) == ("oversized", "the record has 1,048,577 headers, at most 10,000 are read")
    assert "1,048,577 headers" not in dict(dead_letter(odd, letter, "g", "b", 0, 1).headers)
