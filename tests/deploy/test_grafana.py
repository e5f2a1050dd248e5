"""deploy/grafana as the Grafana of deploy/compose.yaml reads it: where it looks for dashboards, and whom it asks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.harness.deployment import DEPLOY, KUBERNETES, compose, of_kind, read_yaml, rendered

GRAFANA = DEPLOY / "grafana"


def provisioning(path: str) -> dict[str, Any]:
    """One of the files that Grafana reads at its start."""
    (found,) = read_yaml((GRAFANA / "provisioning" / path).read_text())
    assert isinstance(found, dict)
    return found


def mounts() -> dict[str, Path]:
    """Folders of the repository by where Grafana has them."""
    split = [volume.split(":") for volume in compose()["services"]["grafana"]["volumes"]]
    return {where: DEPLOY / source for source, where, *_ in split if source.startswith(".")}


def test_it_reads_the_dashboards_of_the_repository() -> None:
    """The provider's folder is the mounted one, and the first page is one of its files."""
    (provider,) = provisioning("dashboards/arbiter.yaml")["providers"]
    home = Path(compose()["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])

    assert "file" == provider["type"]
    assert GRAFANA / "dashboards" == mounts()[provider["options"]["path"]]
    assert (mounts()[str(home.parent)] / home.name).is_file()
    # Grafana has this path unless told otherwise.
    assert GRAFANA / "provisioning" == mounts()["/etc/grafana/provisioning"]


def test_it_asks_the_prometheus_beside_it() -> None:
    """By its name and port; the spans of rates fit how often that one scrapes."""
    (source,) = provisioning("datasources/prometheus.yaml")["datasources"]
    address = urlsplit(source["url"])
    (scraped,) = read_yaml((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    port = compose()["services"][address.hostname]["ports"][0].rpartition(":")[2]

    assert ("prometheus", str(address.port)) == (source["type"], port)
    assert source["isDefault"]
    assert scraped["global"]["scrape_interval"] == source["jsonData"]["timeInterval"]


def test_nobody_but_an_administrator_changes_anything() -> None:
    """Whoever comes without a name may look."""
    environment = compose()["services"]["grafana"]["environment"]

    assert ("true", "Viewer") == (
        environment["GF_AUTH_ANONYMOUS_ENABLED"],
        environment["GF_AUTH_ANONYMOUS_ORG_ROLE"],
    )


@pytest.mark.usefixtures("_kustomize")
def test_kubernetes_has_every_dashboard_in_a_map_of_its_own() -> None:
    """With the label that Grafana's sidecar looks for; a map fits into the annotation that kubectl makes of it."""
    maps = of_kind(rendered(KUBERNETES / "overlays" / "production"), "ConfigMap")
    found = [one for one in maps if one["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    files = {path.name: path.read_text() for path in (GRAFANA / "dashboards").iterdir()}

    assert files == {name: text for one in found for name, text in one["data"].items()}
    assert len(files) == len(found) == 4
    assert max(len(json.dumps(one)) for one in found) < 256 * 1024
