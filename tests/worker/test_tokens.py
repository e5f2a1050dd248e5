"""Tokens of one partition: asked for when a step has drawn on them, and given back when it did not need them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from arbiter.ledger.capacity import Draw, Level
from arbiter.metrics import Metrics
from arbiter.policy.ruleset import Policy
from arbiter.settings import Settings
from arbiter.state.memory import MemoryStore
from arbiter.state.stock import Spent
from arbiter.state.store import Commit, CommitResult, Wait
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import Health
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.tokens import Tokens, TokenStock
from tests.inputs.builders import MONDAY, at, policy

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
            Settings(kafka="k:1", redis="redis://r"), PARTITIONS, store, SimpleNamespace(),  # type: ignore[arg-type]
            StoreClock(health), health, metrics, lambda _: None, SimpleNamespace(),  # type: ignore[arg-type]
        )  # fmt: skip
        self.tokens = Tokens(shared, partition, 1, RetryPolicy(shared))
        self._seq = 0

    def stock(self) -> TokenStock:
        """What a batch that begins now may draw on."""
        return self.tokens.stock(self.policy, MONDAY)

    async def decide(self, stock: TokenStock, count: int) -> int:
        """Steps that want one place each, taken again until they stand; gives how often one was taken."""
        tries = 0
        for _ in range(count):
            while True:
                tries += 1
                level = stock.level(WEEK, LIMIT)
                is_taken = level is None or level.here > 0
                if is_taken:
                    stock.take(WEEK)
                if not stock.questions:
                    break
                if is_taken:
                    stock.give(WEEK)
                await self.answer(stock)
        return tries

    async def answer(self, stock: TokenStock) -> None:
        """Ask what the step has to know."""
        questions = dict(stock.questions)
        stock.questions.clear()
        await self.tokens.acquire(stock, questions)

    async def commit(self, used: int) -> None:
        """Book so many places in all."""
        self._seq += 1
        spent = {WEEK.key: Spent(used, used, 1, 10_000)}
        commit = Commit(1, "o", self._seq, 1, MONDAY, {}, {}, {}, 1, {}, b"", spent)
        assert CommitResult.OK is (await self.store.commit(self.partition, commit))[0]
        self.tokens.adopt(commit)
        await self.tokens.settle(MONDAY)

    async def take(self, count: int) -> int:
        """A whole batch; gives how many places it got."""
        await self.decide(stock := self.stock(), count)
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
    """The first step is taken before anything is asked, and then asks for just what it took."""
    one, two = desks
    stock = one.stock()
    assert stock.level(WEEK, LIMIT) is None
    stock.take(WEEK)
    assert {WEEK: 1} == stock.questions
    stock.give(WEEK)
    await one.answer(stock)

    assert Level(LIMIT, 0) == stock.level(WEEK, LIMIT)
    assert LIMIT - 1 == await two.take(LIMIT)


async def test_what_only_was_looked_at_is_not_asked_for(desks: list[Desk]) -> None:
    """A request that is refused for another reason, and a place that is given back, need no word from the others."""
    one, _ = desks
    stock = one.stock()
    stock.level(WEEK, LIMIT)
    stock.give(WEEK)

    assert {} == stock.questions


async def test_what_is_full_is_known_to_be_full(desks: list[Desk]) -> None:
    """Each batch asks once whether it still is; all that it refuses then stands at once."""
    one, two = desks
    assert LIMIT == await one.take(9)
    assert 0 == await two.take(1)
    stock = two.stock()

    assert 5 + 1 == await two.decide(stock, 5)
    assert (Level(0, LIMIT), {}) == (stock.level(WEEK, LIMIT), stock.questions)


async def test_more_than_was_believed(desks: list[Desk]) -> None:
    """Where a place was given back since, a step that found none is taken again, and finds it."""
    one, two = desks
    await one.take(LIMIT)
    await two.take(1)
    await one.commit(LIMIT - 1)

    assert 1 == await two.take(1)


async def test_the_more_are_taken_the_more_are_asked_for(desks: list[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a window with many places, twice as many each time; the others find at least half of what is left."""
    many = {**CALLS, "limit": 1_000}
    for desk in desks:
        desk.policy = policy(many)
    monkeypatch.setattr("tests.worker.test_tokens.LIMIT", 1_000)
    one, two = desks
    stock = one.stock()

    assert 255 + 8 == await one.decide(stock, 255)
    assert 255 == stock.changes[WEEK]
    assert 1_000 - 255 == await two.take(1_000)


async def test_what_was_not_needed_goes_back_with_the_commit(desks: list[Desk]) -> None:
    """A batch that used less in the end than it was granted keeps nothing from the others."""
    one, two = desks
    await one.decide(one.stock(), LIMIT)
    assert 0 == await two.take(1)
    await one.commit(1)

    assert LIMIT - 1 == await two.take(LIMIT)


async def test_what_was_not_committed_goes_back(desks: list[Desk]) -> None:
    """A commit was refused, and the batch decided again does not want those places any more."""
    one, two = desks
    await one.decide(one.stock(), LIMIT)
    one.tokens.forget()
    await one.tokens.give_back(MONDAY)

    assert LIMIT == await two.take(LIMIT)


async def test_the_last_try_has_what_was_granted(desks: list[Desk]) -> None:
    """Then nothing is believed: what is not there yet is not taken."""
    one, _ = desks
    stock = one.stock()
    stock.is_last_try = True
    assert Level(0, 0) == stock.level(WEEK, LIMIT)
    stock.is_last_try = False
    await one.decide(stock, 2)
    stock.is_last_try = True
    await one.decide(stock, LIMIT)

    assert {WEEK: 2} == stock.changes


async def test_what_only_counts_is_looked_at_again_when_it_is_old(
    desks: list[Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A total by which scores are raised is believed for a second, and for the rest of the batch in any case."""
    one, two = desks
    stock = one.stock()
    stock.need(SPRING)
    await one.answer(stock)
    other = two.stock()
    other.take(SPRING)
    await two.answer(other)
    two.tokens.adopt(Commit(1, "o", 1, 1, MONDAY, {}, {}, {}, 1, {}, b"", {SPRING.key: Spent(1, 1, 1, 10_000)}))
    await two.tokens.give_back(MONDAY)
    stock = one.stock()
    assert (Level(0, 0), {}) == (stock.level(SPRING, 9), stock.questions)
    monkeypatch.setattr("arbiter.worker.partition.tokens.WATCH_SECONDS", -1.0)
    stock.level(SPRING, 9)
    await one.answer(stock)

    assert 1 == (stock.level(SPRING, 9) or Level(0, 0)).used
    assert {} == stock.questions


async def test_of_what_only_counts_nothing_need_be_given_back(desks: list[Desk]) -> None:
    """There is enough for all: the next batch takes what the last one was granted, and asks nothing."""
    one, _ = desks
    stock = one.stock()
    stock.take(SPRING)
    stock.give(SPRING)
    await one.answer(stock)
    await one.tokens.settle(MONDAY)
    stock = one.stock()
    stock.take(SPRING)

    assert {} == stock.questions


async def test_a_rule_that_only_counted_is_enforced(desks: list[Desk]) -> None:
    """What was granted while there were enough for all is worth nothing under the policy that has a limit."""
    one, two = desks
    one.policy = policy({**CALLS, "mode": "shadow"})
    stock = one.stock()
    stock.take(WEEK)
    await one.answer(stock)
    await one.commit(1)
    one.policy = two.policy

    await one.decide(stock := one.stock(), 9)
    await one.commit(1 + stock.changes[WEEK])

    assert LIMIT - 1 == stock.changes[WEEK]
    assert 0 == await two.take(1)


async def test_as_many_are_woken_as_are_free(desks: list[Desk], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited longest first, and nothing is set aside for them: they may want it no more."""
    one, two = desks
    monkeypatch.setattr("arbiter.worker.partition.tokens.WAKE_SECONDS", -1.0)
    waits = {Wait(WEEK.key, since, 7, f"c:{since}"): True for since in (5, 3, 4)}
    commit = Commit(1, "o", 1, 1, MONDAY, {}, {}, {}, 1, {}, b"", {}, waits)
    assert CommitResult.OK is (await two.store.commit(two.partition, commit))[0]
    two.tokens.adopt(commit)
    await one.take(LIMIT)
    woken = [await two.tokens.woken(two.policy, MONDAY)]
    await one.commit(1)
    woken.append(await two.tokens.woken(two.policy, MONDAY))

    assert [[], ["c:3", "c:4"]] == woken
    assert LIMIT - 1 == await one.take(LIMIT - 1)


async def test_a_window_that_cannot_be_counted_is_told_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """One partition was never claimed: nothing is granted, and that is told between two looks, too."""
    monkeypatch.setattr("arbiter.worker.partition.tokens.RESTOCK_SECONDS", 0.0)
    store = MemoryStore()
    await store.claim(0, "o", 1)
    one = Desk(store, 0, policy(CALLS))
    told = [(await one.take(1), one.tokens.is_rebuilding)]
    await store.claim(1, "o", 1)
    told.append((await one.take(1), one.tokens.is_rebuilding))

    assert [(0, True), (1, False)] == told
