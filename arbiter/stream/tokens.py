"""The capacity that one partition may draw on: asked for before a batch is decided, given back when it was not used.

A batch is decided on what was granted and nothing else. Where it turns out to need a window that nobody looked up (a
timer that fires in an earlier one, a request that was not foreseen), it is decided again after asking for that too.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from time import monotonic

from msgspec import Struct

from arbiter.core.instants import DAY_MS
from arbiter.core.policy import Policy
from arbiter.core.stock import Draw, Level, Want
from arbiter.state.stock import Ask, Grant, Kept, Spent, ttl_ms
from arbiter.state.store import Commit
from arbiter.stream.patience import Patience, Shared

RESTOCK_TRIES = 5
RESTOCK_SECONDS = 0.1
SETTLE_TRIES = 20
SETTLE_SECONDS = 0.25
"""In event time nobody waits a second for what others have set aside: it is waited for in real time, up to 5 s."""

WAKE_SECONDS = 1.0
WAKE_MAX = 200
"""Parties that are looked at again at a time because capacity was given back."""

WATCH_SECONDS = 1.0
"""How old a total may be by which scores are raised."""

Wanted = dict[Draw, tuple[Want, int]]
"""By window what it is, and how many requests may take a place of it."""


class _Held(Struct):
    """One window as this partition knows it: what it uses (committed), the last grant, and what was told by then.

    ``asked`` is how many places were asked for beyond those in use.
    """

    kept: Kept
    told: int = 0
    want: Want | None = None
    asked: int = 0
    asked_at: float = 0.0
    version: int = 0
    grant: Grant = Grant(0, 0, 0, 0)

    @property
    def spare(self) -> int:
        """What was granted and is not used."""
        return self.grant.granted - self.kept.used

    @property
    def could_have_more(self) -> bool:
        """Whether there are places that were granted to nobody, or nobody knows yet for want of a central entry."""
        limit = self.want.limit if self.want else None
        if limit is None:
            return False
        return self.grant.all_granted < limit if self.grant.made else not self.asked

    @property
    def is_news(self) -> bool:
        """Whether the others should hear: of what is not used, so that they may, or of what is, so that they stop."""
        return bool(self.spare) or self.told != self.kept.used


class TokenStock:
    """A ``core.stock.Stock`` for one batch: the grants, less what the batch took.

    ``missed`` are windows to ask for, each with how often there was no place though nobody else has it either: fewer
    were asked for than the batch turned out to need.
    """

    def __init__(self, held: Mapping[Draw, _Held], *, is_last_try: bool) -> None:
        self._held = held
        self._is_last_try = is_last_try
        self.changes: Counter[Draw] = Counter()
        self.missed: Counter[Draw] = Counter()

    def level(self, draw: Draw, limit: int) -> Level | None:  # noqa: ARG002 - the grant was made with it in mind
        """See ``Stock.level``."""
        held = self._held.get(draw)
        if held is None:
            self.missed[draw] += 0  # a "no" of a rule that nobody could ask would be missing from the answer
            return Level(-self.changes[draw], 0) if self._is_last_try else None
        taken = self.changes[draw]
        if held.spare <= taken and held.could_have_more and not self._is_last_try:
            self.missed[draw] += 1
        return Level(held.spare - taken, held.grant.all_used + taken, held.grant.is_open)

    def need(self, draw: Draw) -> None:
        """See ``Stock.need``."""
        if draw not in self._held:
            self.missed[draw] += 0

    def take(self, draw: Draw) -> None:
        """See ``Stock.take``."""
        self.changes[draw] += 1
        held = self._held.get(draw)
        if self.changes[draw] > (held.spare if held else 0):
            self.missed[draw] += 0

    def give(self, draw: Draw) -> None:
        """See ``Stock.give``."""
        self.changes[draw] -= 1


class Tokens:
    """What a runner holds of the windows of capacity, under one claim."""

    def __init__(self, shared: Shared, partition: int, epoch: int, patience: Patience) -> None:
        self._shared = shared
        self._partition = partition
        self._epoch = epoch
        self._patience = patience
        self._version = 0
        self._held: dict[Draw, _Held] = {}
        self._awaited: set[str] = set()
        self._to_wake: list[str] = []
        self._wake_at = 0.0
        self._is_event_clock = shared.settings.clock == "event"

    async def take_back(self, now_ms: int) -> None:
        """After a claim: what the last owner had set aside and did not use goes back to all; see who waits."""
        store = self._shared.store
        self._awaited = set(await self._patience.ask(lambda: store.awaited(self._partition)))
        keys = await self._patience.ask(self._shared.store.stocks.keys)
        draws = [draw for draw in map(Draw.of, keys) if draw.end_ms > now_ms - DAY_MS]
        await self._look_up(draws)
        await asyncio.gather(*(self._ask(draw, 0, now_ms) for draw in draws))
        self._held.clear()

    async def give_back(self, now_ms: int, *, is_begun: bool = False) -> None:
        """Set nothing aside any more, and tell what is used."""
        news = [draw for draw, held in self._held.items() if held.is_news]
        await asyncio.gather(*(self._ask(draw, 0, now_ms, is_begun=is_begun) for draw in news))
        self._held.clear()

    async def prepare(self, wanted: Wanted, now_ms: int, *, is_last_try: bool = False) -> TokenStock:
        """A stock with the tokens for these requests, as far as there are any; all others go back."""
        await self._look_up(wanted)
        for draw, (want, _) in wanted.items():
            self._held[draw].want = want
        others = [draw for draw in self._held if draw not in wanted]
        asked = {draw: 0 for draw in others if self._held[draw].is_news}
        asked |= {draw: count for draw, (_, count) in wanted.items() if count or self._is_old(draw)}
        await asyncio.gather(*(self._fetch(draw, count, now_ms) for draw, count in asked.items()))
        for draw in others:
            del self._held[draw]
        if self._is_event_clock:
            await self._settle(wanted, now_ms)
        return TokenStock(self._held, is_last_try=is_last_try)

    async def spent(self, changes: Mapping[Draw, int], now_ms: int) -> dict[str, Spent]:
        """What a commit books of the capacity that a batch took (more than 0) and gave back (less)."""
        changes = {draw: change for draw, change in changes.items() if change}
        await self._look_up(changes)
        spent = {}
        for draw, change in changes.items():
            held = self._held[draw]
            used = max(held.kept.used + change, 0)
            granted = max(held.grant.granted, held.kept.used)
            spent[draw.key] = Spent(used, granted, held.grant.made, ttl_ms(draw, now_ms))
        return spent

    def adopt(self, commit: Commit) -> None:
        """Take note of what a commit booked, and of who waits now."""
        for key, booked in commit.spent.items():
            held = self._held[Draw.of(key)]
            held.kept = Kept(booked.used, held.kept.sealed)
        self._awaited |= {wait.name for wait, is_waiting in commit.waits.items() if is_waiting}

    def forget(self) -> None:
        """Grants were void: look everything up anew."""
        self._held.clear()

    async def can_wake(self, policy: Policy, now_ms: int) -> bool:
        """Whether there is a place for somebody who waits for one, because one was given back. Asks once a second."""
        if not self._to_wake and monotonic() >= self._wake_at:
            self._wake_at = monotonic() + WAKE_SECONDS
            for key in sorted(self._awaited):
                self._to_wake += await self._wakeable(policy, key, now_ms)
        return bool(self._to_wake)

    async def woken(self, policy: Policy, now_ms: int) -> list[str]:
        """The parties to look at again now, as many as there are places."""
        await self.can_wake(policy, now_ms)
        woken, self._to_wake = self._to_wake, []
        return woken

    async def _wakeable(self, policy: Policy, key: str, now_ms: int) -> list[str]:
        draw, store = Draw.of(key), self._shared.store
        want = policy.window(draw.name, draw.start_ms)
        waiting = await self._patience.ask(lambda: store.waiting(self._partition, key, WAKE_MAX))
        if not waiting or want is None or draw.end_ms <= now_ms:
            self._awaited.discard(key)  # who still waits comes back by a timer, or is swept under the new policy
            return []
        await self._look_up([draw])
        self._held[draw].want = want
        await self._fetch(draw, len(waiting), now_ms)
        held = self._held[draw]
        if draw.is_cell:
            return waiting if held.grant.is_open else []
        return waiting[: max(held.spare, 0)]

    def _is_old(self, draw: Draw) -> bool:
        return monotonic() >= self._held[draw].asked_at + WATCH_SECONDS

    async def _look_up(self, draws: Iterable[Draw]) -> None:
        """Read what this partition uses of the windows that it does not know."""
        unknown = [draw for draw in draws if draw not in self._held]
        if unknown:
            keys, load = [draw.key for draw in unknown], self._shared.store.load_spent
            for draw, kept in zip(unknown, await self._patience.ask(lambda: load(self._partition, keys)), strict=True):
                self._held[draw] = _Held(kept, told=kept.used)

    async def _fetch(self, draw: Draw, count: int, now_ms: int) -> None:
        """Ask; where there is no central entry, have it made from what all partitions use, and ask again."""
        self._held[draw].asked = count
        for _ in range(RESTOCK_TRIES):
            if await self._ask(draw, count, now_ms) or not count:
                return
            restock, shared = self._shared.store.stocks.restock, self._shared
            sealed, ttl = self._held[draw].kept.sealed, ttl_ms(draw, now_ms)
            made = await self._patience.ask(lambda: restock(draw.key, shared.partitions, sealed, ttl))  # noqa: B023
            if not made:
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
        grant = await self._patience.ask(lambda: self._shared.store.stocks.ask(draw.key, ask), is_begun=is_begun)
        if grant is None:
            held.version, held.grant = 0, Grant(0, 0, 0, 0)
            return False
        held.version, held.grant, held.told, held.asked_at = ask.version, grant, ask.used, monotonic()
        return True

    async def _settle(self, wanted: Wanted, now_ms: int) -> None:
        """Event time stands still while others decide what they do with what they hold."""
        for _ in range(SETTLE_TRIES):
            waiting = {draw: count for draw, (want, count) in wanted.items() if self._is_set_aside(draw, want, count)}
            if not waiting:
                return
            await asyncio.sleep(SETTLE_SECONDS)
            await asyncio.gather(*(self._fetch(draw, count, now_ms) for draw, count in waiting.items()))

    def _is_set_aside(self, draw: Draw, want: Want, count: int) -> bool:
        """Whether this partition lacks tokens that others hold and do not use."""
        held = self._held[draw]
        return want.limit is not None and held.spare < count and held.spare < want.limit - held.grant.all_used
