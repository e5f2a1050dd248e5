"""Record batches byte by byte, and how they come to a broker: what no client library would send."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cramjam
from aiokafka.record.util import calc_crc32c, encode_varint
from msgspec import Struct

PRODUCE, VERSION = 0, 7
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
CHUNK = bytes(16 * 1024 * 1024)
TIMEOUT_SECONDS = 60


class Raw(Struct, frozen=True):
    """A record. ``zeros`` is how many bytes of nothing follow its value; header names are any bytes."""

    value: bytes
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes]] = ()
    zeros: int = 0


def varint(number: int) -> bytes:
    """As Kafka writes lengths."""
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def encoded(records: Sequence[Raw]) -> Iterator[bytes]:
    """The body of a batch, in parts that fit in memory."""
    for number, record in enumerate(records):
        key = varint(-1) if record.key is None else varint(len(record.key)) + record.key
        head = b"\0" + varint(0) + varint(number) + key + varint(len(record.value) + record.zeros) + record.value
        tail = varint(len(record.headers))
        for name, value in record.headers:
            tail += varint(len(name)) + name + varint(len(value)) + value
        yield varint(len(head) + record.zeros + len(tail)) + head
        for at in range(0, record.zeros, len(CHUNK)):
            yield CHUNK[: record.zeros - at]
        yield tail


def compressed(parts: Iterable[bytes], codec: str) -> bytes:
    """The parts as one, compressed."""
    if codec in {"none", "snappy"}:
        body = b"".join(parts)
        return body if codec == "none" else bytes(cramjam.snappy.compress_raw(body))
    squeeze: Any = {"gzip": cramjam.gzip.Compressor, "lz4": _lz4, "zstd": cramjam.zstd.Compressor}[codec]()
    out = b""
    for part in parts:
        squeeze.compress(part)
        out += bytes(squeeze.flush())
    return out + bytes(squeeze.finish())


def _lz4() -> Any:
    """Brokers take independent blocks only."""
    return cramjam.lz4.Compressor(level=1, content_checksum=False, block_linked=False)


def batch(*records: Raw, codec: str = "none", at_ms: int = 0) -> bytes:
    """A batch of records, as a producer sends it."""
    count = len(records)
    body = struct.pack(">hiqqqhii", CODECS[codec], count - 1, at_ms, at_ms, -1, -1, -1, count)
    body += compressed(encoded(records), codec)
    return struct.pack(">qiibI", 0, len(body) + 9, -1, 2, calc_crc32c(body)) + body


def produce(bootstrap: str, topic: str, partition: int, data: bytes) -> int:
    """Hand a batch to the broker (which must lead the partition) and give the offset of its first record."""
    name = topic.encode()
    request = struct.pack(">hhih", PRODUCE, VERSION, 1, -1)
    request += struct.pack(">hhiih", -1, -1, TIMEOUT_SECONDS * 1_000, 1, len(name)) + name
    request += struct.pack(">iii", 1, partition, len(data)) + data
    host, _, port = bootstrap.partition(":")
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        reply = b""
        while len(reply) < 4 or len(reply) < 4 + struct.unpack_from(">i", reply)[0]:
            received = connection.recv(65_536)
            assert received, "the broker hung up"
            reply += received
    _, error, offset = struct.unpack_from(">ihq", reply, 8 + 4 + 2 + len(name) + 4)
    assert error == 0, f"the broker refused the batch: error {error}"
    return int(offset)
