"""deploy/compose.yaml and what Prometheus scrapes: by the Compose Specification, and with the names of the code."""

from __future__ import annotations

import re
from copy import deepcopy

from arbiter.settings import load
from tests.harness.deployment import DEPLOY, compose, faults, image_environment, read_yaml, schema
from tests.servers.processes import KAFKA_POM

OURS = ("topics", "worker", "canary", "gateway", "arbiter")


def test_it_is_a_compose_file() -> None:
    """By the published schema, which refuses a word that is none."""
    wrong = deepcopy(compose())
    wrong["services"]["worker"]["replica"] = 2

    assert [] == faults(compose(), schema("compose"))
    assert [] != faults(wrong, schema("compose"))


def test_everything_that_is_named_is_there() -> None:
    """Services that are waited for (healthy only with a health check), volumes, and files."""
    document = compose()
    services, volumes = document["services"], document["volumes"]
    for service in services.values():
        for name, condition in service.get("depends_on", {}).items():
            assert "healthcheck" in services[name] or condition["condition"] != "service_healthy"
        for source in (volume.partition(":")[0] for volume in service.get("volumes", [])):
            assert (DEPLOY / source).exists() if source.startswith(".") else source in volumes


def test_images_are_pinned_and_kafka_is_the_tested_one() -> None:
    """No `latest`; the broker has the version that the tests run on."""
    images = {name: service["image"] for name, service in compose()["services"].items()}
    tested = re.search(r"kafka_2\.13</artifactId>\s*<version>([\d.]+)<", KAFKA_POM.read_text())

    assert tested is not None
    assert f"apache/kafka:{tested[1]}" == images["kafka"]
    assert [] == [image for image in images.values() if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", image)]


def test_our_containers_run_read_only_without_rights() -> None:
    """All that run our image."""
    services = compose()["services"]
    assert set(OURS) == {name for name, service in services.items() if service["image"].startswith("arbiter:")}
    for name in OURS:
        assert services[name]["read_only"]
        assert ["ALL"] == services[name]["cap_drop"]
        assert ["no-new-privileges:true"] == services[name]["security_opt"]


def test_nothing_is_open_to_other_machines() -> None:
    """It has no passwords."""
    ports = [port for service in compose()["services"].values() for port in service.get("ports", [])]

    assert len(ports) >= 2
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


def test_a_gateway_can_start_with_its_environment() -> None:
    """Its port is the one that is passed on, and its keys are where the secret is."""
    gateway = compose()["services"]["gateway"]
    settings = load({**image_environment(), **gateway["environment"]})
    (secret,) = gateway["secrets"]

    assert ["gateway"] == gateway["command"] == gateway["profiles"]
    assert settings.gateway_keys_file == f"/run/secrets/{secret['target']}"
    assert gateway["ports"] == [f"127.0.0.1:8088:{settings.gateway_http.rpartition(':')[2]}"]
    assert secret["source"] in compose()["secrets"]
    assert int(gateway["stop_grace_period"].removesuffix("s")) > settings.gateway_wait_ms / 1_000 + 15


def test_there_are_two_workers_and_prometheus_finds_all_that_is_ours() -> None:
    """It resolves the services' names, and asks at the port of the image."""
    (scraped,) = read_yaml((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    jobs = [(job, *job["dns_sd_configs"]) for job in scraped["scrape_configs"]]

    assert 2 == compose()["services"]["worker"]["deploy"]["replicas"]
    assert ["canary"] == compose()["services"]["canary"]["command"]
    assert [(["worker"], "A"), (["canary"], "A"), (["gateway"], "A")] == [
        (found["names"], found["type"]) for _, found in jobs
    ]
    for job, found in jobs:
        assert image_environment()["ARBITER_HTTP"].endswith(f":{found['port']}")
        # Prometheus asks for /metrics unless told otherwise.
        assert "metrics_path" not in job
