"""What the gateway answers: one Struct per kind of answer, from which the OpenAPI document is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec
from msgspec import Raw, Struct

from arbiter.messages import ContactRequest

UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""What a URI's part says as it is."""

MARGIN: Final = timedelta(minutes=1)
"""By how much clocks may differ: a history is searched from so long before the call."""


class AskedReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that Kafka has. ``location`` is where to look; ``decision`` is there if it was waited for and came."""

    request_id: str
    customer_id: str
    department: str
    location: str
    decision: Raw | None = None


class ToldReply(Struct, frozen=True):
    """How many messages Kafka has."""

    accepted: int


class HistoryReply(Struct, frozen=True):
    """The decisions on one request that were made from ``searched_from`` on, oldest first. The last one stands.

    None: it is not decided yet, or was never asked, or was decided earlier.
    """

    request_id: str
    department: str
    searched_from: datetime
    decisions: list[Raw]


class DecisionsReply(Struct, frozen=True):
    """Decisions and recalls of a department. ``next`` goes into ``after`` of the next call."""

    decisions: list[Raw]
    next: str


class PolicyReply(Struct, frozen=True):
    """The policy in force."""

    policy: str
    version: int
    digest: str
    activation: int


class StatusReply(Struct, frozen=True):
    """How this gateway is. ``trouble`` says why decisions cannot be read; empty if they can."""

    version: str
    ready: bool
    trouble: str
    waiting: int
    streams: int
    keys: int


def asked(request: ContactRequest, now: datetime, decision: bytes | None) -> AskedReply:
    """The answer about one request."""
    return AskedReply(
        request_id=request.request_id,
        customer_id=request.customer_id,
        department=request.department,
        location=location(request, now),
        decision=None if decision is None else Raw(decision),
    )


def location(request: ContactRequest, now: datetime) -> str:
    """Where the history of a request is: its own path, and from when on to search."""
    since = msgspec.to_builtins((now - MARGIN).replace(microsecond=0))
    return f"/v1/requests/{quoted(request.request_id)}?customer_id={quoted(request.customer_id)}&since={since}"


def quoted(text: str) -> str:
    """A text as one part of a URI's path or query."""
    return "".join(chr(byte) if chr(byte) in UNRESERVED else f"%{byte:02X}" for byte in text.encode())
