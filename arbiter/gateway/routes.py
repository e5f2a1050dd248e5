"""Every path of the gateway, in one table: the server and the OpenAPI document are made of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Literal

from aiohttp import web
from msgspec import Struct

from arbiter.client.core.building import Message
from arbiter.gateway import reading, watching, writing
from arbiter.gateway.core.keys import Role
from arbiter.gateway.core.replies import AskedReply, DecisionsReply, HistoryReply, PolicyReply, StatusReply, ToldReply
from arbiter.gateway.parts import Parts
from arbiter.messages import (
    ConsentChange,
    ContactRequest,
    DecisionMessage,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
)

Handler = Callable[[web.Request, Parts], Awaitable[web.StreamResponse]]


class Parameter(Struct, frozen=True):
    """What a call may say beside its body."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: Mapping[str, Any]


class Route(Struct, frozen=True, kw_only=True):
    """One path with its method. ``takes`` is what a message of the body is, ``replies`` what one of the answer is."""

    name: str
    method: str = "POST"
    path: str
    role: Role
    summary: str
    handler: Handler
    parameters: tuple[Parameter, ...] = ()
    takes: type[Message] | None = None
    replies: type[Struct]
    statuses: tuple[int, ...] = (200,)
    is_list: bool = False
    """Whether a list is answered with a list."""
    streams: bool = False


_ID: Final = {"type": "string", "minLength": 1, "maxLength": 128}
_TIME: Final = {"type": "string", "format": "date-time"}
WAIT: Final = Parameter("Prefer", "header", "`wait=20`: wait so many seconds for the decision.", {"type": "string"})
ONCE: Final = Parameter(
    "Idempotency-Key",
    "header",
    "A call that is repeated with the same key counts once.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
SINCE: Final = Parameter("since", "query", "Decisions that were made at this time or later.", _TIME)
CUSTOMER: Final = Parameter("customer_id", "query", "Of this customer only.", _ID)
REQUEST: Final = Parameter("request_id", "path", "Under which it was asked.", _ID)
_PLACE: Final = {"type": "string", "pattern": r"^\d{1,4}\.\d{1,18}(-\d{1,4}\.\d{1,18})*$"}
AFTER: Final = Parameter("after", "query", "`next` of the page before.", _PLACE)
LAST: Final = Parameter("Last-Event-ID", "header", "The `id` of the last event that was read.", _PLACE)


def _tells(name: str, kind: type[Message], role: Role, summary: str) -> Route:
    return Route(
        name=name,
        path=f"/v1/{name}",
        role=role,
        summary=summary,
        handler=partial(writing.tell, kind=kind, role=role),
        parameters=(ONCE,),
        takes=kind,
        replies=ToldReply,
        statuses=(202,),
    )


ROUTES: Final = (
    Route(
        name="ask",
        path="/v1/requests",
        role="publisher",
        summary="Ask for one contact or many",
        handler=writing.ask,
        parameters=(WAIT, ONCE),
        takes=ContactRequest,
        replies=AskedReply,
        statuses=(200, 202),
        is_list=True,
    ),
    Route(
        name="history",
        method="GET",
        path="/v1/requests/{request_id}",
        role="reader",
        summary="Every decision on a request",
        handler=reading.history,
        parameters=(REQUEST, CUSTOMER, SINCE, WAIT),
        replies=HistoryReply,
    ),
    Route(
        name="check",
        path="/v1/check",
        role="publisher",
        summary="What would be decided now; spends nothing",
        handler=writing.check,
        parameters=(WAIT,),
        takes=ContactRequest,
        replies=DecisionMessage,
        is_list=True,
    ),
    Route(
        name="decisions",
        method="GET",
        path="/v1/decisions",
        role="reader",
        summary="The department's decisions and recalls, as a stream or page by page",
        handler=reading.decisions,
        parameters=(AFTER, SINCE, LAST, WAIT),
        replies=DecisionsReply,
        streams=True,
    ),
    _tells("outcomes", Outcome, "publisher", "Report what became of contacts"),
    _tells("consents", ConsentChange, "privacy", "Report consents given or withdrawn"),
    _tells("preferences", PreferenceChange, "privacy", "Report customers' own rules"),
    _tells("suppressions", SuppressionChange, "privacy", "Report who enters or leaves a suppression list"),
    _tells("profiles", Profile, "privacy", "Report what is known of customers"),
    Route(
        name="policy",
        method="GET",
        path="/v1/policy",
        role="policy",
        summary="Which policy is in force",
        handler=watching.policy,
        replies=PolicyReply,
    ),
    Route(
        name="status",
        method="GET",
        path="/v1/status",
        role="ops",
        summary="How this gateway is",
        handler=watching.status,
        replies=StatusReply,
    ),
)
