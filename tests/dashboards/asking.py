"""What a panel shows: its queries, asked of a Prometheus as Grafana asks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.dashboards.reading import Panel, filled
from tests.servers.prometheus import PrometheusServer, Series

POINTS_MAX = 120
"""How many points a line has: Grafana takes about one for each pixel."""


@dataclass(frozen=True)
class Span:
    """The time that is shown, in seconds since 1970, and how often Prometheus scrapes."""

    begin: float
    end: float
    interval_s: float = 1.0

    @property
    def step_s(self) -> float:
        """From point to point."""
        return max(self.interval_s, round((self.end - self.begin) / POINTS_MAX))

    def variables(self) -> dict[str, str]:
        """What Grafana puts for its own variables, and for ours while nobody has chosen."""
        recent = max(self.step_s + self.interval_s, 4 * self.interval_s)
        whole = round(self.end - self.begin)
        chosen = dict.fromkeys(("namespace", "job", "department"), ".*")
        return {"__rate_interval": f"{recent:g}s", "__range": f"{whole}s", **chosen}


@dataclass(frozen=True)
class Shown:
    """One series of a panel, under the name that the legend gives it."""

    target: str
    name: str
    series: Series


def ask(panel: Panel, prometheus: PrometheusServer, span: Span) -> list[Shown]:
    """All series of a panel, in the order of its queries."""
    return [shown for target in panel.targets for shown in _ask_one(target, prometheus, span)]


def _ask_one(target: dict[str, Any], prometheus: PrometheusServer, span: Span) -> list[Shown]:
    expression = filled(target["expr"], span.variables())
    if target["instant"]:
        found = prometheus.query(expression, span.end)
    else:
        found = prometheus.query_range(expression, span.begin, span.end, span.step_s)
    return [Shown(target["refId"], _legend(target["legendFormat"], series), series) for series in found]


def _legend(pattern: str, series: Series) -> str:
    """``{{label}}`` becomes the label's value; without a pattern the values of all labels."""
    if pattern == "__auto":
        return ", ".join(series.labels.values())
    for label, value in series.labels.items():
        pattern = pattern.replace(f"{{{{{label}}}}}", value)
    return pattern
