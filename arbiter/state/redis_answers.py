"""All answers to a customer's requests in one value, one after another, so that a key and its cost are shared.

Each is: when it was written (4 bytes, seconds of the server's clock), its whole length (3 bytes), 8 bytes of the
request's identity, the block of its phrases (1 byte), the packed answer. The last one of an identity stands. The commit
script appends, and drops what is superseded or too old (``commit.lua``).
"""

from __future__ import annotations

from typing import Final

from arbiter.ledger.identity import REF_BYTES
from arbiter.timing.instants import DAY_MS

STAMP_BYTES: Final = 4
LENGTH_BYTES: Final = 3
LENGTH_END: Final = STAMP_BYTES + LENGTH_BYTES
HEAD_BYTES: Final = LENGTH_END + REF_BYTES

BLOCK_MS: Final = 32 * DAY_MS
BLOCKS: Final = 128
"""Blocks of phrases are numbered modulo this: two times that share one, eleven years apart, may share its phrases."""


def block_of(now_ms: int) -> int:
    """The block of phrases for the answers of a commit."""
    return now_ms // BLOCK_MS % BLOCKS


def written_answer(key: bytes, block: int, packed: bytes) -> bytes:
    """An entry as the commit script takes it, which puts the time before it; ``OverflowError`` beyond 16 MiB."""
    return (HEAD_BYTES + 1 + len(packed)).to_bytes(LENGTH_BYTES, "big") + key[:REF_BYTES] + bytes([block]) + packed


def read_answers(log: bytes | None) -> dict[bytes, bytes] | None:
    """By identity the block and the packed answer; ``None`` if the value cannot be read."""
    found: dict[bytes, bytes] = {}
    if log is None:
        return found
    at = 0
    while at < len(log):
        head = at + HEAD_BYTES
        end = at + int.from_bytes(log[at + STAMP_BYTES : at + LENGTH_END], "big")
        if not head < end <= len(log):
            return None
        found[log[at + LENGTH_END : head]] = log[head:end]
        at = end
    return found if log else None
