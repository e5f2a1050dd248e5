"""Decisions before they are published: made without a rule, refused, put off."""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.ledger.model import Answer, Finding
from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import CODES
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import MINUTE_MS

RULE_ERROR = "rule_error"
BUDGET_CODES = frozenset(name for name, code in CODES.items() if code.is_budget)


NOWHERE = ("", 0, 0)


def answer(
    policy: Policy, now_ms: int, outcome: str, findings: tuple[Finding, ...], score: float | None = None
) -> Answer:
    """A decision that no rule was asked about."""
    return Answer(0, outcome, outcome != "recalled", policy.ref, NOWHERE, 0, now_ms, findings, score=score)


def lacks_budget_only(verdict: Answer) -> bool:
    """Whether budgets alone are in the way, and may free: what the recall of a lesser contact can clear.

    That they free by themselves only after the request has expired is no reason of its own.
    """
    found = [finding for finding in verdict.findings if finding.code != "would_expire"]
    return bool(found) and all(finding.defers and finding.code in BUDGET_CODES for finding in found)


def refuse(verdict: Answer, finding: Finding, next_ms: int | None) -> Answer:
    """The verdict turned into a final no, for one more reason; ``next_ms`` is when it could be approved, if known."""
    return replace(
        verdict,
        outcome="rejected",
        final=True,
        findings=(*verdict.findings, finding),
        not_before_ms=None,
        valid_until_ms=None,
        retry_at_ms=None,
        next_eligible_at_ms=next_ms,
    )


def timely(policy: PolicyDocument, verdict: Answer, now_ms: int) -> Answer:
    """The verdict. One that would wait for a time that is over waits for a minute: a rule has failed.

    It is not approved, and not lost either; and nothing comes back again and again at once.
    """
    if verdict.outcome != "deferred" or (verdict.retry_at_ms or 0) > now_ms:
        return verdict
    message = "a rule named a time that is over; it is decided again in a minute"
    finding = finding_of(policy, "retry_at", RULE_ERROR, message, now_ms + MINUTE_MS)
    return replace(verdict, findings=(*verdict.findings, finding), retry_at_ms=now_ms + MINUTE_MS)
