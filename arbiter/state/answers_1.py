"""Reads decisions in format 1, which builds before columns and phrases stored. Nothing writes it any more."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from arbiter.ledger.model import Decision
from arbiter.messages import Finding, OutcomeName, PolicyRef, ShadowDecision, UsedContact, instant_of
from arbiter.state.codec import CodecError, check_format


class _Used(Struct, array_like=True, gc=False):
    department: str
    channel: str
    at_ms: int
    campaign: str | None = None


class _Finding(Struct, array_like=True, gc=False):
    rule: str
    kind: str
    code: str
    defers: bool
    owner: str
    why: str
    message: str
    used: int | None = None
    limit: int | None = None
    window: str | None = None
    until_ms: int | None = None
    contacts: tuple[_Used, ...] = ()


class _Shadow(Struct, array_like=True, gc=False):
    policy: tuple[str, int, str]
    outcome: str
    rules: tuple[str, ...] = ()
    retry_at_ms: int | None = None
    findings: tuple[_Finding, ...] = ()


class _Answer(Struct, array_like=True, gc=False):
    n: int
    outcome: OutcomeName
    final: bool
    policy: tuple[str, int, str]
    source: tuple[str, int, int]
    seq: int
    decided_at_ms: int
    findings: tuple[_Finding, ...] = ()
    retry_at_ms: int | None = None
    ahead: int | None = None
    next_eligible_at_ms: int | None = None
    not_before_ms: int | None = None
    valid_until_ms: int | None = None
    notify: str | None = None
    preferred_channel: str | None = None
    score: float | None = None
    score_note: str | None = None
    shadow: tuple[_Finding, ...] = ()
    exceptions: tuple[str, ...] = ()
    shadow_policy: _Shadow | None = None


class _Answered(Struct, array_like=True, gc=False):
    content: bytes
    answer: _Answer


_decode: Final = msgspec.msgpack.Decoder(_Answered).decode


def unpack_decision_1(data: bytes) -> Decision:
    """A stored decision; :class:`CodecError` when the bytes cannot be read."""
    check_format("answer", data, 1)
    try:
        answered = _decode(data[1:])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CodecError(f"answer: damaged, {error}") from error
    a = answered.answer
    return Decision(
        a.outcome, a.final, a.policy, a.decided_at_ms, _findings(a.findings), a.retry_at_ms, a.next_eligible_at_ms,
        a.not_before_ms, a.valid_until_ms, a.notify, a.preferred_channel, a.score, a.score_note, _findings(a.shadow),
        a.exceptions, None if a.shadow_policy is None else _shadow(a.shadow_policy),
        content=answered.content, n=a.n, source=a.source, seq=a.seq, ahead=a.ahead,
    )  # fmt: skip


def _findings(found: tuple[_Finding, ...]) -> tuple[Finding, ...]:
    return tuple([
        Finding(
            f.rule, f.kind, f.code, "defer" if f.defers else "reject", f.owner, f.why, f.message, f.used, f.limit,
            f.window, None if f.until_ms is None else instant_of(f.until_ms),
            tuple([UsedContact(c.department, c.channel, instant_of(c.at_ms), c.campaign) for c in f.contacts]),
        )
        for f in found
    ])  # fmt: skip


def _shadow(would: _Shadow) -> ShadowDecision:
    retry_at = None if would.retry_at_ms is None else instant_of(would.retry_at_ms)
    policy, findings = PolicyRef(*would.policy), _findings(would.findings)
    return ShadowDecision(policy, would.outcome, would.rules, retry_at, findings)  # type: ignore[arg-type]
