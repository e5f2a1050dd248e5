"""Parties kept in memory while the worker owns their partition: nobody else writes them, so they cannot be stale.

The most recently used parties are kept decoded, the others as their bytes.
"""

from __future__ import annotations

from collections import OrderedDict

from arbiter.engine.events import Mode
from arbiter.engine.party import Party, Review, awaits
from arbiter.engine.state import Context, QueueKey
from arbiter.ledger.capacity import CapacityJournal
from arbiter.ledger.model import Decision, Ledger
from arbiter.policy.ruleset import NO_STOCK
from arbiter.state.codec import unpack_ledger
from arbiter.worker.partition.inputs import Input

ENTRY_BYTES = 200
"""What an entry costs beside its bytes: the key, two objects, a link of the ordered dict."""

PARTY_BYTES, PARTY_FACTOR = 2_000, 8
"""What a decoded party costs: so many bytes, and so many times its packed bytes.

A tenth more at most than tracemalloc found for 20,000 parties of the load test's traffic, pending requests decoded:
3,828 bytes where 215 are packed, 5,225 for 411, 6,622 for 595, 9,886 for 1,071.
"""

Step = tuple[Input | Review | None, int, Mode]
"""An event of a party in a batch: what happened, when (ms), and how it was applied."""

NO_JOURNAL = CapacityJournal(NO_STOCK)
NO_WAITS: frozenset[tuple[str, QueueKey]] = frozenset()


class StoredParty(Party):
    """A party as the store has it, and as it is now.

    ``packed`` are the bytes of the last commit (``None`` for a new party), ``known_due_ms``, ``known_queue_key`` and
    ``waits`` what the store knows of when it comes back and what it waits for. In the current batch: ``steps`` are
    what it went through, ``loaded`` the answers that were read, ``context`` is what events are applied under,
    ``opened_ms`` the end of the last permit that it got, ``repacked`` its bytes to be. ``cost`` is what it takes of the
    cache.
    """

    __slots__ = (
        "context",
        "cost",
        "journal",
        "known_due_ms",
        "known_queue_key",
        "loaded",
        "name",
        "opened_ms",
        "packed",
        "repacked",
        "steps",
        "waits",
    )

    context: Context

    def __init__(self, name: str, packed: bytes | None) -> None:
        """:class:`~arbiter.state.codec.CodecError` for what cannot be read."""
        super().__init__(fresh(packed))
        self.name = name
        self.cost = 0
        self.repacked = packed
        self.waits = self.waiting_for()
        self.steps: list[Step] = []
        self.committed()

    def rewind(self) -> None:
        """Restore the state that the store has. Unpacked requests stay unpacked: they do not change."""
        self.ledger = fresh(self.packed)
        self.answers, self.changed = dict(self.loaded), {}
        self.set_timer()

    def committed(self) -> None:
        """The store has the state of now."""
        if self.steps:
            if self.waits or self.ledger.waiting:
                self.waits = self.waiting_for()
            if len(self.requests) > len(self.ledger.waiting) + len(self.ledger.open):
                self.forget_requests()
            self.steps = []
        self.packed = self.repacked
        self.known_due_ms, self.known_queue_key = self.due_ms, self.queue_key
        self.journal = NO_JOURNAL
        self.loaded: dict[bytes, Decision] = {}
        self.answers = {}
        self.changed = {}
        self.opened_ms = 0

    def waiting_for(self) -> frozenset[tuple[str, QueueKey]]:
        """What it waits for of what all customers share, and its turn."""
        found = awaits(self.ledger)
        return frozenset(found.items()) if found else NO_WAITS


def fresh(packed: bytes | None) -> Ledger:
    """A ledger that shares nothing with any other."""
    return Ledger() if packed is None else unpack_ledger(packed)


class PartyCache:
    """Parties of one partition, the least recently used dropped first, bounded in bytes.

    As they are they take at most half of the room; then only their bytes are kept. Whoever takes one changes it in
    place: it is given back as it was committed, or else only as its bytes.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._ready: OrderedDict[str, StoredParty] = OrderedDict()
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._ready_bytes = 0
        self._packed_bytes = 0

    @property
    def size(self) -> int:
        """What it takes."""
        return self._ready_bytes + self._packed_bytes

    def take(self, name: str) -> StoredParty | bytes | None:
        """The party, or its bytes, if it is here; from now on it is the caller's."""
        party = self._ready.pop(name, None)
        if party is not None:
            self._ready_bytes -= party.cost
            return party
        packed = self._packed.pop(name, None)
        if packed is not None:
            self._packed_bytes -= len(packed) + ENTRY_BYTES
        return packed

    def put(self, party: StoredParty) -> None:
        """Keep it as it was committed."""
        self._ready[party.name] = party
        party.cost = PARTY_BYTES + ENTRY_BYTES + PARTY_FACTOR * len(party.packed or b"")
        self._ready_bytes += party.cost
        while self._ready and 2 * self._ready_bytes > self._bytes_max:
            name, oldest = self._ready.popitem(last=False)
            self._ready_bytes -= oldest.cost
            self.put_packed(name, oldest.packed)
        if self._packed and self._packed_bytes + self._ready_bytes > self._bytes_max:
            self._shrink()

    def put_packed(self, name: str, packed: bytes | None) -> None:
        """Keep its bytes, if it has any."""
        if packed is not None:
            self._packed[name] = packed
            self._packed_bytes += len(packed) + ENTRY_BYTES
            self._shrink()

    def _shrink(self) -> None:
        while self._packed and self._packed_bytes + self._ready_bytes > self._bytes_max:
            _, packed = self._packed.popitem(last=False)
            self._packed_bytes -= len(packed) + ENTRY_BYTES
