"""The report on shadows: what ``arbiter policy shadow-report --json`` prints. ``schemas/`` is generated from it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct


class Reason(Struct, frozen=True, kw_only=True):
    """One rule's finding."""

    rule: str
    owner: str
    message: str


class Said(Struct, frozen=True, kw_only=True):
    """An answer in words, and the rules behind it."""

    sentence: str
    reasons: list[Reason] = []


class Example(Struct, frozen=True, kw_only=True):
    """A request, what was answered, and what a shadow would have answered."""

    title: str
    about: str
    live: Said
    shadow: Said


class Stopped(Struct, frozen=True, kw_only=True):
    """How many requests of one department, channel or campaign a rule would have stopped or put off."""

    name: str
    judged: int
    would_stop: int
    approved: Annotated[int, Meta(description="Of those, how many were approved in truth.")]


class RuleInShadow(Struct, frozen=True, kw_only=True):
    """A rule in shadow mode. ``since`` is when its current evaluation began; null if the audit is cut before that."""

    rule: str
    kind: str
    owner: str
    why: str
    since: datetime | None
    judged: Annotated[int, Meta(description="Requests that it was about, each counted once, by its newest decision.")]
    is_exact: Annotated[
        bool,
        Meta(description="False: the rule asks for more than a decision says, so `judged` is an upper bound."),
    ]
    would_stop: int
    approved: Annotated[int, Meta(description="Of those it would have stopped, how many were approved in truth.")]
    put_off: Annotated[int, Meta(description="Of the approved ones, how many it would only have put off.")]
    departments: list[Stopped]
    channels: list[Stopped]
    campaigns: list[Stopped]
    examples: list[Example]


class Pair(Struct, frozen=True, kw_only=True):
    """How many requests got one answer and would have got another from the shadow policy."""

    live: str
    shadow: str
    requests: int


class Effect(Struct, frozen=True, kw_only=True):
    """What the shadow policy would have changed for some requests, each counted once, by its newest decision.

    ``lost``: approved, and would have been rejected. ``later``: approved, and would have been put off. ``gained``: not
    approved, and would have been. ``sooner``: approved in the end, and would have been before. ``otherwise``:
    not approved and would not have been, but would have waited where it was rejected, or been rejected where it waits.
    ``failed``: a rule of the shadow policy failed.
    """

    name: str
    requests: int
    lost: int = 0
    later: int = 0
    gained: int = 0
    sooner: int = 0
    failed: int = 0
    otherwise: int = 0

    @property
    def same(self) -> int:
        """How many would have had the same answer."""
        changed = self.lost + self.later + self.gained + self.sooner + self.otherwise
        return self.requests - changed - self.failed


class RuleEffect(Struct, frozen=True, kw_only=True):
    """What single rules would have changed.

    ``stops``: approved requests that this rule of the shadow policy would have stopped or put off. ``frees``: requests
    that would have been approved, or approved sooner, and to which this rule in force said no then.
    """

    rule: str
    owner: str
    stops: int = 0
    frees: int = 0


class ShadowPolicy(Struct, frozen=True, kw_only=True):
    """A whole policy in shadow. ``since`` is when it was put there; null if the audit has no more."""

    name: str
    version: int
    digest: str
    since: datetime | None
    total: Effect
    pairs: list[Pair]
    departments: list[Effect]
    channels: list[Effect]
    rules: list[RuleEffect]
    examples: list[Example]


class ShadowReport(Struct, frozen=True, kw_only=True):
    """What the shadows said to the decisions of ``[since, until)``. Days and times are those of ``zone``."""

    since: datetime
    until: datetime
    zone: str
    source: str
    decisions: int
    requests: int
    unreadable: int
    policies: Annotated[list[str], Meta(description="The policies in force that decided.")]
    rules: list[RuleInShadow]
    policy: Annotated[ShadowPolicy | None, Meta(description="The shadow policy that was evaluated last.")]
    earlier: Annotated[list[str], Meta(description="Earlier shadow policies, which are not counted here.")]
