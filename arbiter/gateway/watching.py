"""``GET``: how the gateway is, and which policy is in force."""

from __future__ import annotations

from aiohttp import web

from arbiter import __version__
from arbiter.gateway.call import Call, answer
from arbiter.gateway.core import query
from arbiter.gateway.core.problems import Refused
from arbiter.gateway.core.replies import PolicyReply, StatusReply
from arbiter.gateway.parts import Parts
from arbiter.state.store import StateDamaged, StoreUnavailable


async def status(request: web.Request, parts: Parts) -> web.StreamResponse:
    """How this gateway is; of a load balancer's gateways it is any."""
    Call(request, parts, "ops")
    query.only(list(request.query.keys()), ())
    trouble = parts.live.trouble
    reply = StatusReply(
        version=__version__,
        ready=not trouble,
        trouble=trouble,
        waiting=parts.live.waiting,
        streams=parts.feeds.count,
        keys=len(parts.keys.now()),
    )
    return answer(200, reply)


async def policy(request: web.Request, parts: Parts) -> web.StreamResponse:
    """Which policy is in force."""
    Call(request, parts, "policy")
    query.only(list(request.query.keys()), ())
    try:
        active = await parts.store.policies.active()
        record = None if active is None else await parts.store.policies.fetch(active.version)
    except (StoreUnavailable, StateDamaged) as error:
        raise Refused("store-away", str(error)) from None
    if active is None or record is None:
        raise Refused("not-found", "no policy is in force; `arbiter policy activate` puts one in force")
    return answer(200, PolicyReply(record.name, active.version, active.digest, active.number))
