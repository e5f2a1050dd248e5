"""Single requests that a shadow would have answered differently, in words."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from arbiter.messages import DecisionMessage, Finding
from arbiter.reports.shadow.document import Example, Reason, Said
from arbiter.reports.shadow.tally import Sample
from arbiter.timing.instants import to_datetime, to_ms
from arbiter.timing.windows import local_time

_decode = msgspec.json.Decoder(DecisionMessage).decode


def of_rule(samples: Iterable[Sample], rule: str, zone: str) -> list[Example]:
    """Decisions to which a rule in shadow mode would have said no."""
    return [_of_rule(_decode(value), rule, zone) for value, _ in samples]


def of_policy(samples: Iterable[Sample], zone: str) -> list[Example]:
    """Decisions that the shadow policy would have made differently."""
    return [_of_policy(_decode(value), row.allowed_ms, zone) for value, row in samples]


def _of_rule(decision: DecisionMessage, rule: str, zone: str) -> Example:
    findings = [finding for finding in decision.shadow if finding.rule == rule]
    finding = findings[0] if findings else None
    until = finding.until if finding is not None and finding.effect == "defer" else None
    sentence = "rejected" if until is None else f"put off until {_when(until, zone)}"
    return _example(decision, zone, Said(sentence=sentence, reasons=_reasons(findings)))


def _of_policy(decision: DecisionMessage, allowed_ms: int, zone: str) -> Example:
    """``allowed_ms`` is when it would have been approved before, if ever."""
    would = decision.shadow_policy
    assert would is not None  # noqa: S101 - only decisions with an evaluation are kept as examples
    named = {finding.rule for finding in would.findings}
    alike = [finding for finding in decision.findings if finding.rule in would.rules and finding.rule not in named]
    reasons = _reasons([*would.findings, *alike])
    if allowed_ms:
        sentence = f"approved at {_when(to_datetime(allowed_ms), zone)}"
        return _example(decision, zone, Said(sentence=sentence))
    sentence = {
        "deferred": f"put off until {_when(would.retry_at, zone)}",
        "rule_error": "not evaluated, since a rule failed",
    }.get(would.outcome, would.outcome)
    return _example(decision, zone, Said(sentence=sentence, reasons=reasons))


def _example(decision: DecisionMessage, zone: str, shadow: Said) -> Example:
    title = f"{decision.department}: {decision.campaign}, {decision.channel}"
    decided = _when(decision.decided_at, zone)
    about = f"request {decision.request_id}, decided {decided}, customer {decision.customer_id}, {decision.category}"
    live = Said(sentence=_sentence(decision, zone), reasons=_reasons(decision.findings))
    return Example(title=title, about=about, live=live, shadow=shadow)


def _sentence(decision: DecisionMessage, zone: str) -> str:
    if decision.outcome == "approved":
        return f"approved from {_when(decision.not_before or decision.decided_at, zone)}"
    if decision.outcome == "deferred":
        return f"put off until {_when(decision.retry_at, zone)}"
    return decision.outcome


def _reasons(findings: Iterable[Finding]) -> list[Reason]:
    return [Reason(rule=finding.rule, owner=finding.owner, message=finding.message) for finding in findings]


def _when(at: datetime | None, zone: str) -> str:
    return "later" if at is None else f"{local_time(to_ms(at), zone):%Y-%m-%d %H:%M}"
