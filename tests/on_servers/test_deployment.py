"""The sessions of docs/deployment.md on real servers, which are started as deploy/compose.yaml starts them."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from tests.conftest import available, running
from tests.harness.deployment import compose, page_commands
from tests.servers.process_group import Leashed
from tests.servers.processes import ROOT, KafkaServer, ValkeyServer, free_port
from tests.servers.workers import wait_until

COMPOSE = "docker compose --file deploy/compose.yaml run --rm arbiter "
PROGRAM = "/opt/arbiter/bin/arbiter "
READY_SECONDS_MAX = 60.0


class ComposeKafka(KafkaServer):
    """A Kafka with the settings of the compose file, but for its host, ports and folder."""

    # Its voters are in the settings.
    formatting = ()

    def _properties(self) -> dict[str, str]:
        service = compose()["services"]["kafka"]
        ports = {"9092": self.port, "29092": free_port(), "9093": self._controller_port}
        found = {}
        for name, value in service["environment"].items():
            text = value.replace("kafka:", "127.0.0.1:").replace("//:", "//127.0.0.1:")
            for inside, here in ports.items():
                text = text.replace(f":{inside}", f":<{here}>")
            found[name.removeprefix("KAFKA_").lower().replace("_", ".")] = text.replace("<", "").replace(">", "")
        return {**found, "log.dirs": str(self.directory / "logs")}


@pytest.fixture
def environment(
    request: pytest.FixtureRequest, tmp_path: Path, fresh_valkey: Callable[..., ValkeyServer]
) -> Iterator[dict[str, str]]:
    """What the service `worker` of the compose file has, with servers like those of the file."""
    with available(request):
        kafka = ComposeKafka(tmp_path / "kafka")
    words = compose()["services"]["valkey"]["command"][1:]
    options = {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    with running(kafka):
        valkey = fresh_valkey(**options)
        here = {"ARBITER_KAFKA": kafka.bootstrap, "ARBITER_REDIS": valkey.url}
        given = compose()["services"]["worker"]["environment"]
        assert set(given) == set(here)
        yield {**os.environ, **given, **here}


def run(line: str, environment: dict[str, str]) -> str:
    """What a command of `arbiter` prints; it ends well."""
    words = [re.sub("^/policies/", "deploy/policies/", word) for word in shlex.split(line)]
    done = subprocess.run(
        [sys.executable, "-m", "arbiter", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def is_ready(http: str) -> bool:
    """Whether a worker decides."""
    try:
        with urlopen(f"http://{http}/readyz") as answer:
            return bool(answer.status == 200)
    except (HTTPError, URLError, ConnectionError):
        return False


def two_workers_decide(environment: dict[str, str]) -> None:
    """Two workers start, become ready, and leave in the time that they are given."""
    places = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    grace = int(compose()["services"]["worker"]["stop_grace_period"].removesuffix("s"))
    with ExitStack() as stack:
        workers = []
        for place in places:
            worker = Leashed(
                [sys.executable, "-m", "arbiter", "worker"], cwd=ROOT, env={**environment, "ARBITER_HTTP": place}
            )
            stack.callback(worker.wait)
            stack.callback(worker.kill)
            workers.append(worker)
        for place in places:
            wait_until(partial(is_ready, place), f"the worker at {place} is ready", READY_SECONDS_MAX)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [0, 0] == [worker.wait(grace) for worker in workers]


@pytest.mark.timeout(240)  # four programs one after another, then two workers, on a machine that may be busy
def test_the_compose_session_leads_to_two_workers(environment: dict[str, str]) -> None:
    """Servers with the file's own settings, its service that makes the topics, the page's commands, two workers."""
    made = run(shlex.join(compose()["services"]["topics"]["command"]), environment)
    lines = [line.removeprefix(COMPOSE) for line in page_commands() if line.startswith(COMPOSE)]
    assert ["publish", "approve", "activate"] == [line.split()[1] for line in lines]
    for line in lines:
        run(line, environment)

    assert "each with 8 partitions" in made
    two_workers_decide(environment)


@pytest.mark.timeout(240)  # likewise
def test_the_systemd_session_leads_to_a_policy(environment: dict[str, str]) -> None:
    """The commands that are run once the settings are written, in their order; Kubernetes has the same on policies."""
    lines = [line.removeprefix(PROGRAM) for line in page_commands() if line.startswith(PROGRAM)]
    cluster = [line.removeprefix("arbiter ") for line in page_commands() if line.startswith("arbiter ")]
    said = [run(line, environment) for line in lines]

    assert "each with 32 partitions" in said[0]
    assert lines[1:] == cluster
    assert "activated" in run("policy history --format json", environment)
