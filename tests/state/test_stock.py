"""What every store promises about capacity: grants in sum never above the limit, taken back and counted anew."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from arbiter.ledger.capacity import Draw
from arbiter.state.keys import Keys
from arbiter.state.memory import MemoryStore
from arbiter.state.redis_client import RedisClient, Script
from arbiter.state.redis_line import Argument
from arbiter.state.redis_stock import RedisStocks
from arbiter.state.redis_store import RedisStore
from arbiter.state.stock import KEPT_MS, Ask, Grant, Kept, Spent, ttl_ms
from arbiter.state.store import CommitResult, Store, Wait
from tests.state.commits import FIRST, P, after, claimed, verdict
from tests.state.conftest import Backend

DRAW = Draw("call-centre/week", 1_795_000_000_000, 1_795_600_000_000)
KEY = DRAW.key
PARTITIONS = 3
TTL_MS = 60_000


def ask(partition: int = 0, version: int = 1, **fields: object) -> Ask:
    """An ask for 5 of 10 tokens by a partition that uses none, in its first epoch."""
    base = Ask(
        partition, epoch=1, version=version, previous=0, made=0, sealed=0, limit=10, used=0, want=5, ttl_ms=TTL_MS
    )
    return replace(base, **fields)


async def granted(store: Store, wish: Ask) -> int:
    """How many tokens the partition has after this."""
    grant = await store.stocks.ask(KEY, wish)
    assert grant is not None
    return grant.granted


async def opened(store: Store) -> None:
    """Claim every partition, and make the central entry."""
    for partition in range(PARTITIONS):
        await store.claim(partition, "a", 1)
    assert await store.stocks.restock(KEY, PARTITIONS, 0, TTL_MS)


async def spend(store: Store, used: int, grant: Grant | None, partition: int = 0, seq: int = 1) -> CommitResult:
    """Commit that so many tokens are used."""
    assert grant is not None
    spent = {KEY: Spent(used, grant.granted, grant.made, TTL_MS)}
    return (await store.commit(partition, replace(FIRST, seq=seq, spent=spent)))[0]


def test_a_window_has_one_name() -> None:
    """The name of a window tells it, also with colons before, and what is kept of it outlives it."""
    odd = Draw("a:b/hour", 0, 3_600_000)

    assert [DRAW, odd] == [Draw.of(DRAW.key), Draw.of(odd.key)]
    assert (KEPT_MS + 5, KEPT_MS) == (ttl_ms(DRAW, DRAW.end_ms - 5), ttl_ms(DRAW, DRAW.end_ms + 5))


async def test_nothing_is_granted_before_it_was_counted(store: Store) -> None:
    """Without a central entry there is nothing, and none is made while a partition's use is unknown."""
    await store.claim(0, "a", 1)

    assert await store.stocks.ask(KEY, ask()) is None
    assert not await store.stocks.restock(KEY, PARTITIONS, 0, TTL_MS)
    assert await store.stocks.ask(KEY, ask()) is None


async def test_grants_never_exceed_the_limit(store: Store) -> None:
    """First come, first granted; the rest gets what is left, and then nothing."""
    await opened(store)

    assert [5, 5, 0] == [await granted(store, ask(partition)) for partition in range(PARTITIONS)]
    assert [KEY] == await store.stocks.keys()


async def test_what_is_given_back_goes_to_others(store: Store) -> None:
    """A lower wish lowers the grant; what is used stays, whatever the limit is now."""
    await opened(store)
    await granted(store, ask(0, want=10))
    lowered = await store.stocks.ask(KEY, ask(0, version=2, used=3, want=0))
    assert lowered is not None
    assert (3, 3, 3) == (lowered.granted, lowered.all_granted, lowered.all_used)

    assert 7 == await granted(store, ask(1, want=10))
    assert 3 == await granted(store, ask(0, version=3, used=3, want=5, limit=2))
    assert 0 == await granted(store, ask(2, want=5, limit=2))


async def test_what_is_only_watched_has_no_limit(store: Store) -> None:
    """A rule in shadow mode counts, and stops nothing."""
    await opened(store)
    await granted(store, ask(0, want=10))

    assert 50 == await granted(store, ask(1, want=50, limit=None))


async def test_a_repeated_ask_is_answered_as_before(store: Store) -> None:
    """When a reply was lost the same ask gives the same grant, though more could be had by now."""
    await opened(store)
    await granted(store, ask(0, want=8))
    assert 2 == await granted(store, ask(1))
    await granted(store, ask(0, version=2, want=0))

    assert 2 == await granted(store, ask(1))
    assert 5 == await granted(store, ask(1, version=2))


async def test_a_late_ask_changes_nothing(store: Store) -> None:
    """An older ask that was under way, and one of a former owner, grant nothing and take nothing."""
    await opened(store)
    await granted(store, ask(0, version=3, want=2))
    await granted(store, ask(1, epoch=2, want=2))
    late = [ask(0, version=2, want=0), ask(1, epoch=1, version=9)]

    assert [0, 0] == [await granted(store, one) for one in late]
    after = await store.stocks.ask(KEY, ask(2, want=0))
    assert after is not None
    assert 4 == after.all_granted


async def test_the_next_owner_takes_back(store: Store) -> None:
    """What a killed owner had set aside is free once its successor asks, and the dead cannot take it again."""
    await opened(store)
    await granted(store, ask(0, want=10))
    assert 0 == await granted(store, ask(1))
    await granted(store, ask(0, epoch=2, want=0))

    assert 5 == await granted(store, ask(1, version=2))
    assert 0 == await granted(store, ask(0, epoch=1, version=7))


async def test_a_commit_books_the_use(store: Store) -> None:
    """What a commit used is there for the next owner; more than was granted is refused, and nothing is written."""
    await opened(store)
    grant = await store.stocks.ask(KEY, ask())
    assert CommitResult.OK is await spend(store, 4, grant)
    assert CommitResult.OK is await spend(store, 4, grant)
    assert CommitResult.STALE_STOCK is await spend(store, 6, grant, seq=2)
    (kept,) = await store.load_spent(0, [KEY])

    assert 4 == kept.used
    assert [Kept()] == await store.load_spent(0, ["another/day:0:1"])
    assert CommitResult.OK is await spend(store, 3, grant, seq=2)


async def test_more_given_back_than_taken(backend: Backend) -> None:
    """Where a customer has moved to, another partition's place is given back: only the sum has to fit."""
    store = backend.store
    await opened(store)
    taken = await store.stocks.ask(KEY, ask(0, want=10))
    assert CommitResult.OK is await spend(store, 10, taken)
    none = await store.stocks.ask(KEY, ask(1, want=0))
    assert CommitResult.OK is await spend(store, -2, none, partition=1)
    assert 0 == await granted(store, ask(2))
    told = await store.stocks.ask(KEY, ask(1, version=2, used=-2, want=0))
    assert told is not None
    assert (-2, 8, -2) == (told.granted, told.all_granted, told.all_used)
    assert 2 == await granted(store, ask(2, version=2))
    await backend.lose_stocks()
    assert await store.stocks.restock(KEY, PARTITIONS, told.made + 1, TTL_MS)
    anew = await store.stocks.ask(KEY, ask(2, version=3, want=0))
    assert anew is not None

    assert (0, 8, 8) == (anew.granted, anew.all_granted, anew.all_used)
    assert 0 == await granted(store, ask(1, version=3, used=-2, want=3))


async def test_counted_anew_from_what_partitions_use(backend: Backend) -> None:
    """A lost central entry is made from what partitions use; what was granted before is void, and asked for anew."""
    store = backend.store
    await opened(store)
    first, second = [await store.stocks.ask(KEY, ask(partition)) for partition in (0, 1)]
    assert CommitResult.OK is await spend(store, 4, first)
    await backend.lose_stocks()
    assert await store.stocks.ask(KEY, ask(2)) is None
    (kept,) = await store.load_spent(2, [KEY])
    assert await store.stocks.restock(KEY, PARTITIONS, kept.sealed, TTL_MS)
    assert 6 == await granted(store, ask(2, want=10))

    assert CommitResult.STALE_STOCK is await spend(store, 5, second, partition=1)
    assert CommitResult.OK is await spend(store, 3, first, seq=2)
    (sealed,) = await store.load_spent(1, [KEY])
    assert second is not None
    assert sealed.sealed > second.made
    again = await store.stocks.ask(KEY, ask(1, version=2, previous=1, made=second.made, sealed=sealed.sealed))
    assert again is not None
    assert (0, 10, 4) == (again.granted, again.all_granted, again.all_used)


async def test_an_entry_that_lost_writes_is_noticed(backend: Backend) -> None:
    """A partition that was answered already, or uses more than the entry knows of, does not trust it."""
    store = backend.store
    await opened(store)
    first = await store.stocks.ask(KEY, ask(0))
    assert first is not None

    assert await store.stocks.ask(KEY, ask(1, version=8, previous=7, made=first.made)) is None
    assert await store.stocks.ask(KEY, ask(1, version=8, used=1)) is None
    assert await store.stocks.ask(KEY, ask(1, version=8, sealed=first.made + 1)) is None
    assert await store.stocks.restock(KEY, PARTITIONS, first.made + 1, TTL_MS)
    renewed = await store.stocks.ask(KEY, ask(1, version=8, sealed=first.made + 1))
    assert renewed is not None
    assert renewed.made > first.made


async def test_made_anew_by_many_at_once(store: Store) -> None:
    """However many find no entry, one is made, and it is good for all."""
    for partition in range(PARTITIONS):
        await store.claim(partition, "a", 1)
    made = await asyncio.gather(*(store.stocks.restock(KEY, PARTITIONS, 0, TTL_MS) for _ in range(8)))
    assert any(made)

    grants = [await store.stocks.ask(KEY, ask(partition)) for partition in range(2)]
    assert [CommitResult.OK] * 2 == [await spend(store, 5, grant, partition=p) for p, grant in enumerate(grants)]


class Slow(RedisClient):
    """A client so slow that by the time a partition is sealed the lock has run out, and is another's."""

    lock = b""

    async def run(self, script: Script, keys: list[bytes], arguments: list[Argument]) -> Any:
        """See ``RedisClient.run``."""
        reply = await super().run(script, keys, arguments)
        if keys[0].endswith(b"head"):
            await self.command("SET", self.lock, "another", "PX", TTL_MS)
        return reply


async def test_an_overtaken_maker_makes_nothing(valkey_url: str) -> None:
    """Its lock ran out while it counted, and another began: an entry of its own would be void already."""
    client, keys = Slow(valkey_url), Keys(f"overtaken-{uuid4().hex}")
    client.lock = keys.stock_lock(KEY)
    store = RedisStore(RedisClient(valkey_url), keys)
    for partition in range(PARTITIONS):
        await store.claim(partition, "a", 1)
    stocks = RedisStocks(client, keys)

    assert not await stocks.restock(KEY, PARTITIONS, 0, TTL_MS)
    assert await stocks.ask(KEY, ask()) is None
    await client.command("DEL", client.lock)
    assert await store.stocks.restock(KEY, PARTITIONS, 0, TTL_MS)
    await client.close()
    await store.close()


async def test_everything_expires(backend: Backend, request: pytest.FixtureRequest) -> None:
    """On a server every key about a window goes by itself some time after it."""
    store = backend.store
    await opened(store)
    grant = await store.stocks.ask(KEY, ask())
    assert CommitResult.OK is await spend(store, 4, grant)
    if isinstance(store, MemoryStore):
        return
    url = request.getfixturevalue(
        {"valkey": "valkey_url", "redis": "redis_url"}[request.node.callspec.params["backend"]]
    )
    async with Redis.from_url(url) as server:
        names = [name async for name in server.scan_iter("*call-centre*")]
        lives = [await server.pttl(name) for name in names]

    assert 1 + PARTITIONS <= len(names)
    assert all(0 < life <= TTL_MS for life in lives)


async def test_open_is_for_good(backend: Backend) -> None:
    """Once enough are in use it is open, though they become fewer, and though the entry is made anew."""
    store = backend.store
    await opened(store)
    cell: dict[str, Any] = {"limit": None, "opens_at": 3}
    closed = await store.stocks.ask(KEY, ask(0, want=2, **cell))
    assert CommitResult.OK is await spend(store, 2, closed)
    one = await store.stocks.ask(KEY, ask(1, want=1, **cell))
    assert CommitResult.OK is await spend(store, 1, one, partition=1)
    two = await store.stocks.ask(KEY, ask(0, version=2, used=2, want=0, **cell))
    three = await store.stocks.ask(KEY, ask(1, version=2, used=1, want=0, **cell))
    fewer = await store.stocks.ask(KEY, ask(0, version=3, used=1, want=0))
    assert three is not None
    await store.stocks.restock(KEY, PARTITIONS, three.made + 1, TTL_MS)
    anew = await store.stocks.ask(KEY, ask(2, want=0))

    assert [False, False, False, True, True, True] == [
        grant is not None and grant.is_open for grant in (closed, one, two, three, fewer, anew)
    ]


async def test_who_waits_for_what(store: Store) -> None:
    """Those who wait are told apart by what they wait for, and come in the order in which they asked, not of names."""
    other = Wait("call-centre/hour:0:1", 1, 9, "C1")
    late, first, second = Wait(KEY, 2_000_000_000_000, 0, "a"), Wait(KEY, 5, 9, "Ünïcode"), Wait(KEY, 5, 10, "b\0")
    await claimed(store, replace(FIRST, waits=dict.fromkeys((late, second, first, other), True)))
    assert [other.name, KEY] == await store.awaited(P)
    assert [first, second, late] == await store.waiting(P, KEY, 9)
    assert [first] == await store.waiting(P, KEY, 1)
    assert CommitResult.OK is await verdict(store, after(FIRST, waits={first: False, second: False, other: False}))

    assert [KEY] == await store.awaited(P)
    assert ([late], []) == (await store.waiting(P, KEY, 9), await store.waiting(P, other.name, 9))


async def test_what_is_used_is_told_to_who_asks_for_nothing(store: Store) -> None:
    """As all partitions told it; of a window without a central entry nothing."""
    before = await store.stocks.used([KEY])
    await opened(store)
    for partition in (0, 1):
        grant = await store.stocks.ask(KEY, ask(partition, want=2))
        await spend(store, 2, grant, partition)
        assert grant is not None
        await store.stocks.ask(KEY, ask(partition, 2, previous=1, made=grant.made, used=2, want=0))

    assert [[None], [4, None]] == [before, await store.stocks.used([KEY, "other/week:0:1"])]
