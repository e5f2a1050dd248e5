"""A batch, decided; what a step drew on of what all share is asked for before the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from arbiter.core.policy import Policy
from arbiter.messages import DECISIONS, ROUTED
from arbiter.state.store import Head
from arbiter.stream.deciding import Batch, Unsettled
from arbiter.stream.items import CONSENT_RANK_MAX
from arbiter.stream.patience import Patience, Shared
from arbiter.stream.routing import Routing
from arbiter.stream.steps import Loaded
from arbiter.stream.tokens import Tokens, TokenStock
from arbiter.stream.work import Work

STEP_TRIES = 5
"""How often a step is taken when there turns out to be more or less capacity than was believed."""

OUTBOX_BYTES_MAX = 4 * 1024 * 1024
YIELD_EVERY = 200
"""How many decisions may keep the other partitions and the health checks waiting."""

LOOKS_EVERY = 20
"""How many parties are looked at before the others have their turn: much may wait in each."""


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
        ledgers: dict[str, Loaded],
        *,
        is_reading_facts: bool,
    ) -> tuple[Batch, int | None]:
        """The batch, decided, to be the commit after ``head``; and the index of the first item that does not fit in.

        ``ledgers`` has every party of the work.
        """
        batch = await self._batch(policy, work, head, ledgers, is_reading_facts=is_reading_facts)
        stock = self._tokens.stock(policy, work.now_ms)
        batch.draw_on(stock)
        for name in work.given_up:
            batch.give_up(name)
        return batch, await self._decide_all(batch, work, stock)

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

    async def _decide_all(self, batch: Batch, work: Work, stock: TokenStock) -> int | None:
        looks = [(name, False) for name in work.due] + [(name, True) for name in work.swept]
        for index, (name, at_any_rate) in enumerate(looks):
            look = partial(batch.come_back, name, at_any_rate=at_any_rate, recalls=at_any_rate and work.recalls)
            await self._take(look, stock)
            if index % LOOKS_EVERY == 0:
                await asyncio.sleep(0)
        late_from = None
        for index, item in enumerate(work.items):
            if batch.outbox_bytes > OUTBOX_BYTES_MAX and item.rank > CONSENT_RANK_MAX:
                late_from = index
                break
            try:  # as `_take`, without its calls: this runs for each record
                batch.decide(item)
            except Unsettled as unsettled:
                await self._settle(partial(batch.decide, item), stock, unsettled)
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
        await self._take(partial(batch.finish, OUTBOX_BYTES_MAX), stock)
        return late_from

    async def _take(self, steps: Callable[[], None], stock: TokenStock) -> None:
        """Take some steps; what they use of what all share is settled then."""
        try:
            steps()
        except Unsettled as unsettled:
            await self._settle(steps, stock, unsettled)

    async def _settle(self, steps: Callable[[], None], stock: TokenStock, unsettled: Unsettled) -> None:
        """Ask for what a step drew on and take it again, the last time with what was granted and nothing else."""
        tries: dict[tuple[str, int], int] = {}
        while True:
            number = tries[unsettled.step] = tries.get(unsettled.step, 1) + 1
            await self._tokens.cover(stock, unsettled.questions)
            if number > STEP_TRIES:
                # Not even that is there: the tokens of this batch are void. Its commit is refused, and will say why.
                stock.is_void = True
            stock.is_last_try = number >= STEP_TRIES
            try:
                steps()
            except Unsettled as again:
                unsettled = again
            else:
                stock.is_last_try = False
                return
