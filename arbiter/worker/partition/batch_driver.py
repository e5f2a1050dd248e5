"""Drives a batch: fetches what it needs to know on the way."""

from __future__ import annotations

import asyncio

from arbiter.messages import DECISIONS
from arbiter.policy.ruleset import Policy
from arbiter.state.store import Head
from arbiter.worker.kafka.topics import department_topics
from arbiter.worker.partition.applying import CapacityNeeded
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.deciding import AnswersNeeded, Batch, Need
from arbiter.worker.partition.output import Output
from arbiter.worker.partition.quarantine import Quarantine
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.tokens import Tokens, TokenStock
from arbiter.worker.partition.work import Work


class BatchDriver:
    """Decides the batches of one partition."""

    def __init__(self, shared: Shared, partition: int, retry: RetryPolicy, tokens: Tokens) -> None:
        self._shared = shared
        self._partition = partition
        self._retry = retry
        self._tokens = tokens
        self._topic = shared.settings.topic(DECISIONS)
        self._department_topics = department_topics(shared.settings)
        self._is_event_clock = shared.settings.clock == "event"

    async def decide(
        self,
        policy: Policy,
        work: Work,
        head: Head,
        parties: dict[str, StoredParty],
        quarantine: Quarantine,
        routing: Routing,
        *,
        is_reading_facts: bool,
    ) -> Batch:
        """The batch, decided, to be the commit after ``head``; the parties are those of the work."""
        stock = self._tokens.stock(policy, work.now_ms)
        batch = Batch(
            policy,
            head.seq + 1,
            parties,
            quarantine,
            routing,
            stock,
            Output(self._topic, self._partition, routing, self._department_topics),
            is_event_clock=self._is_event_clock,
            is_reading_facts=is_reading_facts,
        )
        deciding, found = batch.decide(work), None
        try:
            while True:
                found = await self._fetch(deciding.send(found), stock)
        except StopIteration:
            return batch

    async def _fetch(self, need: Need, stock: TokenStock) -> list[bytes | None] | None:
        """What a batch needs before it can go on."""
        if isinstance(need, AnswersNeeded):
            keys, store = need.keys, self._shared.store
            return await self._retry.ask(lambda: store.load_answers(self._partition, keys))
        if isinstance(need, CapacityNeeded):
            await self._tokens.acquire(stock, need.questions)
        else:
            await asyncio.sleep(0)
        return None
