"""Rollback, plans and kill switches reach running workers, whatever else goes on; the audit topic tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from arbiter.messages import AUDIT, OUTCOMES, ContactRequest, Outcome
from arbiter.policy_check.files import read_policy
from arbiter.state.keys import Keys
from arbiter.state.policy_store import Order
from arbiter.timing.instants import to_ms
from tests.inputs.builders import document
from tests.inputs.traffic import ask, consent
from tests.servers.processes import KafkaServer
from tests.servers.topics import DECISIONS, Entry, entries_of, read_topics
from tests.servers.workers import MakeSite, Site, Worker, wait_until

ROOT = Path(__file__).parents[2]
CUSTOMERS = [f"k{number}" for number in range(300)]
SOON_S = 20.0
"""Two seconds are promised; a busy machine that runs other tests may take longer."""


def now(seconds: float = 0) -> datetime:
    """This moment, or so many seconds later."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def service(name: str, customer: str, **fields: Any) -> ContactRequest:
    """A service message, for which no consent is needed, asked for now."""
    return ask(name, customer, category="service", requested_at=now(), **fields)


def codes(entries: list[Entry], request: str, outcome: str) -> set[tuple[str, ...]]:
    """The codes of the findings of all decisions on a request that have this outcome."""
    said = [entry.fields() for entry in entries_of(DECISIONS, entries)]
    return {
        tuple(finding["code"] for finding in one.get("findings", ()))
        for one in said
        if (one["request_id"], one["outcome"]) == (request, outcome)
    }


def wall(make_site: MakeSite, bootstrap: str, redis_url: str) -> Site:
    """An installation under the wall clock, with a policy in force."""
    site = make_site(bootstrap, redis_url, clock="wall")
    site.publish(document())
    return site


def have(workers: list[Worker], field: str, value: int) -> Callable[[], bool]:
    """Whether all workers' ``/readyz`` show this of the policy."""
    return lambda: all(json.loads(worker.get("/readyz")[1])["policy"][field] == value for worker in workers)


def until_told(site: Site, request: str, outcome: str, count: int) -> list[Entry]:
    """All topics, once so many customers were told this outcome for a request."""
    found: list[Entry] = []

    def is_told() -> bool:
        found[:] = site.entries()
        return (
            sum(outcome in walk for (name, _), walk in site.books(found).outcomes().items() if name == request) >= count
        )

    wait_until(is_told, f"{count} customers were told `{outcome}` for {request}")
    return found


def test_a_switch_stops_recalls_and_ends_by_itself(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """On all partitions of two workers; other campaigns go on, and what is legally due passes."""
    site = wall(make_site, kafka_bootstrap, valkey_url)
    workers = site.start(2)
    site.send(*(service("before", customer) for customer in CUSTOMERS))
    site.send(*(service("other", customer, campaign="silver") for customer in CUSTOMERS[:50]))
    until_told(site, "before", "approved", len(CUSTOMERS))
    _, active = site.kill("campaign", "gold", for_ms=15_000)
    assert active is not None
    wait_until(have(workers, "activation", active.number), "both workers know the switch", SOON_S)
    site.send(*(service("during", customer) for customer in CUSTOMERS[:50]))
    site.send(*(service("go-on", customer, campaign="silver") for customer in CUSTOMERS[:50]))
    site.send(*(ask("legal", customer, category="regulatory", requested_at=now()) for customer in CUSTOMERS[:50]))
    stopped = until_told(site, "before", "recalled", len(CUSTOMERS))
    # Its last instant has come: nobody lifts it.
    until_told(site, "during", "approved", 50)
    entries = site.check(site.quiet())

    told = site.books(entries).outcomes()
    assert {("kill_switch",)} == codes(entries, "before", "recalled") == codes(entries, "during", "deferred")
    assert {tuple(told["before", customer]) for customer in CUSTOMERS} == {
        ("approved", "recalled", "deferred", "approved")
    }
    assert {tuple(told["during", customer]) for customer in CUSTOMERS[:50]} == {("deferred", "approved")}
    for spared in ("other", "go-on", "legal"):
        assert {tuple(told[spared, customer]) for customer in CUSTOMERS[:50]} == {("approved",)}
    assert len(stopped) < len(entries)


def test_a_short_stop_loses_no_request(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """One offer a week, recalled by a stop of seconds: it waits for its desk's word, and is approved by it only."""
    site = make_site(kafka_bootstrap, valkey_url, clock="wall")
    firm, _ = read_policy(ROOT / "deploy" / "policies" / "small-firm")
    site.publish(msgspec.to_builtins(firm))
    site.start()
    customers = CUSTOMERS[:40]
    site.send(*(consent(customer, "granted", now()) for customer in customers))
    site.settle()
    offer: dict[str, Any] = {"department": "shop", "category": "offer", "campaign": "x"}
    site.send(*(ask("offer", customer, requested_at=now(), **offer) for customer in customers))
    until_told(site, "offer", "approved", 40)
    stopped = command(site, "kill", "--campaign", "x", "--for", "8s", "--by", "ana", "--reason", "a wrong price")
    assert 0 == stopped.returncode, stopped.stderr
    assert "stopped so far: 40 approvals recalled" in stopped.stdout
    until_told(site, "offer", "deferred", 40)
    for customer in customers[:30]:
        kind: Any = "cancelled" if customer in customers[:20] else "sent"
        word = Outcome(request_id="offer", department="shop", customer_id=customer, kind=kind, at=now())
        site.put(OUTCOMES, msgspec.json.encode(word), customer.encode())
    site.flush()
    wait_until(lambda: ends(site, "approved") == 20, "what was cancelled is approved anew", SOON_S)
    entries = site.check(site.quiet())

    told = site.books(entries).outcomes()
    assert {"approved"} == {told["offer", customer][-1] for customer in customers[:20]}
    assert {"rejected"} == {told["offer", customer][-1] for customer in customers[20:30]}
    assert {("approved", "recalled", "deferred")} == {tuple(told["offer", customer]) for customer in customers[30:]}


def ends(site: Site, outcome: str) -> int:
    """How many requests stand at this outcome."""
    return sum(walk[-1] == outcome for walk in site.books(site.entries()).outcomes().values())


def test_a_worker_that_dies_while_it_recalls_is_made_good(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """SIGKILL in the middle: the other one recalls the rest, each once."""
    site = wall(make_site, kafka_bootstrap, valkey_url)
    customers = [f"d{number}" for number in range(3_000)]
    dying, _ = site.start(2)
    site.send(*(service("before", customer) for customer in customers))
    until_told(site, "before", "approved", len(customers))
    site.kill("all")
    wait_until(lambda: dying.metric("arbiter_decisions_total", outcome="recalled") > 0, "it recalls", SOON_S)
    dying.kill()
    until_told(site, "before", "recalled", len(customers))
    entries = site.check(site.quiet())

    walked = {tuple(walk) for walk in site.books(entries).outcomes().values()}
    assert {("approved", "recalled", "deferred")} == walked


def test_rollback_reaches_every_worker(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """One command, and both decide by the version before; what the audit topic says is what was done."""
    site = wall(make_site, kafka_bootstrap, valkey_url)
    workers = site.start(2)
    site.publish(document(score="value"))
    wait_until(have(workers, "version", 2), "both workers have the second version")
    site.with_policies(lambda policies: policies.rollback("eva", "the score is wrong", 2))
    wait_until(have(workers, "version", 1), "both workers are back at the first version", SOON_S)
    records: list[Entry] = []

    def is_audited() -> bool:
        records[:] = read_topics(site.settings.kafka, site.settings.topic_prefix, [AUDIT])
        return len(records) >= 5

    wait_until(is_audited, "the audit topic has it all")
    said = {record.headers["ce_id"]: record.fields() for record in records}
    told = [(one["seq"], one["action"], one["by"], one.get("activation")) for one in said.values()]
    assert [
        (1, "published", "tests", None), (2, "activated", "tests", 1), (3, "published", "tests", None),
        (4, "activated", "tests", 2), (5, "rolled_back", "eva", 3),
    ] == told  # fmt: skip
    assert {record.partition for record in records} == {0}


def test_a_planned_version_begins_and_ends_while_records_flow(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """Nobody does anything: the workers agree on when, and no partition goes back and forth."""
    site = wall(make_site, kafka_bootstrap, valkey_url)
    workers = site.start(2)
    begins = to_ms(now(4))
    site.publish(document(score="value"))
    order = Order(by="rui", from_ms=begins, until_ms=begins + 6_000, is_alone=True)
    site.with_policies(lambda policies: policies.rollback("rui", "not yet", 2))
    site.with_policies(lambda policies: policies.activate(2, order))
    number = 0

    def feed(condition: Callable[[], bool]) -> Callable[[], bool]:
        def fed() -> bool:
            nonlocal number
            number += 1
            site.send(*(service(f"r{number}", customer) for customer in CUSTOMERS[:16]))
            return condition()

        return fed

    wait_until(feed(have(workers, "version", 1)), "the first is in force", SOON_S)
    wait_until(feed(have(workers, "version", 2)), "the second has begun", SOON_S)
    wait_until(feed(have(workers, "version", 1)), "the first is back", SOON_S)
    wait_until(feed(have(workers, "activation", 5)), "all know it", SOON_S)
    entries = site.quiet()

    made: dict[int, list[int]] = defaultdict(list)
    for entry in entries_of(DECISIONS, entries):
        versions = made[entry.partition]
        if versions[-1:] != [entry.fields()["policy"]["version"]]:
            versions.append(entry.fields()["policy"]["version"])
    assert {tuple(versions) for versions in made.values()} <= {(1, 2, 1), (2, 1), (1, 2), (1,), (2, 1, 2, 1)}
    assert [1, 2, 1] in made.values()


def test_a_switch_does_not_wait_for_kafka(
    make_site: MakeSite, fresh_kafka: Callable[..., KafkaServer], valkey_url: str
) -> None:
    """With Kafka gone it is ordered all the same; when Kafka is back it works, and the audit topic has it."""
    kafka = fresh_kafka()
    site = wall(make_site, kafka.bootstrap, valkey_url)
    (worker,) = site.start()
    site.send(service("before", "k1"))
    until_told(site, "before", "approved", 1)
    kafka.kill()
    kill, active = site.kill("all")
    assert active is not None
    wait_until(have([worker], "activation", active.number), "the worker knows the switch", SOON_S)
    kafka.start()
    until_told(site, "before", "recalled", 1)

    def is_audited() -> bool:
        records = read_topics(site.settings.kafka, site.settings.topic_prefix, [AUDIT])
        return any(record.fields().get("kill_switch", {}).get("id") == kill.id for record in records)

    wait_until(is_audited, "the audit topic has the switch")


def test_a_lost_registry_stops_approvals_until_it_is_whole(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """An order is not confirmed then; put in force again, policy and switch work on all workers."""
    site = wall(make_site, kafka_bootstrap, valkey_url)
    workers = site.start(2)
    site.send(*(service("before", customer) for customer in CUSTOMERS))
    until_told(site, "before", "approved", len(CUSTOMERS))
    site.redis.delete(Keys(site.name).policies)
    for worker in workers:
        worker.wait_unready("the policies in the store are gone (activation 1 was in force); nothing is decided")
    refused = command(site, "kill", "--all", "--for", "1h", "--reason", "wrong rate")
    site.send(*(service("meanwhile", customer) for customer in CUSTOMERS))
    assert 4 == refused.returncode
    assert "only 0 of 2 workers decide as ordered" in refused.stderr
    assert "publish, approve and activate the policy again" in refused.stderr
    time.sleep(2)
    assert ends(site, "approved") == len(CUSTOMERS)
    site.publish(document())
    entries = until_told(site, "meanwhile", "deferred", len(CUSTOMERS))
    until_told(site, "before", "recalled", len(CUSTOMERS))

    assert {("kill_switch",)} == codes(entries, "meanwhile", "deferred")
    assert all(worker.is_ready for worker in workers)
    assert 1 == workers[0].metric("arbiter_alarms_total", kind="policy-registry")


def test_a_switch_is_confirmed_and_says_what_it_stopped(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """By all workers; a paused one is named, and a campaign that nobody asks for gets its near names."""
    site = wall(make_site, kafka_bootstrap, valkey_url)
    workers = site.start(2)
    site.send(*(service("before", customer) for customer in CUSTOMERS))
    until_told(site, "before", "approved", len(CUSTOMERS))
    misspelt = command(site, "kill", "--campaign", "glod", "--for", "1h", "--reason", "wrong rate")
    ordered = command(site, "kill", "--campaign", "gold", "--for", "1h", "--reason", "wrong rate")
    workers[1].pause()
    lifted = command(site, "kill", "lift", "2")
    workers[1].resume()

    assert (0, 0, 4) == (misspelt.returncode, ordered.returncode, lifted.returncode)
    assert "is about a campaign `glod`; there are `gold`" in misspelt.stderr
    assert "0 approvals recalled" in misspelt.stdout
    assert f"confirmed by all 2 workers, for {site.partitions} partitions" in ordered.stdout
    assert f"stopped so far: {len(CUSTOMERS)} approvals recalled, 0 requests deferred, 0 rejected" in ordered.stdout
    assert "only 1 of 2 workers decide" in lifted.stderr
    assert "silent for" in lifted.stderr


def command(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the command line beside the installation."""
    run = [sys.executable, "-m", "arbiter", *words]
    return subprocess.run(run, env={**os.environ, **site.environment}, capture_output=True, text=True, check=False)
