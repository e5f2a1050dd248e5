"""The capacity that one partition may use: an event is applied first, then the tokens that it took are asked for.

An event is applied on what is believed to be left of each window: what was last heard, or enough if nothing was heard.
It stands if the tokens that it took are granted already, and if each window that it found full was asked about in this
batch. Otherwise the partition asks, and applies the event again on what it knows then. If a batch uses a window again
and again, it asks for more tokens each time: as many as it has taken so far. So tokens are set aside only until the
batch is committed, and spare ones go back right after that.

A request that waits is not tried again and again. It is reviewed when a token is free, and only as many requests as
there are free tokens.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from time import monotonic

from msgspec import Struct

from arbiter.ledger.capacity import Draw, Level, Want
from arbiter.policy.ruleset import Policy
from arbiter.state.stock import Ask, Grant, Kept, Spent, ttl_ms
from arbiter.state.store import Commit, Due, Wait
from arbiter.timing.instants import DAY_MS, FAR_MS
from arbiter.worker.partition.global_order import GlobalOrder
from arbiter.worker.partition.retry import RetryPolicy, Shared

RESTOCK_TRIES = 5
RESTOCK_SECONDS = 0.1

WAKE_SECONDS = 1.0
MISSED_SECONDS = 3.0
"""How long (s) a window counts as not counted after it was asked for in vain: who waits for it asks once a second."""

WAKE_MAX = 200
"""How many parties are reviewed at a time because capacity was given back."""

WATCH_SECONDS = 1.0
"""How old a floor's total may be, and how late the other partitions may hear of what is used."""

COUNTED_AHEAD = 50
"""How many tokens more are asked for if a window only counts: there are enough for all."""

KNOWN_SECONDS = 10.0
"""How long a window is remembered after its last use."""


class _Window(Struct):
    """A window as this partition knows it: the committed use, the last grant, and the use reported with that.

    ``asked_at`` is 0 until the first answer.
    """

    kept: Kept
    reported: int = 0
    want: Want | None = None
    asked_at: float = 0.0
    used_at: float = 0.0
    version: int = 0
    grant: Grant = Grant(0, 0, 0, 0)

    @property
    def limit(self) -> int | None:
        """How many there are; ``None``: enough."""
        return self.want.limit if self.want is not None else None

    @property
    def spare(self) -> int:
        """What was granted and is not used."""
        return self.grant.granted - self.kept.used

    @property
    def free(self) -> int:
        """What is granted to nobody, as far as is known."""
        return 0 if self.limit is None else max(self.limit - self.grant.all_granted, 0)

    @property
    def all_used(self) -> int:
        """What all partitions use, as far as is known."""
        return self.grant.all_used + self.kept.used - self.reported

    @property
    def is_news(self) -> bool:
        """Whether to report: spare tokens, so that others may use them, or used ones, so that others stop."""
        return bool(self.spare) or self.reported != self.kept.used

    @property
    def is_urgent(self) -> bool:
        """Whether to report at once: others may wait for these tokens, or nothing else is left for them."""
        return self.limit is not None and (bool(self.spare) or (not self.free and self.reported != self.kept.used))

    def is_old(self, seconds: float) -> bool:
        """Whether it was asked about longer ago than that."""
        return monotonic() >= self.asked_at + seconds


class TokenStock:
    """A :class:`~arbiter.ledger.capacity.Stock` for one batch: what is believed to be left, less what the batch took.

    On the last try of a step it has what was granted and nothing else. ``changes`` is what the batch took and gave
    back; ``questions`` what must be asked before the step under way can stand: of a window that is not known, or not
    as of this batch where nothing was left, or of which more was taken than is granted. A void stock asks nothing any
    more.
    """

    def __init__(self, policy: Policy, now_ms: int, held: Mapping[Draw, _Window], awaited: Collection[str]) -> None:
        """``policy`` says how many there are, at ``now_ms``; ``awaited`` for which windows somebody waits."""
        self.policy = policy
        self.now_ms = now_ms
        self.awaited = awaited
        self.changes: Counter[Draw] = Counter()
        self.questions: dict[Draw, int] = {}
        self.is_last_try = False
        self.is_void = False
        self._held = held
        self._begun_at = monotonic()

    def level(self, draw: Draw, limit: int) -> Level | None:  # noqa: ARG002 - it is known with the window
        """See ``Stock.level``."""
        held, taken = self._held.get(draw), self.changes[draw]
        if held is None or not held.asked_at:
            return Level(-taken, 0) if self.is_last_try else None
        left = held.spare if self.is_last_try else held.spare + held.free
        # Once in a batch at most, or it would never be settled.
        if held.asked_at < self._begun_at and (held.is_old(WATCH_SECONDS) if held.limit is None else taken >= left):
            self._ask(draw)
        return Level(left - taken, held.all_used + taken, held.grant.is_open)

    def need(self, draw: Draw) -> None:
        """See ``Stock.need``."""
        held = self._held.get(draw)
        if held is None or not held.asked_at:
            self._ask(draw)

    def take(self, draw: Draw) -> None:
        """See ``Stock.take``."""
        self.changes[draw] += 1
        held = self._held.get(draw)
        if self.changes[draw] > (held.spare if held is not None else 0):
            self._ask(draw)

    def give(self, draw: Draw) -> None:
        """See ``Stock.give``."""
        self.changes[draw] -= 1

    def opens(self, cell: Draw) -> bool:
        """See ``BatchStock.opens``."""
        held = self._held.get(cell)
        if held is None or held.want is None or held.want.opens_at is None or held.grant.is_open:
            return False
        return held.all_used + self.changes[cell] >= held.want.opens_at

    def _ask(self, draw: Draw) -> None:
        if not self.is_void:
            self.questions[draw] = max(self.changes[draw], self.questions.get(draw, 0))


def _draw(key: str) -> Draw | None:
    """The window of a key of the index; what is none must not stop every partition."""
    try:
        return Draw.of(key)
    except ValueError:
        return None


class Tokens:
    """What a processor holds of the windows of capacity, under one claim."""

    def __init__(self, shared: Shared, partition: int, epoch: int, retry: RetryPolicy) -> None:
        self._shared = shared
        self._partition = partition
        self._epoch = epoch
        self._retry = retry
        self._global_order = GlobalOrder(shared, partition, retry)
        self._version = 0
        self._policy: Policy | None = None
        self._held: dict[Draw, _Window] = {}
        self._doubtful: set[Draw] = set()
        self._awaited: set[str] = set()
        self.quarantined: set[str] = set()
        """Parties that cannot be read. They are not woken: they would take the places of others."""
        self._to_wake: list[str] = []
        self._wake_at = 0.0
        self._uncounted: dict[Draw, float] = {}

    @property
    def is_rebuilding(self) -> bool:
        """Whether it wants tokens of a window that is counted again, or cannot be: nothing is granted meanwhile."""
        return any(monotonic() - missed_at < MISSED_SECONDS for missed_at in self._uncounted.values())

    async def reclaim(self, now_ms: int) -> None:
        """After a claim: give back what the last owner set aside and did not use, and read who waits."""
        store = self._shared.store
        self._awaited = set(await self._retry.ask(lambda: store.awaited(self._partition)))
        keys = await self._retry.ask(self._shared.store.stocks.keys)
        draws = [draw for draw in filter(None, map(_draw, keys)) if draw.end_ms > now_ms - DAY_MS]
        await self._look_up(draws)
        await asyncio.gather(*(self._ask(draw, 0, now_ms) for draw in draws))
        self._held.clear()

    async def give_back(self, now_ms: int, *, is_begun: bool = False) -> None:
        """Give back all spare tokens and report what is used: when the partition is idle, and before it is released."""
        await self._report([draw for draw, held in self._held.items() if held.is_news], now_ms, is_begun=is_begun)
        self._held.clear()

    async def settle(self, now_ms: int) -> None:
        """After a commit: give spare tokens back at once; report the rest within a second."""
        if not self._held:
            return
        now, held = monotonic(), self._held
        news = [draw for draw, one in held.items() if one.is_news and (one.is_urgent or one.is_old(WATCH_SECONDS))]
        if news or self._doubtful:
            await self._report(news, now_ms, is_begun=True)
        self._held = {draw: one for draw, one in held.items() if one.used_at >= now - KNOWN_SECONDS or one.is_news}

    def stock(self, policy: Policy, now_ms: int) -> TokenStock:
        """What a batch may use, as far as is known; under a new policy nothing is known."""
        self._follow(policy)
        return TokenStock(policy, now_ms, self._held, self._awaited)

    def _follow(self, policy: Policy) -> None:
        """With a new policy, forget what is known of its limits; there may be capacity for those who wait."""
        if policy is not self._policy:
            self.forget()
            self._policy = policy

    async def acquire(self, stock: TokenStock, questions: Mapping[Draw, int]) -> None:
        """Ask about these windows, and for so many tokens of each, with some more for what may follow."""
        await self._look_up(questions)
        for draw in questions:
            held = self._held[draw]
            held.want, held.used_at = stock.policy.window(draw.name, draw.start_ms), monotonic()
        counts = {draw: self._wanted(stock, draw, count) for draw, count in questions.items()}
        await asyncio.gather(*(self._fetch(draw, count, stock.now_ms) for draw, count in counts.items()))

    def _wanted(self, stock: TokenStock, draw: Draw, count: int) -> int:
        """How many tokens to ask for: all that the batch took; if it needs more than is spare, up to twice that.

        The extra ones are only a part of what is free, so that others find some; unused ones go back after the commit.
        """
        held, taken = self._held[draw], max(stock.changes[draw], 0)
        if held.limit is None:
            return max(count, taken, held.spare) + (COUNTED_AHEAD if count > held.spare else 0)
        more = min(taken, held.free // (2 * self._shared.partitions)) if count > held.spare else 0
        return max(count, taken) + more

    async def spent(self, changes: Mapping[Draw, int], now_ms: int) -> dict[str, Spent]:
        """What a commit books of the capacity that a batch took (more than 0) and gave back (less)."""
        changes = {draw: change for draw, change in changes.items() if change}
        await self._look_up(changes)
        spent = {}
        for draw, change in changes.items():
            held = self._held[draw]
            # Below 0 where more was given back here than was taken: a customer may have moved in between.
            granted = max(held.grant.granted, held.kept.used)
            spent[draw.key] = Spent(held.kept.used + change, granted, held.grant.made, ttl_ms(draw, now_ms))
        return spent

    def adopt(self, commit: Commit) -> None:
        """Take note of what a commit booked, and of who waits now."""
        for key, booked in commit.spent.items():
            held = self._held[Draw.of(key)]
            held.kept = Kept(booked.used, held.kept.sealed)
        self._awaited |= {wait.name for wait, is_waiting in commit.waits.items() if is_waiting}

    def forget(self) -> None:
        """The batch was not committed: forget all windows; the next report gives back what was granted."""
        self._doubtful |= self._held.keys()
        self._held.clear()
        self.look_now()

    def look_now(self) -> None:
        """There may be capacity for somebody who waits: ask in the next turn."""
        self._wake_at = 0.0

    async def can_wake(self, policy: Policy, now_ms: int) -> bool:
        """Whether there is capacity for a request that waits for it. Asks once a second."""
        self._follow(policy)
        if self._awaited and not self._to_wake and monotonic() >= self._wake_at:
            self._wake_at = monotonic() + WAKE_SECONDS
            found = [await self._wakeable(policy, key, now_ms) for key in sorted(self._awaited)]
            line = sorted((wait.since_ms, wait.offset, wait.party) for waits in found for wait in waits)
            self._to_wake = list(dict.fromkeys(party for _, _, party in line))
            if any(len(waits) == WAKE_MAX for waits in found):
                self.look_now()  # there may be more of them, and none who was woken waits for the same again
        return bool(self._to_wake)

    async def woken(self, policy: Policy, now_ms: int) -> list[str]:
        """The parties to review now, as many as there are places."""
        await self.can_wake(policy, now_ms)
        woken, self._to_wake = self._to_wake, []
        return woken

    async def _wakeable(self, policy: Policy, key: str, now_ms: int) -> Sequence[Wait]:
        """Those who wait for a window and may find a place; no token is set aside for them."""
        draw, store = Draw.of(key), self._shared.store
        want = policy.window(draw.name, draw.start_ms)
        limit = WAKE_MAX + len(self.quarantined)
        found = await self._retry.ask(lambda: store.waiting(self._partition, key, limit))
        waiting = [wait for wait in found if wait.party not in self.quarantined][:WAKE_MAX]
        if not waiting or want is None or draw.end_ms <= now_ms:
            self._awaited.discard(key)  # who still waits comes back by a timer, or is swept under the new policy
            return []
        await self._look_up([draw])
        held = self._held[draw]
        held.want, held.used_at = want, monotonic()

        async def places() -> int:
            await self._fetch(draw, 0, now_ms)
            return max(held.spare + held.free, 0)

        if not draw.is_cell:
            return await self._global_order.waiting_first(waiting, places)
        await self._fetch(draw, 0, now_ms)
        return waiting if held.grant.is_open else []

    async def due_first(self, policy: Policy, due: Sequence[Due], now_ms: int) -> Sequence[Due]:
        """Of the due parties, those that go on now. The others leave the last places to parties of other partitions."""
        if not due or not policy.is_shared or not self._global_order.is_asked:
            return due
        wants = {want.draw: want for want in policy.limits(now_ms)}
        await self._look_up(wants)
        for draw, want in wants.items():
            self._held[draw].want, self._held[draw].used_at = want, monotonic()

        async def places() -> int:
            await asyncio.gather(*(self._fetch(draw, max(self._held[draw].spare, 0), now_ms) for draw in wants))
            left = [self._held[draw].spare + self._held[draw].free for draw in wants]
            return min((count for count in left if count > 0), default=0)

        return await self._global_order.due_first(due, places)

    async def _look_up(self, draws: Iterable[Draw], *, is_begun: bool = False) -> None:
        """Read what this partition uses of the windows that it does not know."""
        unknown = [draw for draw in draws if draw not in self._held]
        if unknown:
            keys, load = [draw.key for draw in unknown], self._shared.store.load_spent
            found = await self._retry.ask(lambda: load(self._partition, keys), is_begun=is_begun)
            for draw, kept in zip(unknown, found, strict=True):
                self._held[draw] = _Window(kept, reported=kept.used)

    async def _report(self, draws: Iterable[Draw], now_ms: int, *, is_begun: bool) -> None:
        """Give back the spare tokens of these windows, and of windows whose grant to an earlier try of a batch is in
        doubt.
        """
        doubtful, self._doubtful = self._doubtful - self._held.keys(), set()
        await self._look_up(doubtful, is_begun=is_begun)
        told = [*draws, *doubtful]
        await asyncio.gather(*(self._ask(draw, 0, now_ms, is_begun=is_begun) for draw in told))

    async def _fetch(self, draw: Draw, count: int, now_ms: int) -> None:
        """Ask; where there is no central entry, have it made from what all partitions use, and ask again."""
        for _ in range(RESTOCK_TRIES):
            if await self._ask(draw, count, now_ms):
                self._uncounted.pop(draw, None)
                return
            now = monotonic()
            self._uncounted = {one: at for one, at in self._uncounted.items() if now - at < MISSED_SECONDS}
            self._uncounted[draw] = now
            await self._restock(draw, now_ms)

    async def _restock(self, draw: Draw, now_ms: int) -> None:
        restock, shared = self._shared.store.stocks.restock, self._shared
        sealed, ttl = self._held[draw].kept.sealed, ttl_ms(draw, now_ms)
        if not await self._retry.ask(lambda: restock(draw.key, shared.partitions, sealed, ttl)):
            await asyncio.sleep(RESTOCK_SECONDS)

    async def _ask(self, draw: Draw, count: int, now_ms: int, *, is_begun: bool = False) -> bool:
        """Ask for tokens; ``False`` if there is no central entry, and so no token."""
        held = self._held[draw]
        want = held.want
        self._version += 1
        ask = Ask(
            self._partition,
            self._epoch,
            self._version,
            held.version,
            held.grant.made,
            held.kept.sealed,
            want.limit if want else None,
            held.kept.used,
            count,
            ttl_ms(draw, now_ms),
            want.opens_at if want else None,
        )
        grant = await self._retry.ask(lambda: self._shared.store.stocks.ask(draw.key, ask), is_begun=is_begun)
        if grant is None:
            # Until there is one nothing is left of it, here or elsewhere.
            held.version, held.grant, held.asked_at = 0, Grant(0, held.kept.used, FAR_MS, 0), monotonic()
            return False
        held.version, held.grant, held.reported, held.asked_at = ask.version, grant, ask.used, monotonic()
        return True
