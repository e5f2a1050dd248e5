"""The panels of the dashboards, as Grafana's JSON has them: what is shown, in which unit, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOKS = "${runbooks}"
GREEN, ORANGE, RED, BLUE = "green", "orange", "red", "blue"
OUTCOMES = {"approved": GREEN, "deferred": ORANGE, "rejected": RED, "recalled": "purple"}
"""The same outcome has the same colour everywhere."""


@dataclass(frozen=True)
class Query:
    """One question to Prometheus, and how its series are called."""

    expression: str
    legend: str = "__auto"
    format: str = "time_series"
    is_instant: bool = False

    def target(self, number: int) -> Json:
        """As a panel has it; the first is called A."""
        return {
            "refId": reference(number),
            "datasource": SOURCE,
            "editorMode": "code",
            "expr": self.expression,
            "legendFormat": self.legend,
            "format": self.format,
            "instant": self.is_instant,
            "range": not self.is_instant,
        }


@dataclass(frozen=True)
class Panel:
    """A panel without its place."""

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    unit: str
    options: Json
    defaults: Json = field(default_factory=dict)
    overrides: Sequence[Json] = ()
    transformations: Sequence[Json] = ()
    runbook: str = ""

    def document(self, number: int, place: Json) -> Json:
        """As the dashboard has it."""
        link = {"title": "What to do", "url": f"{RUNBOOKS}/{self.runbook}", "targetBlank": True}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": SOURCE,
            "gridPos": place,
            "links": [link] if self.runbook else [],
            "targets": [query.target(number) for number, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": {"unit": self.unit, **self.defaults}, "overrides": list(self.overrides)},
            "options": self.options,
            "transformations": list(self.transformations),
        }


def reference(number: int) -> str:
    """What Grafana calls the query with this number."""
    return chr(ord("A") + number)


def steps(*bounds: tuple[float, str], base: str = GREEN) -> Json:
    """Colours from these values on, after that of the lowest."""
    first: Json = {"color": base, "value": None}
    return {"mode": "absolute", "steps": [first, *({"color": color, "value": value} for value, color in bounds)]}


def bad_from(*values: float) -> Json:
    """Green, and red from the last value on; orange from the first of two."""
    return steps(*zip(values, (ORANGE, RED)[-len(values) :], strict=True))


def good_from(*values: float) -> Json:
    """Red, and green from the last value on; orange from the first of two."""
    return steps(*zip(values, (ORANGE, GREEN)[-len(values) :], strict=True), base=RED)


PLAIN = steps(base=BLUE)


def stat(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "none",
    thresholds: Json = PLAIN,
    decimals: int | None = None,
    texts: Mapping[str, str] | None = None,
    runbook: str = "",
) -> Panel:
    """One number, or one for each query, on the colour that it deserves."""
    defaults: Json = {"thresholds": thresholds, "color": {"mode": "thresholds"}, "noValue": "none"}
    if decimals is not None:
        defaults["decimals"] = decimals
    if texts:
        defaults["mappings"] = _mappings(texts)
    options: Json = {
        "colorMode": "value" if thresholds is PLAIN else "background",
        "graphMode": "none",
        "justifyMode": "center",
        "orientation": "vertical",
        "textMode": "auto" if len(queries) == 1 else "value_and_name",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    asked = [Query(query.expression, query.legend, is_instant=True) for query in queries]
    return Panel("stat", title, description, asked, unit, options, defaults, runbook=runbook)


def count(title: str, description: str, query: Query, *, many: float | None = None, runbook: str = "") -> Panel:
    """A stat of what should not happen: green without any, and red; orange up to ``many``, if some are usual."""
    bounds = (0.5,) if many is None else (0.5, many)
    return stat(title, description, query, decimals=0, thresholds=bad_from(*bounds), runbook=runbook)


def lines(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    is_stacked: bool = False,
    colors: Mapping[str, str] | None = None,
    minimum: float | None = 0,
    maximum: float | None = None,
    runbook: str = "",
) -> Panel:
    """Values over time."""
    defaults: Json = {"custom": _drawn(is_stacked=is_stacked), "color": {"mode": "palette-classic"}}
    if minimum is not None:
        defaults["min"] = minimum
    if maximum is not None:
        defaults["max"] = maximum
    options: Json = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    overrides = [_colored(name, color) for name, color in (colors or {}).items()]
    return Panel("timeseries", title, description, queries, unit, options, defaults, overrides, runbook=runbook)


def _drawn(*, is_stacked: bool) -> Json:
    """How the lines of a panel look."""
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if is_stacked else 0,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if is_stacked else "none", "group": "A"},
    }


def bars(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    thresholds: Json = PLAIN,
    is_upright: bool = False,
    maximum: float | None = None,
    decimals: int = 0,
    runbook: str = "",
) -> Panel:
    """A bar for each series of the answer, in the order in which they are answered."""
    defaults: Json = {"thresholds": thresholds, "color": {"mode": "thresholds"}, "min": 0, "decimals": decimals}
    if maximum is not None:
        defaults["max"] = maximum
    options: Json = {
        "displayMode": "basic",
        "orientation": "vertical" if is_upright else "horizontal",
        "showUnfilled": True,
        "valueMode": "color",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    asked = [Query(query.expression, query.legend, is_instant=True) for query in queries]
    return Panel("bargauge", title, description, asked, unit, options, defaults, runbook=runbook)


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and the query that has its values by the table's key."""

    heading: str
    expression: str
    unit: str = "short"
    decimals: int | None = None
    thresholds: Json | None = None
    texts: Mapping[str, str] | None = None

    def override(self) -> Json:
        """How its values look."""
        properties: list[Json] = [{"id": "unit", "value": self.unit}]
        if self.decimals is not None:
            properties.append({"id": "decimals", "value": self.decimals})
        if self.thresholds is not None:
            properties += [
                {"id": "thresholds", "value": self.thresholds},
                {"id": "custom.cellOptions", "value": {"type": "color-text"}},
            ]
        if self.texts:
            properties.append({"id": "mappings", "value": _mappings(self.texts)})
        return {"matcher": {"id": "byName", "options": self.heading}, "properties": properties}


def table(
    title: str, description: str, key: Mapping[str, str], *columns: Column, sort: str = "", runbook: str = ""
) -> Panel:
    """A row for each value of the label that ``key`` names, with its heading; a column for each query."""
    ((label, heading),) = key.items()
    queries = [Query(column.expression, "", "table", is_instant=True) for column in columns]
    values = [f"Value #{reference(number)}" for number in range(len(columns))]
    headings = {label: heading, **dict(zip(values, (column.heading for column in columns), strict=True))}
    transformations: list[Json] = [
        {"id": "joinByField", "options": {"byField": label, "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"names": [label, *values]}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: index for index, name in enumerate(headings)},
                "renameByName": headings,
            },
        },
    ]
    options: Json = {"showHeader": True, "cellHeight": "sm"}
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    overrides = [column.override() for column in columns]
    return Panel(
        "table", title, description, queries, "short", options, {"custom": {"align": "auto"}}, overrides,
        transformations, runbook,
    )  # fmt: skip


def heatmap(title: str, description: str, query: Query, unit: str, runbook: str = "") -> Panel:
    """How many values fell into which bucket of a histogram, over time."""
    options: Json = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "reverse": False, "steps": 64, "exponent": 0.5},
        "yAxis": {"unit": unit, "axisPlacement": "left"},
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": False},
    }
    asked = Query(query.expression, "{{le}}", "heatmap")
    return Panel("heatmap", title, description, [asked], unit, options, runbook=runbook)


def timeline(
    title: str, description: str, query: Query, *, thresholds: Json, texts: Mapping[str, str], runbook: str = ""
) -> Panel:
    """A bar for each series, with the colour and the word of what it was at each time."""
    defaults: Json = {
        "custom": {"fillOpacity": 80, "lineWidth": 0},
        "thresholds": thresholds,
        "color": {"mode": "thresholds"},
        "mappings": _mappings(texts),
    }
    options: Json = {
        "showValue": "never",
        "mergeValues": True,
        "rowHeight": 0.9,
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel("state-timeline", title, description, [query], "none", options, defaults, runbook=runbook)


def _mappings(texts: Mapping[str, str]) -> list[Json]:
    """Words that stand for values."""
    return [{"type": "value", "options": {value: {"text": text} for value, text in texts.items()}}]


def _colored(name: str, color: str) -> Json:
    fixed = {"id": "color", "value": {"mode": "fixed", "fixedColor": color}}
    return {"matcher": {"id": "byName", "options": name}, "properties": [fixed]}
