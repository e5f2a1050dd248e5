"""What was decided about a request, before it is published."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from arbiter.ledger.capacity import Draw
from arbiter.ledger.model import Answer, Asked, Finding, ShadowVerdict
from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import CODES
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import MINUTE_MS

RULE_ERROR = "rule_error"
BUDGET_CODES = frozenset(name for name, code in CODES.items() if code.is_budget)


class Verdict(Struct, frozen=True, gc=False):
    """What was decided, and why."""

    outcome: str
    final: bool = True
    findings: tuple[Finding, ...] = ()
    shadow: tuple[Finding, ...] = ()
    retry_at_ms: int | None = None
    next_eligible_at_ms: int | None = None
    not_before_ms: int | None = None
    valid_until_ms: int | None = None
    notify: str | None = None
    preferred_channel: str | None = None
    score: float | None = None
    score_note: str | None = None
    draws: tuple[Draw, ...] = ()
    exceptions: tuple[str, ...] = ()
    shadow_policy: ShadowVerdict | None = None


def lacks_budget_only(verdict: Verdict) -> bool:
    """Whether budgets alone are in the way, and may free: what the recall of a lesser contact can clear.

    That they free by themselves only after the request has expired is no reason of its own.
    """
    found = [finding for finding in verdict.findings if finding.code != "would_expire"]
    return bool(found) and all(finding.defers and finding.code in BUDGET_CODES for finding in found)


def refuse(verdict: Verdict, finding: Finding, next_ms: int | None) -> Verdict:
    """The verdict turned into a final no, for one more reason; ``next_ms`` is when it could be approved, if known."""
    return replace(
        verdict,
        outcome="rejected",
        final=True,
        findings=(*verdict.findings, finding),
        not_before_ms=None,
        valid_until_ms=None,
        retry_at_ms=None,
        draws=(),
        next_eligible_at_ms=next_ms,
    )


def timely(policy: PolicyDocument, verdict: Verdict, now_ms: int) -> Verdict:
    """The verdict. One that would wait for a time that is over waits for a minute: a rule has failed.

    It is not approved, and not lost either; and nothing comes back again and again at once.
    """
    if verdict.outcome != "deferred" or (verdict.retry_at_ms or 0) > now_ms:
        return verdict
    message = "a rule named a time that is over; it is decided again in a minute"
    finding = finding_of(policy, "retry_at", RULE_ERROR, message, now_ms + MINUTE_MS)
    return replace(verdict, findings=(*verdict.findings, finding), retry_at_ms=now_ms + MINUTE_MS)


def answer_of(
    policy: tuple[str, int, str], asked: Asked, verdict: Verdict, ahead: int | None, seq: int, now_ms: int
) -> Answer:
    """What is published and remembered of a verdict on ``asked`` by this policy, at ``now`` in the commit ``seq``."""
    return Answer(
        asked.n,
        verdict.outcome,
        verdict.final,
        policy,
        asked.source,
        seq,
        now_ms,
        verdict.findings,
        verdict.retry_at_ms,
        ahead,
        verdict.next_eligible_at_ms,
        verdict.not_before_ms,
        verdict.valid_until_ms,
        verdict.notify,
        verdict.preferred_channel,
        verdict.score,
        verdict.score_note,
        verdict.shadow,
        verdict.exceptions,
        verdict.shadow_policy,
    )
