"""N places, ten times as many requests over all partitions and several workers: exactly N once quiet, never more."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from msgspec import Struct
from redis.asyncio import Redis

from arbiter.messages import OUTCOMES, PROFILES, REQUESTS
from arbiter.policy.ruleset import Policy
from arbiter.state.memory import MemoryStore, wall_clock_ms
from arbiter.state.redis_store import connect
from arbiter.state.store import Store
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from arbiter.timing.windows import calendar_window
from tests.harness.concurrent import PARTITIONS, ConcurrentCluster
from tests.inputs.builders import MONDAY, at, policy

N = 12
CALLS = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": N, "window": "calendar year"}
WORKERS = 3


class Ground(Struct):
    """Where a crowd meets: a store, and how to count the places in use at one instant."""

    store: Store
    in_use: Callable[[], Awaitable[int]]


@pytest.fixture(params=["memory", "valkey"])
async def ground(request: pytest.FixtureRequest) -> AsyncIterator[Ground]:
    """Each store in turn, without the log lines of replies that are lost on purpose."""
    logging.getLogger("arbiter").setLevel(logging.CRITICAL)
    if request.param == "memory":
        memory = MemoryStore()

        async def in_use() -> int:
            parts = [memory.kept(partition) for partition in range(PARTITIONS)]
            return sum(kept.used for part in parts for kept in part.spent.values())

        yield Ground(memory, in_use)
    else:
        url = request.getfixturevalue("valkey_url")
        prefix = f"crowd-{uuid4().hex}"
        store = connect(url, prefix)
        async with Redis.from_url(url) as server:
            count = server.register_script(
                "local sum = 0 for _, key in ipairs(redis.call('KEYS', ARGV[1])) do "
                "sum = sum + tonumber(redis.call('HGET', key, 'used') or 0) end return sum"
            )

            async def in_use_there() -> int:
                return int(await count(args=[f"{prefix}:{{*}}:s:*"]))

            yield Ground(store, in_use_there)
        await store.close()
    logging.getLogger("arbiter").setLevel(logging.NOTSET)


def crowd_of(ground: Ground, rules: Policy, seed: int) -> ConcurrentCluster:
    """A crowd on this ground."""
    return ConcurrentCluster(ground.store, rules, seed, ground.in_use)


def call(number: int, **fields: Any) -> dict[str, Any]:
    """A phone call to a customer of its own."""
    return {
        "request_id": f"r{number}",
        "customer_id": f"customer-{number}",
        "department": "cards",
        "campaign": "spring",
        "channel": "phone",
        "category": "service",
        "expires_at": to_datetime(wall_clock_ms() + 400 * DAY_MS).isoformat(),
        **fields,
    }


async def gather(crowd: ConcurrentCluster, **settings: Any) -> None:
    """Three workers share the partitions."""
    for worker in range(WORKERS):
        await crowd.start(worker, range(worker, PARTITIONS, WORKERS), **settings)


CLOCKS: dict[str, dict[str, Any]] = {"wall": {}, "event": {"clock": "event", "event_idle_ms": 0}}
"""Under the event clock time stands still once all is read: nothing comes back by itself but what is woken."""


def asked(number: int) -> dict[str, Any]:
    """Asked for at about the same time, whatever the clock."""
    return {"requested_at": to_datetime(wall_clock_ms() // DAY_MS * DAY_MS + number).isoformat()}


def is_quiet(crowd: ConcurrentCluster, count: int, places: int = N) -> bool:
    """Every request has an answer, and the places are taken; the others wait for the next window."""
    return len(crowd.latest) == count and crowd.outcomes()["approved"] >= places


@pytest.mark.parametrize("clock", CLOCKS)
async def test_exactly_n(ground: Ground, clock: str) -> None:
    """Ten times as many requests as places, at once, over eight partitions and three workers."""
    crowd = crowd_of(ground, policy(CALLS), seed=1)
    for number in range(10 * N):
        crowd.put(REQUESTS, call(number, **asked(number)))
    await gather(crowd, **CLOCKS[clock])
    await crowd.until(lambda: is_quiet(crowd, 10 * N))
    await crowd.stop()

    assert {"approved": N, "deferred": 9 * N} == crowd.outcomes()
    assert (N, N) == (crowd.most, await ground.in_use())


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("seed", range(1, 4))
async def test_exactly_n_after_kills(ground: Ground, seed: int, clock: str) -> None:
    """Workers die at any step, with places set aside, and others take over: every place is accounted for."""
    crowd = crowd_of(ground, policy(CALLS), seed)
    await gather(crowd, **CLOCKS[clock])

    async def feed() -> None:
        for number in range(10 * N):
            crowd.put(REQUESTS, call(number, **asked(number)))
            await asyncio.sleep(crowd.random.random() * 0.01)

    feeding = asyncio.create_task(feed())
    for round_ in range(6):
        await asyncio.sleep(crowd.random.random() * 0.2)
        orphans = await crowd.kill(crowd.random.randrange(WORKERS))
        for orphan in orphans:
            await crowd.start((round_ + orphan) % WORKERS, [orphan], **CLOCKS[clock])
    await feeding
    await crowd.until(lambda: is_quiet(crowd, 10 * N))
    await crowd.stop()

    assert {"approved": N, "deferred": 9 * N} == crowd.outcomes()
    assert (N, N) == (crowd.most, await ground.in_use())


@pytest.mark.parametrize("clock", CLOCKS)
async def test_per_hour_too(ground: Ground, clock: str) -> None:
    """A second number per hour holds as well: as many as the hour has, and the others wait for the next hour."""
    # A short permit, else nothing could be approved in the last minutes of an hour, in which the test may run.
    permit = {"min": "1s", "max": {"email": "24h", "sms": "12h", "phone": "4h", "mail": "5d"}}
    crowd = crowd_of(ground, policy({**CALLS, "hourly": N // 2}, permit=permit), seed=2)
    for number in range(10 * N):
        crowd.put(REQUESTS, call(number, **asked(number)))
    await gather(crowd, **CLOCKS[clock])
    await crowd.until(lambda: is_quiet(crowd, 10 * N, N // 2))
    await crowd.stop()
    hours = Counter(at(decision["not_before"]) // HOUR_MS for decision in approved(crowd))

    assert N // 2 == max(hours.values())
    assert N // 2 * len(hours) == crowd.outcomes()["approved"]


def approved(crowd: ConcurrentCluster) -> list[dict[str, Any]]:
    """The approvals that stand."""
    return [decision for decision in crowd.latest.values() if decision["outcome"] == "approved"]


@pytest.mark.parametrize("clock", CLOCKS)
async def test_who_waits_is_left_alone(ground: Ground, clock: str) -> None:
    """Many wait for a full window: nobody is decided again until a place is free, and then about as many as that."""
    crowd = crowd_of(ground, policy(CALLS), seed=3)
    await gather(crowd, **CLOCKS[clock])
    for number in range(50 * N):
        crowd.put(REQUESTS, call(number, **asked(number)))
    await crowd.until(lambda: is_quiet(crowd, 50 * N))
    await asyncio.sleep(2.5)
    before, told = crowd.commit_count, crowd.decided
    await asyncio.sleep(2.5)
    assert (before, told) == (crowd.commit_count, crowd.decided)
    taken = [name for name, decision in crowd.latest.items() if decision["outcome"] == "approved"]
    cancel(crowd, int(taken[0][1:]))
    await crowd.until(lambda: is_quiet(crowd, 50 * N, N + 1))
    await asyncio.sleep(2.5)
    await crowd.stop()

    assert crowd.commit_count - before <= 1 + PARTITIONS
    assert told + 1 == crowd.decided


async def test_unused_places_come_back(ground: Ground) -> None:
    """A partition whose requests cannot be approved after all keeps no place from the others."""
    hold = {"id": "auction", "kind": "arbitration", "hold": "2s", "when": {"campaign": "slow"}}
    crowd = crowd_of(ground, policy({**CALLS, "limit": 3}, hold), seed=4)
    for number in range(20):
        crowd.put(REQUESTS, call(number, campaign="slow" if number % 2 else "spring"))
    await gather(crowd)
    await crowd.until(lambda: is_quiet(crowd, 20, 3))
    await crowd.stop()

    assert 3 == crowd.outcomes()["approved"] == crowd.most


async def test_what_is_cancelled_is_given_out_again(ground: Ground) -> None:
    """A cancelled call frees its place for the next that asks, and nobody gets two for it."""
    crowd = crowd_of(ground, policy(CALLS), seed=5)
    for number in range(N):
        crowd.put(REQUESTS, call(number))
    await gather(crowd)
    await crowd.until(lambda: crowd.outcomes()["approved"] == N)
    for number in range(0, N, 2):
        at = to_datetime(wall_clock_ms()).isoformat()
        crowd.put(OUTCOMES, {**call(number), "kind": "cancelled", "at": at})
    for number in range(N, 3 * N):
        crowd.put(REQUESTS, call(number))
    await crowd.until(lambda: is_quiet(crowd, 3 * N, N + N // 2))
    await crowd.stop()

    assert (N, N) == (crowd.most, await ground.in_use())


async def test_counted_anew_under_load(ground: Ground) -> None:
    """The central entry is lost again and again while requests flow: never too many, and exactly N in the end."""
    crowd = crowd_of(ground, policy(CALLS), seed=6)
    await gather(crowd)
    for number in range(10 * N):
        crowd.put(REQUESTS, call(number))
        await asyncio.sleep(0.005)
        if number % N == 0:
            for key in await ground.store.stocks.keys():
                await ground.store.stocks.restock(key, PARTITIONS, wall_clock_ms() * 1_000 + 5_000_000, 10**9)
    await crowd.until(lambda: is_quiet(crowd, 10 * N))
    await crowd.stop()

    assert {"approved": N, "deferred": 9 * N} == crowd.outcomes()
    assert (N, N) == (crowd.most, await ground.in_use())


async def test_what_waits_is_woken_when_a_place_is_free(ground: Ground) -> None:
    """Requests that wait for the next window are decided again when a call elsewhere is cancelled; first come first."""
    crowd = crowd_of(ground, policy(CALLS), seed=7)
    for number in range(3 * N):
        crowd.put(REQUESTS, call(number))
    await gather(crowd)
    await crowd.until(lambda: is_quiet(crowd, 3 * N))
    taken = [name for name, decision in crowd.latest.items() if decision["outcome"] == "approved"]
    orphans = await crowd.kill(0)
    for name in taken[:3]:
        at = to_datetime(wall_clock_ms()).isoformat()
        crowd.put(OUTCOMES, {**call(int(name[1:])), "kind": "cancelled", "at": at})
    await crowd.start(1, orphans)
    await crowd.until(lambda: is_quiet(crowd, 3 * N, N + 3))
    await crowd.stop()

    assert (N, N) == (crowd.most, await ground.in_use())


async def ask_in_order(crowd: ConcurrentCluster, numbers: Iterable[int]) -> None:
    """One request after another, each decided before the next is received."""
    for number in numbers:
        crowd.put(REQUESTS, call(number))
        await crowd.until(lambda number=number: f"r{number}" in crowd.latest)  # type: ignore[misc]


PATIENCE = "arbiter.worker.partition.global_order.YIELD_SECONDS"
"""How long those who come before are waited for: on a busy machine longer than the seconds of production."""


@pytest.mark.parametrize("seed", [11, 12])
async def test_at_an_opening_who_asked_first_anywhere(
    ground: Ground, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Customers of all partitions wait for the end of a freeze; the places go to those of them who asked first."""
    monkeypatch.setattr(PATIENCE, 60.0)
    ends_ms = wall_clock_ms() // 1_000 * 1_000 + 1_000
    freeze = {"id": "freeze", "kind": "blackout", "from": "2020-01-01", "until": to_datetime(ends_ms).isoformat()}
    crowd = crowd_of(ground, policy({**CALLS, "limit": 4}, freeze), seed)
    with monkeypatch.context() as held:
        # However long it takes, the freeze does not end before all wait.
        held.setattr(crowd.clock, "now_ms", lambda: ends_ms - 1)
        await gather(crowd)
        order = crowd.random.sample(range(3 * N), 3 * N)
        for place, number in enumerate(order):
            crowd.now_ms = ends_ms - 10_000 + place
            crowd.put(REQUESTS, call(number))
        await crowd.until(lambda: len(crowd.latest) == 3 * N)
        assert {"deferred": 3 * N} == crowd.outcomes()
    await crowd.until(lambda: crowd.outcomes()["approved"] == 4)
    await crowd.stop()

    assert {f"r{number}" for number in order[:4]} == {one["request_id"] for one in approved(crowd)}


async def test_a_refund_goes_to_who_asked_first_anywhere(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places come back in one partition; those who waited longest get them, wherever they are."""
    monkeypatch.setattr(PATIENCE, 60.0)
    crowd = crowd_of(ground, policy({**CALLS, "limit": 3}), seed=13)
    await gather(crowd)
    order = crowd.random.sample(range(3 * N), 3 * N)
    await ask_in_order(crowd, order)
    assert {"approved": 3, "deferred": 3 * N - 3} == crowd.outcomes()
    for number in order[:2]:
        cancel(crowd, number)
    await crowd.until(lambda: crowd.outcomes()["approved"] == 5)
    await crowd.stop()

    assert {f"r{number}" for number in order[:5]} == {one["request_id"] for one in approved(crowd)}


def cancel(crowd: ConcurrentCluster, number: int) -> None:
    """The desk says that it will not make this call."""
    crowd.put(OUTCOMES, {**call(number), "kind": "cancelled", "at": to_datetime(wall_clock_ms()).isoformat()})


def move(crowd: ConcurrentCluster, number: int, household: str | None) -> None:
    """A customer's profile names a household, or none any more."""
    crowd.put(PROFILES, {"customer_id": f"customer-{number}", "household_id": household})


@pytest.mark.parametrize("seed", range(10, 13))
async def test_what_moved_is_given_back_where_it_is(ground: Ground, seed: int) -> None:
    """Customers join households elsewhere and leave them, are cancelled before, between or after, and workers die."""
    crowd = crowd_of(ground, policy(CALLS), seed)
    await gather(crowd)
    for number in range(N):
        crowd.put(REQUESTS, call(number))
    await crowd.until(lambda: crowd.outcomes()["approved"] == N)
    for number in range(N):
        if number % 4 == 0:
            cancel(crowd, number)
        move(crowd, number, f"household-{number % 3}")
    for orphan in await crowd.kill(crowd.random.randrange(WORKERS)):
        await crowd.start(0, [orphan])
    for number in range(N):
        if number % 4 == 1:
            cancel(crowd, number)
        if number % 2 == 0:
            move(crowd, number, None)
        if number % 4 == 2:
            cancel(crowd, number)
    for number in range(N, 4 * N):
        crowd.put(REQUESTS, call(number))
    cancelled = 3 * N // 4
    await crowd.until(lambda: is_quiet(crowd, 4 * N, N + cancelled))
    await crowd.stop()

    assert (N, N) == (crowd.most, await ground.in_use())
    assert [] == crowd.dead


async def test_event_time(ground: Ground) -> None:
    """In a replay each week of the past has its own N, whatever the partitions' clocks, and all come in time."""
    crowd = crowd_of(ground, policy({**CALLS, "window": "calendar week"}), seed=8)
    for number in range(4 * N):
        asked = to_datetime(MONDAY + number * MINUTE_MS).isoformat()
        crowd.put(REQUESTS, call(number, requested_at=asked))
    for worker in range(WORKERS):
        await crowd.start(worker, range(worker, PARTITIONS, WORKERS), clock="event", event_idle_ms=200)
    await crowd.until(lambda: crowd.outcomes()["approved"] == 4 * N)
    await crowd.stop()
    weeks = Counter(calendar_window("week", "Europe/Lisbon", at(one["not_before"]))[0] for one in approved(crowd))

    assert max(weeks.values()) <= N
    assert 4 * N == sum(weeks.values())


async def test_a_cell_opens_for_all(ground: Ground) -> None:
    """Spread over partitions, too few customers wait; with one more, and workers that die, all of them are approved."""
    cell = {"id": "trial", "kind": "cell", "size": N, "deadline": "2100-01-01"}
    crowd = crowd_of(ground, policy(cell), seed=9)
    for number in range(N - 1):
        crowd.put(REQUESTS, call(number))
    await gather(crowd)
    await crowd.until(lambda: crowd.outcomes()["deferred"] == N - 1)
    for orphan in await crowd.kill(1):
        await crowd.start(2, [orphan])
    await asyncio.sleep(1.5)
    assert {"deferred": N - 1} == crowd.outcomes()
    crowd.put(REQUESTS, call(N))
    await crowd.until(lambda: crowd.outcomes()["approved"] == N)
    for orphan in await crowd.kill(0):
        await crowd.start(1, [orphan])
    crowd.put(REQUESTS, call(N + 1))
    await crowd.until(lambda: crowd.outcomes()["approved"] == N + 1)
    await crowd.stop()


async def test_a_floor_counts_everywhere(ground: Ground) -> None:
    """What other partitions approved raises scores no more; with nothing done, a request counts three times."""
    today = datetime.now(UTC).date()
    dates = {"from": str(today - timedelta(days=5)), "until": str(today + timedelta(days=5))}
    floor = {"id": "spring", "kind": "floor", "reach": 4, "ceiling": 3, **dates}
    crowd = crowd_of(ground, policy(floor), seed=10)
    await gather(crowd)
    crowd.put(REQUESTS, call(0))
    await crowd.until(lambda: "r0" in crowd.latest)
    for number in range(1, 8):
        crowd.put(REQUESTS, call(number))
    await crowd.until(lambda: crowd.outcomes()["approved"] == 8)
    await asyncio.sleep(1.5)
    crowd.put(REQUESTS, call(8))
    await crowd.until(lambda: "r8" in crowd.latest)
    await crowd.stop()
    first, last = crowd.latest["r0"], crowd.latest["r8"]

    assert "raised 3 times by `spring`" in first["score_note"]
    assert "score_note" not in last
    assert 8 + 1 == await ground.in_use()
