"""What a batch adds to the metrics, once its records are delivered."""

from __future__ import annotations

import time
from collections.abc import Container, Iterable, Mapping, Sequence

from arbiter import log_events
from arbiter.engine.decisions import RULE_ERROR
from arbiter.engine.render import decision_id
from arbiter.engine.state import Anomaly
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest
from arbiter.messages.canary import CANARY
from arbiter.messages.reason_codes import NOTES, REPORTED_NOTES
from arbiter.messages.traces import TRACE_ID_BYTES
from arbiter.metric_types import Counter
from arbiter.metrics import COMPLAINED, OTHER, Metrics, ShadowMetrics, band, nth
from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.ruleset import Policy
from arbiter.worker.partition.deciding import Batch
from arbiter.worker.partition.inputs import Source
from arbiter.worker.partition.output import Output

REPORTED_MAX = 20
"""How many records one commit names in the log."""

REPORTED = ("unapproved", "impossible_time", *REPORTED_NOTES)
"""The anomalies that are logged with their record, by how their name begins."""

HELD = "held_for_arbitration"

ENDS = {"expired": "expire", "would_expire": "expire", "withdrawn": "withdraw"}
"""Code of a rejection → what is counted instead of `reject`."""

RULE_FAILED = "rule-error"
"""The alarm's kind when the evaluation of a rule fails: nothing is approved meanwhile."""

ALARMING = ("undecidable", "unreadable_state")
"""The codes of dead letters that are not the sender's fault."""

SHADOW_RULE_ERROR = "shadow-rule-error"
"""The alarm's kind when the evaluation of a shadow policy fails; decisions go on, its figures are incomplete."""


def count_batch(metrics: Metrics, batch: Batch, policy: Policy, *, is_wall_clock: bool) -> None:
    """Count what was decided and confirmed, without the canary's.

    Latency is counted only under the wall clock: a replay's record time stamps are of another time.
    """
    output, departments = batch.output, policy.document.departments
    decisions = [decision for decision in output.decisions if decision.request.department != CANARY]
    for decision in decisions:
        if decision.is_repeat:
            metrics.repeats.inc()
        else:
            _count_decision(metrics, decision, policy.document)
    if policy.has_kills:
        _count_stopped(metrics, decisions)
    _count_requests(metrics, output.first, departments, is_wall_clock=is_wall_clock)
    for contacts in output.in_week:
        metrics.contacts_in_week.labels(nth(contacts)).inc()
    for one in output.lives:
        _count_event(metrics, one.event, _known(one.department, departments))
    _count_mistakes(metrics, output, departments)
    for kind in output.routed:
        metrics.routed.labels(kind).inc()
    metrics.facts.inc(output.facts)
    metrics.alarms.labels("undecidable").inc(batch.alarms)
    if output.anomalies:
        _count_anomalies(metrics, output.anomalies, departments)
    _tell(output.decisions)


def _count_requests(
    metrics: Metrics, first: Iterable[tuple[ContactRequest, int]], departments: Container[str], *, is_wall_clock: bool
) -> None:
    """Count the departments' requests, and how long each waited for its first decision."""
    asked = [(request, at_ms) for request, at_ms in first if request.department != CANARY]
    for request, _ in asked:
        metrics.requests.labels(_known(request.department, departments), band(request.priority)).inc()
    if is_wall_clock and asked:
        now_ms = time.time() * 1_000
        metrics.latency_seconds.observe(*(max(0.0, now_ms - at_ms) / 1_000 for _, at_ms in asked))


def _count_mistakes(metrics: Metrics, output: Output, departments: Container[str]) -> None:
    """Count what senders did wrong and were told."""
    for answer in output.answered:
        metrics.answered_letters.labels(answer.code, _known(answer.department, departments)).inc()
    for request in output.noted:
        metrics.noted_requests.labels(_known(request.department, departments)).inc()


def _tell(decisions: Iterable[Decision]) -> None:
    """Log each decision by the place of its request; at debug only, since it is one line per request."""
    for decision in decisions if log_events.DECISION.is_on else ():
        topic, partition, offset = decision.source
        log_events.DECISION(
            decision_id=decision_id(decision),
            outcome=decision.outcome,
            department=decision.request.department,
            topic=topic,
            partition=partition,
            offset=offset,
            codes=[finding.code for finding in decision.findings],
            trace_id=decision.trace[:TRACE_ID_BYTES].hex(),
        )


def _count_decision(metrics: Metrics, decision: Decision, document: PolicyDocument) -> None:
    request = decision.request
    department, channel = _known(request.department, document.departments), _known(request.channel, document.channels)
    metrics.decisions.labels(decision.outcome, department, channel).inc()
    if decision.n and (event := _event(decision)):
        metrics.lifecycle.labels(event, department).inc()
    for finding in decision.findings:
        # Kill switches are numbered for ever; a label is not.
        rule = finding.rule if finding.kind != KILL_SWITCH else KILL_SWITCH
        metrics.findings.labels(rule, department).inc()
        if finding.code == RULE_ERROR:
            metrics.alarms.labels(RULE_FAILED).inc()
    if decision.shadow or decision.shadow_policy is not None:
        _count_shadows(metrics.shadow, metrics.alarms, decision)


def _known(name: str, names: Container[str]) -> str:
    return name if name in names else OTHER


def _event(decision: Decision) -> str:
    """What became of the request; empty for a recall, which is counted as an event of the permit."""
    outcome = decision.outcome
    if outcome == "deferred":
        return "hold" if HELD in [one.code for one in decision.findings] else "defer"
    if outcome == "rejected":
        for one in decision.findings:
            if one.code in ENDS:
                return ENDS[one.code]
        return "reject"
    return "approve" if outcome == "approved" else ""


def _count_event(metrics: Metrics, event: str, department: str) -> None:
    if event == COMPLAINED:
        metrics.complaints.labels(department).inc()
    else:
        metrics.lifecycle.labels(event, department).inc()


def _count_stopped(metrics: Metrics, decisions: Iterable[Decision]) -> None:
    """Count the requests that each switch stopped. One that it recalled is not counted again while it waits."""
    recalled: set[tuple[int, bytes]] = set()
    for decision in decisions:
        for finding in () if decision.is_repeat else decision.findings:
            if finding.kind != KILL_SWITCH:
                continue
            switch = int(finding.rule.rpartition("/")[2])
            if decision.outcome == "recalled":
                recalled.add((switch, decision.identity))
            elif (switch, decision.identity) in recalled:
                continue
            key = switch, decision.outcome
            metrics.stopped[key] = metrics.stopped.get(key, 0) + 1


def _count_anomalies(
    metrics: Metrics, anomalies: Sequence[tuple[Anomaly, Source | None]], departments: Container[str]
) -> None:
    for anomaly, _ in anomalies:
        metrics.notes.labels(anomaly.what, anomaly.department if anomaly.department in departments else OTHER).inc()
    _report(anomalies)


def _report(anomalies: Iterable[tuple[Anomaly, Source | None]]) -> None:
    """Log the records that somebody has to see: contacts without an approval, impossible times, unknown names."""
    reported = [(one, source) for one, source in anomalies if source and one.what.startswith(REPORTED)]
    for one, (topic, partition, offset) in reported[:REPORTED_MAX]:
        whose = f"{one.department}: " if one.department else ""
        note = f"{whose}{NOTES[one.what]}: {one.detail}" if one.detail else f"{whose}{NOTES[one.what]}"
        log_events.NOTE_REPORTED(
            note=note,
            department=one.department,
            code=one.what,
            topic=topic,
            partition=partition,
            offset=offset,
        )
    if len(reported) > REPORTED_MAX:
        log_events.NOTES_OMITTED(count=len(reported) - REPORTED_MAX)


def _count_shadows(metrics: ShadowMetrics, alarms: Counter, decision: Decision) -> None:
    for rule in {finding.rule for finding in decision.shadow}:
        metrics.findings.labels(rule).inc()
        if decision.outcome == "approved":
            metrics.would_stop.labels(rule).inc()
    if decision.shadow_policy is not None:
        metrics.decisions.labels(decision.outcome, decision.shadow_policy.outcome).inc()
        if decision.shadow_policy.outcome == RULE_ERROR:
            alarms.labels(SHADOW_RULE_ERROR).inc()


def count_dead(metrics: Metrics, dead: Iterable[tuple[str, str]], names: Mapping[str, str]) -> None:
    """Count dead letters by topic and code; ``names`` are the labels of topics."""
    for topic, code in dead:
        metrics.dead_letters.labels(names.get(topic, OTHER), code).inc()
        if code in ALARMING:
            metrics.alarms.labels(code).inc()
