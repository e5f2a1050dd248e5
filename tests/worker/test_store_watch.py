"""A store is well when it takes writes and keeps what it was given."""

from __future__ import annotations

import re
from typing import Any

import pytest

from arbiter.state.store import NO_EVICTION, Durability, StoreUnavailable
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import STORE, Health
from arbiter.worker.store_watch import StoreWatch
from tests.harness.hand_clock import Clock


class FullStore:
    """A store that answers every question, and takes a write only if it is told to."""

    def __init__(self) -> None:
        self.is_full = True
        self.keeps = Durability(NO_EVICTION, 0, is_logged=True)
        self.writes = 0

    async def time_ms(self) -> int:
        """The time."""
        return 1

    async def durability(self) -> Durability:
        """How it keeps things."""
        return self.keeps

    async def probe(self) -> None:
        """A write."""
        self.writes += 1
        if self.is_full:
            raise StoreUnavailable("OOM")


async def test_a_trouble_is_over_when_a_write_succeeds(health: Health, clock: Clock) -> None:
    """That the clock can be read says nothing; who failed while the write was on its way has failed since."""
    store: Any = FullStore()
    watch = StoreWatch(store, StoreClock(health), health)
    await watch.check()
    at_start = watch.is_well, health.has(STORE)
    store.is_full = False
    clock.now += 1
    await watch.check()
    after = watch.is_well, health.has(STORE)
    writes = store.writes
    await watch.check()

    assert at_start == (False, True)
    assert after == (True, False)
    assert store.writes == writes


@pytest.mark.parametrize(
    ("keeps", "text"),
    [
        (Durability("allkeys-lru", 95, is_logged=True), "allkeys-lru: .*; 95 keys are gone already, .*noeviction"),
        (Durability("volatile-ttl", 0, is_logged=True), "volatile-ttl: .*nothing is decided. Set"),
        (Durability(None, 0, is_logged=True), "nothing is decided: allow its user INFO"),
    ],
)
async def test_nothing_is_decided_on_a_store_that_evicts(
    health: Health, clock: Clock, keeps: Durability, text: str
) -> None:
    """Or that does not tell whether it does; until it is set up as it must be."""
    store: Any = FullStore()
    store.is_full = False
    watch = StoreWatch(store, StoreClock(health), health)
    await watch.check()
    before = watch.is_well
    store.keeps = keeps
    await watch.check()
    meanwhile, (said,) = watch.is_well, health.reasons
    store.keeps = Durability(NO_EVICTION, keeps.evicted, is_logged=True)
    clock.now += 1
    await watch.check()

    assert (before, meanwhile, watch.is_well) == (True, False, True)
    assert re.search(text, said)


async def test_a_store_without_a_log_is_warned_of_once(health: Health, caplog: pytest.LogCaptureFixture) -> None:
    """It says what can be lost; the worker works on."""
    store: Any = FullStore()
    store.is_full, store.keeps = False, Durability(NO_EVICTION, 0, is_logged=False)
    watch = StoreWatch(store, StoreClock(health), health)
    for _ in range(3):
        await watch.check()

    assert watch.is_well
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "budgets used, withdrawals and answers" in caplog.text
