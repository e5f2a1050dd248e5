"""From an answer to the message on the topic: the same answer always gives the same bytes."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from arbiter.core.arbitrate import Decided
from arbiter.core.instants import to_datetime
from arbiter.core.model import Finding, ShadowVerdict
from arbiter.messages import Decision, Obligations, PolicyRef, ShadowDecision, Source, UsedContact, encoder
from arbiter.messages import Finding as FindingMessage

DECISION_BYTES_MAX = 256 * 1024
"""An encoded decision is no longer: Kafka would refuse it in the end, and its partition would wait for ever."""

_encode = encoder().encode


def message_of(decided: Decided) -> tuple[Decision, bytes]:
    """The published form of an answer, and its bytes. What would be too long says how much of it was left out."""
    decision = decision_of(decided)
    value = _encode(decision)
    if len(value) <= DECISION_BYTES_MAX:
        return decision, value
    decision = _without_contacts(decision)
    value = _encode(decision)
    while len(value) > DECISION_BYTES_MAX:
        decision = _with_half_the_findings(decision)
        value = _encode(decision)
    return decision, value


def _without_contacts(decision: Decision) -> Decision:
    omitted = sum(len(finding.contacts) for finding in (*decision.findings, *decision.shadow))
    bare = [[replace(finding, contacts=[]) for finding in found] for found in (decision.findings, decision.shadow)]
    return replace(decision, findings=bare[0], shadow=bare[1], contacts_omitted=omitted)


def _with_half_the_findings(decision: Decision) -> Decision:
    """The first half, so that the codes that decided it stay; rejects first, then what lasts longest."""

    def weight(finding: FindingMessage) -> tuple[bool, float]:
        return finding.effect == "defer", -(finding.until.timestamp() if finding.until else 0)

    kept = sorted(decision.findings, key=weight)[: len(decision.findings) // 2]
    beside = decision.shadow_policy
    omitted = len(decision.findings) - len(kept) + len(decision.shadow)
    if beside is not None:
        omitted += len(beside.findings)
        beside = replace(beside, findings=[])
    omitted += decision.findings_omitted
    return replace(decision, findings=kept, shadow=[], shadow_policy=beside, findings_omitted=omitted)


def decision_id(identity: bytes, n: int, source: tuple[str, int, int]) -> str:
    """A hash of department, customer and request id, then the count; a dry run's is told by where it stood."""
    return f"{identity.hex()}:{n}" if n else f"{identity.hex()}:dry-{source[1]}-{source[2]}"


def decision_of(decided: Decided) -> Decision:
    """The published form of an answer."""
    request, answer = decided.request, decided.answer
    name, version, digest = answer.policy
    topic, partition, offset = answer.source
    wishes = answer.notify is not None or answer.preferred_channel is not None
    return Decision(
        decision_id=decision_id(decided.identity, answer.n, answer.source),
        request_id=request.request_id,
        customer_id=request.customer_id,
        department=request.department,
        campaign=request.campaign,
        channel=request.channel,
        category=request.category,
        outcome=answer.outcome,  # type: ignore[arg-type]
        final=answer.final,
        policy=PolicyRef(name=name, version=version, digest=digest),
        source=Source(topic=topic, partition=partition, offset=offset),
        seq=answer.seq,
        decided_at=to_datetime(answer.decided_at_ms),
        findings=[_finding(finding) for finding in answer.findings],
        retry_at=_instant(answer.retry_at_ms),
        ahead=answer.ahead,
        next_eligible_at=_instant(answer.next_eligible_at_ms),
        not_before=_instant(answer.not_before_ms),
        valid_until=_instant(answer.valid_until_ms),
        obligations=Obligations(notify=answer.notify, preferred_channel=answer.preferred_channel) if wishes else None,
        score=answer.score,
        score_note=answer.score_note,
        shadow=[_finding(finding) for finding in answer.shadow],
        exceptions=list(answer.exceptions),
        shadow_policy=_shadow_policy(answer.shadow_policy),
        dry_run=answer.n == 0,
    )


def _shadow_policy(would: ShadowVerdict | None) -> ShadowDecision | None:
    if would is None:
        return None
    name, version, digest = would.policy
    return ShadowDecision(
        policy=PolicyRef(name=name, version=version, digest=digest),
        outcome=would.outcome,  # type: ignore[arg-type]
        rules=list(would.rules),
        retry_at=_instant(would.retry_at_ms),
        findings=[_finding(finding) for finding in would.findings],
    )


def _finding(finding: Finding) -> FindingMessage:
    return FindingMessage(
        rule=finding.rule,
        kind=finding.kind,
        code=finding.code,
        effect="defer" if finding.defers else "reject",
        owner=finding.owner,
        why=finding.why,
        message=finding.message,
        used=finding.used,
        limit=finding.limit,
        window=finding.window,
        until=_instant(finding.until_ms),
        contacts=[
            UsedContact(
                department=used.department, channel=used.channel, at=to_datetime(used.at_ms), campaign=used.campaign
            )
            for used in finding.contacts
        ],
    )


def _instant(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else to_datetime(at_ms)
