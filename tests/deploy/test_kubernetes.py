"""deploy/kubernetes: by the schemas of Kubernetes and the operators, with no loose end, with the names of the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from arbiter.messages import REQUESTS
from arbiter.settings import Settings, load
from arbiter.worker.kafka.permissions import needed
from arbiter.worker.kafka.topic_check import Cluster, Topic, differences
from arbiter.worker.kafka.topic_table import kind_of, values_of
from arbiter.worker.kafka.topics import all_topics
from tests.harness.deployment import (
    KUBERNETES,
    SCHEMAS,
    Resource,
    compose,
    container_of,
    faults,
    of_kind,
    pod_of_worker,
    read_yaml,
    rendered,
    resource_faults,
    schema,
)
from tests.servers.processes import ROOT

pytestmark = pytest.mark.usefixtures("_kustomize")

DEVELOPMENT, PRODUCTION = KUBERNETES / "overlays" / "development", KUBERNETES / "overlays" / "production"
every_overlay = pytest.mark.parametrize("overlay", [DEVELOPMENT, PRODUCTION], ids=lambda path: path.name)

# Made by hand, or by Strimzi, before workers of the production overlay start: docs/deployment.md.
SECRETS_MADE_ELSEWHERE = {("arbiter-redis", "url"), ("arbiter", "password"), ("kafka-cluster-ca-cert", "ca.crt")}
REDIS_URL = "redis://valkey:6379/0"


def pods(resources: list[Resource]) -> Iterator[Resource]:
    """The pod templates of workloads."""
    return (resource["spec"]["template"] for resource in resources if "template" in resource.get("spec", {}))


def environment(resources: list[Resource]) -> dict[str, str]:
    """What the worker's container finds in its environment, with something for what comes from secrets."""
    (settings,) = (
        item["data"] for item in of_kind(resources, "ConfigMap") if item["metadata"]["name"].startswith("arb")
    )
    own = {item["name"]: item.get("value", "secret") for item in container_of(resources)["env"]}
    return {**settings, **own, "ARBITER_REDIS": REDIS_URL}


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


@every_overlay
def test_the_worker_can_start_with_its_environment(overlay: Path) -> None:
    """Its settings are right; a certificate is where its volume is mounted."""
    given = environment(rendered(overlay))
    certificate = given.pop("ARBITER_KAFKA_CA_FILE", None)
    settings = load(given)
    mounts = {mount["mountPath"]: mount["name"] for mount in container_of(rendered(overlay)).get("volumeMounts", [])}

    assert ("SASL_SSL" if overlay == PRODUCTION else "PLAINTEXT") == settings.kafka_security_protocol
    assert (certificate is None) == (settings.kafka_security_protocol == "PLAINTEXT")
    if certificate is not None:
        folder, _, name = certificate.rpartition("/")
        (volume,) = (
            each for each in pod_of_worker(rendered(overlay))["spec"]["volumes"] if each["name"] == mounts[folder]
        )
        assert [{"key": name, "path": name}] == volume["secret"]["items"]


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


@every_overlay
def test_selectors_take_the_workers_and_nobody_else(overlay: Path) -> None:
    """The Deployment, the Service, the budget of disruptions, the network's rules, the spread over nodes."""
    resources = rendered(overlay)
    selectors = [resource["spec"]["selector"]["matchLabels"] for resource in of_kind(resources, "Deployment")]
    selectors += [resource["spec"]["selector"]["matchLabels"] for resource in of_kind(resources, "PodDisruptionBudget")]
    selectors += [resource["spec"]["podSelector"]["matchLabels"] for resource in of_kind(resources, "NetworkPolicy")]
    selectors += [
        each["labelSelector"]["matchLabels"] for each in pod_of_worker(resources)["spec"]["topologySpreadConstraints"]
    ]
    (service,) = (each for each in of_kind(resources, "Service") if each["metadata"]["name"] == "arbiter-worker")
    selectors.append(service["spec"]["selector"])
    labels = [pod["metadata"]["labels"] for pod in pods(resources)]

    assert 5 == len(selectors)
    for selector in selectors:
        assert [pod_of_worker(resources)["metadata"]["labels"]] == [
            each for each in labels if is_selected(each, selector)
        ]


@every_overlay
def test_ports_and_paths_are_those_of_the_worker(overlay: Path) -> None:
    """Probes, Service and network rule name the port of ARBITER_HTTP, and paths that the worker serves."""
    resources = rendered(overlay)
    port = int(environment(resources)["ARBITER_HTTP"].rpartition(":")[2])
    served = (ROOT / "arbiter" / "worker" / "http.py").read_text()
    probes = {
        name: container_of(resources)[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    (rule,) = of_kind(resources, "NetworkPolicy")
    (service,) = (each for each in of_kind(resources, "Service") if each["metadata"]["name"] == "arbiter-worker")

    assert [{"name": "http", "containerPort": port}] == container_of(resources)["ports"]
    assert ["/healthz", "/healthz", "/readyz"] == [probe["path"] for probe in probes.values()]
    assert {"http"} == {probe["port"] for probe in probes.values()}
    assert all(f'add_get("{probe["path"]}"' in served for probe in probes.values())
    assert [{"name": "http", "port": port, "targetPort": "http"}] == service["spec"]["ports"]
    assert [port] == [each["port"] for each in values(rule["spec"]["ingress"], "ports") for each in each]
    for monitor in of_kind(resources, "ServiceMonitor"):
        (endpoint,) = monitor["spec"]["endpoints"]
        assert "http" == endpoint["port"]
        assert f'add_get("{endpoint["path"]}"' in served
        assert is_selected(service["metadata"]["labels"], monitor["spec"]["selector"]["matchLabels"])


@every_overlay
def test_the_worker_may_go_where_it_has_to(overlay: Path) -> None:
    """Out through the network's rules: to the port of Kafka's address, to Redis, and to ask for names; nowhere else."""
    (rule,) = of_kind(rendered(overlay), "NetworkPolicy")
    settings = environment(rendered(overlay))
    wanted = {int(settings[name].rpartition(":")[2].partition("/")[0]) for name in ("ARBITER_KAFKA", "ARBITER_REDIS")}

    assert ["Ingress", "Egress"] == rule["spec"]["policyTypes"]
    assert {53, *wanted} == {each["port"] for way in rule["spec"]["egress"] for each in way["ports"]}


def test_the_users_permissions_are_those_that_a_worker_asks_for() -> None:
    """No more and no less than it checks before it joins, and that it may see how the topics are set."""
    settings = Settings(kafka="", redis="")
    (user,) = of_kind(rendered(PRODUCTION), "KafkaUser")
    granted = {
        (rule["resource"]["type"], rule["resource"]["name"]): set(rule["operations"])
        for rule in user["spec"]["authorization"]["acls"]
    }
    topics = {
        ("topic", name): {"DescribeConfigs", *(operation.name.capitalize() for operation in operations)}
        for name, operations in needed(settings).items()
    }

    assert {**topics, ("group", settings.group): {"Read"}} == granted
    assert environment(rendered(PRODUCTION))["ARBITER_KAFKA_USERNAME"] == user["metadata"]["name"]
    assert all(
        rule["resource"].get("patternType", "literal") == "literal" for rule in user["spec"]["authorization"]["acls"]
    )


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
    (deployment,) = of_kind(resources, "Deployment")
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
    (deployment,) = of_kind(rendered(KUBERNETES / "base"), "Deployment")
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
