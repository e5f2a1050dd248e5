"""A dashboard: rows of panels, each row headed by the question that it answers; and what all dashboards share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from deploy.grafana.source.panels import RUNBOOKS, SOURCE, Json, Panel

COLUMNS = 24
TAG = "arbiter"
EITHER = '{__name__=~"arbiter_build_info|arbiter_canary_requests_total"}'
"""What a worker has, or a canary, which is a job of its own."""
RUNBOOKS_AT = "https://arbiter.example/docs/runbooks"


@dataclass(frozen=True)
class Line:
    """Panels side by side, of one height. The widths are shares of the whole."""

    height: int
    panels: Sequence[Panel]
    widths: Sequence[int] = ()

    def places(self, top: int) -> list[Json]:
        """Where each panel is, on Grafana's grid of 24 columns."""
        shares = self.widths or [1] * len(self.panels)
        edges = [round(COLUMNS * sum(shares[:number]) / sum(shares)) for number in range(len(shares) + 1)]
        return [{"x": left, "y": top, "w": right - left, "h": self.height} for left, right in pairwise(edges)]


@dataclass(frozen=True)
class Row:
    """A question, and the lines of panels that answer it."""

    question: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard, without what all share."""

    name: str
    title: str
    description: str
    since: str
    rows: Sequence[Row]
    variables: Sequence[Json] = ()
    runbook: str = "README.md"

    @property
    def uid(self) -> str:
        """Its name for ever: links and bookmarks hold it."""
        return f"arbiter-{self.name}"

    def document(self) -> Json:
        """As Grafana reads it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "links": [
                {"type": "dashboards", "title": "Arbiter", "tags": [TAG], "asDropdown": False, "keepTime": True},
                {"type": "link", "title": "Runbooks", "url": f"{RUNBOOKS}/{self.runbook}", "targetBlank": True},
            ],
            "templating": {"list": [*_shared_variables(), *self.variables]},
            "annotations": {"list": []},
            "panels": self._panels(),
        }

    def _panels(self) -> list[Json]:
        """Rows and panels, from top to bottom."""
        found: list[Json] = []
        top = 0
        for row in self.rows:
            place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
            found.append(
                {"id": len(found) + 1, "type": "row", "title": row.question, "collapsed": False, "gridPos": place,
                 "panels": []}
            )  # fmt: skip
            top += 1
            for line in row.lines:
                for panel, where in zip(line.panels, line.places(top), strict=True):
                    found.append(panel.document(len(found) + 1, where))
                top += line.height
        return found


def values_of(name: str, label: str, metric: str, title: str) -> Json:
    """A variable: the values of a label, all of them unless somebody chooses."""
    return {
        "name": name,
        "label": title,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({metric}, {label})", "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _shared_variables() -> list[Json]:
    """Which Prometheus, which installation, and where the runbooks are."""
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1},
        values_of("namespace", "namespace", EITHER, "Namespace"),
        values_of("job", "job", EITHER, "Installation"),
        {"name": "runbooks", "label": "Runbooks", "type": "constant", "query": RUNBOOKS_AT, "hide": 2},
    ]
