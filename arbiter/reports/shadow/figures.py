"""Sentences that the text and the page share."""

from __future__ import annotations

from datetime import datetime

from arbiter.reports.pages.figures import policy_name, share
from arbiter.reports.shadow.document import Effect, RuleInShadow, ShadowPolicy, ShadowReport
from arbiter.timing.instants import to_ms
from arbiter.timing.windows import local_time

LIMIT = (
    "Each request was evaluated against what really happened. What a shadow would have stopped still counts against "
    "the next request, so effects do not add up. `arbiter policy diff` simulates what would become of everybody under "
    "another policy."
)
OUTCOMES = ("approved", "deferred", "rejected", "rule_error")


def moment(at: datetime, zone: str) -> str:
    """A time to the minute."""
    return f"{local_time(to_ms(at), zone):%Y-%m-%d %H:%M}"


def period(report: ShadowReport) -> str:
    """From when to when."""
    begin, end = (moment(at, report.zone) for at in (report.since, report.until))
    return f"{begin} to {end} ({report.zone})"


def material(report: ShadowReport) -> str:
    """What was counted."""
    names = ", ".join(report.policies) or "none"
    unread = f"; {report.unreadable:,} records could not be read" if report.unreadable else ""
    return f"{report.requests:,} requests, decided by {names}{unread}"


def since(at: datetime | None, zone: str) -> str:
    """Since when it has been in shadow."""
    return "since before the audit begins" if at is None else f"since {moment(at, zone)}"


def evaluated(rule: RuleInShadow) -> str:
    """How many requests the rule was evaluated for."""
    most = "" if rule.is_exact else "at most "
    return f"{most}{rule.judged:,}"


def rule_sentence(rule: RuleInShadow) -> str:
    """What a rule in shadow mode would have done."""
    if not rule.would_stop:
        return f"would have stopped none of {evaluated(rule)} requests"
    stopped = f"would have said no to {rule.would_stop:,} of {evaluated(rule)} requests"
    real = f"{rule.approved:,} of them were approved ({share(rule.approved, rule.would_stop)})"
    which = "all" if rule.put_off == rule.approved else f"{rule.put_off:,}"
    put_off = f", {which} of which it would only have put off" if rule.put_off else ""
    return f"{stopped}; {real}{put_off}"


def policy_title(policy: ShadowPolicy) -> str:
    """Name, version and the beginning of the digest."""
    return policy_name(policy.name, policy.version, policy.digest)


def policy_sentences(total: Effect) -> list[str]:
    """What the shadow policy would have changed."""
    same = total.same
    sentences = [
        f"{same:,} of {total.requests:,} requests would have fared the same ({share(same, total.requests)})",
        f"approved, and would have been rejected: {total.lost:,}; put off: {total.later:,}",
        f"not approved, and would have been: {total.gained:,}; approved only later than it would: {total.sooner:,}",
    ]
    if total.otherwise:
        which = "waiting instead of rejected, or rejected instead of waiting"
        sentences.append(f"not approved either way, but {which}: {total.otherwise:,}")
    if total.failed:
        sentences.append(f"not evaluated, since a rule of the shadow policy failed: {total.failed:,}")
    return sentences


def matrix(policy: ShadowPolicy) -> list[tuple[str, list[int]]]:
    """Rows: the real answer. Columns: the shadow's answer, as in ``columns``."""
    counts = {(pair.live, pair.shadow): pair.requests for pair in policy.pairs}
    rows = [(live, [counts.get((live, would), 0) for would in columns(policy)]) for live in OUTCOMES]
    return [(live, cells) for live, cells in rows if any(cells)]


def columns(policy: ShadowPolicy) -> list[str]:
    """The outcomes that the shadow policy can have; "failed" only if it did fail."""
    return [would for would in OUTCOMES if would != "rule_error" or policy.total.failed]
