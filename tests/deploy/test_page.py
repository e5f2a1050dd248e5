"""Every command of docs/deployment.md fits what is in deploy/; those of `arbiter` itself run in tests/on_servers."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.harness.deployment import (
    DEPLOY,
    KUBERNETES,
    Resource,
    compose,
    container_of,
    of_kind,
    page_commands,
    read_yaml,
    rendered,
)
from tests.servers.processes import ROOT

KINDS = {"deployment": "Deployment", "job": "Job", "service": "Service"}
UNITS = DEPLOY / "systemd"


def commands(*start: str) -> list[list[str]]:
    """The words of every command that begins so, without the beginning."""
    split = [shlex.split(line) for line in page_commands()]
    return [words[len(start) :] for words in split if words[: len(start)] == list(start)]


def option(words: list[str], name: str) -> str:
    """The value of an option, written in either way."""
    joined = [word.partition("=")[2] for word in words if word.startswith(f"{name}=")]
    return joined[0] if joined else words[words.index(name) + 1]


def named(resources: list[Resource], name: str) -> Resource:
    """The resource that kubectl would take for ``kind/name``."""
    kind, _, rest = name.partition("/")
    (found,) = (each for each in of_kind(resources, KINDS[kind]) if each["metadata"]["name"] == rest)
    return found


def test_every_command_is_of_a_kind_that_is_checked() -> None:
    """A new program in the page needs a test."""
    # Of `arbiter`, tests/on_servers/test_deployment.py.
    starts = {
        "image": ("docker build ",),
        "compose": ("docker compose ",),
        "kubectl": ("kubectl ",),
        "systemd": ("install ", "systemctl ", "journalctl ", "curl "),
        "python": ("python3 -m venv ", "/opt/arbiter/bin/python -m pip install "),
        "arbiter": ("arbiter ", "/opt/arbiter/bin/arbiter ", "export ARBITER_REDIS=", "set -a", ". /etc/arbiter/"),
    }
    known = tuple(start for each in starts.values() for start in each)
    assert [] == [line for line in page_commands() if not line.startswith(known)]
    for each in starts.values():
        assert [line for line in page_commands() if line.startswith(each)]


def test_the_image_is_built_from_its_file() -> None:
    """With the repository as its context, under the name that compose and Kubernetes use."""
    (words,) = commands("docker", "build")

    assert (DEPLOY / "Containerfile") == ROOT / option(words, "--file")
    assert "." == words[-1]
    assert {option(words, "--tag")} == {
        service["image"] for service in compose()["services"].values() if service["image"].startswith("arbiter")
    }


def test_compose_commands_name_what_is_there() -> None:
    """The file, its services, and the folder of policies as it is inside."""
    rests = commands("docker", "compose", "--file", "deploy/compose.yaml")
    assert len(rests) == len(commands("docker", "compose"))
    assert {"up", "run", "logs", "down"} == {words[0] for words in rests}
    for words in rests:
        if words[0] == "run":
            assert ["--rm", "arbiter"] == words[1:3]
        elif words[0] == "logs":
            assert set(words[1:]) <= set(compose()["services"])
        else:
            assert all(word.startswith("--") for word in words[1:])
    assert ["./policies:/policies:ro"] == compose()["services"]["arbiter"]["volumes"]


@pytest.mark.usefixtures("_kustomize")
def test_kubectl_commands_name_what_is_there() -> None:
    """Folders that render, and resources that are in them."""
    trial = rendered(KUBERNETES / "overlays" / "development")
    words_of = commands("kubectl", "--namespace", "arbiter")
    for words in words_of:
        if words[0] == "wait":
            assert "Job" == named(trial, words[-1])["kind"]
        elif words[0] == "port-forward":
            ports = [str(port["port"]) for port in named(trial, words[1])["spec"]["ports"]]
            assert words[2] == f"{ports[0]}:{ports[0]}"
        elif words[:2] == ["rollout", "status"]:
            assert "Deployment" == named(trial, words[2])["kind"]
        else:
            assert ["create", "secret", "generic", "arbiter-redis"] == words[:4]
    folders = [option(words, "--kustomize") for words in commands("kubectl", "apply")]
    assert {f"deploy/kubernetes/overlays/{name}" for name in ("development", "production")} == set(folders)
    (create,) = commands("kubectl", "create")
    assert ["namespace", "arbiter"] == create
    assert len(commands("kubectl")) == len(words_of) + len(folders) + 1


@pytest.mark.usefixtures("_kustomize")
def test_the_secret_that_is_made_is_the_one_that_workers_read(tmp_path: Path) -> None:
    """The page's own command, which needs no cluster to show what it would make."""
    (line,) = (line for line in page_commands() if " create secret " in line)
    (tmp_path / "redis-url.txt").write_text("rediss://arbiter:x@redis.example:6379/0\n")
    show = [*shlex.split(line), "--dry-run=client", "--output=yaml"]
    done = subprocess.run(show, cwd=tmp_path, capture_output=True, text=True, check=True)
    (secret,) = read_yaml(done.stdout)
    used = {item["name"]: item for item in container_of(rendered(KUBERNETES / "overlays" / "production"))["env"]}

    assert {"name": secret["metadata"]["name"], "key": next(iter(secret["data"]))} == (
        used["ARBITER_REDIS"]["valueFrom"]["secretKeyRef"]
    )


def test_the_package_is_installed_from_what_is_here() -> None:
    """The locked requirements first, then the package without any of its own."""
    (where,) = commands("python3", "-m", "venv")
    first, second = commands(f"{where[0]}/bin/python", "-m", "pip", "install")

    assert "--require-hashes" in first
    assert (ROOT / option(first, "--requirement")).is_file()
    assert ["--no-deps", "."] == second


def test_the_units_are_installed_and_started() -> None:
    """Files that are here go where systemd looks; instances are of that unit, and are asked at their own ports."""
    for words in commands("install"):
        assert (ROOT / words[-2]).is_file()
        assert Path(words[-1]).name == Path(words[-2]).name
    (started,) = commands("systemctl", "enable", "--now")
    unit, ports = "arbiter-worker@", [name.partition("@")[2] for name in started]
    assert (UNITS / f"{unit}.service").is_file()
    assert all(name.startswith(unit) for name in started)
    assert [f"http://127.0.0.1:{port}/readyz" for port in ports] == [words[-1] for words in commands("curl")]
    assert [["--unit", f"{unit}*"]] == commands("journalctl")
    assert 1 == len(commands("systemctl", "daemon-reload"))
    assert 2 == len(commands("systemctl"))
