"""From a decision to the message on the topic. The same decision always gives the same bytes."""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.ledger.identity import COUNTS_MAX, counted_from
from arbiter.ledger.model import Decision
from arbiter.messages import DecisionMessage, Finding, Obligations, PolicyRef, Source, encoder, instant_of

DECISION_BYTES_MAX = 256 * 1024
"""The longest encoded decision. Kafka would refuse a longer one in the end, and its partition would wait for ever."""

_encode = encoder().encode


def encoded(decision: Decision) -> tuple[DecisionMessage, bytes]:
    """The message and its bytes. One that would be too long says how much of it was left out."""
    message = message_of(decision)
    value = _encode(message)
    if len(value) <= DECISION_BYTES_MAX:
        return message, value
    message = _without_contacts(message)
    value = _encode(message)
    while len(value) > DECISION_BYTES_MAX:
        message = _with_half_the_findings(message)
        value = _encode(message)
    return message, value


def _without_contacts(message: DecisionMessage) -> DecisionMessage:
    omitted = sum(len(finding.contacts) for finding in (*message.findings, *message.shadow))
    findings, shadow = (
        tuple([replace(finding, contacts=()) for finding in found]) for found in (message.findings, message.shadow)
    )
    return replace(message, findings=findings, shadow=shadow, contacts_omitted=omitted)


def _with_half_the_findings(message: DecisionMessage) -> DecisionMessage:
    """The first half of the findings: those that decided it stay. Rejects come first, then what lasts longest."""

    def weight(finding: Finding) -> tuple[bool, float]:
        return finding.defers, -(finding.until.timestamp() if finding.until else 0)

    kept = tuple(sorted(message.findings, key=weight)[: len(message.findings) // 2])
    beside = message.shadow_policy
    omitted = len(message.findings) - len(kept) + len(message.shadow)
    if beside is not None:
        omitted += len(beside.findings)
        beside = replace(beside, findings=())
    omitted += message.findings_omitted
    return replace(message, findings=kept, shadow=(), shadow_policy=beside, findings_omitted=omitted)


def decision_id(decision: Decision) -> str:
    """A hash of department, customer and request id, then the count. A dry run has the place of its record instead."""
    if decision.n:
        return f"{decision.identity.hex()}:{decision.n}"
    since = counted_from(decision.seq)
    _, partition, offset = decision.source
    return f"{decision.identity.hex()}:dry-{partition}-{offset}" + (f"-{since}" if since else "")


def count_of(decision_id: str) -> int:
    """Which decision on its request this is, from 1; 0 for a dry run and for the answer to a dead letter."""
    _, _, n = decision_id.rpartition(":")
    return int(n) % COUNTS_MAX if n.isdecimal() else 0


def message_of(decision: Decision) -> DecisionMessage:
    """The message. Its findings are those of the decision."""
    request = decision.request
    has_obligations = decision.notify is not None or decision.preferred_channel is not None
    # By position: this runs for every decision.
    return DecisionMessage(
        decision_id(decision),
        request.request_id,
        request.customer_id,
        request.department,
        request.campaign,
        request.channel,
        request.category,
        decision.outcome,
        decision.final,
        PolicyRef(*decision.policy),
        Source(*decision.source),
        decision.seq,
        instant_of(decision.decided_at_ms),
        decision.findings,
        None if decision.retry_at_ms is None else instant_of(decision.retry_at_ms),
        decision.ahead,
        None if decision.next_eligible_at_ms is None else instant_of(decision.next_eligible_at_ms),
        None if decision.not_before_ms is None else instant_of(decision.not_before_ms),
        None if decision.valid_until_ms is None else instant_of(decision.valid_until_ms),
        Obligations(decision.notify, decision.preferred_channel) if has_obligations else None,
        decision.score,
        decision.score_note,
        decision.shadow,
        decision.n == 0,
        0,
        0,
        decision.exceptions,
        decision.shadow_policy,
        decision.notes,
    )
