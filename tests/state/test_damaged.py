"""Keys that are not what they should be, on real servers: nothing is half written, and the error names the key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from arbiter.ledger.capacity import Draw
from arbiter.state.redis_store import RedisStore, connect
from arbiter.state.stock import Ask
from arbiter.state.store import CommitResult, Installation, StateDamaged, Wait
from tests.state.commits import FIRST, P, after, claimed, verdict


@pytest.fixture
async def store(server_url: str, admin: Redis) -> AsyncIterator[RedisStore]:  # noqa: ARG001 - it is emptied before
    """The store under test."""
    store = connect(server_url, "damaged")
    yield store
    await store.close()


def key(name: str) -> str:
    """A key of the partition."""
    return f"damaged:{{{P}}}:{name}"


@pytest.mark.parametrize("name", ["head", "outbox", "timers", "waits", "opened"])
async def test_a_claim_names_a_key_of_another_type(store: RedisStore, admin: Redis, name: str) -> None:
    """It changes nothing, and works once the key is right."""
    await claimed(store, FIRST)
    await admin.rename(key("head"), "kept") if name == "head" else None
    await admin.delete(key(name))
    await admin.rpush(key(name), "x")
    with pytest.raises(StateDamaged, match=f"{name} is a list and should be a "):
        await store.claim(P, "b", 2)
    await admin.delete(key(name))
    await admin.rename("kept", key("head")) if name == "head" else None
    claim = await store.claim(P, "b", 2)

    assert claim is not None
    assert claim.head.epoch == 2


@pytest.mark.parametrize("field", ["epoch", "generation", "claims", "seq", "now_ms", "activation"])
@pytest.mark.parametrize("value", [None, "", "x1"])
async def test_a_claim_names_a_damaged_head(store: RedisStore, admin: Redis, field: str, value: str | None) -> None:
    """A field that is missing or no number."""
    await claimed(store, FIRST)
    await (admin.hdel(key("head"), field) if value is None else admin.hset(key("head"), field, value))
    with pytest.raises(StateDamaged, match="head"):
        await store.claim(P, "b", 2)


@pytest.mark.parametrize("value", ["-1", "253402300800000", "9" * 25])
async def test_a_claim_names_a_time_that_is_none(store: RedisStore, admin: Redis, value: str) -> None:
    """Nothing could be decided at such an instant."""
    await claimed(store, FIRST)
    await admin.hset(key("head"), "now_ms", value)
    with pytest.raises(StateDamaged, match="beyond the calendar"):
        await store.claim(P, "b", 2)


async def test_a_claim_does_not_take_an_empty_outbox_for_none(store: RedisStore, admin: Redis) -> None:
    """What was to be published would be lost without a word."""
    await claimed(store, FIRST)
    await admin.set(key("outbox"), "")
    with pytest.raises(StateDamaged, match="outbox is empty"):
        await store.claim(P, "b", 2)


@pytest.mark.parametrize("name", ["timers", "waits", "opened", "turns"])
async def test_a_commit_over_a_key_of_another_type_writes_nothing(store: RedisStore, admin: Redis, name: str) -> None:
    """It is refused as a whole, and goes through once the key is right."""
    await claimed(store, FIRST)
    await admin.delete(key(name))
    await admin.set(key(name), "x")
    commit = after(
        FIRST,
        ledgers={"C1": b"second"},
        timers={"C1": 5},
        queue_keys={"C1": (1, 2)},
        waits={Wait("w", 1, 0, "C1"): True},
        opened={"C1": FIRST.now_ms},
    )
    with pytest.raises(StateDamaged):
        await store.commit(P, commit)
    assert await admin.hget(key("head"), "seq") == b"1"
    assert await store.load(P, ["C1"]) == [b"ledger of C1"]
    await admin.delete(key(name))

    assert await verdict(store, commit) is CommitResult.OK


async def test_a_ledger_of_another_type_is_not_taken_for_a_new_party(store: RedisStore, admin: Redis) -> None:
    """MGET says nothing of it; it is there, and cannot be read. The same for answers."""
    await claimed(store, FIRST)
    await admin.rpush(key("l:C2"), "x")
    await admin.rpush(key("a:C2"), "x")
    await admin.rpush(key("d:8 bytes3C3"), "x")

    assert await store.load(P, ["C3", "C2", "C1"]) == [None, b"", b"ledger of C1"]
    assert await store.load_answers(P, [b"8 bytes1C2", b"8 bytes3C3", *FIRST.answers]) == [b"", b"", b"answer"]


@pytest.mark.parametrize("damage", ["type", "number", "grant"])
async def test_a_damaged_central_entry_is_made_anew(store: RedisStore, admin: Redis, damage: str) -> None:
    """It is counted again from what the partitions use, and stops nobody."""
    await claimed(store)
    draw = Draw("c/week", 0, 10**13).key
    ask = Ask(P, 1, 1, 0, 0, 0, 5, 0, 2, 60_000)
    name = f"damaged:stock:{{{draw}}}"
    if damage == "type":
        await admin.rpush(name, "x")
    else:
        field = {"number": "granted", "grant": str(P)}[damage]
        await admin.hset(name, mapping={"made": 1, "granted": 0, "used": 0, field: "x"})

    assert await store.stocks.ask(draw, ask) is None
    for partition in range(P):
        await store.claim(partition, "a", 1)
    assert await store.stocks.restock(draw, P + 1, 0, 60_000)
    grant = await store.stocks.ask(draw, ask)
    assert grant is not None
    assert grant.granted == 2


async def test_a_damaged_index_of_windows_stops_nobody(store: RedisStore, admin: Redis) -> None:
    """It only says where something may be set aside."""
    await admin.set("damaged:stocks", "x")

    assert await store.stocks.keys() == []


@pytest.mark.parametrize("fields", [{"cluster": "one"}, {"partitions": "x1"}, {"group": b"\xff"}])
async def test_whose_state_it_is_may_be_damaged(store: RedisStore, admin: Redis, fields: dict[Any, Any]) -> None:
    """A key that lacks a field, or has one that cannot be read, is named; nobody's state is entered by guess."""
    ours = Installation("one", "", "arbiter", 4)
    await store.enter(ours)
    await admin.delete("damaged:installation") if "cluster" in fields else None
    await admin.hset("damaged:installation", mapping=fields)
    with pytest.raises(StateDamaged, match="damaged:installation does not say whose state it is"):
        await store.enter(ours)


async def test_a_loss_is_not_reported_to_a_key_of_another_type(store: RedisStore, admin: Redis) -> None:
    """The error is about what is stored; with the key gone the loss has an id again."""
    await admin.rpush("damaged:losses", "x")
    with pytest.raises(StateDamaged):
        await store.report_loss(P, "no state", "aaaa", frozenset())
    await admin.delete("damaged:losses")

    assert await store.report_loss(P, "no state", "bbbb", frozenset()) == "bbbb"


@pytest.mark.parametrize(
    ("name", "word", "ask"),
    [
        ("timers", {b"c:\xff": 1}, lambda store: store.due(P, 9, 10)),
        ("timers", {b"c:1": 1.5}, lambda store: store.due(P, 9, 10)),
        ("timers", {b"c:\xff": 1}, lambda store: store.timed(P, "", 10)),
        ("opened", {b"c:\xff": 1}, lambda store: store.opened(P, "", 10)),
        ("waits", {b"\xff": 0}, lambda store: store.awaited(P)),
        ("waits", {b"w\0turn\0c:1": 0}, lambda store: store.waiting(P, "w", 10)),
    ],
)
async def test_a_member_that_cannot_be_read_is_said_of_its_key(
    store: RedisStore, admin: Redis, name: str, word: dict[Any, float], ask: Any
) -> None:
    """No worker wrote it."""
    await admin.zadd(key(name), word)
    with pytest.raises(StateDamaged, match=f":{name} has what cannot be read"):
        await ask(store)


async def test_a_number_in_use_that_is_none_is_said_of_its_key(store: RedisStore, admin: Redis) -> None:
    """Nothing is drawn on it by guess."""
    await admin.hset(key("s:w"), "used", "many")
    with pytest.raises(StateDamaged, match="s:w has what cannot be read"):
        await store.load_spent(P, ["w"])


async def test_a_damaged_partition_fails_alone(store: RedisStore, admin: Redis) -> None:
    """Of commits in one write, those of the others are made."""
    await claimed(store, FIRST)
    await store.claim(P + 1, "a", 1)
    await admin.delete(key("timers"))
    await admin.rpush(key("timers"), "x")
    damaged, made = await store.commit_all([(P, after(FIRST, timers={"C1": 5})), (P + 1, FIRST)])

    assert isinstance(damaged, StateDamaged)
    assert not isinstance(made, Exception)
    assert made[0] is CommitResult.OK
