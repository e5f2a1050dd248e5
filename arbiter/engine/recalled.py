"""A request whose approval was taken back, and what it waits for.

Its department must hear of the recall before the request is approved anew, or it could take two permits for one
contact. And what its department may have sent already counts on, until it says that it did not: so the request may
stand in its own way, and that alone must not end it.
"""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.ledger.model import Answer
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.windows import spoken


def wait_for_word(policy: Policy, verdict: Answer, until_ms: int, expires_ms: int) -> Answer:
    """The verdict on a recalled request, which is not approved before ``until`` unless its department has confirmed."""
    if verdict.outcome == "rejected" or (verdict.retry_at_ms or 0) >= until_ms:
        return verdict
    message = "it was just recalled; decided again when its department has confirmed that, or had time to hear of it"
    return _waiting(policy, verdict, message, min(until_ms, expires_ms))


def wait_for_own(policy: Policy, verdict: Answer, expires_ms: int) -> Answer:
    """The verdict on a recalled request that only its own contact keeps from being approved before it expires."""
    message = (
        "its recalled approval counts until its department confirms that it was not sent; it is decided again then, "
        f"and ends when it expires at {spoken(expires_ms, policy.zone)}"
    )
    return _waiting(policy, verdict, message, expires_ms)


def awaits_word(verdict: Answer) -> bool:
    """Whether it waits for its department's word, which no judging of the request alone tells."""
    return verdict.outcome == "deferred" and any(finding.code == "recalled" for finding in verdict.findings)


def _waiting(policy: Policy, verdict: Answer, message: str, until_ms: int) -> Answer:
    findings = tuple(finding for finding in verdict.findings if finding.defers)
    return replace(
        verdict,
        outcome="deferred",
        final=False,
        findings=(*findings, finding_of(policy.document, "recall", "recalled", message, until_ms)),
        retry_at_ms=until_ms,
        next_eligible_at_ms=None,
        not_before_ms=None,
        valid_until_ms=None,
        notify=None,
        preferred_channel=None,
        exceptions=(),
    )
