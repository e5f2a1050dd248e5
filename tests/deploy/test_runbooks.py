"""The commands of docs/runbooks for orchestrators name what is in deploy/; all others run in tests/on_servers."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.alerts import RULES, RUNBOOKS
from tests.harness.deployment import DEPLOY, KUBERNETES, WORKER, called, compose, pod_of, rendered
from tests.on_servers.test_docs import commands
from tests.on_servers.test_runbooks import PROGRAMS
from tests.servers.processes import ROOT

README = RUNBOOKS / "README.md"


def lines(*start: str) -> list[list[str]]:
    """The words of every command of the page that begins so, without the beginning."""
    split = [shlex.split(line) for line in commands(README)]
    return [words[len(start) :] for words in split if words[: len(start)] == list(start)]


def test_other_programs_are_in_one_page_and_checked_here() -> None:
    """A new program needs a test."""
    known = (*PROGRAMS, "kubectl ", "journalctl ", "systemctl ", "docker compose ", "sed --in-place ")
    pages = [page for page in RUNBOOKS.glob("*.md") if page != README]

    assert [] == [line for page in pages for line in commands(page) if not line.startswith(PROGRAMS)]
    assert [] == [line for line in commands(README) if not line.startswith(known)]


@pytest.mark.usefixtures("_kustomize")
def test_kubectl_finds_the_workers() -> None:
    """By their labels, and by the name of the Deployment, at the port of its container."""
    resources = rendered(KUBERNETES / "overlays" / "production")
    ((_, selector, *_),) = lines("kubectl", "--namespace", "arbiter", "logs")
    ((deployment, ports),) = lines("kubectl", "--namespace", "arbiter", "port-forward")
    ((restarted,),) = lines("kubectl", "--namespace", "arbiter", "rollout", "restart")
    label, _, value = selector.partition("=")
    (port,) = pod_of(resources)["spec"]["containers"][0]["ports"]
    worker = called(resources, "Deployment", WORKER)

    assert 3 == len(lines("kubectl"))
    assert value == pod_of(resources)["metadata"]["labels"][label]
    assert {f"deployment/{worker['metadata']['name']}"} == {deployment, restarted}
    assert f"{port['containerPort']}:{port['containerPort']}" == ports


def test_systemd_finds_the_workers() -> None:
    """By the unit of deploy/systemd."""
    ((_, units, *_),) = lines("journalctl")
    ((restart, unit),) = lines("systemctl")
    (file,) = (DEPLOY / "systemd").glob("*@.service")

    assert ("restart", "arbiter-worker@*") == (restart, units)
    assert file.name == f"{unit.partition('@')[0]}@.service"


def test_compose_finds_the_workers() -> None:
    """By the service of its file."""
    (logs, restart) = lines("docker", "compose", "--file", "deploy/compose.yaml")

    assert 2 == len(lines("docker"))
    assert ["logs", "restart"] == [logs[0], restart[0]]
    assert {logs[-1], restart[-1]} <= set(compose()["services"])


def test_the_address_of_the_runbooks_is_changed_by_the_command(tmp_path: Path, promtool: Path) -> None:
    """In both files; the rules stay good, as the next command says."""
    change, check = (line for line in commands(README) if "rules.yml" in line)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    subprocess.run(shlex.split(change), cwd=tmp_path, check=True)
    checked = subprocess.run(
        [promtool, *shlex.split(check)[1:]], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    changed = [path for path in tmp_path.rglob("*") if path.is_file() and "wiki.firm.example" in path.read_text()]

    assert "SUCCESS" in checked.stdout
    assert 2 == len(changed)
    assert [] == [path for path in changed if "arbiter.example" in path.read_text()]
    assert "arbiter.example" in RULES.read_text()
