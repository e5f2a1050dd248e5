"""The page ``docs/metrics.md``, made of what each metric says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arbiter.metric_types import Metric, Registry
from arbiter.metrics import CanaryMetrics, GatewayMetrics, Metrics

UNITS: Final = {"_timestamp_seconds": "Unix time", "_seconds": "seconds", "_bytes": "bytes", "_records": "records"}
"""How a name ends → its unit; what has no such end counts."""

TOGETHER: Final = {"counter": "sum of `rate`", "histogram": "sum by (le) of `rate`"}

HEAD: Final = """# Metrics

Each worker serves its metrics for Prometheus on `/metrics` of `ARBITER_HTTP`. `arbiter schemas` generates this page
from `arbiter/metrics.py`.

- Names are as a query has them. A counter ends in `_total`; a histogram also has `_sum` and `_count`.
- Labels are names from the policy or from the source, and numbers of partitions. No label is a customer, a request or
  what a record says. A department or channel that the policy does not have is `other`.
- Series whose labels are known beforehand begin at 0: at the start of the worker, or when it takes a policy. So
  `increase` sees the first event.
- *Several workers* says how to read them together. What all workers read from one place must not be added up: take
  `max`. In Grafana, write the sum around the rate:
  `sum by (department) (rate(arbiter_decisions_total[$__rate_interval]))`.
- A worker that ends takes its gauges with it, and its counters begin anew. `rate` and `increase` know that.
"""

CANARY: Final = """
## The canary

Its process (`arbiter canary`) serves these, and no others of ours.
"""

GATEWAY: Final = """
## The gateway

Each process of `arbiter gateway` serves these, and no others of ours.
"""

PROCESS: Final = """
## What is looked at, and how often

- Counters and histograms are counted when the records of a batch are confirmed: some milliseconds late, and never what
  was not delivered.
- The lag is looked at every 2 seconds, Redis every second, capacities and floors every 15 seconds.
- The census of waiting requests walks through all that waits, some hundred parties a second and worker; it works 2 % of
  the time. A party that changes meanwhile may be counted as it was. A new owner of a partition counts it in its next
  round.
- A worker that is out of the group shows the lag of the partitions that no worker has. If several are, the same records
  stand in the `arbiter_lag_records` of each.
- The three metrics with the label `partition` have 96 series with 32 partitions, over all workers.
- `arbiter_capacity_used` is what workers have reported: a second late. A rule with `hourly` shows its main window.
- A floor is shown from its first date to its last, and none in shadow mode. It keeps no place: it only raises scores.

Counting costs a request about 3 µs and 29 calls, 1.4 % of what it costs to decide it (sample policy, one core). A
scrape of 1,200 series takes 5 ms. [The load tests](../loadtests/README.md) measure both.

## The process

`process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_cpu_seconds_total`,
`process_start_time_seconds`, `process_open_fds` and `process_max_fds` are those of Prometheus' client library, on
Linux.
"""


def metrics() -> str:
    """The page."""
    canary, gateway = CanaryMetrics().registry, GatewayMetrics().registry
    return "\n".join([HEAD, *_table(Metrics().registry), CANARY, *_table(canary), GATEWAY, *_table(gateway), PROCESS])


def _table(registry: Registry) -> Iterator[str]:
    yield "| metric | type, unit | labels | meaning | several workers |"
    yield "|---|---|---|---|---|"
    for metric in registry.metrics:
        labels = ", ".join(f"`{label}`" for label in metric.label_names) or "–"
        together = f"`{metric.together}`" if metric.together else TOGETHER.get(metric.kind, "each by itself")
        name, unit = f"{metric.name}{metric.suffix}", _unit(metric)
        yield f"| `{name}` | {metric.kind}, {unit} | {labels} | {metric.documentation} | {together} |"


def _unit(metric: Metric) -> str:
    return next((unit for end, unit in UNITS.items() if metric.name.endswith(end)), "number")
