"""Every command of docs/runbooks runs, on an installation that decides and a Prometheus that watches it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from arbiter.timing.instants import HOUR_MS
from tests.harness.alerts import RUNBOOKS
from tests.inputs.builders import document, grant, request
from tests.on_servers.test_docs import commands
from tests.servers.processes import ValkeyServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.topics import REQUESTS
from tests.servers.workers import MakeSite, Site, wait_until

PROGRAMS = ("arbiter ", "curl ", "promtool ", "redis-cli ")
"""The others are for Kubernetes, systemd and Docker Compose; see tests/deploy/test_runbooks.py."""


def lines() -> list[str]:
    """All commands of the runbooks, each once."""
    found = [line for page in sorted(RUNBOOKS.glob("*.md")) for line in commands(page)]
    return [line for line in dict.fromkeys(found) if "rules.yml" not in line]


def decided(site: Site) -> None:
    """Two versions of a policy, a shadow, requests that were decided, and a dead letter."""
    cap = {"id": "two", "kind": "cap", "per": ["customer"], "limit": 2, "window": "rolling 7d"}
    site.publish(document(cap))
    site.publish(document({**cap, "limit": 1}))
    site.with_policies(lambda policies: policies.shadow(1, "ana", "how many fewer?"))
    site.start()
    now_ms = int(time.time() * 1_000)
    site.send(grant(captured=now_ms - HOUR_MS))
    site.barrier()
    site.send(*(request(f"r{number}", requested_at=now_ms, expires_at=now_ms + HOUR_MS) for number in range(3)))
    site.put(REQUESTS, b"{garbage", b"c1")
    site.settle()


@pytest.mark.timeout(240)  # some sixty programs one after another, on a machine that may be busy
def test_every_command_runs(
    make_site: MakeSite,
    kafka_bootstrap: str,
    fresh_valkey: Callable[..., ValkeyServer],
    fresh_prometheus: Callable[..., PrometheusServer],
    promtool: Path,
) -> None:
    """As written, but for the ports; each ends well and says something."""
    site = make_site(kafka_bootstrap, fresh_valkey().url, clock="wall")
    decided(site)
    (worker,) = site.workers
    prometheus = fresh_prometheus()
    prometheus.scrape(worker.address)
    wait_until(lambda: prometheus.query("up == 1"), "Prometheus has scraped the worker")
    path = os.pathsep.join([str(Path(sys.executable).parent), str(promtool.parent), os.environ["PATH"]])
    environment = {**os.environ, **site.environment, "PATH": path}

    ours = [line for line in lines() if line.startswith(PROGRAMS)]
    assert len(ours) > 30
    for line in ours:
        here = line.replace("http://127.0.0.1:8080", f"http://{worker.address}")
        here = here.replace("http://127.0.0.1:9090", prometheus.url)
        done = subprocess.run(["bash", "-c", here], env=environment, capture_output=True, text=True, check=False)
        assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
        assert "(error)" not in done.stdout, line
