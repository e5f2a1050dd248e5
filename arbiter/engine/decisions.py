"""Decisions that no evaluation makes by itself: made without a rule, changed by what else holds, or published again.

A recalled request is such a case. Its department must hear of the recall before the request is approved anew, or it
could take two permits for one contact. What its department may have sent already counts until it says that it did not
send it. So the request may stand in its own way, and that alone must not end it.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from arbiter.ledger.facts import Refused
from arbiter.ledger.identity import had_content
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest, Finding, OutcomeName
from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import CODES
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import finding_of
from arbiter.timing.instants import MINUTE_MS
from arbiter.timing.windows import spoken

RULE_ERROR: Final = "rule_error"
BUDGET_CODES = frozenset(name for name, code in CODES.items() if code.is_budget)


def without_rules(
    policy: Policy, now_ms: int, outcome: OutcomeName, findings: tuple[Finding, ...], score: float | None = None
) -> Decision:
    """A decision for which no rule was asked."""
    return Decision(outcome, outcome != "recalled", policy.ref, now_ms, findings, score=score)


def repeat(
    request: ContactRequest, identity: bytes, content: bytes, known: Decision, trace: bytes
) -> Decision | Refused:
    """What a request gets that comes again: the ``known`` decision, or a refusal if its content is another one.

    ``trace`` is that of the record that came again: whoever sent it waits for this answer.
    """
    if known.content == content or had_content(request, known.content):
        return replace(known, request=request, identity=identity, is_repeat=True, trace=trace)
    text = f"request id `{request.request_id}` of {request.department} was used before with other content"
    return Refused("request_id_reused", f"{text}; the first request stands, send this one under a new id")


def lacks_budget_only(decision: Decision) -> bool:
    """Whether only budgets say no, and they may free: then the recall of a lesser contact can help.

    It does not matter that they free by themselves only after the request has expired.
    """
    found = [finding for finding in decision.findings if finding.code != "would_expire"]
    return bool(found) and all(finding.defers and finding.code in BUDGET_CODES for finding in found)


def refuse(decision: Decision, finding: Finding, next_ms: int | None) -> Decision:
    """The decision as a final no, for one more reason. ``next_ms`` is when it could be approved, if known."""
    return replace(
        decision,
        outcome="rejected",
        final=True,
        findings=(*decision.findings, finding),
        not_before_ms=None,
        valid_until_ms=None,
        retry_at_ms=None,
        next_eligible_at_ms=next_ms,
    )


def in_future(policy: PolicyDocument, decision: Decision, now_ms: int) -> Decision:
    """The decision; one that is deferred to a time in the past is deferred for a minute, since a rule has failed.

    So the request is neither approved nor lost, and does not come back at once again and again.
    """
    if decision.outcome != "deferred" or (decision.retry_at_ms or 0) > now_ms:
        return decision
    message = "a rule named a time that is over; it is decided again in a minute"
    finding = finding_of(policy, "retry_at", RULE_ERROR, message, now_ms + MINUTE_MS)
    return replace(decision, findings=(*decision.findings, finding), retry_at_ms=now_ms + MINUTE_MS)


def await_confirmation(policy: Policy, decision: Decision, until_ms: int, expires_ms: int) -> Decision:
    """The decision on a recalled request: not approved before ``until`` unless its department has confirmed."""
    if decision.outcome == "rejected" or (decision.retry_at_ms or 0) >= until_ms:
        return decision
    message = "it was just recalled; decided again when its department has confirmed that, or had time to hear of it"
    return _recalled(policy, decision, message, min(until_ms, expires_ms))


def await_own_contact(policy: Policy, decision: Decision, expires_ms: int) -> Decision:
    """The decision on a recalled request that only its own contact keeps from being approved before it expires."""
    message = (
        "its recalled approval counts until its department confirms that it was not sent; it is decided again then, "
        f"and ends when it expires at {spoken(expires_ms, policy.zone)}"
    )
    return _recalled(policy, decision, message, expires_ms)


def awaits_confirmation(decision: Decision) -> bool:
    """Whether a recalled request waits for its department, which no evaluation of the request alone shows."""
    return decision.outcome == "deferred" and any(finding.code == "recalled" for finding in decision.findings)


def _recalled(policy: Policy, decision: Decision, message: str, until_ms: int) -> Decision:
    findings = tuple(finding for finding in decision.findings if finding.defers)
    return replace(
        decision,
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
