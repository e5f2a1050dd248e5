"""What a batch adds to the metrics, once it is delivered."""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable, Iterator, Sequence

from arbiter.engine.told import Anomaly, Decided
from arbiter.engine.verdict import RULE_ERROR
from arbiter.ledger.model import Answer
from arbiter.messages.reason_codes import NOTES, REPORTED_NOTES
from arbiter.metrics import OTHER, Counter, Metrics, ShadowMetrics
from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.ruleset import Policy
from arbiter.worker.partition.deciding import Batch, Place, Told

REPORTED_MAX = 20
"""How many records to look at one commit names in the log."""
REPORTED = ("unapproved", "impossible_time", *REPORTED_NOTES)
"""What begins so is told in the log, with its record."""

log = logging.getLogger("arbiter")

RULE_FAILED = "rule-error"
"""The alarm's kind when a rule fails while judging: nothing is approved meanwhile."""

ALARMING = ("undecidable", "unreadable_state")
"""The codes of dead letters that are not the sender's fault."""

SHADOW_RULE_ERROR = "shadow-rule-error"
"""The alarm's kind when a shadow policy fails while judging; nobody suffers, but its numbers do."""


def count_batch(metrics: Metrics, batch: Batch, policy: Policy, *, is_wall_clock: bool) -> None:
    """Count what was decided and confirmed; latency only where record time stamps and the clock are of one time."""
    for told in batch.told:
        if told.decided.repeated:
            metrics.repeats.inc()
        else:
            _count_decision(metrics, told.decided, policy.document)
    if policy.has_kills:
        _count_stopped(metrics, batch.told)
    for what in batch.sent_on:
        metrics.routed.labels(what).inc()
    metrics.facts.inc(batch.facts)
    metrics.alarms.labels("undecidable").inc(batch.alarms)
    if batch.notes:
        _count_notes(metrics, batch.notes, policy.document.departments)
    if is_wall_clock:
        metrics.latency_seconds.observe(*_latencies(batch))


def _count_decision(metrics: Metrics, decided: Decided, document: PolicyDocument) -> None:
    request, answer = decided.request, decided.answer
    department = request.department if request.department in document.departments else OTHER
    channel = request.channel if request.channel in document.channels else OTHER
    metrics.decisions.labels(answer.outcome, department, channel).inc()
    for finding in answer.findings:
        # Kill switches are numbered for ever; a label is not.
        metrics.findings.labels(finding.rule if finding.kind != KILL_SWITCH else KILL_SWITCH).inc()
        if finding.code == RULE_ERROR:
            metrics.alarms.labels(RULE_FAILED).inc()
    if answer.shadow or answer.shadow_policy is not None:
        _count_shadows(metrics.shadow, metrics.alarms, answer)


def _count_stopped(metrics: Metrics, told: Iterable[Told]) -> None:
    """Count what each switch stopped; what it recalled is not counted once more when it then waits."""
    recalled: set[tuple[int, bytes]] = set()
    for one in told:
        decided, answer = one.decided, one.decided.answer
        for finding in () if decided.repeated else answer.findings:
            if finding.kind != KILL_SWITCH:
                continue
            switch = int(finding.rule.rpartition("/")[2])
            if answer.outcome == "recalled":
                recalled.add((switch, decided.identity))
            elif (switch, decided.identity) in recalled:
                continue
            key = switch, answer.outcome
            metrics.stopped[key] = metrics.stopped.get(key, 0) + 1


def _latencies(batch: Batch) -> Iterator[float]:
    """How long ago each request came that was answered now (s)."""
    now_ms = time.time() * 1_000
    for told in batch.told:
        if told.received_ms is not None:
            yield max(0.0, now_ms - told.received_ms) / 1_000


def _count_notes(metrics: Metrics, notes: Sequence[tuple[Anomaly, Place | None]], departments: Container[str]) -> None:
    for note, _ in notes:
        metrics.notes.labels(note.what, note.department if note.department in departments else OTHER).inc()
    _report(notes)


def _report(notes: Iterable[tuple[Anomaly, Place | None]]) -> None:
    """Name the records that somebody has to see: contacts without an approval, impossible times, unknown names."""
    told = [(note, place) for note, place in notes if place and note.what.startswith(REPORTED)]
    for note, (topic, partition, offset) in told[:REPORTED_MAX]:
        whose = f"{note.department}: " if note.department else ""
        what = f"{NOTES[note.what]}: {note.detail}" if note.detail else NOTES[note.what]
        log.warning("%s%s (%s/%d/%d)", whose, what, topic, partition, offset)
    if len(told) > REPORTED_MAX:
        log.warning("and %d more such records", len(told) - REPORTED_MAX)


def _count_shadows(metrics: ShadowMetrics, alarms: Counter, answer: Answer) -> None:
    for rule in {finding.rule for finding in answer.shadow}:
        metrics.findings.labels(rule).inc()
        if answer.outcome == "approved":
            metrics.would_stop.labels(rule).inc()
    if answer.shadow_policy is not None:
        metrics.decisions.labels(answer.outcome, answer.shadow_policy.outcome).inc()
        if answer.shadow_policy.outcome == RULE_ERROR:
            alarms.labels(SHADOW_RULE_ERROR).inc()


def count_dead(metrics: Metrics, codes: Iterable[str]) -> None:
    """Count dead letters by code."""
    for code in codes:
        metrics.dead_letters.labels(code).inc()
        if code in ALARMING:
            metrics.alarms.labels(code).inc()
