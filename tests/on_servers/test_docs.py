"""Every command in the documents is run, or is a make target whose recipe other tests run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.harness.alerts import RUNBOOKS
from tests.harness.guide import GUIDE, my_firm, section
from tests.harness.senders import SENDERS
from tests.servers.process_group import Leashed
from tests.servers.processes import ROOT, KafkaServer, ValkeyServer, free_port
from tests.servers.workers import wait_until

DOCUMENTS = [ROOT / "README.md", ROOT / "loadtests" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

LIFE = ROOT / "docs" / "policy-life.md"
GATEWAY = ROOT / "docs" / "gateway.md"

# The senders' guide runs in test_senders.py, its examples in other languages in test_examples.py.
# The guide's commands for the first hour run in tests/repository/test_guide.py.
# Those of the gateway's page run in test_gateway.py.
# Those of the page of deployment run in test_deployment.py, and are checked in tests/deploy/test_page.py; those of the
# runbooks run in test_runbooks.py.
OWN_SESSIONS = (LIFE, GUIDE, GATEWAY, SENDERS, ROOT / "docs" / "deployment.md", *sorted(RUNBOOKS.glob("*.md")))

RECIPES = {
    # `arbiter demo` runs in test_demo.py; this very run is pytest; the load test's parts run in test_loadtests.py.
    # Every other target begins with what this one does.
    "make install": "arbiter is installed in .venv/bin",
    "make demo": "arbiter demo",
    "make test": "python -m pytest",
    "make loadtest": "python -m loadtests",
    "make figures": "python -m loadtests --readme",
}


RUN_ELSEWHERE = (
    "make ",
    "python -m loadtests",
    "python -m deploy.grafana",
    "arbiter policy check ",
    "arbiter dlq ",  # test_dlq.py
)
"""How lines begin that another test runs."""


def commands(document: Path) -> list[str]:
    """The lines of a document's shell blocks."""
    return shell_lines(document.read_text())


def shell_lines(text: str) -> list[str]:
    """The lines of a text's shell blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


def test_make_targets_do_what_the_documents_say() -> None:
    """A target in a document exists and runs the program that its own test runs."""
    named = {line for document in DOCUMENTS for line in commands(document) if line.startswith("make ")}

    assert {"make install", "make demo", "make test"} <= named <= set(RECIPES)
    for target in named:
        recipe = subprocess.run([*target.split(), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert RECIPES[target] in recipe.stdout


SERVERLESS = ("policy-tests.md", "simulate.md", "sizing.md")
"""Documents of which every command runs on the samples, without a server."""

ON_SERVERS = ("explain-and-report.md", "shadow.md", "backup-and-upgrade.md", "schemas.md", "verify-sender.md")
"""Documents whose commands need an installation that has decided something; see test_explain.py,
test_worker_shadow.py, test_backup.py, test_disasters.py, test_dlq.py, and in other rooms test_registry.py and
test_verify_sender.py."""


@pytest.mark.parametrize("name", SERVERLESS)
def test_commands_without_servers_run_on_the_samples(name: str, tmp_path: Path) -> None:
    """Line by line, in a copy of the samples; each ends well and says something."""
    for folder in ("deploy/policies", "docs/samples"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    # A replay needs servers; it runs in test_replay.py.
    lines = [line for line in commands(ROOT / "docs" / name) if "arbiter replay" not in line]
    assert lines
    for line in lines:
        words = shlex.split(line)
        assert "arbiter" == words[0]
        done = subprocess.run([sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout


def test_only_these_documents_have_a_session_with_servers() -> None:
    """A document with shell commands of its own must be run here too."""
    strays = {
        f"{document.name}: {line}"
        for document in DOCUMENTS[1:]
        if document not in OWN_SESSIONS and document.name not in (*SERVERLESS, *ON_SERVERS)
        for line in commands(document)
        if not line.startswith(RUN_ELSEWHERE)
    }

    assert set() == strays


def test_the_checks_in_the_documents_pass() -> None:
    """Every `arbiter policy check` of a document finds its policy good, the strict ones without a warning."""
    documents = [document for document in DOCUMENTS if document not in OWN_SESSIONS]
    checks = {line for document in documents for line in commands(document) if line.startswith("arbiter policy check ")}

    assert checks
    for line in sorted(checks):
        done = subprocess.run([sys.executable, "-m", *shlex.split(line)], cwd=ROOT, capture_output=True, check=False)
        assert 0 == done.returncode, f"{line}\n{done.stdout.decode()}{done.stderr.decode()}"


def test_the_readme_begins_with_the_installation() -> None:
    """The command is there before it is used."""
    lines = commands(ROOT / "README.md")
    first = next(index for index, line in enumerate(lines) if line.startswith("arbiter "))

    assert lines[first - 3 : first - 1] == ["make install", 'export PATH="$PWD/.venv/bin:$PATH"']


def test_the_readme_leads_to_a_running_worker(
    fresh_kafka: Callable[..., KafkaServer], fresh_valkey: Callable[..., ValkeyServer]
) -> None:
    """The session for one's own servers, line by line; its last command is a worker that becomes ready."""
    kafka, valkey = fresh_kafka(), fresh_valkey()
    http = f"127.0.0.1:{free_port()}"
    environment = {**os.environ, "ARBITER_HTTP": http}
    lines = [line for line in commands(ROOT / "README.md") if not line.startswith("make ")]
    assert "arbiter worker" == lines[-1]
    for line in lines[:-1]:
        words = shlex.split(line)
        if words[0] == "export":
            names = [word.partition("=")[0] for word in words[1:]]
            if names == ["PATH"]:
                assert words[1] == "PATH=$PWD/.venv/bin:$PATH"
                continue
            assert ["ARBITER_KAFKA", "ARBITER_REDIS"] == names
            environment |= {"ARBITER_KAFKA": kafka.bootstrap, "ARBITER_REDIS": valkey.url}
            continue
        assert "arbiter" == words[0]
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
    worker = Leashed([sys.executable, "-m", "arbiter", "worker"], cwd=ROOT, env=environment)
    try:
        wait_until(lambda: is_ready(http), "the worker of the README is ready", 60)
        worker.send_signal(signal.SIGTERM)
        assert 0 == worker.wait(30)
    finally:
        worker.kill()
        worker.wait()


def run_lines(lines: list[str], folder: Path, valkey: ValkeyServer) -> str:
    """Run commands in a folder, each ending well, without Kafka; gives what the last one prints."""
    environment = {**os.environ, "ARBITER_REDIS": valkey.url}
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


ONCE = ["published", "approved", "activated"]


def test_the_life_of_a_policy_can_be_lived(fresh_valkey: Callable[..., ValkeyServer]) -> None:
    """The session of its page, line by line, without Kafka; the history at its end tells all of it."""
    history = run_lines(commands(LIFE), ROOT, fresh_valkey())

    steps = [entry["action"] for entry in json.loads(history)]
    assert [*ONCE, *ONCE, "rolled_back", "scheduled", "cancelled", "killed", "kill_lifted"] == steps


def test_the_guides_policy_comes_in_force_and_goes(fresh_valkey: Callable[..., ValkeyServer], tmp_path: Path) -> None:
    """The policy of the reader's first hour, where the small firm's is in force: as version 2, as the guide says."""
    shutil.copytree(ROOT / "deploy" / "policies", tmp_path / "deploy" / "policies")
    assert ["a number is changed", "its test is mended"] == list(my_firm(tmp_path / "deploy" / "policies"))
    before = [
        "arbiter policy publish deploy/policies/small-firm --author ana@firm.example --reason 'our first policy'",
        "arbiter policy approve 1 --approver rui@firm.example",
        "arbiter policy activate 1 --by ana@firm.example",
    ]
    lines = shell_lines(section("Put it in force")) + shell_lines(section("Stop something now"))
    assert 9 == len(lines)
    history = run_lines([*before, *lines, "arbiter policy history --format json"], tmp_path, fresh_valkey())

    steps = [entry["action"] for entry in json.loads(history)]
    assert [*ONCE, *ONCE, "rolled_back", "killed", "kill_lifted"] == steps


def is_ready(http: str) -> bool:
    """Whether /readyz answers 200."""
    try:
        with urlopen(f"http://{http}/readyz") as answer:
            return bool(answer.status == 200)
    except (URLError, ConnectionError):
        return False
