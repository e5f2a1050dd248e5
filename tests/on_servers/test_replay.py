"""Capacity on real servers: by who asked first, on the wall clock too; and a replay is what a simulation says."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.messages import ContactRequest
from arbiter.policy_check.files import document_bytes, read_policy
from arbiter.timing.instants import DAY_MS, to_datetime
from tests.inputs.builders import MONDAY, document
from tests.on_servers.test_docs import commands
from tests.on_servers.test_simulate import BANK, decided_by, material, put, simulate
from tests.servers.processes import ROOT
from tests.servers.workers import MakeSite, Site, wait_until

CALLS = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": 1, "window": "calendar week"}
REQUESTS_SENT = 4_000
PLACES = 60
FROZEN_SECONDS = 10
QUIET_SECONDS = 1
IDLE_MS = 1_500


def call(customer: str, **fields: Any) -> ContactRequest:
    """A phone call; the request is called as the customer."""
    base: dict[str, Any] = {"department": "cards", "campaign": "spring", "channel": "phone", "category": "service"}
    return ContactRequest(request_id=customer, customer_id=customer, **base, **fields)


def latest(site: Site) -> dict[str, str]:
    """What was last decided on each request."""
    return {decision.key[2]: decision.outcome for decision in site.books(site.entries()).latest()}


@pytest.mark.parametrize(("partitions", "workers"), [(1, 1), (4, 2)])
def test_on_the_wall_clock_who_asked_first(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, partitions: int, workers: int
) -> None:
    """All wait for one instant and for two places: those who asked first have them, whatever they are called."""
    site = make_site(kafka_bootstrap, valkey_url, clock="wall", partitions=partitions)
    site.publish(document())
    site.start(workers)
    ends = (datetime.now(UTC) + timedelta(seconds=FROZEN_SECONDS)).replace(microsecond=0)
    freeze = {"id": "freeze", "kind": "blackout", "from": "2020-01-01", "until": ends.isoformat()}
    site.publish(document({**CALLS, "limit": 2, "window": "calendar year"}, freeze))
    wait_until(lambda: all("activation 2" in worker.tail() for worker in site.workers), "the policy is known")
    names = ["z", "y", "m", "b", "a", "k", "c", "x"]
    for name in names:
        site.send(call(name))
        site.flush()
    site.settle()
    assert dict.fromkeys(names, "deferred") == latest(site)
    wait_until(lambda: list(latest(site).values()).count("approved") == 2, "the freeze is over")
    time.sleep(QUIET_SECONDS)

    assert {"z", "y"} == {name for name, outcome in latest(site).items() if outcome == "approved"}


def test_all_in_one_batch_as_one_after_another(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """`m` has Tuesday's call, `z` asks on Wednesday and `n` on the next Tuesday; a worker finds all of them there."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=1)
    site.publish(document(CALLS))
    asked = (("m", 1), ("z", 2), ("y", 3), ("n", 8))
    site.send(*(call(name, requested_at=to_datetime(MONDAY + day * DAY_MS)) for name, day in asked))
    site.flush()
    site.start()
    site.settle()

    assert {"m": "approved", "z": "approved"} == {k: v for k, v in latest(site).items() if v == "approved"}


def scarce_bank(site: Site) -> int:
    """The bank's policy with few places for calls, in force."""
    policy, _ = read_policy(BANK)
    assert policy is not None
    said = json.loads(document_bytes(policy))
    for rule in said["rules"]:
        if rule["kind"] == "capacity":
            rule["limit"] = min(rule["limit"], PLACES)
    return site.publish(said)


def test_a_bulk_replay_of_one_partition_is_the_simulation(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path
) -> None:
    """Thousands of requests of weeks, with far more calls asked for than there are places: not one differs."""
    facts, requests = material(REQUESTS_SENT)
    site = make_site(kafka_bootstrap, valkey_url, partitions=1, event_idle_ms=IDLE_MS)
    version = scarce_bank(site)
    put(site, [*facts, *requests])
    site.start()
    site.settle()

    live = decided_by(site)
    simulated = simulate(requests, facts, site, version, tmp_path)
    assert simulated == live
    assert sum(any(f["code"] == "capacity_exhausted" for f in said.get("findings", [])) for said in live.values()) > 100


def test_a_paced_replay_of_several_partitions_is_close_to_the_simulation(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path
) -> None:
    """Clocks are an hour apart at most: calls made differ by few, and no week gives out more than it has."""
    facts, requests = material(REQUESTS_SENT)
    site = make_site(kafka_bootstrap, valkey_url, partitions=4, event_idle_ms=0)
    version = scarce_bank(site)
    site.start()
    for name, lines in (("requests", requests), ("facts", facts)):
        (tmp_path / name).write_bytes(b"\n".join(lines))
    arguments = ["--requests", str(tmp_path / "requests"), "--facts", str(tmp_path / "facts")]
    done = CliRunner().invoke(main, ["replay", *arguments], env=site.environment)
    assert done.exit_code == 0, done.output

    live = decided_by(site, is_drained=False)
    simulated = simulate(requests, facts, site, version, tmp_path, "--keep-waiting")
    ends, wanted = final(live.values()), final(simulated.values())
    differing = [name for name in wanted if ends.get(name) != wanted[name]]
    made, planned = calls_made(ends, live), calls_made(wanted, simulated)
    assert ends.keys() == wanted.keys()
    assert len(differing) <= REQUESTS_SENT // 10
    assert planned * 0.95 <= made <= planned * 1.05


def test_the_documented_replay_runs(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """The command of docs/simulate.md, on the samples and the policy that they are for."""
    policy, _ = read_policy(ROOT / "deploy" / "policies" / "small-firm")
    assert policy is not None
    site = make_site(kafka_bootstrap, valkey_url, partitions=1, event_idle_ms=IDLE_MS)
    site.publish(json.loads(document_bytes(policy)))
    site.start()
    lines = [line for line in commands(ROOT / "docs" / "simulate.md") if "arbiter replay" in line]
    assert lines
    for line in lines:
        setting, *words = shlex.split(line)
        name, _, value = setting.partition("=")
        environment = {**os.environ, **site.environment, name: value}
        run = [sys.executable, "-m", *words]
        done = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def final(decisions: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The last outcome of each request."""
    found: dict[str, tuple[int, str]] = {}
    for said in decisions:
        name, _, number = said["decision_id"].partition(":")
        found[name] = max((int(number), said["outcome"]), found.get(name, (0, "")))
    return {name: outcome for name, (_, outcome) in found.items()}


def calls_made(ends: dict[str, str], decisions: dict[str, dict[str, Any]]) -> int:
    """How many phone calls were approved in the end."""
    phones = {key.partition(":")[0] for key, said in decisions.items() if said["channel"] == "phone"}
    return sum(outcome == "approved" for name, outcome in ends.items() if name in phones)
