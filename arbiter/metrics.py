"""Every metric, named and described once, on a registry of our own.

Labels are bounded: names from a policy or from this source, never a customer, a request or a record's own claim.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

OTHER = "other"
"""The label of a department or channel that the policy does not know."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_000, 5_000)


class Counter(Collector):
    """A counter of the event loop's thread. It is used as the usual one, which takes a lock each time."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str] = (), *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._counts: dict[tuple[str, ...], _Count] = {}
        if not labels:
            self.inc = self.labels().inc
        registry.register(self)

    def labels(self, *labels: str) -> _Count:
        """The count of these labels."""
        count = self._counts.get(labels)
        if count is None:
            count = self._counts[labels] = _Count()
        return count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What a scrape reads."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count.value)
        yield family


class _Count:
    """One count of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count."""
        self.value += amount


class Histogram(Collector):
    """A histogram of the event loop's thread; the usual one takes a lock and a walk through the buckets each time."""

    def __init__(self, name: str, documentation: str, *, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, *values: float) -> None:
        """Count all of these."""
        bounds, counts = self._bounds, self._counts
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            self._sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What a scrape reads: for each bound how many were no higher."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class ShadowMetrics:
    """What rules in shadow mode and the shadow policy would have done."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.findings = Counter(
            "arbiter_shadow_findings",
            "Decisions to which a rule in shadow mode would have said no, by rule.",
            ("rule",),
            registry=registry,
        )
        self.would_stop = Counter(
            "arbiter_shadow_would_stop",
            "Approvals that a rule in shadow mode would have stopped or put off, by rule.",
            ("rule",),
            registry=registry,
        )
        self.decisions = Counter(
            "arbiter_shadow_policy_decisions",
            "Decisions that the shadow policy judged, too: what was answered, and what it would have answered.",
            ("live", "shadow"),
            registry=registry,
        )
        self.version = Gauge(
            "arbiter_shadow_policy_version",
            "Version of the shadow policy that is judged here; 0 for none.",
            registry=registry,
        )
        self.failures = Counter(
            "arbiter_shadow_policy_load_failures",
            "Shadow policies that this worker could not take; it decides as without one.",
            registry=registry,
        )


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count_answers(self.registry)
        self._count_records(self.registry)
        self._time_batches(self.registry)
        self._tell_state(self.registry)

    def _count_answers(self, registry: CollectorRegistry) -> None:
        """Metrics of decisions and findings."""
        self.decisions = Counter(
            "arbiter_decisions",
            "Decisions made, repeats not counted.",
            ("outcome", "department", "channel"),
            registry=registry,
        )
        self.repeats = Counter(
            "arbiter_repeated_decisions", "Decisions told again because the request came again.", registry=registry
        )
        self.findings = Counter(
            "arbiter_findings",
            "Findings (rules that said no) of decisions made, by rule.",
            ("rule",),
            registry=registry,
        )
        self.stopped: dict[tuple[int, str], int] = {}  # by switch and outcome, since the worker reported it last
        notes = "What outcomes and customers' records told that was not as it should be, by what and whose."
        self.notes = Counter("arbiter_outcome_notes", notes, ("what", "department"), registry=registry)
        self.shadow = ShadowMetrics(registry)
        self.alarms = Counter(
            "arbiter_alarms", "Things that a person must look at, by kind.", ("kind",), registry=registry
        )

    def _count_records(self, registry: CollectorRegistry) -> None:
        """Metrics of input records, and what became of them besides decisions."""
        text = "Consents, preferences, suppressions, profiles and outcomes read."
        self.facts = Counter("arbiter_facts", text, registry=registry)
        self.dead_letters = Counter(
            "arbiter_dead_letters", "Records that could not be taken, by code.", ("code",), registry=registry
        )
        self.unknown_fields = Counter(
            "arbiter_unknown_fields", "Fields in messages that this build does not know.", registry=registry
        )
        text = "Headers `traceparent` that are malformed; their records are decided as without one."
        self.malformed_traces = Counter("arbiter_malformed_traceparents", text, registry=registry)
        self.replays = Counter(
            "arbiter_replayed_records", "Records skipped because they were decided before.", registry=registry
        )
        self.misrouted = Counter(
            "arbiter_misrouted_records", "Records sent on to their customer's home partition.", registry=registry
        )
        text = "Records sent to a household's partition or back to a customer's home."
        self.routed = Counter("arbiter_routed_records", text, ("what",), registry=registry)

    def _time_batches(self, registry: CollectorRegistry) -> None:
        """Metrics of a commit and its stages."""
        self.batch_records = Histogram(
            "arbiter_batch_records", "Records per commit.", buckets=RECORDS, registry=registry
        )
        self.decide_seconds = Histogram(
            "arbiter_decide_seconds", "Time to read and decide a batch.", buckets=SECONDS, registry=registry
        )
        self.commit_seconds = Histogram(
            "arbiter_commit_seconds", "Time of a commit in the store.", buckets=SECONDS, registry=registry
        )
        self.publish_seconds = Histogram(
            "arbiter_publish_seconds",
            "Time from handing a commit's records to Kafka to the last confirmation.",
            buckets=SECONDS,
            registry=registry,
        )
        self.latency_seconds = Histogram(
            "arbiter_latency_seconds",
            "Time from a request's record timestamp to its confirmed decision (wall clock only).",
            buckets=SECONDS,
            registry=registry,
        )
        self.cache_hits = Counter(
            "arbiter_ledger_cache_hits", "Ledgers that need not be read from the store.", registry=registry
        )
        self.cache_misses = Counter(
            "arbiter_ledger_cache_misses", "Ledgers that were read from the store.", registry=registry
        )

    def _tell_state(self, registry: CollectorRegistry) -> None:
        """Metrics of the worker's state."""
        self.partitions_assigned = Gauge(
            "arbiter_partitions_assigned", "Partitions that the group gave to this worker.", registry=registry
        )
        self.partitions_claimed = Gauge(
            "arbiter_partitions_claimed", "Partitions that this worker decides for.", registry=registry
        )
        self.partitions_stopped = Gauge(
            "arbiter_partitions_stopped",
            "Partitions of this worker that are not decided for because something is wrong with them.",
            registry=registry,
        )
        self.store_up = Gauge("arbiter_store_up", "1 if the store answered last time, else 0.", registry=registry)
        text = "Losses of state or records after which this worker goes on, since a person accepted them."
        self.accepted_losses = Counter("arbiter_accepted_losses", text, registry=registry)
        self.policy_version = Gauge("arbiter_policy_version", "Version of the policy in force here.", registry=registry)
        self.policy_failures = Counter(
            "arbiter_policy_load_failures",
            "Active policies that this worker could not take; the last good one stays.",
            registry=registry,
        )
        self.kill_switches = Gauge("arbiter_kill_switches", "Kill switches in force here.", registry=registry)
