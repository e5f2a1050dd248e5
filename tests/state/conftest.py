"""The stores that the contract suite runs on: in memory, on Valkey and on Redis, each test under keys of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from uuid import uuid4

import pytest
from msgspec import Struct
from redis.asyncio import Redis

from arbiter.state.keys import Keys
from arbiter.state.memory import MemoryStore
from arbiter.state.memory_policies import MemoryPolicyStore
from arbiter.state.policy_store import PolicyStore
from arbiter.state.redis_client import RedisClient
from arbiter.state.redis_policies import RedisPolicyStore
from arbiter.state.redis_store import RedisStore
from arbiter.state.store import Store

SERVERS = {"valkey": "valkey_url", "redis": "redis_url"}
KILL_GRACE_MS = 1
"""A switch is forgotten as soon as it ends, so that no test waits for it."""


class Backend(Struct):
    """One kind of store, and how to make it lose everything (``flush``), its scripts, its central entries, or its
    registry of policies only.
    """

    store: Store
    policies: PolicyStore
    flush: Callable[[], Awaitable[None]]
    forget_scripts: Callable[[], Awaitable[None]]
    lose_stocks: Callable[[], Awaitable[None]]
    lose_policies: Callable[[], Awaitable[None]]
    other: Store
    """Another worker's view of the same store."""


@pytest.fixture(params=["memory", *SERVERS])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """Each store in turn."""
    if request.param == "memory":
        memory = MemoryStore()

        async def flush_memory() -> None:
            memory.flush()

        async def forget_nothing() -> None:
            """A store without scripts."""

        async def lose_memory_stocks() -> None:
            memory.stocks.flush()

        policies = MemoryPolicyStore(kill_grace_ms=KILL_GRACE_MS)

        async def lose_memory_policies() -> None:
            policies.lose()

        yield Backend(memory, policies, flush_memory, forget_nothing, lose_memory_stocks, lose_memory_policies, memory)
        return
    url: str = request.getfixturevalue(SERVERS[request.param])
    prefix = f"contract-{uuid4().hex}"
    client, keys = RedisClient(url), Keys(prefix)
    store = RedisStore(client, keys)
    async with Redis.from_url(url) as server:

        async def flush() -> None:
            await server.flushall()

        async def forget_scripts() -> None:
            await server.script_flush()

        async def lose_stocks() -> None:
            await server.delete(*[name async for name in server.scan_iter(f"{prefix}:stock:*")])

        async def lose_policies() -> None:
            await server.delete(keys.policies)

        registry = RedisPolicyStore(client, keys, KILL_GRACE_MS)
        yield Backend(store, registry, flush, forget_scripts, lose_stocks, lose_policies, RedisStore(client, keys))
    await store.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    """The store under test."""
    return backend.store


@pytest.fixture
def policies(backend: Backend) -> PolicyStore:
    """The policy store under test."""
    return backend.policies


@pytest.fixture(params=list(SERVERS))
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of each shared server in turn."""
    url: str = request.getfixturevalue(SERVERS[request.param])
    return url


@pytest.fixture
async def admin(server_url: str) -> AsyncIterator[Redis]:
    """The server as a person reaches it, emptied first."""
    async with Redis.from_url(server_url) as server:
        await server.flushall()
        yield server
