"""Series begin at zero, so `increase` sees the first event: as Prometheus' own tool reckons on recorded scrapes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from arbiter.metrics import OTHER, Metrics
from arbiter.settings import Settings
from arbiter.worker import scraped
from arbiter.worker.health import Health
from arbiter.worker.partition.tally import count_dead
from arbiter.worker.seeding import seed_policy
from tests.inputs.builders import policy

CAP = {"id": "two", "kind": "cap", "per": ["party"], "limit": 2, "window": "rolling 1d"}
LOANS = {**CAP, "id": "loans-only", "when": {"department": "loans"}}
TRIAL = {**CAP, "id": "trial", "mode": "shadow"}
FIRST_EVENTS = {
    "arbiter_dead_letters_total": {"topic": "consents", "code": "malformed_json"},
    "arbiter_alarms_total": {"kind": "stalled"},
    "arbiter_outcome_notes_total": {"what": "unapproved_unknown", "department": "cards"},
    "arbiter_lifecycle_events_total": {"event": "expire", "department": "loans"},
    "arbiter_findings_total": {"rule": "two", "department": "cards"},
    "arbiter_kafka_errors_total": {"kind": "transport"},
    "arbiter_fenced_commits_total": {},
    "arbiter_policy_load_failures_total": {},
}
"""Series that alerts ask about, each with labels that it may be the first to have."""


@pytest.fixture
def metrics() -> Metrics:
    """As a worker has them that took a policy."""
    metrics = Metrics()
    nothing: Any = SimpleNamespace(errors={}, reconnects=0, memory=(0, 0), answered_at=0.0)
    settings = Settings(kafka="k:1", redis="redis://r:1")
    scraped.begin(metrics, settings, nothing, nothing, nothing, Health(metrics))
    seed_policy(metrics, policy(CAP, LOANS, TRIAL, shadow=policy(CAP, version=2)))
    return metrics


def samples(metrics: Metrics) -> dict[str, float]:
    """What a scrape reads, by series as a query has it."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        f"{one.name}{{{','.join(f'{k}={json.dumps(v)}' for k, v in sorted(one.labels.items()))}}}": one.value
        for family in families
        for one in family.samples
    }


def happen(metrics: Metrics) -> None:
    """Let each of the first events happen once."""
    count_dead(metrics, [("contact.consents.v1", "malformed_json")], {"contact.consents.v1": "consents"})
    metrics.alarms.labels("stalled").inc()
    metrics.notes.labels("unapproved_unknown", "cards").inc()
    metrics.lifecycle.labels("expire", "loans").inc()
    metrics.findings.labels("two", "cards").inc()
    metrics.servers.kafka_errors.labels("transport").inc()
    metrics.fenced.inc()
    metrics.policy_failures.inc()


def test_prometheus_sees_the_first_event(metrics: Metrics, promtool: Path, tmp_path: Path) -> None:
    """Two scrapes of a worker, one before and one after: `increase` is above 0 for each."""
    before = samples(metrics)
    happen(metrics)
    after = samples(metrics)
    names = tuple(FIRST_EVENTS)
    series = [
        {"series": name, "values": f"{before.get(name, '_')}x4 {value}x5"}
        for name, value in after.items()
        if name.startswith(names)
    ]
    asked = [
        f"increase({name}{{{','.join(f'{k}={json.dumps(v)}' for k, v in labels.items())}}}[5m]) > bool 0"
        for name, labels in FIRST_EVENTS.items()
    ]
    expected = [{"labels": _labels(labels), "value": 1} for labels in FIRST_EVENTS.values()]
    questions = [
        {"expr": expr, "eval_time": "8m", "exp_samples": [sample]} for expr, sample in zip(asked, expected, strict=True)
    ]
    written = tmp_path / "first.test.yml"
    written.write_text(
        json.dumps({"tests": [{"interval": "1m", "input_series": series, "promql_expr_test": questions}]})
    )
    done = subprocess.run([promtool, "test", "rules", written], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr), done.stdout


def _labels(labels: dict[str, str]) -> str:
    return f"{{{', '.join(f'{name}={json.dumps(value)}' for name, value in sorted(labels.items()))}}}"


def test_every_counter_has_series_before_anything_happens(metrics: Metrics) -> None:
    """Whatever its labels are; all are 0."""
    began = {name.partition("{")[0]: 0 for name in samples(metrics)}
    counters = [one for one in metrics.registry.metrics if one.kind == "counter"]

    assert [] == [one.name for one in counters if f"{one.name}_total" not in began]
    assert {0.0} == {value for name, value in samples(metrics).items() if "_total" in name and "process" not in name}


def test_findings_begin_where_a_rule_can_make_them(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule about one department has one series; a policy of very many pairs begins none."""
    found = {name for name in samples(metrics) if name.startswith("arbiter_findings")}
    many = Metrics()
    monkeypatch.setattr("arbiter.worker.seeding.SERIES_MAX", 10)
    seed_policy(many, policy(CAP))

    assert ['arbiter_findings_total{department="loans",rule="loans-only"}'] == [one for one in found if "only" in one]
    assert f'arbiter_findings_total{{department="{OTHER}",rule="kill_switch"}}' in found
    assert [] == [name for name in samples(many) if name.startswith("arbiter_findings_total")]


def test_what_was_counted_goes_on_under_a_new_policy(metrics: Metrics) -> None:
    """Seeding never sets a counter back."""
    metrics.findings.labels("two", "cards").inc(3)
    seed_policy(metrics, policy(CAP))

    assert 3 == samples(metrics)['arbiter_findings_total{department="cards",rule="two"}']
