"""``GET``: the history of a request, and a department's decisions as a stream or page by page."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

from aiohttp import web
from msgspec import Raw

from arbiter.client.core.errors import ClientError
from arbiter.gateway.call import Call, answer, wait_of
from arbiter.gateway.core import query
from arbiter.gateway.core.problems import Refused
from arbiter.gateway.core.replies import DecisionsReply, HistoryReply
from arbiter.gateway.following import Feed, event_of
from arbiter.gateway.parts import Parts
from arbiter.messages import encoder

SINCE: Final = timedelta(days=1)
"""How far back the history of a request is searched, if the call does not say."""

PAGE_MAX: Final = 500
ALIVE_SECONDS: Final = 10.0
STREAM: Final = "text/event-stream"

_encode: Final = encoder().encode


async def history(request: web.Request, parts: Parts) -> web.StreamResponse:
    """Every decision on a request, oldest first; with ``Prefer: wait`` the first one is waited for."""
    call = Call(request, parts, "reader")
    given = _query(call, ("customer_id", "since"))
    request_id = query.text(request.match_info, "request_id") or ""
    customer = query.text(given, "customer_id")
    since = query.instant(given, "since", call.at) or call.at - SINCE
    department, wait = call.caller.department, wait_of(call) or 0.0
    keys = [(department, customer or "", request_id, dry) for dry in (False, True)]
    with parts.live.watching(keys) as slots:
        found = await parts.histories.find(department, request_id, customer, since)
        if not found and wait and customer is not None:
            done, _ = await asyncio.wait(slots, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            found = [slot.result() for slot in done]
    decisions = [Raw(read.value) for read in found]
    reply = HistoryReply(request_id=request_id, department=department, searched_from=since, decisions=decisions)
    return answer(200, reply, {} if found else {"Retry-After": "1"})


async def decisions(request: web.Request, parts: Parts) -> web.StreamResponse:
    """The department's decisions and recalls: a stream if the call accepts one, otherwise the next page."""
    call = Call(request, parts, "reader")
    given = _query(call, ("after", "since"))
    cursor = given.get("after", "") or request.headers.get("Last-Event-ID", "")
    since = query.instant(given, "since", call.at)
    async with parts.feeds.open(call.caller.department, cursor, since) as feed:
        if STREAM in request.headers.get("Accept", ""):
            return await _stream(call, feed)
        return await _page(call, feed)


async def _page(call: Call, feed: Feed) -> web.Response:
    """What is there; if nothing is, what comes while the call wants to wait."""
    loop = asyncio.get_running_loop()
    end = loop.time() + (wait_of(call) or 0.0)
    found: list[Raw] = []
    while True:
        await feed.read()
        while len(found) < PAGE_MAX and (message := feed.next()) is not None:
            found.append(Raw(_encode(message)))
        if found or loop.time() >= end or call.parts.feeds.stopping.is_set():
            return answer(200, DecisionsReply(decisions=found, next=feed.cursor))


async def _stream(call: Call, feed: Feed) -> web.StreamResponse:
    """Events until the caller hangs up, the key ends or the gateway does. An event without data tells the place."""
    response = web.StreamResponse(headers={"Content-Type": STREAM, "Cache-Control": "no-store"})
    await response.prepare(call.request)
    loop = asyncio.get_running_loop()
    alive_at = 0.0
    with suppress(ConnectionError, ClientError, Refused):
        while not call.parts.feeds.stopping.is_set():
            while (message := feed.next()) is not None:
                await response.write(event_of(message, feed.cursor))
            if loop.time() >= alive_at:
                call.again()
                await response.write(f"id: {feed.cursor}\n\n".encode())
                alive_at = loop.time() + ALIVE_SECONDS
            await feed.read()
    return response


def _query(call: Call, known: tuple[str, ...]) -> dict[str, str]:
    query.only(list(call.request.query.keys()), known)
    return dict(call.request.query)
