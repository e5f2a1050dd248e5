"""A batch, decided; what a step drew on of what all share is asked for before the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from arbiter.messages import DECISIONS, ROUTED
from arbiter.policy.ruleset import Policy
from arbiter.state.store import Head
from arbiter.worker.partition.deciding import OUTBOX_BYTES_MAX, Batch
from arbiter.worker.partition.drawing import Unsettled
from arbiter.worker.partition.items import CONSENT_RANK_MAX, Item
from arbiter.worker.partition.patience import Patience, Shared
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.steps import Loaded
from arbiter.worker.partition.tokens import Tokens, TokenStock
from arbiter.worker.partition.work import Work

STEP_TRIES = 5
"""How often a step is taken when there turns out to be more or less capacity than was believed."""

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
            is_closed=work.is_closed,
            cut_line=work.due if work.is_line_cut else (),
        )
        known = batch.answered_before(work.items)
        if known:
            keys = [key for _, key in known]
            batch.give_answers(known, await self._patience.ask(lambda: store.load_answers(self._partition, keys)))
        return batch

    async def _decide_all(self, batch: Batch, work: Work, stock: TokenStock) -> int | None:
        is_event_clock = self._shared.settings.clock == "event"
        if is_event_clock:
            await self._pass(batch, batch.now_ms, stock)
        looks = [(name, False) for name in work.due]
        looks += [(name, True) for name in [*work.woken, *work.swept]]
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
            if (is_event_clock or batch.is_closed) and not await self._reach(batch, item, stock):
                late_from = index
                break
            try:  # as `_take`, without its calls: this runs for each record
                batch.decide(item)
            except Unsettled as unsettled:
                await self._settle(partial(batch.decide, item), stock, unsettled)
            if index % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
        if is_event_clock:
            await self._pass(batch, max(batch.now_ms, work.until_ms), stock)
        else:
            await self._take(batch.finish, stock)
        return late_from

    async def _reach(self, batch: Batch, item: Item, stock: TokenStock) -> bool:
        """Whether the item's time has come, in event time after all timers on the way; or it is for the next commit."""
        at_ms = batch.moment_of(item)
        await self._pass(batch, batch.now_ms if at_ms is None else at_ms, stock)
        return at_ms is None or batch.reach(at_ms)

    async def _pass(self, batch: Batch, to_ms: int, stock: TokenStock) -> None:
        """Under the event clock: let come back who is due on the way to an instant."""
        passed = 0
        while batch.is_due(to_ms):
            await self._take(batch.pass_timer, stock)
            passed += 1
            if passed % LOOKS_EVERY == 0:
                await asyncio.sleep(0)

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
