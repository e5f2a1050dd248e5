"""A batch, decided on the capacity that there is believed to be; again, if that turns out to be wrong."""

from __future__ import annotations

import asyncio

from arbiter.core.policy import Policy
from arbiter.messages import DECISIONS, ROUTED
from arbiter.state.store import Head
from arbiter.stream.deciding import Batch, Loaded
from arbiter.stream.items import CONSENT_RANK_MAX
from arbiter.stream.patience import Patience, Shared
from arbiter.stream.routing import Routing
from arbiter.stream.tokens import Tokens
from arbiter.stream.work import Work

DECIDED_MAX = 5
"""How often a batch is decided when there turns out to be more or less capacity than was believed."""

ITEMS_MIN, ITEMS_MAX = 100, 100_000
"""How many records are decided at a time. Fewer, the more often they have to be decided again; then slowly more."""

ITEMS_GROWTH = 1.25
OUTBOX_BYTES_MAX = 4 * 1024 * 1024
YIELD_EVERY = 200
"""How many decisions may keep the other partitions and the health checks waiting."""


class Judging:
    """Decides the batches of one partition."""

    def __init__(self, shared: Shared, partition: int, patience: Patience, tokens: Tokens) -> None:
        self._shared = shared
        self._partition = partition
        self._patience = patience
        self._tokens = tokens
        self._items_max = ITEMS_MAX

    async def decide(
        self,
        policy: Policy,
        work: Work,
        head: Head,
        ledgers: dict[str, Loaded],
        *,
        is_reading_facts: bool,
    ) -> tuple[Batch, int | None]:
        """The batch, decided, to be the commit after ``head``; and the index of the first item that does not fit in.

        ``ledgers`` has every party of the work.
        """
        for number in range(1, DECIDED_MAX + 1):
            batch = await self._batch(policy, work, head, ledgers, is_reading_facts=is_reading_facts)
            stock = self._tokens.stock(is_last_try=number == DECIDED_MAX)
            batch.draw_on(stock)
            late_from = await self._decide_all(batch, work)
            if await self._tokens.cover(policy, stock, work.now_ms):
                self._items_max = min(int(self._items_max * ITEMS_GROWTH), ITEMS_MAX)
                break
            self._items_max = max(min(self._items_max, len(work.items)) // 2, ITEMS_MIN)
        return batch, late_from

    def routing(self, head: Head) -> Routing:
        """What goes between partitions in the commit after ``head``; each try of a batch has its own."""
        shared = self._shared
        topic, now_ms = shared.settings.topic(ROUTED), max(head.now_ms, shared.clock.now_ms())
        return Routing(topic, self._partition, shared.partitions, head.positions, now_ms)

    async def _batch(
        self, policy: Policy, work: Work, head: Head, ledgers: dict[str, Loaded], *, is_reading_facts: bool
    ) -> Batch:
        """The batch before its decisions, with the answers that repeated requests were given."""
        settings, store = self._shared.settings, self._shared.store
        batch = Batch(
            policy,
            self._partition,
            head.seq + 1,
            work.now_ms,
            settings.topic(DECISIONS),
            ledgers,
            self.routing(head),
            is_event_clock=settings.clock == "event",
            is_reading_facts=is_reading_facts,
        )
        known = batch.answered_before(work.items)
        if known:
            keys = [key for _, key in known]
            batch.give_answers(known, await self._patience.ask(lambda: store.load_answers(self._partition, keys)))
        return batch

    async def _decide_all(self, batch: Batch, work: Work) -> int | None:
        for names, at_any_rate in ((work.due, False), (work.swept, True)):
            for name in names:
                batch.come_back(name, at_any_rate=at_any_rate, recalls=at_any_rate and work.recalls)
                await asyncio.sleep(0)
        late_from = None
        for index, item in enumerate(work.items):
            is_full = index >= self._items_max or batch.outbox_bytes > OUTBOX_BYTES_MAX
            if is_full and item.rank > CONSENT_RANK_MAX:
                late_from = index
                break
            batch.decide(item)
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
        batch.finish(OUTBOX_BYTES_MAX)
        return late_from
