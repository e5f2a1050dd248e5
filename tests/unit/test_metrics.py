"""The histogram of our own says what the usual one would."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from arbiter.metrics import SECONDS, Latencies


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
