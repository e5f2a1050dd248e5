"""Loads the parties of a batch from the cache or the store, and finds the records that belong to another partition."""

from __future__ import annotations

from collections.abc import Iterable

from arbiter import log_events
from arbiter.engine.input_record import InputRecord
from arbiter.ledger.keys import id_of
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.partition.cache import PartyCache, StoredParty
from arbiter.worker.partition.quarantine import UNREADABLE_STATE, Quarantine
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import Work


class PartyLoader:
    """Loads the parties of one partition, under one claim. ``quarantined`` are those that cannot be read."""

    def __init__(
        self, shared: Shared, partition: int, cache_bytes: int, retry: RetryPolicy, quarantined: set[str]
    ) -> None:
        self._shared = shared
        self._partition = partition
        self._retry = retry
        self._cache = PartyCache(cache_bytes)
        self._lent: dict[str, StoredParty] = {}
        self._quarantined = quarantined

    @property
    def cache_bytes(self) -> int:
        """What its cache takes."""
        return self._cache.size

    async def load(self, work: Work) -> tuple[dict[str, StoredParty], Quarantine]:
        """All parties of the work, and what cannot be read. Records whose customer lives elsewhere leave the work."""
        metrics, turn = self._shared.metrics, self._shared.turn
        for lent in self._lent.values():  # by a batch that was not committed, and may have been changed by it
            self._cache.put_packed(lent.name, lent.packed)
        self._lent = {}
        names = dict.fromkeys([*(one.party for one in work.inputs), *work.due, *work.swept, *work.woken])
        found = {name: self._cache.take(name) for name in names}
        missing = [name for name, party in found.items() if party is None]
        metrics.cache_hits.inc(len(names) - len(missing))
        loaded = await self._retry.ask(lambda: turn.load(self._partition, missing))
        if missing:
            metrics.cache_misses.inc(len(missing))
            found.update(zip(missing, loaded, strict=True))
            arriving = {one.party for one in work.inputs if isinstance(one, InputRecord)}
            self._send_home(work, {name for name in arriving if found[name] is None})
        quarantine = Quarantine()
        for name, party in found.items():
            read = party if isinstance(party, StoredParty) else quarantine.party(name, party)
            if read is not None:
                self._lent[name] = read
        return dict(self._lent), quarantine

    def _send_home(self, work: Work, strangers: set[str]) -> None:
        """A party without a ledger may live elsewhere (who has one here lives here): then its records go there."""
        homes = {party: partition_of(id_of(party), self._shared.partitions) for party in strangers}
        away = {party: home for party, home in homes.items() if home != self._partition}
        if away:
            work.send_home(away)

    def note(self, parties: Iterable[str], quarantine: Quarantine) -> None:
        """Say which parties cannot be read, each once; who can be read again is one of the others."""
        known, unread = self._quarantined, quarantine.parties
        if not known and not unread:
            return
        for why in (why for party, why in unread.items() if party not in known):
            self._shared.metrics.alarms.labels(UNREADABLE_STATE).inc()
            log_events.PARTY_SET_ASIDE(partition=self._partition, code=UNREADABLE_STATE, why=why)
        known.difference_update(parties)
        known.update(unread)

    def adopt(self) -> None:
        """Keep the parties that were loaded last as they were committed."""
        lent, self._lent = self._lent, {}
        for party in lent.values():
            party.committed()
            if party.packed is not None:
                self._cache.put(party)
