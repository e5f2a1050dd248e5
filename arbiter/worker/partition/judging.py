"""A batch, decided; what it needs to know on the way is fetched for it."""

from __future__ import annotations

import asyncio

from arbiter.messages import DECISIONS, ROUTED
from arbiter.policy.ruleset import Policy
from arbiter.state.store import Head
from arbiter.worker.partition.aside import Aside
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.deciding import Answers, Batch, Capacity, Need
from arbiter.worker.partition.patience import Patience, Shared
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.tokens import Tokens, TokenStock
from arbiter.worker.partition.work import Work


class Judging:
    """Decides the batches of one partition."""

    def __init__(self, shared: Shared, partition: int, patience: Patience, tokens: Tokens) -> None:
        self._shared = shared
        self._partition = partition
        self._patience = patience
        self._tokens = tokens

    async def decide(
        self,
        policy: Policy,
        work: Work,
        head: Head,
        parties: dict[str, StoredParty],
        aside: Aside,
        *,
        is_reading_facts: bool,
    ) -> Batch:
        """The batch, decided, to be the commit after ``head``; the parties are those of the work."""
        settings = self._shared.settings
        stock = self._tokens.stock(policy, work.now_ms)
        batch = Batch(
            policy,
            self._partition,
            head.seq + 1,
            settings.topic(DECISIONS),
            parties,
            aside,
            self.routing(head),
            stock,
            is_event_clock=settings.clock == "event",
            is_reading_facts=is_reading_facts,
        )
        deciding, found = batch.decide(work), None
        try:
            while True:
                found = await self._fetch(deciding.send(found), stock)
        except StopIteration:
            return batch

    def routing(self, head: Head) -> Routing:
        """What goes between partitions in the commit after ``head``; each try of a batch has its own."""
        shared = self._shared
        topic, now_ms = shared.settings.topic(ROUTED), max(head.now_ms, shared.clock.now_ms())
        return Routing(topic, self._partition, shared.partitions, head.positions, now_ms)

    async def _fetch(self, need: Need, stock: TokenStock) -> list[bytes | None] | None:
        """What a batch needs before it can go on."""
        if isinstance(need, Answers):
            keys, store = need.keys, self._shared.store
            return await self._patience.ask(lambda: store.load_answers(self._partition, keys))
        if isinstance(need, Capacity):
            await self._tokens.cover(stock, need.questions)
        else:
            await asyncio.sleep(0)
        return None
