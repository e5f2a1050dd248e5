"""Every path of the gateway, in one table: the server and the OpenAPI document are made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from aiohttp import web
from msgspec import Struct

from arbiter.client.core.building import Message
from arbiter.gateway import writing
from arbiter.gateway.core.keys import Role
from arbiter.gateway.parts import Parts
from arbiter.messages import ConsentChange, ContactRequest, Outcome, PreferenceChange, Profile, SuppressionChange

Handler = Callable[[web.Request, Parts], Awaitable[web.StreamResponse]]


class Route(Struct, frozen=True):
    """One path with its method. ``takes`` is what a message of the body is."""

    method: str
    path: str
    role: Role | None
    summary: str
    handler: Handler
    takes: type[Message] | None = None


def _tells(path: str, kind: type[Message], role: Role, summary: str) -> Route:
    return Route("POST", path, role, summary, partial(writing.tell, kind=kind, role=role), kind)


ROUTES: Final = (
    Route("POST", "/v1/requests", "publisher", "Ask for one contact or many", writing.ask, ContactRequest),
    Route("POST", "/v1/check", "publisher", "What would be decided now; spends nothing", writing.check, ContactRequest),
    _tells("/v1/outcomes", Outcome, "publisher", "Report what became of contacts"),
    _tells("/v1/consents", ConsentChange, "privacy", "Report consents given or withdrawn"),
    _tells("/v1/preferences", PreferenceChange, "privacy", "Report customers' own rules"),
    _tells("/v1/suppressions", SuppressionChange, "privacy", "Report who enters or leaves a suppression list"),
    _tells("/v1/profiles", Profile, "privacy", "Report what is known of customers"),
)
