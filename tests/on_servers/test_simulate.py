"""``arbiter simulate`` decides as a live worker does: the bank's data through both, and every decision compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.demo import bank, customers, generate
from arbiter.demo.cli import DEFAULT_SEED
from arbiter.messages import CONSENTS, PROFILES, REQUESTS, Profile
from arbiter.policy_check.files import document_bytes, read_policy
from tests.inputs.traffic import Traffic, encode
from tests.inputs.traffic import bank as bank_policy
from tests.servers.processes import ROOT
from tests.servers.topics import DECISIONS, entries_of
from tests.servers.workers import MakeSite, Site, wait_until

BANK = ROOT / "deploy" / "policies" / "retail-bank"
REQUESTS_SENT = 4_000
IDLE_MS = 1_500
MEMBERS_REQUESTS = 24


def material(count: int) -> tuple[list[bytes], list[bytes]]:
    """What is known of the bank's customers, and their first requests."""
    clients = bank.clients()
    requests = generate.requests(clients, DEFAULT_SEED)[:count]
    wanted = {request.customer_id for request in requests}
    known = [client for client in clients if client.customer_id in wanted]
    facts = [fact.value for fact in customers.facts(known, DEFAULT_SEED, {})]
    return facts, [request.value for request in requests]


def told(decisions: Iterable[dict[str, Any]], prefix: str = "") -> dict[str, dict[str, Any]]:
    """Decisions by id, without what counts commits; ``prefix`` is what an installation puts before its topics."""
    found: dict[str, dict[str, Any]] = {}
    for said in decisions:
        del said["seq"]
        said["source"]["topic"] = said["source"]["topic"].removeprefix(prefix)
        assert found.setdefault(said["decision_id"], said) == said
    return found


@pytest.mark.parametrize("partitions", [1, 8])
def test_the_bank_is_decided_as_by_a_live_worker(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, tmp_path: Path, partitions: int
) -> None:
    """Not one decision of thousands differs, in any field but the commit's number, in one partition or several."""
    facts, requests = material(REQUESTS_SENT)
    site = make_site(kafka_bootstrap, valkey_url, partitions=partitions, event_idle_ms=IDLE_MS)
    version = put_in_force(site)
    put(site, facts)
    site.start()
    site.barrier()
    put(site, requests)
    site.settle()

    live = decided_by(site)
    simulated = simulate(requests, facts, site, version, tmp_path)
    assert simulated.keys() == live.keys()
    assert [key for key, said in live.items() if simulated[key] != said] == []
    assert {said["outcome"] for said in live.values()} >= {"approved", "deferred", "rejected"}
    assert len({key.partition(":")[0] for key in live}) == REQUESTS_SENT


def test_households_are_decided_as_by_a_live_worker(site: Site, tmp_path: Path) -> None:
    """Members who live in different partitions share a budget; each record arrives before the next one is sent."""
    traffic = Traffic(seed=4, customers=12)
    facts = [encode(fact) for fact in traffic.first_facts()]
    facts += [
        encode(Profile(customer_id=member, household_id=f"home-{number // 4}"))
        for number, member in enumerate(traffic.customers)
    ]
    requests = [encode(request) for request in traffic.requests(MEMBERS_REQUESTS)]
    version = site.publish(bank_policy(limit=1))
    put(site, facts)
    site.start()
    site.quiet()
    for request in requests:
        put(site, [request])
        site.quiet()

    live = decided_by(site, is_drained=False)
    assert simulate(requests, facts, site, version, tmp_path, "--keep-waiting") == live
    rules = {finding["rule"] for said in live.values() for finding in said.get("findings", [])}
    assert "three-a-week" in rules
    # Where each lives alone the same requests are answered otherwise.
    alone = [fact for fact in facts if b"household_id" not in fact]
    assert simulate(requests, alone, site, version, tmp_path, "--keep-waiting") != live


def put_in_force(site: Site) -> int:
    """Publish and activate the bank's policy."""
    document, _ = read_policy(BANK)
    assert document is not None
    return site.publish(json.loads(document_bytes(document)))


def put(site: Site, lines: Iterable[bytes]) -> None:
    """Send messages to their topics, keyed as a client does it."""
    for line in lines:
        message = msgspec.json.decode(line)
        fact = CONSENTS if "type" in message else PROFILES
        topic = REQUESTS if "request_id" in message else fact
        site.put(topic, line, message["customer_id"].encode())
    site.flush()


def decided_by(site: Site, *, is_drained: bool = True) -> dict[str, dict[str, Any]]:
    """The live decisions, once nothing waits any more."""
    if is_drained:
        wait_until(lambda: not waiting(site), "nothing waits any more")
    entries = entries_of(DECISIONS, site.quiet())
    return told((entry.fields() for entry in entries), site.settings.topic_prefix)


def waiting(site: Site) -> int:
    """How many requests have no final answer."""
    return sum(not decision.said["final"] for decision in site.books(site.entries()).latest())


def simulate(
    requests: list[bytes], facts: list[bytes], site: Site, version: int, directory: Path, *more: str
) -> dict[str, dict[str, Any]]:
    """The decisions that the command writes, under the policy that is in force."""
    for name, lines in (("requests", requests), ("facts", facts)):
        (directory / name).write_bytes(b"\n".join(lines))
    out = directory / "decisions.jsonl"
    arguments = ["--policy", str(version), "--partitions", str(site.partitions), "--out", str(out), *more]
    arguments += ["--requests", str(directory / "requests"), "--facts", str(directory / "facts")]
    done = CliRunner().invoke(main, ["simulate", *arguments], env=site.environment)
    assert done.exit_code == 0, done.output
    return told(json.loads(line) for line in out.read_bytes().splitlines())
