"""Ledgers kept in the process while their partition is ours: nobody else writes them, so they cannot be stale.

What was decided on last is kept unpacked, ready to be decided on again; what was not needed for a while as its bytes.
"""

from __future__ import annotations

from collections import OrderedDict

from arbiter.ledger.model import Ledger

ENTRY_BYTES = 200
"""What an entry costs beside its bytes: the key, two objects, a link of the ordered dict."""

UNPACKED_BYTES, UNPACKED_FACTOR = 1_500, 10
"""What an unpacked ledger costs: so much, and so many times its packed bytes. Measured on ledgers of the load test."""


class LedgerCache:
    """Ledgers of one partition by party, the least recently used dropped first, bounded in bytes.

    Unpacked ones take at most half of the room. Whoever takes one changes it in place, so it is not kept any more
    until it is put back, as it was committed.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._unpacked: OrderedDict[str, Ledger] = OrderedDict()
        self._bytes = 0
        self._unpacked_bytes = 0

    def get(self, party: str) -> bytes | None:
        """The packed ledger, if it is here."""
        packed = self._packed.get(party)
        if packed is not None:
            self._packed.move_to_end(party)
        return packed

    def take(self, party: str) -> Ledger | None:
        """The same, unpacked, if it is here, to be changed: from now on it is the caller's."""
        ledger = self._unpacked.pop(party, None)
        if ledger is not None:
            self._unpacked_bytes -= _cost(self._packed[party])
        return ledger

    def put(self, party: str, packed: bytes, ledger: Ledger | None = None) -> None:
        """Keep what was committed, also unpacked if it is at hand."""
        self._drop(party)
        self._packed[party] = packed
        self._bytes += len(packed) + ENTRY_BYTES
        if ledger is not None:
            self._unpacked[party] = ledger
            self._unpacked_bytes += _cost(packed)
        while self._unpacked and 2 * self._unpacked_bytes > self._bytes_max:
            oldest, _ = self._unpacked.popitem(last=False)
            self._unpacked_bytes -= _cost(self._packed[oldest])
        while self._bytes + self._unpacked_bytes > self._bytes_max:
            self._drop(next(iter(self._packed)))

    def _drop(self, party: str) -> None:
        self.take(party)
        packed = self._packed.pop(party, None)
        if packed is not None:
            self._bytes -= len(packed) + ENTRY_BYTES


def _cost(packed: bytes) -> int:
    return UNPACKED_BYTES + UNPACKED_FACTOR * len(packed)
