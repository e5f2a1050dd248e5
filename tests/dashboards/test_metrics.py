"""Every query asks for a metric that workers or the canary have, and for labels that it has."""

from __future__ import annotations

from arbiter.metric_types import Histogram
from arbiter.metrics import CanaryMetrics, GatewayMetrics, Metrics
from tests.dashboards.expressions import asked, selectors
from tests.dashboards.reading import all_panels

TARGET = {"job", "instance", "namespace"}
"""Labels that Prometheus gives to all that it scrapes."""
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"}
"""What every process tells of itself, by its client library."""


def declared() -> dict[str, set[str]]:
    """The labels of all samples of a scrape, by the samples' name."""
    found: dict[str, set[str]] = {name: set() for name in PROCESS}
    for metric in (metric for own in (Metrics(), CanaryMetrics(), GatewayMetrics()) for metric in own.registry.metrics):
        labels = set(metric.label_names)
        if isinstance(metric, Histogram):
            found |= {f"{metric.name}_bucket": {*labels, "le"}}
            found |= {f"{metric.name}_{part}": labels for part in ("sum", "count")}
        else:
            found[f"{metric.name}{metric.suffix}"] = labels
    return found


def test_every_metric_and_label_of_a_query_is_there() -> None:
    """A renamed metric fails here, and not as an empty panel."""
    known = declared()
    expressions = [target["expr"] for panel in all_panels() for target in panel.targets]
    named = {metric for expression in expressions for metric in selectors(expression)}
    labels = {one for expression in expressions for one in asked(expression)}

    assert set() == named - set(known)
    assert set() == {one for one in labels if one.label not in known[one.metric] | TARGET}
    assert len(named) > 40
