"""Expressions that the dashboards share; every one is about the installations that somebody chose.

Conditions on labels are keywords: ``outcome="approved"`` is that value, ``code="~a|b"`` a pattern.
"""

from __future__ import annotations

INSTALLATION = {"namespace": "~$namespace", "job": "~$job"}
"""An installation is what has one job and, in Kubernetes, one namespace. Where there is none, ``.*`` finds all."""

RECENT, WHOLE = "$__rate_interval", "$__range"
"""The span of a rate, which Grafana takes from the width of a panel, and the span that is shown."""


def of(metric: str, **conditions: str) -> str:
    """The series of a metric of ours."""
    return process_of(f"arbiter_{metric}", **conditions)


def process_of(metric: str, **conditions: str) -> str:
    """The series of a metric that every process has."""
    chosen = ",".join(_condition(label, value) for label, value in {**INSTALLATION, **conditions}.items())
    return f"{metric}{{{chosen}}}"


def total(metric: str, by: str = "", **conditions: str) -> str:
    """A gauge, added up over workers."""
    return f"sum{_by(by)}({of(metric, **conditions)})"


def highest(metric: str, by: str = "", **conditions: str) -> str:
    """A gauge's highest value of any worker."""
    return f"max{_by(by)}({of(metric, **conditions)})"


def lowest(metric: str, by: str = "", **conditions: str) -> str:
    """A gauge's lowest value of any worker."""
    return f"min{_by(by)}({of(metric, **conditions)})"


def rate(metric: str, by: str = "", **conditions: str) -> str:
    """A counter's growth per second."""
    return f"sum{_by(by)}(rate({of(metric, **conditions)}[{RECENT}]))"


def recent(metric: str, by: str = "", **conditions: str) -> str:
    """A counter's growth from point to point."""
    return f"sum{_by(by)}(increase({of(metric, **conditions)}[{RECENT}]))"


def whole(metric: str, by: str = "", **conditions: str) -> str:
    """A counter's growth over all that is shown."""
    return f"sum{_by(by)}(increase({of(metric, **conditions)}[{WHOLE}]))"


def quantile(share: float, histogram: str) -> str:
    """The value below which this share of a histogram's values is."""
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', 'le')})"


def mean(histogram: str) -> str:
    """The average of a histogram's values."""
    return f"{rate(f'{histogram}_sum')} / {rate(f'{histogram}_count')}"


def top(count: int, expression: str) -> str:
    """The largest, largest first."""
    return f"sort_desc(topk({count}, {expression}))"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _condition(label: str, value: str) -> str:
    return f'{label}=~"{value[1:]}"' if value.startswith("~") else f'{label}="{value}"'
