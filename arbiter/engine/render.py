"""From an answer to the message on the topic: the same answer always gives the same bytes."""

from __future__ import annotations

from functools import lru_cache

from msgspec.structs import replace

from arbiter.engine.told import Decided
from arbiter.ledger.identity import COUNTS_MAX, counted_from
from arbiter.ledger.model import Answer, Finding, ShadowVerdict
from arbiter.messages import Decision, Obligations, PolicyRef, ShadowDecision, Source, UsedContact, encoder
from arbiter.messages import Finding as FindingMessage
from arbiter.timing.instants import to_datetime

DECISION_BYTES_MAX = 256 * 1024
"""An encoded decision is no longer: Kafka would refuse it in the end, and its partition would wait for ever."""

_encode = encoder().encode

# Most answers of a batch tell of the same few instants: now, the end of the quiet hours, the contacts of last week.
_instant = lru_cache(maxsize=8_192)(to_datetime)


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


def decision_id(identity: bytes, answer: Answer) -> str:
    """A hash of department, customer and request id, then the count; a dry run's is told by where it stood."""
    if answer.n:
        return f"{identity.hex()}:{answer.n}"
    since = counted_from(answer.seq)
    _, partition, offset = answer.source
    return f"{identity.hex()}:dry-{partition}-{offset}" + (f"-{since}" if since else "")


def count_of(decision_id: str) -> int:
    """Which decision on its request this is, from 1; 0 for a dry run."""
    _, _, n = decision_id.rpartition(":")
    return int(n) % COUNTS_MAX if n.isdecimal() else 0


def decision_of(decided: Decided) -> Decision:
    """The published form of an answer."""
    request, answer = decided.request, decided.answer
    wishes = answer.notify is not None or answer.preferred_channel is not None
    # By position, and only one object for each thing told: this runs for every decision.
    return Decision(
        decision_id(decided.identity, answer),
        request.request_id,
        request.customer_id,
        request.department,
        request.campaign,
        request.channel,
        request.category,
        answer.outcome,  # type: ignore[arg-type]
        answer.final,
        PolicyRef(*answer.policy),
        Source(*answer.source),
        answer.seq,
        _instant(answer.decided_at_ms),
        [_finding(finding) for finding in answer.findings],
        None if answer.retry_at_ms is None else _instant(answer.retry_at_ms),
        answer.ahead,
        None if answer.next_eligible_at_ms is None else _instant(answer.next_eligible_at_ms),
        None if answer.not_before_ms is None else _instant(answer.not_before_ms),
        None if answer.valid_until_ms is None else _instant(answer.valid_until_ms),
        Obligations(answer.notify, answer.preferred_channel) if wishes else None,
        answer.score,
        answer.score_note,
        [_finding(finding) for finding in answer.shadow],
        answer.n == 0,
        exceptions=list(answer.exceptions),
        shadow_policy=None if answer.shadow_policy is None else _shadow_policy(answer.shadow_policy),
    )


def _shadow_policy(would: ShadowVerdict) -> ShadowDecision:
    return ShadowDecision(
        PolicyRef(*would.policy),
        would.outcome,  # type: ignore[arg-type]
        list(would.rules),
        None if would.retry_at_ms is None else _instant(would.retry_at_ms),
        [_finding(finding) for finding in would.findings],
    )


def _finding(finding: Finding) -> FindingMessage:
    return FindingMessage(
        finding.rule,
        finding.kind,
        finding.code,
        "defer" if finding.defers else "reject",
        finding.owner,
        finding.why,
        finding.message,
        finding.used,
        finding.limit,
        finding.window,
        None if finding.until_ms is None else _instant(finding.until_ms),
        [UsedContact(used.department, used.channel, _instant(used.at_ms), used.campaign) for used in finding.contacts],
    )
