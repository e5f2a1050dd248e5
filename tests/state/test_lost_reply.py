"""A commit whose reply is lost on the way back, on real servers behind a small proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from arbiter.state.keys import Keys
from arbiter.state.redis_client import RedisClient
from arbiter.state.redis_store import RedisStore
from arbiter.state.store import CommitResult, StoreUnavailable
from tests.state.commits import FIRST, P, after, claimed, verdict

TIMEOUT_S = 0.3
HANGS_S = 4.0
"""Well above the store's own time-out, below the 5 s that redis-py takes when it is told none."""


class Proxy:
    """Forwards to a server, and throws the next reply away on demand.

    ``closing`` cuts the line then, ``silent`` leaves it open; a repeated call would get through.
    """

    def __init__(self, host: str, port: int) -> None:
        self.closing = self.silent = False
        self.scripts_seen = 0
        self._upstream = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        """Carry one connection both ways until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        server, out = await asyncio.open_connection(*self._upstream)
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(self._forth(client, out), self._back(server, back))
        out.close()
        back.close()

    async def end(self) -> None:
        """Cut all lines and wait until they are closed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forth(self, client: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        while data := await client.read(65_536):
            self.scripts_seen += data.count(b"EVALSHA")
            out.write(data)
            await out.drain()
        out.close()

    async def _back(self, server: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        while data := await server.read(65_536):
            if self.closing:
                self.closing = False
                break
            if self.silent:
                self.silent = False
                continue
            back.write(data)
            await back.drain()
        back.close()


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of each shared server in turn."""
    parts = urlsplit(server_url)
    proxy = Proxy(parts.hostname or "", parts.port or 0)
    yield proxy
    await proxy.end()


@pytest.fixture
async def store(proxy: Proxy) -> AsyncIterator[RedisStore]:
    """A store that talks through the proxy."""
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    store = RedisStore(RedisClient(f"redis://127.0.0.1:{port}/0", TIMEOUT_S), Keys(f"lost-{uuid4().hex}"))
    yield store
    await store.close()
    listener.close()


@pytest.mark.parametrize("how", ["closing", "silent"])
async def test_lost_reply_is_told_at_once_and_repeated_by_the_caller(store: RedisStore, proxy: Proxy, how: str) -> None:
    """The script runs once, nobody repeats it behind the caller's back, and the caller's repeat finds it done."""
    await claimed(store, FIRST)
    second = after(FIRST, ledgers={"C1": b"second"}, outbox=b"second")
    seen = proxy.scripts_seen
    setattr(proxy, how, True)
    with pytest.raises(StoreUnavailable):
        await asyncio.wait_for(store.commit(P, second), HANGS_S)
    assert 1 == proxy.scripts_seen - seen

    assert CommitResult.OK is await verdict(store, second)
    assert CommitResult.OK is await verdict(store, after(second, outbox=b"third"))
    claim = await store.claim(P, "b", 1)
    assert claim is not None
    assert (3, b"third") == (claim.head.seq, claim.outbox)
    assert [b"second"] == await store.load(P, ["C1"])
