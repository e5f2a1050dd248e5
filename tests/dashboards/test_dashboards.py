"""The dashboards of deploy/grafana: complete, in step with their source, and about metrics that there are."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins as grafana_plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as grafana_dashboard

from deploy.grafana.source.dashboards import RUNBOOKS_AT
from tests.dashboards.expressions import bare, kept, selectors
from tests.dashboards.reading import FOLDER, all_panels, dashboards, filled, panels
from tests.dashboards.units import WRITERS
from tests.servers.processes import ROOT

UIDS = {f"arbiter-{name}": name for name in ("operations", "departments", "policy", "customers")}
"""Bookmarks, links and alerts hold these: a uid never changes."""
CHOSEN = '{namespace=~"$namespace",job=~"$job"'
TARGETS = [(panel, target) for panel in all_panels() for target in panel.targets]


def test_the_files_are_those_that_the_command_of_the_page_writes(tmp_path: Path) -> None:
    """In a copy of the source, which has no files yet."""
    (command,) = re.findall(r"^```sh\n(.*)\n```", (ROOT / "docs" / "dashboards.md").read_text(), re.MULTILINE)
    shutil.copytree(FOLDER.parent / "source", tmp_path / "deploy" / "grafana" / "source")
    subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=tmp_path, check=True)
    written = tmp_path / "deploy" / "grafana" / "dashboards"

    assert {path.name: path.read_text() for path in FOLDER.iterdir()} == {
        path.name: path.read_text() for path in written.iterdir()
    }


@pytest.mark.parametrize("name", UIDS.values())
def test_grafana_knows_all_that_is_in_a_dashboard(name: str) -> None:
    """Its own types give back all that is in the file (and defaults); a word that they do not know is lost."""
    grafana_plugins.register_default_plugins()
    document = dashboards()[name]
    wrong = deepcopy(document)
    wrong["panels"][1]["options"]["colourMode"] = "background"

    assert [] == list(lost(document, understood(document)))
    assert ["/panels/1/options/colourMode"] == list(lost(wrong, understood(wrong)))


def lost(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where the second value lacks, or changes, something of the first."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from lost(value, theirs.get(name, ...), f"{place}/{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(*pair, f"{place}/{number}")
    elif ours != theirs:
        yield place


def understood(document: dict[str, Any]) -> Any:
    """A dashboard as Grafana's types have it."""
    return json.loads(JSONEncoder().encode(grafana_dashboard.Dashboard.from_json(document)))


def test_every_uid_stays_what_it_is() -> None:
    """One for each file."""
    assert UIDS == {document["uid"]: name for name, document in dashboards().items()}


@pytest.mark.parametrize("name", UIDS.values())
def test_every_panel_says_what_it_shows(name: str) -> None:
    """A title that is its own, a description in sentences, and a unit."""
    found = panels(name)
    titles = [panel.title for panel in found]

    assert len(titles) == len(set(titles))
    assert [] == [panel.title for panel in found if not re.fullmatch(r"[A-Z0-9].+[.]", panel.json["description"])]
    assert [] == [panel.title for panel in found if panel.unit not in WRITERS]
    assert len({one["id"] for one in dashboards()[name]["panels"]}) == len(dashboards()[name]["panels"])


@pytest.mark.parametrize("name", UIDS.values())
def test_rows_are_questions_and_panels_do_not_overlap(name: str) -> None:
    """From top to bottom, on 24 columns without gaps."""
    everything = dashboards()[name]["panels"]
    rows = [one for one in everything if one["type"] == "row"]
    places = [one["gridPos"] for one in everything]

    assert all(row["title"].endswith("?") and row["gridPos"]["w"] == 24 for row in rows)
    assert everything[0]["type"] == "row"
    assert all(first["y"] <= second["y"] for first, second in pairwise(places))
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    for top in {place["y"] for place in places}:
        assert 24 == sum(place["w"] for place in places if place["y"] == top)


@pytest.mark.parametrize("name", UIDS.values())
def test_the_data_source_is_a_variable(name: str) -> None:
    """So the dashboards work with any Prometheus; whoever has several installations chooses one."""
    variables = {one["name"]: one for one in dashboards()[name]["templating"]["list"]}
    chosen = {"type": "prometheus", "uid": "${datasource}"}

    assert "datasource" == variables["datasource"]["type"]
    assert all(panel.json["datasource"] == chosen for panel in panels(name))
    assert all(target["datasource"] == chosen for panel in panels(name) for target in panel.targets)
    known = {**dict.fromkeys(variables, "x"), "__rate_interval": "4s", "__range": "60s"}
    for panel in panels(name):
        assert [] == [each for each in panel.targets if "$" in filled(each["expr"], known)]


def test_every_query_is_about_the_chosen_installation() -> None:
    """Each metric stands under the conditions on ``namespace`` and ``job``."""
    wrong = [
        (str(panel), target["expr"])
        for panel, target in TARGETS
        if bare(target["expr"]) or target["expr"].count(CHOSEN) != len(selectors(target["expr"]))
    ]

    assert [] == wrong
    assert len(TARGETS) > 100


def test_names_of_series_come_from_labels_that_they_have() -> None:
    """A legend may only name what the answer has; a table's key is in the answer to each of its queries."""
    for panel, target in TARGETS:
        own = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
        assert own <= kept(target["expr"]) | {"instance"}, str(panel)
    for panel in (one for one in all_panels() if one.kind == "table"):
        key = panel.json["transformations"][0]["options"]["byField"]
        assert all({key} == kept(target["expr"]) - {"job"} for target in panel.targets), str(panel)


def test_every_link_leads_to_a_runbook() -> None:
    """The variable is a constant for the folder of runbooks; the files are in the repository."""
    found = {link["url"] for panel in all_panels() for link in panel.json["links"]}
    found |= {link["url"] for one in dashboards().values() for link in one["links"] if link["type"] == "link"}
    variables = [one for each in dashboards().values() for one in each["templating"]["list"]]
    there = {f"${{runbooks}}/{path.name}" for path in (ROOT / "docs" / "runbooks").iterdir()}

    assert {RUNBOOKS_AT} == {one["query"] for one in variables if one["name"] == "runbooks"}
    assert RUNBOOKS_AT.endswith("/docs/runbooks")
    assert len(found) > 5
    assert set() == found - there
