"""One call as its handlers see it: who calls, what the body says, and the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from arbiter.client.core.building import Message
from arbiter.gateway.core.intake import Body, Sending, Taken, body_of, taken
from arbiter.gateway.core.keys import Caller, Role, recognised
from arbiter.gateway.core.prefer import idempotency_key, wait_seconds
from arbiter.gateway.core.problems import CONTENT_TYPE, Refused
from arbiter.gateway.parts import Parts
from arbiter.messages.traces import HEADER

JSON = "application/json"


class Call:
    """A call of a department that has the role."""

    def __init__(self, request: web.Request, parts: Parts, role: Role) -> None:
        """:class:`Refused` if the key is not good for this."""
        self.at = datetime.now(UTC)
        self.request = request
        self.parts = parts
        self.caller: Caller = recognised(request.headers.get("Authorization"), parts.keys.now(), self.at)
        self.caller.needs(role)
        self.key = idempotency_key(request.headers.get("Idempotency-Key"))

    def again(self) -> None:
        """Refuse the call if its key has ended meanwhile."""
        recognised(self.request.headers.get("Authorization"), self.parts.keys.now(), datetime.now(UTC))

    async def body(self) -> Body:
        """What the body says; counted against what the key may send."""
        body = body_of(await self._bytes(), self.parts.settings.gateway_batch_max)
        self.parts.rates.take(self.caller.key_id, len(body.items), asyncio.get_running_loop().time())
        return body

    def built(self, kind: type[Message], body: Body) -> list[Taken]:
        """The messages of the body."""
        trace = self.request.headers.get(HEADER, "")
        sending = Sending(self.caller, self.at, self.parts.settings.topic_prefix, trace)
        return taken(kind, body, sending)

    async def once(self, body: Body) -> None:
        """Refuse an Idempotency-Key that was used for something else."""
        if self.key:
            content = self.request.path.encode() + b"\n" + body.canonical()
            await self.parts.once.check(self.caller.department, self.key, content)

    async def _bytes(self) -> bytes:
        kind = self.request.content_type
        if kind != JSON and not kind.endswith("+json"):
            raise Refused("media-type", f"send `Content-Type: {JSON}`, found `{kind[:64]}`")
        milliseconds = self.parts.settings.gateway_body_ms
        try:
            async with asyncio.timeout(milliseconds / 1_000):
                return await self._all()
        except TimeoutError:
            raise Refused("body-late", f"it took more than {milliseconds:,} ms; nothing was sent") from None
        except (ClientError, ConnectionError, HttpProcessingError, web.RequestPayloadError) as error:
            raise Refused("body-cut", f"{str(error) or 'the connection was closed'}; nothing was sent") from None

    async def _all(self) -> bytes:
        most = self.parts.settings.gateway_body_bytes
        data = bytearray()
        async for chunk in self.request.content.iter_any():
            data += chunk
            if len(data) > most:
                raise Refused("body-too-large", f"at most {most:,} bytes are read; send the messages in parts")
        return bytes(data)


def wait_of(call: Call) -> float | None:
    """For how long the call wants to wait, and may."""
    prefer = ",".join(call.request.headers.getall("Prefer", []))
    return wait_seconds(prefer, call.parts.settings.gateway_wait_ms / 1_000)


def answer(status: int, reply: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=msgspec.json.encode(reply), status=status, headers=headers, content_type=JSON, charset="utf-8"
    )


def problem(refused: Refused) -> web.Response:
    """The answer to a call that is refused."""
    body = msgspec.json.encode(refused.problem)
    return web.Response(
        body=body, status=refused.problem.status, headers=refused.headers, content_type=CONTENT_TYPE, charset="utf-8"
    )
