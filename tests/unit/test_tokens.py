"""Tokens of one partition: asked for when a batch has been decided, and given back when it did not need them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from arbiter.core.policy import Policy
from arbiter.core.stock import Draw, Level
from arbiter.metrics import Metrics
from arbiter.settings import Settings
from arbiter.state.memory import MemoryStore
from arbiter.state.stock import Spent
from arbiter.state.store import Commit, Verdict, Wait
from arbiter.stream.clock import StoreClock
from arbiter.stream.health import Health
from arbiter.stream.patience import Patience, Shared
from arbiter.stream.tokens import Tokens, TokenStock
from tests.builders import MONDAY, at, policy

LIMIT = 3
CALLS = {"id": "calls", "kind": "capacity", "limit": LIMIT, "window": "calendar week"}
FLOOR = {"id": "spring", "kind": "floor", "reach": 9, "from": "2026-03-02", "until": "2026-03-31"}
WEEK = Draw("calls/week", at("2026-03-02T00:00"), at("2026-03-09T00:00"))
SPRING = Draw("spring/floor", at("2026-03-02T00:00"), at("2026-03-31T23:00"))
PARTITIONS = 2


class Desk:
    """One partition: its tokens, and a store that several share."""

    def __init__(self, store: MemoryStore, partition: int, rules: Policy) -> None:
        self.partition = partition
        self.store = store
        self.policy = rules
        metrics = Metrics()
        health = Health(metrics)
        shared = Shared(
            Settings(kafka="k:1", redis="redis://r"), PARTITIONS, store, SimpleNamespace(), SimpleNamespace(),  # type: ignore[arg-type]
            StoreClock(health), health, metrics, lambda _: None,
        )  # fmt: skip
        self.tokens = Tokens(shared, partition, 1, Patience(shared))
        self._seq = 0

    def decide(self, count: int, *, is_last_try: bool = False) -> TokenStock:
        """A batch that wants so many places, and takes those that it believes to be there."""
        stock = self.tokens.stock(is_last_try=is_last_try)
        for _ in range(count):
            level = stock.level(WEEK, LIMIT)
            if level is None or level.here > 0:
                stock.take(WEEK)
        return stock

    async def cover(self, stock: TokenStock) -> bool:
        """Ask for what it took."""
        return await self.tokens.cover(self.policy, stock, MONDAY)

    async def commit(self, used: int) -> None:
        """Book so many places in all."""
        self._seq += 1
        spent = {WEEK.key: Spent(used, used, 1, 10_000)}
        self.tokens.adopt(Commit(1, "o", self._seq, 1, MONDAY, {}, {}, {}, 1, {}, b"", spent))
        await self.tokens.settle(MONDAY)

    async def take(self, count: int) -> int:
        """A whole batch, decided until its decisions stand; gives how many places it got."""
        while not await self.cover(stock := self.decide(count)):
            pass
        await self.commit(stock.changes[WEEK])
        return stock.changes[WEEK]


@pytest.fixture
async def desks() -> list[Desk]:
    """Two partitions of one installation."""
    store, rules = MemoryStore(), policy(CALLS, FLOOR)
    for partition in range(PARTITIONS):
        await store.claim(partition, "o", 1)
    return [Desk(store, partition, rules) for partition in range(PARTITIONS)]


async def test_what_nobody_heard_of_is_believed_to_be_enough(desks: list[Desk]) -> None:
    """The first batch is decided before anything is asked, and then asks for just what it took."""
    one, two = desks
    stock = one.decide(2)
    assert (None, 2) == (stock.level(WEEK, LIMIT), stock.changes[WEEK])
    assert await one.cover(stock)

    assert not await two.cover(two.decide(2))
    assert Level(1, 0) == two.tokens.stock().level(WEEK, LIMIT)
    assert 1 == await two.take(2)


async def test_what_is_full_is_known_to_be_full(desks: list[Desk]) -> None:
    """The next batch takes none, and its decisions stand at once."""
    one, two = desks
    assert LIMIT == await one.take(9)
    assert 0 == await two.take(1)
    stock = two.decide(5)

    assert Level(0, LIMIT) == stock.level(WEEK, LIMIT)
    assert ({}, True) == (stock.changes, await two.cover(stock))


async def test_more_than_was_believed(desks: list[Desk]) -> None:
    """Where a place was given back since, a batch that found none is decided again, and finds it."""
    one, two = desks
    await one.take(LIMIT)
    await two.take(1)
    await one.commit(LIMIT - 1)

    assert not await two.cover(two.decide(1))
    assert 1 == await two.take(1)


async def test_what_was_not_needed_goes_back_with_the_commit(desks: list[Desk]) -> None:
    """A batch that used less in the end than it was granted keeps nothing from the others."""
    one, two = desks
    assert await one.cover(one.decide(LIMIT))
    assert 0 == await two.take(1)
    await one.commit(1)

    assert LIMIT - 1 == await two.take(LIMIT)


async def test_what_was_not_committed_goes_back(desks: list[Desk]) -> None:
    """A commit was refused, and the batch decided again does not want those places any more."""
    one, two = desks
    assert await one.cover(one.decide(LIMIT))
    one.tokens.forget()
    assert await one.cover(one.decide(0))
    await one.tokens.give_back(MONDAY)

    assert LIMIT == await two.take(LIMIT)


async def test_the_last_try_has_what_was_granted(desks: list[Desk]) -> None:
    """Then nothing is believed: what is not there yet is not taken."""
    one, _ = desks
    assert Level(0, 0) == one.decide(0, is_last_try=True).level(WEEK, LIMIT)
    assert await one.cover(one.decide(2))

    assert {WEEK: 2} == one.decide(LIMIT, is_last_try=True).changes


async def test_what_only_counts_is_looked_at_again_when_it_is_old(
    desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A total by which scores are raised is believed for a second; then the batch that saw it is decided again."""
    one, two = desks
    monkeypatch.setattr("arbiter.stream.tokens.WATCH_SECONDS", -1.0)
    first = one.tokens.stock()
    first.need(SPRING)
    again = [await one.cover(first)]
    other = two.tokens.stock()
    other.take(SPRING)
    assert await two.cover(other)
    two.tokens.adopt(Commit(1, "o", 1, 1, MONDAY, {}, {}, {}, 1, {}, b"", {SPRING.key: Spent(1, 1, 1, 10_000)}))
    await two.tokens.give_back(MONDAY)
    for _ in range(2):
        stock = one.tokens.stock()
        stock.level(SPRING, 9)
        again.append(await one.cover(stock))

    assert [False, False, True] == again
    assert 1 == (one.tokens.stock().level(SPRING, 9) or Level(0, 0)).used


async def test_as_many_are_woken_as_are_free(desks: list[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited longest first, and nothing is set aside for them: they may want it no more."""
    one, two = desks
    monkeypatch.setattr("arbiter.stream.tokens.WAKE_SECONDS", -1.0)
    waits = {Wait(WEEK.key, since, f"c:{since}"): True for since in (5, 3, 4)}
    commit = Commit(1, "o", 1, 1, MONDAY, {}, {}, {}, 1, {}, b"", {}, waits)
    assert Verdict.OK is (await two.store.commit(two.partition, commit))[0]
    two.tokens.adopt(commit)
    await one.take(LIMIT)
    woken = [await two.tokens.woken(two.policy, MONDAY)]
    await one.commit(1)
    woken.append(await two.tokens.woken(two.policy, MONDAY))

    assert [[], ["c:3", "c:4"]] == woken
    assert LIMIT - 1 == await one.take(LIMIT - 1)
