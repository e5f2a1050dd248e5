"""Which partition a customer's records belong on: what Kafka's own producers choose for a key."""

from __future__ import annotations

import struct

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def murmur2(data: bytes) -> int:
    """The 32-bit hash of ``org.apache.kafka.common.utils.Utils.murmur2``, unsigned."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        mixed = k * _M & _MASK
        mixed = (mixed ^ mixed >> 24) * _M & _MASK
        h = h * _M & _MASK ^ mixed
    if whole != length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(customer_id: str, partitions: int) -> int:
    """The home partition of a customer among ``partitions``: as Kafka's default partitioner does for this key."""
    return (murmur2(customer_id.encode()) & 0x7FFFFFFF) % partitions
