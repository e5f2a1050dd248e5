"""The dashboards of deploy/grafana as they are read here: panels, their queries, and what variables stand for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.servers.processes import ROOT

FOLDER = ROOT / "deploy" / "grafana" / "dashboards"
VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Panel:
    """A panel, with the JSON that it comes from."""

    dashboard: str
    json: dict[str, Any]

    @property
    def title(self) -> str:
        """Its heading."""
        return str(self.json["title"])

    @property
    def kind(self) -> str:
        """What Grafana draws it with."""
        return str(self.json["type"])

    @property
    def defaults(self) -> dict[str, Any]:
        """How its values look: unit, decimals, thresholds."""
        found: dict[str, Any] = self.json["fieldConfig"]["defaults"]
        return found

    @property
    def unit(self) -> str:
        """The unit of its values, as Grafana calls it."""
        return str(self.defaults["unit"])

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Left, top, width and height on Grafana's grid."""
        place = self.json["gridPos"]
        return place["x"], place["y"], place["w"], place["h"]

    @property
    def targets(self) -> list[dict[str, Any]]:
        """Its queries."""
        found: list[dict[str, Any]] = self.json["targets"]
        return found

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Every dashboard's JSON, by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(name: str) -> list[Panel]:
    """The panels of a dashboard; rows are none."""
    return [Panel(name, one) for one in dashboards()[name]["panels"] if one["type"] != "row"]


def all_panels() -> list[Panel]:
    """The panels of all dashboards."""
    return [panel for name in dashboards() for panel in panels(name)]


def filled(expression: str, values: dict[str, str]) -> str:
    """An expression with its variables replaced; ``KeyError`` for one that nobody knows."""
    return VARIABLE.sub(lambda found: values[found[1] or found[2]], expression)
