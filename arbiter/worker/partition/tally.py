"""What a batch adds to the metrics, counted once per batch instead of once per record."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence

from arbiter.engine.told import Noted
from arbiter.engine.verdict import RULE_ERROR
from arbiter.ledger.model import Answer
from arbiter.messages import ContactRequest
from arbiter.messages.reason_codes import NOTES, REPORTED_NOTES
from arbiter.metrics import OTHER, Metrics
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.ruleset import Policy
from arbiter.worker.partition.deciding import Batch, Told
from arbiter.worker.partition.steps import Place

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
    departments, channels = policy.document.departments, policy.document.channels
    decisions: Counter[tuple[str, str, str]] = Counter()
    rules: Counter[str] = Counter()
    shadowed: list[Answer] = []
    repeats = failures = 0
    for told in batch.told:
        if told.decided.repeated:
            repeats += 1
            continue
        request, answer = told.decided.request, told.decided.answer
        department = request.department if request.department in departments else OTHER
        channel = request.channel if request.channel in channels else OTHER
        decisions[answer.outcome, department, channel] += 1
        for finding in answer.findings:
            # Kill switches are numbered for ever; a label is not.
            rules[finding.rule if finding.kind != KILL_SWITCH else KILL_SWITCH] += 1
            failures += finding.code == RULE_ERROR
        if answer.shadow or answer.shadow_policy is not None:
            shadowed.append(answer)
    for labels, count in decisions.items():
        metrics.decisions.labels(*labels).inc(count)
    for rule, count in rules.items():
        metrics.findings.labels(rule).inc(count)
    if policy.has_kills:
        _count_stopped(metrics, batch.told)
    _count_shadows(metrics, shadowed)
    metrics.repeats.inc(repeats)
    for what, count in Counter(batch.sent_on).items():
        metrics.routed.labels(what).inc(count)
    metrics.facts.inc(batch.facts)
    metrics.alarms.labels("undecidable").inc(batch.alarms)
    metrics.alarms.labels(RULE_FAILED).inc(failures)
    _count_notes(metrics, batch.notes, departments)
    if is_wall_clock:
        metrics.latency_seconds.observe(*_latencies(batch))


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
        arrival = told.item.arrival if told.item is not None else None
        if arrival is not None and isinstance(arrival.message, ContactRequest):
            yield max(0.0, now_ms - arrival.received_ms) / 1_000


def _count_notes(metrics: Metrics, notes: Sequence[tuple[Noted, Place | None]], departments: Container[str]) -> None:
    counts = Counter((note.what, note.department if note.department in departments else OTHER) for note, _ in notes)
    for labels, count in counts.items():
        metrics.notes.labels(*labels).inc(count)
    _report(notes)


def _report(notes: Iterable[tuple[Noted, Place | None]]) -> None:
    """Name the records that somebody has to see: contacts without an approval, impossible times, unknown names."""
    told = [(note, place) for note, place in notes if place and note.what.startswith(REPORTED)]
    for note, (topic, partition, offset) in told[:REPORTED_MAX]:
        whose = f"{note.department}: " if note.department else ""
        what = f"{NOTES[note.what]}: {note.detail}" if note.detail else NOTES[note.what]
        log.warning("%s%s (%s/%d/%d)", whose, what, topic, partition, offset)
    if len(told) > REPORTED_MAX:
        log.warning("and %d more such records", len(told) - REPORTED_MAX)


def _count_shadows(metrics: Metrics, answers: Iterable[Answer]) -> None:
    findings: Counter[str] = Counter()
    would_stop: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for answer in answers:
        if answer.shadow:
            rules = {finding.rule for finding in answer.shadow}
            findings.update(rules)
            would_stop.update(rules if answer.outcome == "approved" else ())
        if answer.shadow_policy is not None:
            pairs[answer.outcome, answer.shadow_policy.outcome] += 1
    for rule, count in findings.items():
        metrics.shadow.findings.labels(rule).inc(count)
    for rule, count in would_stop.items():
        metrics.shadow.would_stop.labels(rule).inc(count)
    for labels, count in pairs.items():
        metrics.shadow.decisions.labels(*labels).inc(count)
        if labels[1] == RULE_ERROR:
            metrics.alarms.labels(SHADOW_RULE_ERROR).inc(count)


def count_dead(metrics: Metrics, codes: Iterable[str]) -> None:
    """Count dead letters by code."""
    for code, count in Counter(codes).items():
        metrics.dead_letters.labels(code).inc(count)
        if code in ALARMING:
            metrics.alarms.labels(code).inc(count)
