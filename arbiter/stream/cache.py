"""Ledgers kept in the process while their partition is ours: nobody else writes them, so they cannot be stale."""

from __future__ import annotations

from collections import OrderedDict

ENTRY_BYTES = 200
"""What an entry costs beside its bytes: the key, two objects, a link of the ordered dict."""


class LedgerCache:
    """Packed ledgers of one partition by party, the least recently used dropped first, bounded in bytes."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, party: str) -> bytes | None:
        """The packed ledger, if it is here."""
        packed = self._entries.get(party)
        if packed is not None:
            self._entries.move_to_end(party)
        return packed

    def put(self, party: str, packed: bytes) -> None:
        """Keep what was committed."""
        old = self._entries.pop(party, None)
        if old is not None:
            self._bytes -= len(old) + ENTRY_BYTES
        self._entries[party] = packed
        self._bytes += len(packed) + ENTRY_BYTES
        while self._bytes > self._bytes_max:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= len(dropped) + ENTRY_BYTES
