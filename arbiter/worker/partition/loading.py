"""The ledgers of a batch: from the cache or the store; and which of its records do not belong here at all."""

from __future__ import annotations

import logging

from arbiter.ledger.keys import id_of
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.partition.aside import UNREADABLE_STATE
from arbiter.worker.partition.cache import LedgerCache
from arbiter.worker.partition.deciding import Batch
from arbiter.worker.partition.patience import Patience, Shared
from arbiter.worker.partition.steps import Loaded
from arbiter.worker.partition.work import Work

log = logging.getLogger("arbiter")


class Loading:
    """The ledgers of one partition, under one claim. ``set_aside`` are the parties that cannot be read."""

    def __init__(
        self, shared: Shared, partition: int, cache_bytes: int, patience: Patience, set_aside: set[str]
    ) -> None:
        self._shared = shared
        self._partition = partition
        self._patience = patience
        self._cache = LedgerCache(cache_bytes)
        self._set_aside = set_aside

    async def load(self, work: Work) -> dict[str, Loaded]:
        """The ledgers of all parties; and records whose customer lives elsewhere leave the batch."""
        metrics, turn = self._shared.metrics, self._shared.turn
        parties = dict.fromkeys([*(item.party for item in work.items), *work.due, *work.swept, *work.woken])
        ledgers = {party: self._cache.get(party) for party in parties}
        missing = [party for party, packed in ledgers.items() if packed is None]
        metrics.cache_hits.inc(len(parties) - len(missing))
        loaded = await self._patience.ask(lambda: turn.load(self._partition, missing))
        if missing:
            metrics.cache_misses.inc(len(missing))
            ledgers.update(zip(missing, loaded, strict=True))
            arriving = {item.party for item in work.items if item.parcel is None}
            self._send_home(work, {party for party in arriving if ledgers[party] is None})
        # Last, and without waiting in between: what is taken from the cache here is changed by the batch.
        return {party: Loaded(packed, self._cache.take(party)) for party, packed in ledgers.items()}

    def _send_home(self, work: Work, strangers: set[str]) -> None:
        """A party without a ledger may live elsewhere (who has one here lives here): then its records go there."""
        homes = {party: partition_of(id_of(party), self._shared.partitions) for party in strangers}
        away = {party: home for party, home in homes.items() if home != self._partition}
        if away:
            work.send_home(away)

    def note(self, batch: Batch) -> None:
        """Say which parties cannot be read, each once; who can be read again is one of the others."""
        aside = self._set_aside
        if not aside and not batch.set_aside:
            return
        for why in (why for party, why in batch.set_aside.items() if party not in aside):
            self._shared.metrics.alarms.labels(UNREADABLE_STATE).inc()
            log.error(
                "partition %d: a party is set aside, its records become dead letters (%s): %s",
                self._partition, UNREADABLE_STATE, why,
            )  # fmt: skip
        aside.difference_update(batch.parties)
        aside.update(batch.set_aside)

    def adopt(self, batch: Batch) -> None:
        """Keep the ledgers as they were committed."""
        for party, packed, ledger in batch.unpacked():
            self._cache.put(party, packed, ledger)
