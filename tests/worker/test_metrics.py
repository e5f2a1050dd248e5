"""Metrics: counters and histograms of our own say what the usual ones would, and documents name what is exposed."""

from __future__ import annotations

import re
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from arbiter.metric_types import Counter, Histogram
from arbiter.metrics import RECORDS, SECONDS, CanaryMetrics, GatewayMetrics, Metrics

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
PACKAGES = frozenset({"arbiter_worker"})
"""Names of our modules that look like metrics."""


def scrape(registry: CollectorRegistry) -> list[bytes]:
    """The text, without the lines on when a metric was made."""
    return [line for line in generate_latest(registry).splitlines() if b"_created" not in line]


@pytest.mark.parametrize("buckets", [SECONDS, RECORDS])
def test_a_histogram_is_as_the_usual_one(buckets: tuple[float, ...]) -> None:
    """The same text for a scrape, for values below, on, between and above the bounds; two batches add up."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = Histogram("latency", "How long.", buckets=buckets, registry=ours)
    usual = prometheus_client.Histogram("latency", "How long.", buckets=buckets, registry=theirs)
    values = [0.0, 0.0004, *buckets, 0.3, 0.3, 1e6]
    for value in values * 2:
        usual.observe(value)
    histogram.observe(*values)
    histogram.observe(*values)

    assert scrape(theirs) == scrape(ours)


def test_a_counter_is_as_the_usual_one() -> None:
    """The same text for a scrape, with labels and without, counted and not."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    kinds = (Counter, ours), (prometheus_client.Counter, theirs)
    for kind, registry in kinds:
        kind("nothing", "Never counted.", registry=registry)
        plain = kind("plain", "Without labels.", registry=registry)
        labelled = kind("labelled", "With labels.", ("a", "b"), registry=registry)
        plain.inc()
        plain.inc(2.5)
        labelled.labels("x", 'y"').inc(0)
        labelled.labels("x", "z").inc()
        labelled.labels("x", "z").inc(4)

    assert scrape(theirs) == scrape(ours)


def test_documents_name_metrics_as_they_are_exposed() -> None:
    """A name that a reader copies into a query finds something: counters end in `_total`."""
    families = [
        *Metrics().registry.collect(),
        *CanaryMetrics().registry.collect(),
        *GatewayMetrics().registry.collect(),
    ]
    exposed = {sample.name for family in families for sample in family.samples}
    exposed |= {f"{family.name}{end}" for family in families for end in SUFFIXES[family.type]}
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = {
        (document.name, name)
        for document in documents
        for name in re.findall(r"(?<!job:)\barbiter_[a-z_]+\b", document.read_text())
        if name not in PACKAGES
    }

    assert {(document, name) for document, name in named if name not in exposed} == set()
    assert named
