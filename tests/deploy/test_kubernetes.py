"""deploy/kubernetes: by the schemas of Kubernetes and the operators, with no loose end, with the names of the code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from arbiter.client.reading import NO_GROUP
from arbiter.messages import CONSENTS, DECISIONS, OUTCOMES, PROFILES, REQUESTS
from arbiter.settings import Settings, load
from arbiter.worker.kafka.permissions import needed
from arbiter.worker.kafka.topic_check import Cluster, Topic, differences
from arbiter.worker.kafka.topic_table import kind_of, values_of
from arbiter.worker.kafka.topics import all_topics
from tests.harness.deployment import (
    CANARY,
    KUBERNETES,
    SCHEMAS,
    WORKER,
    Resource,
    called,
    compose,
    container_of,
    faults,
    of_kind,
    pod_of,
    read_yaml,
    rendered,
    resource_faults,
    schema,
)
from tests.servers.processes import ROOT

pytestmark = pytest.mark.usefixtures("_kustomize")

DEVELOPMENT, PRODUCTION = KUBERNETES / "overlays" / "development", KUBERNETES / "overlays" / "production"
every_deployment = pytest.mark.parametrize("name", [WORKER, CANARY])
every_overlay = pytest.mark.parametrize("overlay", [DEVELOPMENT, PRODUCTION], ids=lambda path: path.name)

# Made by hand, or by Strimzi, before workers of the production overlay start: docs/deployment.md.
SECRETS_MADE_ELSEWHERE = {
    ("arbiter-redis", "url"),
    ("arbiter", "password"),
    ("arbiter-canary", "password"),
    ("kafka-cluster-ca-cert", "ca.crt"),
}
REDIS_URL = "redis://valkey:6379/0"
SERVED = (ROOT / "arbiter" / "worker" / "http.py").read_text()


def pods(resources: list[Resource]) -> Iterator[Resource]:
    """The pod templates of workloads."""
    return (resource["spec"]["template"] for resource in resources if "template" in resource.get("spec", {}))


def environment(resources: list[Resource], deployment: str = WORKER) -> dict[str, str]:
    """What a container of ours finds in its environment, with something for what comes from secrets."""
    container = container_of(resources, deployment)
    (source,) = container["envFrom"]
    settings = called(resources, "ConfigMap", source["configMapRef"]["name"])["data"]
    own = {item["name"]: item.get("value", "secret") for item in container["env"]}
    return {**settings, **own, **({"ARBITER_REDIS": REDIS_URL} if "ARBITER_REDIS" in own else {})}


def granted(resources: list[Resource], user: str) -> dict[tuple[str, str], set[str]]:
    """What a user of Strimzi may do, by the type and the name of what it is done to."""
    rules = called(resources, "KafkaUser", user)["spec"]["authorization"]["acls"]
    assert {"literal"} == {rule["resource"].get("patternType", "literal") for rule in rules}
    return {(rule["resource"]["type"], rule["resource"]["name"]): set(rule["operations"]) for rule in rules}


def is_selected(labels: dict[str, str], selector: dict[str, str]) -> bool:
    """Whether a selector takes what has these labels."""
    return bool(selector) and selector.items() <= labels.items()


def values(tree: Any, key: str) -> Iterator[Any]:
    """Everything that stands under a key, at any depth."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(tree, list):
        for item in tree:
            yield from values(item, key)


@every_overlay
def test_every_resource_is_valid(overlay: Path) -> None:
    """By the schema of its kind; none is left out."""
    found = {
        f"{resource['kind']} {resource['metadata']['name']}: {fault}"
        for resource in rendered(overlay)
        for fault in resource_faults(resource)
    }

    assert set() == found
    assert {"arbiter"} == {resource["metadata"].get("namespace", "arbiter") for resource in rendered(overlay)}


def test_a_slip_is_found() -> None:
    """The schemas refuse a field that is none, in kinds of Kubernetes and of each operator."""
    of_operators = ("KafkaTopic", "KafkaUser", "ScaledObject", "ServiceMonitor", "PrometheusRule")
    for kind in ("Deployment", "NetworkPolicy", *of_operators):
        resource = deepcopy(of_kind(rendered(PRODUCTION), kind)[0])
        resource["spec"]["slip"] = 1
        assert [] != resource_faults(resource), kind


def test_no_file_is_left_out() -> None:
    """Every file is part of some kustomization, and so of what is tested here."""
    left = {path for path in KUBERNETES.rglob("*") if path.is_file() and path.name != "kustomization.yaml"}
    for kustomization in KUBERNETES.rglob("kustomization.yaml"):
        (document,) = read_yaml(kustomization.read_text())
        maps = [name for made in document.get("configMapGenerator", []) for name in made.get("envs", [])]
        for name in (*document.get("resources", []), *document.get("components", []), *maps):
            assert (kustomization.parent / name).exists()
            left.discard(kustomization.parent / name)

    assert set() == left


@every_overlay
def test_every_pod_meets_the_restricted_standard(overlay: Path) -> None:
    """Kubernetes' own strictest one, which the namespace enforces; of our pods the root is read-only as well."""
    (namespace,) = of_kind(rendered(overlay), "Namespace")
    assert "restricted" == namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    for pod in pods(rendered(overlay)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] > 0
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"]
        assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
        for each in spec["containers"]:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert {"drop": ["ALL"]} == each["securityContext"]["capabilities"]
            assert each["securityContext"].get("readOnlyRootFilesystem") or each["image"].startswith("apache/kafka")
            assert {"cpu", "memory"} == set(each["resources"]["requests"])
            assert "memory" in each["resources"]["limits"]
            assert re.search(r":\d+\.\d+\.\d+$", each["image"])


@every_deployment
@every_overlay
def test_it_can_start_with_its_environment(overlay: Path, name: str) -> None:
    """Its settings are right, with Redis for workers only; a certificate is where its volume is mounted."""
    given = environment(rendered(overlay), name)
    certificate = given.pop("ARBITER_KAFKA_CA_FILE", None)
    # The command needs no Redis, and puts something for it.
    settings = load({"ARBITER_REDIS": REDIS_URL, **given})
    container = container_of(rendered(overlay), name)
    mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])}

    assert [name.removeprefix("arbiter-")] == container["args"]
    assert ("ARBITER_REDIS" in given) == (name == WORKER)
    assert ("SASL_SSL" if overlay == PRODUCTION else "PLAINTEXT") == settings.kafka_security_protocol
    assert (certificate is None) == (settings.kafka_security_protocol == "PLAINTEXT")
    if certificate is not None:
        folder, _, file = certificate.rpartition("/")
        (volume,) = (
            each for each in pod_of(rendered(overlay), name)["spec"]["volumes"] if each["name"] == mounts[folder]
        )
        assert [{"key": file, "path": file}] == volume["secret"]["items"]


@every_overlay
def test_every_secret_and_map_is_there(overlay: Path) -> None:
    """What pods and KEDA refer to is in the overlay, or is made elsewhere and said so in the page."""
    resources = rendered(overlay)
    there = {
        (resource["metadata"]["name"], key)
        for resource in (*of_kind(resources, "Secret"), *of_kind(resources, "ConfigMap"))
        for key in {**resource.get("data", {}), **resource.get("stringData", {})}
    }
    wanted = {(ref["name"], ref["key"]) for ref in values(resources, "secretKeyRef")}
    wanted |= {(ref["name"], ref["key"]) for refs in values(resources, "secretTargetRef") for ref in refs}
    wanted |= {(ref["secretName"], i["key"]) for ref in values(resources, "secret") for i in ref["items"]}
    wanted |= {(ref["name"], "ARBITER_KAFKA") for ref in values(resources, "configMapRef")}
    made = SECRETS_MADE_ELSEWHERE if overlay == PRODUCTION else set()

    assert wanted - there == made
    page = (ROOT / "docs" / "deployment.md").read_text()
    assert all(name in page for name, _ in made)


@every_deployment
@every_overlay
def test_selectors_take_its_pods_and_nobody_else(overlay: Path, name: str) -> None:
    """The Deployment, the Service, the network's rules; of workers the budget of disruptions, the spread over nodes."""
    resources = rendered(overlay)
    pod = pod_of(resources, name)
    selectors = [
        called(resources, "Deployment", name)["spec"]["selector"]["matchLabels"],
        called(resources, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"],
        called(resources, "Service", name)["spec"]["selector"],
        *(each["labelSelector"]["matchLabels"] for each in pod["spec"].get("topologySpreadConstraints", [])),
    ]
    if name == WORKER:
        selectors.append(called(resources, "PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"])
    labels = [pod["metadata"]["labels"] for pod in pods(resources)]

    assert (5 if name == WORKER else 3) == len(selectors)
    for selector in selectors:
        assert [pod["metadata"]["labels"]] == [each for each in labels if is_selected(each, selector)]


@every_deployment
@every_overlay
def test_ports_and_paths_are_those_that_it_serves(overlay: Path, name: str) -> None:
    """Probes, Service and network rule name the port of ARBITER_HTTP, and paths that are served."""
    resources = rendered(overlay)
    container = container_of(resources, name)
    port = int(environment(resources, name)["ARBITER_HTTP"].rpartition(":")[2])
    probes = [container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")]
    rule = called(resources, "NetworkPolicy", name)
    service = called(resources, "Service", name)

    assert [{"name": "http", "containerPort": port}] == container["ports"]
    assert ["/healthz", "/healthz", "/readyz"] == [probe["path"] for probe in probes]
    assert {"http"} == {probe["port"] for probe in probes}
    assert all(f'add_get("{probe["path"]}"' in SERVED for probe in probes)
    assert [{"name": "http", "port": port, "targetPort": "http"}] == service["spec"]["ports"]
    assert [port] == [each["port"] for each in values(rule["spec"]["ingress"], "ports") for each in each]


@every_deployment
def test_prometheus_scrapes_it(name: str) -> None:
    """A ServiceMonitor takes its Service and no other, also while its pods are not ready; by a path that is served."""
    resources = rendered(PRODUCTION)
    monitor = called(resources, "ServiceMonitor", name)["spec"]
    services = [
        service["metadata"]["name"]
        for service in of_kind(resources, "Service")
        if is_selected(service["metadata"]["labels"], monitor["selector"]["matchLabels"])
    ]
    (endpoint,) = monitor["endpoints"]

    assert [name] == services
    assert called(resources, "Service", name)["spec"]["publishNotReadyAddresses"]
    assert "http" == endpoint["port"]
    assert f'add_get("{endpoint["path"]}"' in SERVED


@every_deployment
@every_overlay
def test_it_may_go_where_it_has_to(overlay: Path, name: str) -> None:
    """Out through the network's rules: to Kafka's port, of workers to Redis, and to ask for names; nowhere else."""
    rule = called(rendered(overlay), "NetworkPolicy", name)
    settings = environment(rendered(overlay), name)
    addresses = [settings[each] for each in ("ARBITER_KAFKA", "ARBITER_REDIS") if each in settings]
    wanted = {int(address.rpartition(":")[2].partition("/")[0]) for address in addresses}

    assert ["Ingress", "Egress"] == rule["spec"]["policyTypes"]
    assert {53, *wanted} == {each["port"] for way in rule["spec"]["egress"] for each in way["ports"]}


def test_the_workers_permissions_are_those_that_they_ask_for() -> None:
    """No more and no less than a worker checks before it joins, and that it may see how the topics are set."""
    settings = Settings(kafka="", redis="")
    topics = {
        ("topic", name): {"DescribeConfigs", *(operation.name.capitalize() for operation in operations)}
        for name, operations in needed(settings).items()
    }

    assert {**topics, ("group", settings.group): {"Read"}} == granted(rendered(PRODUCTION), "arbiter")


def test_the_canarys_permissions_are_those_of_the_page() -> None:
    """Each that docs/operations.md names, and no other; tests/on_servers runs a canary with just these."""
    settings = Settings(kafka="", redis="")
    page = (ROOT / "docs" / "operations.md").read_text().replace("\n", " ")

    assert {
        ("topic", settings.topic(REQUESTS)): {"Write"},
        ("topic", settings.topic(DECISIONS)): {"Read"},
        ("group", f"{settings.group}-reader"): {"Read"},
    } == granted(rendered(PRODUCTION), CANARY)
    assert "`Write` on `contact.requests.v1`, `Read` on `contact.decisions.v1` and on the group" in page


@pytest.fixture
def with_gateway(tmp_path: Path) -> list[Resource]:
    """The base with the gateway and Strimzi, as the page says."""
    here = {name: os.path.relpath(KUBERNETES / name, tmp_path) for name in ("base", "components")}
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{here['base']}]\n"
        f"components: [{here['components']}/gateway, {here['components']}/strimzi]\n"
        "images: [{name: arbiter, newTag: 0.1.0}]\n"
    )
    return rendered(tmp_path)


def test_the_gateway_can_be_added(with_gateway: list[Resource]) -> None:
    """It is valid, can start, is reached where it listens, and logs in as its own user, who may what it needs."""
    gateway = "arbiter-gateway"
    given = environment(with_gateway, gateway)
    certificate = given.pop("ARBITER_KAFKA_CA_FILE")
    settings = load({"ARBITER_REDIS": REDIS_URL, **given})
    ports = {each["name"]: each["containerPort"] for each in container_of(with_gateway, gateway)["ports"]}
    pod = pod_of(with_gateway, gateway)
    rule = called(with_gateway, "NetworkPolicy", gateway)["spec"]
    services = {each["targetPort"]: each["port"] for each in called(with_gateway, "Service", gateway)["spec"]["ports"]}
    monitor = called(rendered(PRODUCTION), "ServiceMonitor", gateway)["spec"]
    (user,) = (one for one in of_kind(with_gateway, "KafkaUser") if one["metadata"]["name"] == gateway)

    assert [] == [fault for one in with_gateway for fault in resource_faults(one)]
    assert [gateway] == [
        name for name in (WORKER, CANARY, gateway)
        if is_selected(pod_of(with_gateway, name)["metadata"]["labels"],
                       called(with_gateway, "Service", gateway)["spec"]["selector"])
    ]  # fmt: skip
    assert ports == {"http": port_of(settings.http), "calls": port_of(settings.gateway_http)}
    assert services == ports
    assert is_selected(
        called(with_gateway, "Service", gateway)["metadata"]["labels"], monitor["selector"]["matchLabels"]
    )
    assert monitor["endpoints"][0]["port"] in services
    assert {*ports.values()} == {each["port"] for way in rule["ingress"] for each in way["ports"]}
    assert {53, 6379, 9093} == {each["port"] for way in rule["egress"] for each in way["ports"]}
    assert settings.kafka_username == gateway
    mounts = {each["mountPath"] for each in container_of(with_gateway, gateway)["volumeMounts"]}
    assert {file.rpartition("/")[0] for file in (certificate, settings.gateway_keys_file)} == mounts
    assert pod["spec"]["terminationGracePeriodSeconds"] > settings.gateway_wait_ms / 1_000 + 15
    granted_to_it = {one["resource"]["name"]: one["operations"] for one in user["spec"]["authorization"]["acls"]}
    inputs = {name: ["Write"] for name in (REQUESTS, OUTCOMES, CONSENTS, PROFILES)}
    groups = {name: ["Read"] for name in (NO_GROUP, f"{settings.group}-webhook-")}
    assert granted_to_it == {**inputs, DECISIONS: ["Read"], **groups}


def port_of(address: str) -> int:
    """The port of ``host:port``."""
    return int(address.rpartition(":")[2])


@every_deployment
def test_it_logs_in_as_its_own_user(name: str) -> None:
    """With the password that Strimzi keeps in the secret of the user's name."""
    resources = rendered(PRODUCTION)
    (password,) = (each for each in container_of(resources, name)["env"] if each["name"] == "ARBITER_KAFKA_PASSWORD")
    user = environment(resources, name)["ARBITER_KAFKA_USERNAME"]

    assert "KafkaUser" == called(resources, "KafkaUser", user)["kind"]
    assert {"name": user, "key": "password"} == password["valueFrom"]["secretKeyRef"]
    assert (CANARY if name == CANARY else "arbiter") == user


def test_the_topics_are_those_of_an_installation() -> None:
    """All of them, with equal numbers of partitions, and every setting that the table has for three brokers."""
    topics = {topic["metadata"]["name"]: topic for topic in of_kind(rendered(PRODUCTION), "KafkaTopic")}
    settings = Settings(kafka="", redis="")
    there = {
        name: Topic(
            topic["spec"]["partitions"],
            topic["spec"]["replicas"],
            {key: str(value).lower() for key, value in topic["spec"]["config"].items()},
        )
        for name, topic in topics.items()
    }

    assert set(all_topics(settings)) == set(topics)
    assert {(settings.partitions, 3)} == {(topic.partitions, topic.replicas) for topic in there.values()}
    assert {name: {value.name for value in values_of(kind_of(name), settings)} for name in topics} == {
        name: set(topic.values or ()) for name, topic in there.items()
    }
    assert [] == differences(settings, Cluster(3, there))
    clusters = {each["metadata"]["labels"]["strimzi.io/cluster"] for each in topics.values()}
    clusters |= {
        each["metadata"]["labels"]["strimzi.io/cluster"] for each in of_kind(rendered(PRODUCTION), "KafkaUser")
    }
    (cluster,) = clusters
    assert environment(rendered(PRODUCTION))["ARBITER_KAFKA"].startswith(f"{cluster}-kafka-bootstrap:")


def test_keda_scales_the_workers_up_to_the_partitions() -> None:
    """By a trigger whose words KEDA knows, with variables that the worker has, between two workers and one each."""
    resources = rendered(PRODUCTION)
    (scaled,) = of_kind(resources, "ScaledObject")
    deployment = called(resources, "Deployment", WORKER)
    (trigger,) = scaled["spec"]["triggers"]
    (login,) = of_kind(resources, "TriggerAuthentication")
    known = schema("keda")
    topics = {topic["metadata"]["name"]: topic["spec"] for topic in of_kind(resources, "KafkaTopic")}
    parameters = [each["parameter"] for refs in ("env", "secretTargetRef") for each in login["spec"][refs]]

    assert scaled["spec"]["scaleTargetRef"] == {"name": deployment["metadata"]["name"]}
    assert "replicas" not in deployment["spec"]
    assert [] == faults(trigger["metadata"], known["kafka trigger"])
    assert [] != faults({**trigger["metadata"], "lagTreshold": "1"}, known["kafka trigger"])
    assert [] == [fault for parameter in parameters for fault in faults(parameter, known["kafka authentication"])]
    assert trigger["authenticationRef"] == {"name": login["metadata"]["name"]}
    assert (2, topics[REQUESTS]["partitions"]) == (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"])
    assert trigger["metadata"]["topic"] == REQUESTS
    named = [value for name, value in trigger["metadata"].items() if name.endswith("FromEnv")]
    named += [each["name"] for each in login["spec"]["env"]]
    assert 3 == len(named)
    assert set(named) <= set(environment(resources))
    # No worker starts in the middle of a partition that was never read, and KEDA must not think so.
    assert "earliest" == trigger["metadata"]["offsetResetPolicy"]


def test_updates_and_drains_leave_workers_that_decide() -> None:
    """A new one is ready before an old one leaves, and nodes are drained one worker at a time."""
    deployment = called(rendered(KUBERNETES / "base"), "Deployment", WORKER)
    (budget,) = of_kind(rendered(KUBERNETES / "base"), "PodDisruptionBudget")

    assert 2 == deployment["spec"]["replicas"]
    assert {"maxSurge": 1, "maxUnavailable": 0} == deployment["spec"]["strategy"]["rollingUpdate"]
    assert (1, "AlwaysAllow") == (budget["spec"]["maxUnavailable"], budget["spec"]["unhealthyPodEvictionPolicy"])


def test_the_trials_servers_are_those_of_compose() -> None:
    """Kafka and Valkey have the same versions and the same options in both, and Valkey never evicts."""
    resources = rendered(DEVELOPMENT)
    images = {pod["spec"]["containers"][0]["name"]: pod["spec"]["containers"][0] for pod in pods(resources)}
    services = compose()["services"]

    assert {services[name]["image"] for name in ("kafka", "valkey")} == {
        images[name]["image"] for name in ("kafka", "valkey")
    }
    assert images["valkey"]["args"] == services["valkey"]["command"]
    assert ["--maxmemory-policy", "noeviction", "--appendonly", "yes"] == images["valkey"]["args"][1:5]
    assert images["topics"]["args"] == services["topics"]["command"]
    # The topics are made by the table, and the workers compare them with the same settings.
    assert ["topics", "create"] == images["topics"]["args"][:2]
    assert services["topics"]["environment"] == services["worker"]["environment"]
    assert images["topics"]["envFrom"] == container_of(resources)["envFrom"]
    (secret,) = of_kind(resources, "Secret")
    assert {"url"} == set(secret["data"])


def test_the_schemas_say_where_they_are_from() -> None:
    """Each is in the list, and their licence is beside them."""
    listed = set(re.findall(r"^\| `([\w.]+)`", (SCHEMAS / "README.md").read_text(), re.MULTILINE))

    assert {path.name for path in SCHEMAS.glob("*.json")} == listed
    assert "Apache License" in (SCHEMAS / "LICENSE").read_text()
