"""What the Redis stores do when the server is killed, full, read-only, loading, hung, or says no."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from arbiter.state.keys import Keys
from arbiter.state.policy_store import Order
from arbiter.state.redis_client import RedisClient
from arbiter.state.redis_store import RedisStore, connect
from arbiter.state.store import CommitResult, Durability, StoreRefused, StoreUnavailable
from tests.servers.processes import RedisServer, ValkeyServer, free_port
from tests.state.commits import FIRST, P, after, claimed, verdict
from tests.state.conftest import SERVERS

KINDS = {"valkey": ValkeyServer, "redis": RedisServer}


@pytest.fixture(params=list(KINDS))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own that keeps every write; asking for the shared one skips where there is none."""
    request.getfixturevalue(SERVERS[request.param])
    own = KINDS[request.param](tmp_path, appendonly="yes", appendfsync="always")
    try:
        own.start()
        yield own
    finally:
        own.stop()


@pytest.fixture
async def store(server: RedisServer) -> AsyncIterator[RedisStore]:
    """A store on that server."""
    store = connect(server.url, "away")
    yield store
    await store.close()


@pytest.fixture
async def admin(server: RedisServer) -> AsyncIterator[Redis]:
    """An operator's connection."""
    async with Redis.from_url(server.url) as client:
        yield client


async def test_killed_server_is_waited_for(server: RedisServer, store: RedisStore) -> None:
    """Every call says `StoreUnavailable` while the server is dead and works again, on the same store, afterwards."""
    await claimed(store, FIRST)
    server.kill()
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: store.claim(P, "b", 1),
        lambda: store.load(P, ["C1"]),
        lambda: store.load_answers(P, list(FIRST.answers)),
        lambda: store.commit(P, after(FIRST)),
        lambda: store.clear_outbox(P, 1, "a", 1),
        lambda: store.due(P, 1, 1),
        store.time_ms,
        store.probe,
        store.durability,
        lambda: store.policies.publish("p", "d", "me", b"x"),
        lambda: store.policies.activate(1, Order(by="me")),
        store.policies.active,
        lambda: store.policies.fetch(1),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
            await call()
    server.start()

    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    assert CommitResult.OK is await verdict(store, FIRST)
    assert CommitResult.OK is await verdict(store, after(FIRST))


async def test_a_server_tells_how_it_keeps_things(server: RedisServer, store: RedisStore, admin: Redis) -> None:
    """What it evicts, how much is gone, whether it keeps a log; a user without ``INFO`` is not told."""
    before = await store.durability()
    await admin.config_set("maxmemory-policy", "allkeys-random")
    await admin.config_set("appendonly", "no")
    await admin.acl_setuser("blind", enabled=True, nopass=True, keys="*", categories=["+@all"], commands=["-info"])
    blind = connect(server.url.replace("//", "//blind:x@"), "away")
    after_change, unseen = await store.durability(), await blind.durability()
    await blind.probe()
    await blind.close()

    assert before.memory_used > 0
    assert after_change.memory_used > 0
    assert before == Durability("noeviction", 0, is_logged=True, memory_used=before.memory_used)
    assert after_change == Durability("allkeys-random", 0, is_logged=False, memory_used=after_change.memory_used)
    assert unseen.eviction is None


async def test_writing_works_only_where_commits_do(server: RedisServer, admin: Redis) -> None:
    """A user that may write and run no script would be told again and again that it can work."""
    user: dict[str, Any] = {"enabled": True, "nopass": True, "keys": "*", "categories": ["+@all"]}
    await admin.acl_setuser("plain", **user, commands=["-evalsha", "-eval"])
    plain = connect(server.url.replace("//", "//plain:x@"), "away")
    with pytest.raises(StoreRefused, match="NOPERM"):
        await plain.probe()
    await admin.acl_setuser("plain", **user)
    await plain.probe()
    await plain.close()


async def test_hung_server_is_not_waited_for_forever(server: RedisServer) -> None:
    """A server that stopped answering ends in `StoreUnavailable`; the commit may be repeated when it is back."""
    store = RedisStore(RedisClient(server.url, timeout_s=0.2), Keys("away"))
    await claimed(store, FIRST)
    second = after(FIRST, ledgers={"C1": b"second"})
    server.pause()
    with pytest.raises(StoreUnavailable):
        await store.commit(P, second)
    server.resume()

    # It may have run in the meantime, or not: the same commit once more is right in both cases.
    assert CommitResult.OK is await verdict(store, second)
    assert [b"second"] == await store.load(P, ["C1"])
    await store.close()


async def test_full_server_writes_nothing(store: RedisStore, admin: Redis) -> None:
    """At `maxmemory` claim and commit are refused whole, reading goes on, and both work when there is room."""
    await claimed(store, FIRST)
    second = after(FIRST, ledgers={"C1": b"second"}, timers={"C1": None}, outbox=b"second")
    await admin.config_set("maxmemory", "1")
    with pytest.raises(StoreUnavailable, match="OOM"):
        await store.commit(P, second)
    with pytest.raises(StoreUnavailable, match="OOM"):
        await store.claim(P, "b", 1)
    with pytest.raises(StoreUnavailable, match="OOM"):
        await store.probe()

    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    await admin.config_set("maxmemory", "0")
    claim = await store.claim(P, "a", 1)
    assert claim is not None
    assert (1, 1, b"records") == (claim.head.epoch, claim.head.seq, claim.outbox)
    assert CommitResult.OK is await verdict(store, second)


async def test_replica_is_not_written_to(store: RedisStore, admin: Redis) -> None:
    """A server that became a replica is waited for, and nothing was half written."""
    await claimed(store, FIRST)
    await admin.replicaof("127.0.0.1", "1")
    with pytest.raises(StoreUnavailable, match="READONLY"):
        await store.commit(P, after(FIRST, ledgers={"C1": b"second"}))
    await admin.replicaof("NO", "ONE")

    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    assert CommitResult.OK is await verdict(store, after(FIRST))


async def load_until_refused(store: RedisStore) -> None:
    """Read again and again; the first calls may come before the script."""
    while True:
        await store.load(P, ["C1"])


async def test_busy_server_is_waited_for(server: RedisServer, store: RedisStore, admin: Redis) -> None:
    """While somebody's script hogs the server, a call ends in `StoreUnavailable` that says BUSY."""
    await claimed(store, FIRST)
    await admin.config_set("busy-reply-threshold", "10")
    async with Redis.from_url(server.url, retry=Retry(NoBackoff(), 0)) as hog:
        evaluate: Callable[..., Awaitable[object]] = hog.execute_command
        hogging = asyncio.ensure_future(evaluate("EVAL", "while true do end", 0))
        with pytest.raises(StoreUnavailable, match="BUSY"):
            await load_until_refused(store)
        await admin.script_kill()
        with pytest.raises(ResponseError):
            await hogging

    assert [b"ledger of C1"] == await store.load(P, ["C1"])


async def test_wrong_password_is_refused_without_telling_it(server: RedisServer, admin: Redis) -> None:
    """Waiting does not cure a wrong password: an error of its own, naming the address only."""
    await admin.config_set("requirepass", "right-one")
    for user in ("", ":wrong-secret@"):
        store = connect(f"redis://{user}127.0.0.1:{server.port}/0", "away")
        with pytest.raises(StoreRefused, match=f"127.0.0.1:{server.port}") as told:
            await store.time_ms()
        await store.close()

        assert "wrong-secret" not in str(told.value)


async def test_nobody_there_names_address_and_no_password() -> None:
    """The error of a server that was never there is fit for a log."""
    port = free_port()
    store = connect(f"redis://user:secret@127.0.0.1:{port}/3", "away")
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port}/3") as told:
        await store.claim(P, "a", 1)
    await store.close()

    assert "secret" not in str(told.value)


async def test_every_key_is_under_the_prefix_and_the_hash_tag(store: RedisStore, admin: Redis) -> None:
    """A commit touches keys of its partition only, and only answers expire."""
    await claimed(store, FIRST)
    await store.policies.publish("p", "d", "me", b"x")
    found = {key: await admin.pttl(key) > 0 for key in await admin.keys()}

    partition = b"away:{7}:"
    assert {
        partition + b"head": False,
        partition + b"outbox": False,
        partition + b"timers": False,
        partition + b"l:C1": False,
        partition + b"a:-of-one!": True,
        b"away:{policy}:registry": False,
        b"away:{policy}:audit": False,
    } == found


@pytest.mark.parametrize("prefix", ["", "a{b", "}"])
def test_prefix_that_breaks_the_hash_tag_is_an_error(prefix: str) -> None:
    """A brace in the prefix would take the partition's keys apart on a cluster."""
    with pytest.raises(ValueError, match="prefix"):
        connect("redis://127.0.0.1:1/0", prefix)


async def test_all_ask_over_one_connection(store: RedisStore, admin: Redis) -> None:
    """Also while it is being made; and who gives up waiting takes no reply away from the others."""
    await admin.script_flush()
    waiting = [asyncio.ensure_future(store.load(P, [name])) for name in ("C1", "C2")]
    await claimed(store, FIRST)
    gone = asyncio.ensure_future(store.load(P, ["C2", "C3"]))
    kept = [asyncio.ensure_future(store.load(P, ["C1"])) for _ in range(50)]
    await asyncio.sleep(0)
    gone.cancel()

    assert [[None], [None]] == await asyncio.gather(*waiting)
    assert [[b"ledger of C1"]] * 50 == await asyncio.gather(*kept)
    assert gone.cancelled()
    assert 2 == len(await admin.client_list())
