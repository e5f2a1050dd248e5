"""Metrics: the histogram of our own says what the usual one would, and documents name what is exposed."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from arbiter.metrics import SECONDS, Latencies, Metrics

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
PACKAGES = frozenset({"arbiter_worker"})
"""Names of our modules that look like metrics."""


def test_latencies_are_those_of_a_histogram() -> None:
    """The same text for a scrape, for values below, on, between and above the bounds; two batches add up."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    latencies = Latencies("latency", "How long.", buckets=SECONDS, registry=ours)
    histogram = Histogram("latency", "How long.", buckets=SECONDS, registry=theirs)
    values = [0.0, 0.0004, *SECONDS, 0.3, 0.3, 301.0]
    for value in values * 2:
        histogram.observe(value)
    latencies.observe(values)
    latencies.observe(values)

    expected = [line for line in generate_latest(theirs).splitlines() if b"_created" not in line]
    assert expected == generate_latest(ours).splitlines()


def test_documents_name_metrics_as_they_are_exposed() -> None:
    """A name that a reader copies into a query finds something: counters end in `_total`."""
    exposed = {sample.name for family in Metrics().registry.collect() for sample in family.samples}
    exposed |= {f"{family.name}{end}" for family in Metrics().registry.collect() for end in SUFFIXES[family.type]}
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    named = {
        (document.name, name)
        for document in documents
        for name in re.findall(r"\barbiter_[a-z_]+\b", document.read_text())
        if name not in PACKAGES
    }

    assert {(document, name) for document, name in named if name not in exposed} == set()
    assert named
