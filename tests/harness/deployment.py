"""What is in deploy/, read as the programs read that it is for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
from ruamel.yaml import YAML

from tests.servers.processes import ROOT, Unavailable

DEPLOY = ROOT / "deploy"
CONTAINERFILE = DEPLOY / "Containerfile"
KUBERNETES = DEPLOY / "kubernetes"
PAGE = ROOT / "docs" / "deployment.md"
SCHEMAS = ROOT / "tests" / "deploy" / "schemas"

WORKER, CANARY = "arbiter-worker", "arbiter-canary"
"""The Deployments, and what else is called after them."""

Resource = dict[str, Any]


def read_yaml(text: str) -> list[Any]:
    """The documents of a YAML text, as plain values."""
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document is not None]


@cache
def schema(name: str) -> dict[str, Any]:
    """One of the schemas in tests/deploy/schemas."""
    found: dict[str, Any] = json.loads((SCHEMAS / f"{name}.json").read_text())
    return found


def faults(value: Any, against: dict[str, Any]) -> list[str]:
    """What a JSON Schema has against a value: where, and why."""
    validator = jsonschema_rs.validator_for(against)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(value)]


def resource_faults(resource: Resource) -> list[str]:
    """What Kubernetes, or the operator of a custom resource, has against it."""
    kind = f"{resource['apiVersion']}/{resource['kind']}"
    for name in ("kubernetes", "keda", "monitoring", "strimzi"):
        known = schema(name)
        if kind in known["kinds"]:
            return faults(resource, {**known["kinds"][kind], "$defs": known.get("$defs", {})})
    return [f"no schema for {kind}: add it to {SCHEMAS.relative_to(ROOT)}"]


def kustomize() -> list[str]:
    """The command that renders a folder; :class:`Unavailable`."""
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            return command
    raise Unavailable("Kustomize: no `kustomize` or `kubectl` in PATH; install kubectl")


@cache
def rendered(folder: Path) -> list[Resource]:
    """The resources that a kustomization gives."""
    done = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    return read_yaml(done.stdout)


def of_kind(resources: list[Resource], kind: str) -> list[Resource]:
    """Those of one kind."""
    return [resource for resource in resources if kind == resource["kind"]]


def called(resources: list[Resource], kind: str, name: str) -> Resource:
    """The one of this kind and name."""
    (found,) = (resource for resource in of_kind(resources, kind) if resource["metadata"]["name"] == name)
    return found


def pod_of(resources: list[Resource], deployment: str = WORKER) -> Resource:
    """A Deployment's pod template."""
    template: Resource = called(resources, "Deployment", deployment)["spec"]["template"]
    return template


def container_of(resources: list[Resource], deployment: str = WORKER) -> Resource:
    """A Deployment's only container."""
    (found,) = pod_of(resources, deployment)["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@cache
def compose() -> Resource:
    """deploy/compose.yaml."""
    (document,) = read_yaml((DEPLOY / "compose.yaml").read_text())
    found: Resource = document
    return found


@cache
def instructions() -> list[tuple[str, str]]:
    """The Containerfile's instructions: the word, and the rest in one line."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines if line)]


def arguments(word: str) -> list[str]:
    """What stands behind every such instruction."""
    return [rest for instruction, rest in instructions() if word == instruction]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    return dict(item.split("=", 1) for item in arguments("ENV")[-1].split())


@cache
def page_commands() -> tuple[str, ...]:
    """The lines of the shell blocks of docs/deployment.md."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return tuple(line for block in blocks for line in block.splitlines() if line)
