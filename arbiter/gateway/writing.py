"""``POST``: requests, checks, and what departments report."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from uuid import uuid4

from aiohttp import web

from arbiter.client.core.building import Message
from arbiter.client.core.following import ReadDecision
from arbiter.gateway.call import Call, answer, wait_of
from arbiter.gateway.core.intake import Body, Taken, with_ids
from arbiter.gateway.core.keys import Role
from arbiter.gateway.core.problems import Refused
from arbiter.gateway.core.replies import AskedReply, ToldReply, asked
from arbiter.gateway.live import Slot
from arbiter.gateway.parts import Parts
from arbiter.messages import ContactRequest
from arbiter.metrics import TOPICS

CHECK_SECONDS = 10.0
"""How long a check waits for its decision, if the call does not say."""


async def ask(request: web.Request, parts: Parts) -> web.StreamResponse:
    """Ask for contacts: 200 with all decisions if the call waits for them and they come, otherwise 202."""
    call = Call(request, parts, "publisher")
    body = await call.body()
    found = call.built(ContactRequest, _named(call, body))
    await call.once(body)
    wait = wait_of(call)
    replies = await _asked(call, found, wait)
    is_decided = all(reply.decision is not None for reply in replies)
    headers = {} if wait is None else {"Preference-Applied": f"wait={wait:g}"}
    if not body.is_many:
        headers["Location"] = replies[0].location
    if not is_decided:
        headers["Retry-After"] = "1"
    return answer(200 if is_decided else 202, replies if body.is_many else replies[0], headers)


async def check(request: web.Request, parts: Parts) -> web.StreamResponse:
    """What would be decided now: a dry run, which spends nothing. 504 if no decision comes in time."""
    call = Call(request, parts, "publisher")
    body = _named(call, await call.body())
    dry = Body([{**item, "dry_run": True} for item in body.items], body.is_many)
    found = call.built(ContactRequest, dry)
    wait = wait_of(call) or min(CHECK_SECONDS, parts.settings.gateway_wait_ms / 1_000)
    if parts.live.trouble:
        raise Refused("kafka-away", f"decisions cannot be read now: {parts.live.trouble}")
    replies = await _asked(call, found, wait)
    late = sum(reply.decision is None for reply in replies)
    if late:
        text = f"{late} of {len(replies)} were not decided within {wait:g} s; a check spends nothing: ask again"
        raise Refused("no-decision", f"{text}. If it stays so, no worker decides (`arbiter doctor`)")
    decisions = [reply.decision for reply in replies]
    return answer(200, decisions if body.is_many else decisions[0])


async def tell(request: web.Request, parts: Parts, kind: type[Message], role: Role) -> web.StreamResponse:
    """Report something: 202 once Kafka has it."""
    call = Call(request, parts, role)
    body = await call.body()
    found = call.built(kind, body)
    await call.once(body)
    await _send(call, found)
    return answer(202, ToldReply(len(found)))


def _named(call: Call, body: Body) -> Body:
    return with_ids(body, call.key, call.caller.department, lambda: uuid4().hex)


async def _asked(call: Call, found: Sequence[Taken], wait: float | None) -> list[AskedReply]:
    """Send the requests, and wait for their decisions if the call wants to."""
    requests = [one.message for one in found if isinstance(one.message, ContactRequest)]
    if wait is None:
        await _send(call, found)
        return [asked(request, call.at, None) for request in requests]
    began = monotonic()
    with call.parts.live.asking(requests) as slots:
        await _send(call, found)
        decisions = await _decisions(slots, wait)
    if None not in decisions:
        call.parts.metrics.decision_seconds.observe(monotonic() - began)
    return [
        asked(request, call.at, None if decision is None else decision.value)
        for request, decision in zip(requests, decisions, strict=True)
    ]


async def _decisions(slots: Sequence[Slot], wait: float) -> list[ReadDecision | None]:
    if wait > 0:
        await asyncio.wait(slots, timeout=wait)
    return [slot.result() if slot.done() else None for slot in slots]


async def _send(call: Call, found: Sequence[Taken]) -> None:
    """Return once Kafka has confirmed all. A caller that hangs up meanwhile changes nothing."""
    began, metrics = monotonic(), call.parts.metrics
    await call.parts.publisher.send([one.record for one in found])
    metrics.confirm_seconds.observe(monotonic() - began)
    prefix = call.parts.settings.topic_prefix
    metrics.records.labels(TOPICS[found[0].record.topic.removeprefix(prefix)]).inc(len(found))
