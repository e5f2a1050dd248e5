"""Where a simulation keeps hundreds of thousands of parties: packed as in Redis, the last used ones unpacked."""

from __future__ import annotations

from collections.abc import Iterator

from arbiter.engine.party import Party
from arbiter.ledger.identity import ANSWERS_KEPT_MS
from arbiter.ledger.model import Decision, Ledger
from arbiter.state.answers import pack_decision, unpack_decision
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.timing.instants import DAY_MS

OPEN_MAX = 20_000
"""Parties that are kept as they are, the last used; about 4 KB each, where a packed one has 300 bytes."""


class PackedShelf:
    """A ``simulate.Storage`` with packed ledgers."""

    def __init__(self, open_max: int = OPEN_MAX) -> None:
        self._open: dict[str, Party] = {}
        self._packed: dict[str, bytes] = {}
        self._open_max = open_max
        # By the day on which they were kept, so that old ones are forgotten a day at a time.
        self._answers: dict[int, dict[bytes, bytes]] = {}

    def take(self, name: str) -> Party:
        """See ``Storage.take``."""
        party = self._open.pop(name, None)
        if party is not None:
            return party
        packed = self._packed.get(name)
        return Party(Ledger() if packed is None else unpack_ledger(packed))

    def put(self, name: str, party: Party) -> None:
        """See ``Storage.put``."""
        self._open[name] = party
        if len(self._open) > self._open_max:
            oldest = next(iter(self._open))
            self._packed[oldest] = pack_ledger(self._open.pop(oldest).ledger)

    def answer(self, key: bytes) -> Decision | None:
        """See ``Storage.answer``."""
        for day in sorted(self._answers, reverse=True):
            if key in self._answers[day]:
                return unpack_decision(self._answers[day][key])
        return None

    def keep(self, key: bytes, decision: Decision, now_ms: int) -> None:
        """See ``Storage.keep``."""
        day = now_ms // DAY_MS
        answers = self._answers.get(day)
        if answers is None:
            answers = self._answers[day] = {}
            for old in [one for one in self._answers if one < day - ANSWERS_KEPT_MS // DAY_MS - 1]:
                del self._answers[old]
        answers[key] = pack_decision(decision)

    def ledgers(self) -> Iterator[tuple[str, Ledger]]:
        """Every party with its ledger. Treat the ledgers as read-only."""
        for name, packed in self._packed.items():
            if name not in self._open:
                yield name, unpack_ledger(packed)
        for name, party in self._open.items():
            yield name, party.ledger
