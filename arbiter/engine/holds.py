"""Arbitrations: requests that compete are gathered for a while, then decided together, best first."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from arbiter.engine.decisions import refuse
from arbiter.engine.evaluation import Evaluation
from arbiter.ledger.model import Decision
from arbiter.policy.rules import CompiledArbitration
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.windows import spoken


def hold_for(evaluation: Evaluation, holds: Mapping[str, int]) -> tuple[CompiledArbitration, int] | None:
    """The arbitration that a new request must wait for, and when it closes (ms); of several the one that closes last.

    ``holds`` are the open arbitrations, with when they close. A party's first matching request opens one. It closes
    when its rule ends, at the latest. ``None`` if the request need not wait.
    """
    found: list[tuple[CompiledArbitration, int]] = []
    for arbitration in evaluation.arbitrations():
        closes_ms = holds.get(arbitration.id, 0)
        if closes_ms <= evaluation.inputs.now_ms:
            closes_ms = evaluation.inputs.now_ms + arbitration.hold_ms
        found.append((arbitration, min(closes_ms, arbitration.until_ms)))
    return max(found, key=lambda pair: pair[1], default=None)


def held(evaluation: Evaluation, decision: Decision, hold: CompiledArbitration, closes_ms: int) -> Decision:
    """The decision on a request that waits for the close of an arbitration."""
    policy = evaluation.inputs.policy
    message = f"requests are gathered and decided together, best first, at {spoken(closes_ms, policy.zone)}"
    findings = (*decision.findings, hold.no("held_for_arbitration", message, closes_ms))
    decision = replace(decision, findings=findings, not_before_ms=None, valid_until_ms=None, retry_at_ms=closes_ms)
    if closes_ms >= evaluation.inputs.expires_ms:
        why = "it expires before the requests are decided"
        late = finding_of(policy.document, "expires_at", "would_expire", why)
        return refuse(decision, late, evaluation.eligible_ms(closes_ms))
    return replace(decision, outcome="deferred", final=False)


def outranked(policy: Policy, decision: Decision, rule: str, winner: tuple[float, str]) -> Decision:
    """The deferral of a request that lost an arbitration, with a finding that names the winner.

    ``winner`` is the score and department of the winner. Without a budget that says no, the decision is unchanged.
    """
    blocked = next((f for f in decision.findings if f.code in ("cap_reached", "reserved")), None)
    arbitration = policy.arbitration(rule)
    if blocked is None or arbitration is None:
        return decision
    score, department = winner
    message = f"{department} won with a score of {score:g}; this one waits for the budget"
    return replace(decision, findings=(*decision.findings, arbitration.no("outranked", message, blocked.until_ms)))
