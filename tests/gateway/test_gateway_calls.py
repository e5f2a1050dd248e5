"""The gateway's server, with nothing behind it: limits, time-outs and defects, each with its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from aiohttp import ClientSession

from arbiter.client.core.records import Record
from arbiter.gateway.core.keys import Key, digest, token, written
from arbiter.gateway.core.limits import Rates
from arbiter.gateway.keys_file import Keys
from arbiter.gateway.live import Slot
from arbiter.gateway.parts import Parts
from arbiter.gateway.server import Server
from arbiter.messages import ContactRequest
from arbiter.metrics import GatewayMetrics
from arbiter.settings import Settings

NOW = datetime.now(UTC)
GOOD, OLD = token("00000001", "s" * 43), token("00000002", "t" * 43)
ASKED = {"customer_id": "c1", "campaign": "gold", "channel": "email", "category": "service"}
JSON = {"Authorization": f"Bearer {GOOD}", "Content-Type": "application/json"}


class Behind:
    """What stands for Kafka: it keeps what is sent, and may take its time or fail."""

    trouble = ""

    def __init__(self) -> None:
        self.sent: list[Record] = []
        self.before: Callable[[], Awaitable[None]] | None = None

    async def send(self, records: Sequence[Record]) -> None:
        """As a publisher."""
        if self.before is not None:
            await self.before()
        self.sent += records

    @contextmanager
    def asking(self, requests: Sequence[ContactRequest]) -> Iterator[list[Slot]]:
        """As what is live; nothing is ever decided."""
        yield [asyncio.get_running_loop().create_future() for _ in requests]


@asynccontextmanager
async def served(folder: Path, behind: Behind, **settings: Any) -> AsyncIterator[tuple[ClientSession, str]]:
    """A session with a server that has these settings."""
    made: dict[str, Any] = {"department": "cards", "roles": ["publisher"], "created_at": NOW}
    keys = [
        Key(id="00000001", sha256=digest(GOOD), **made),
        Key(id="00000002", sha256=digest(OLD), expires_at=NOW - timedelta(seconds=1), **made),
    ]
    (folder / "keys.json").write_bytes(written(keys))
    own = Settings(kafka="", redis="", **settings)
    nothing: Any = None
    parts = Parts(
        settings=own,
        connection=nothing,
        keys=Keys(folder / "keys.json", print),
        rates=Rates(own.gateway_rate, own.gateway_batch_max),
        store=nothing,
        once=nothing,
        publisher=cast("Any", behind),
        live=cast("Any", behind),
        histories=nothing,
        feeds=nothing,
        metrics=GatewayMetrics(),
    )
    server = Server(parts)
    address = await server.start("127.0.0.1:0")
    try:
        async with ClientSession() as session:
            yield session, f"http://{address}/v1/requests"
    finally:
        await server.stop()


async def post(session: ClientSession, url: str, data: Any = None, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, the problem's name and detail (or the body), headers."""
    body = json.dumps(ASKED).encode() if data is None else data
    async with session.post(url, data=body, headers={**JSON, **headers}) as reply:
        said = json.loads(await reply.read())
        text = f"{said['type'].rpartition(':')[2]}: {said['detail']}" if "type" in said else json.dumps(said)
        return reply.status, text, dict(reply.headers)


async def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    """And nothing of it is sent."""
    behind = Behind()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(1)
        yield b"}"

    async with served(tmp_path, behind, gateway_body_ms=100) as (session, url):
        status, said, headers = await post(session, url, slowly())

    assert (status, said) == (408, "body-late: it took more than 100 ms; nothing was sent")
    assert (headers["Retry-After"], behind.sent) == ("5", [])


async def test_a_body_that_is_not_packed_as_it_says_is_refused(tmp_path: Path) -> None:
    """It is the caller's mistake, not a defect."""
    behind = Behind()
    async with served(tmp_path, behind) as (session, url):
        status, said, _ = await post(session, url, b"\x1f\x8bjunk", **{"Content-Encoding": "gzip"})

    assert (status, said.partition(":")[0], behind.sent) == (400, "body-cut", [])


async def test_a_gateway_takes_so_many_calls_at_a_time(tmp_path: Path) -> None:
    """One more is told to come again; the others end well."""
    behind = Behind()
    go = asyncio.Event()
    behind.before = lambda: cast("Awaitable[None]", go.wait())
    async with served(tmp_path, behind, gateway_calls_max=2) as (session, url):
        under_way = [asyncio.create_task(post(session, url)) for _ in range(2)]
        await asyncio.sleep(0.2)
        status, said, headers = await post(session, url)
        go.set()
        ended = [(await task)[0] for task in under_way]

    assert (status, said) == (503, "too-busy: it works on 2 calls; try again, or start more gateways")
    assert (headers["Retry-After"], ended, len(behind.sent)) == ("5", [202, 202], 2)


async def test_a_key_that_sends_too_much_is_told_when_to_come_again(tmp_path: Path) -> None:
    """A list counts as many as it has."""
    behind = Behind()
    many = json.dumps([ASKED] * 5).encode()
    async with served(tmp_path, behind, gateway_rate=1, gateway_batch_max=5) as (session, url):
        first = await post(session, url, many)
        status, said, headers = await post(session, url, many)

    assert (first[0], status, headers["Retry-After"], len(behind.sent)) == (202, 429, "5", 5)
    assert said == "too-many: key 00000001 may send 1 messages a second here; try again in 5 s"


async def test_an_expired_key_is_refused(tmp_path: Path) -> None:
    """It says whose it is, when it ended, and what to do."""
    behind = Behind()
    async with served(tmp_path, behind) as (session, url):
        status, said, headers = await post(session, url, Authorization=f"Bearer {OLD}")

    assert (status, behind.sent) == (401, [])
    assert said.startswith("key-expired: key 00000002 of `cards` expired at ")
    assert said.endswith("; use its successor")
    assert headers["WWW-Authenticate"] == 'Bearer realm="arbiter"'


async def test_a_defect_is_answered(tmp_path: Path) -> None:
    """As a problem like all others; the log has it."""
    behind = Behind()

    async def fails() -> None:
        raise KeyError("a defect")

    behind.before = fails
    async with served(tmp_path, behind) as (session, url):
        status, said, _ = await post(session, url)

    assert (status, said) == (500, "internal: the log of the gateway has the cause; try again")


async def test_no_decision_in_time_is_no_refusal(tmp_path: Path) -> None:
    """Kafka has the request: 202, and where to look. A wait that is too long is cut."""
    behind = Behind()
    async with served(tmp_path, behind, gateway_wait_ms=100) as (session, url):
        status, said, headers = await post(session, url, Prefer="wait=1000")

    assert (status, headers["Preference-Applied"], headers["Retry-After"]) == (202, "wait=0.1", "1")
    assert json.loads(said)["location"] == headers["Location"]
    assert len(behind.sent) == 1
