"""Counters, gauges and histograms of the event loop's thread: counting takes no lock, and no walk through labels.

Each describes itself: ``docs/metrics.md`` is made of what stands here. A counter is *seeded* with the labels that are
known beforehand: ``increase`` does not see the first event of a series that begins with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, product
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

Labels = tuple[str, ...]
Values = Mapping[Labels, float]


class Metric(Collector):
    """What all have in common. ``together`` says how the values of several workers are read together."""

    kind = ""
    suffix = ""
    """What Prometheus appends to the name."""

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        together: str = "",
    ) -> None:
        self.name: Final = name
        self.documentation: Final = documentation
        self.label_names: Final = tuple(labels)
        self.together: Final = together
        registry.register(self)


class Registry(CollectorRegistry):
    """A registry that gives its metrics in the order in which they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[Metric] = []

    def register(self, collector: Collector) -> None:
        """See ``CollectorRegistry.register``."""
        super().register(collector)
        if isinstance(collector, Metric):
            self.metrics.append(collector)


class Counter(Metric):
    """A counter. It is used as the usual one, which takes a lock each time."""

    kind = "counter"
    suffix = "_total"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        together: str = "",
    ) -> None:
        self._counts: dict[Labels, _Count] = {}
        self._read: Callable[[], Values] | None = None
        if not labels:
            self.inc = self.labels().inc
        super().__init__(name, documentation, labels, registry=registry, together=together)

    def labels(self, *labels: str) -> _Count:
        """The count of these labels."""
        count = self._counts.get(labels)
        if count is None:
            count = self._counts[labels] = _Count()
        return count

    def seed(self, *values: Iterable[str]) -> None:
        """Begin at 0 for each combination of these values, one collection of them for each label."""
        for labels in product(*values):
            self.labels(*labels)

    def read_from(self, read: Callable[[], Values]) -> None:
        """Add what somebody else counts; asked at each scrape."""
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What a scrape reads."""
        family = CounterMetricFamily(self.name, self.documentation, labels=self.label_names)
        read = self._read() if self._read is not None else {}
        for labels in read:
            self.labels(*labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count.value + read.get(labels, 0.0))
        yield family


class _Count:
    """One count of a counter."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1) -> None:
        """Count."""
        self.value += amount


class Gauge(Metric):
    """A gauge. One without labels begins at 0, unless nothing can be told at first (``is_late``)."""

    kind = "gauge"

    def __init__(
        self,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        *,
        registry: CollectorRegistry,
        together: str = "",
        is_late: bool = False,
    ) -> None:
        self._values: Values = {} if labels or is_late else {(): 0.0}
        self._read: Callable[[], Values] | None = None
        super().__init__(name, documentation, labels, registry=registry, together=together)

    def set(self, value: float) -> None:
        """Be this value."""
        self._values = {(): value}

    def set_function(self, read: Callable[[], float]) -> None:
        """Be what this gives; asked at each scrape."""
        self._read = lambda: {(): read()}

    def put(self, values: Values) -> None:
        """Be these values by labels, and have no others."""
        self._values = values

    def read_from(self, read: Callable[[], Values]) -> None:
        """Be what this gives by labels; asked at each scrape."""
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What a scrape reads."""
        family = GaugeMetricFamily(self.name, self.documentation, labels=self.label_names)
        for labels, value in (self._values if self._read is None else self._read()).items():
            family.add_metric(labels, float(value))
        yield family


class Histogram(Metric):
    """A histogram; the usual one takes a lock and a walk through the buckets each time."""

    kind = "histogram"
    suffix = "_bucket"

    def __init__(
        self,
        name: str,
        documentation: str,
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
        together: str = "",
    ) -> None:
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        super().__init__(name, documentation, registry=registry, together=together)

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
        yield HistogramMetricFamily(self.name, self.documentation, buckets=buckets, sum_value=self._sum)
