"""docs/backup-and-upgrade.md when Kafka, Kafka and Redis, or a topic is lost under running workers.

Nothing is decided, the workers say what is lost, and the steps of the page lead back: with the budgets and withdrawals
that Redis has, and without them where both are gone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from arbiter.messages import SuppressionChange
from arbiter.state.keys import Keys
from arbiter.timing.instants import HOUR_MS
from tests.harness.guide import section
from tests.inputs.builders import document, request
from tests.on_servers.test_backup import PAGE
from tests.on_servers.test_docs import shell_lines
from tests.on_servers.test_worker_identity import wait_lost, wait_refused
from tests.servers.processes import ROOT, KafkaServer, ValkeyServer
from tests.servers.topics import CONSENTS, DECISIONS, read_topics
from tests.servers.workers import MakeSite, Site, Worker, wait_until

PARTITIONS = 2
COUNT, MAKE, FORGET = shell_lines(section("Kafka is lost", PAGE))
(MAKE_AGAIN,) = shell_lines(section("A topic was deleted", PAGE))
WAITING_SECONDS = 3.0
"""Longer than a worker that decides needs for a request."""

FreshKafka = Callable[..., KafkaServer]
FreshValkey = Callable[..., ValkeyServer]


def policies() -> dict[str, object]:
    """One contact a week, and none with customers who want none."""
    cap = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
    return document(cap, {"id": "dnc", "kind": "suppression", "lists": ["dnc"]})


def run(site: Site, line: str) -> str:
    """A line of the page, for this installation."""
    here = line.replace("arb:", f"{site.name}:").replace("--partitions 32", f"--partitions {site.partitions}")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = {**os.environ, **site.environment, "PATH": path}
    done = subprocess.run(["sh", "-c", here], cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"{here}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def ask(site: Site, *customers: str) -> None:
    """A request for each; service needs no consent."""
    now_ms = int(time.time() * 1_000)
    times = {"requested_at": now_ms, "expires_at": now_ms + HOUR_MS}
    site.send(*(request(f"r-{one}-{now_ms}", customer_id=one, category="service", **times) for one in customers))
    site.flush()


def withdraw(site: Site, customer: str) -> None:
    """This customer wants no contact."""
    site.send(SuppressionChange(customer_id=customer, list="dnc", active=True, captured_at=datetime.now(UTC)))
    site.flush()


def told(site: Site) -> list[tuple[str, str]]:
    """The customers that were decided for, and how: `approved`, or the first reason why not."""
    entries = read_topics(site.settings.kafka, site.settings.topic_prefix, (DECISIONS,))
    found = [(one["customer_id"], one.get("findings")) for one in (entry.fields() for entry in entries)]
    return sorted((customer, findings[0]["code"] if findings else "approved") for customer, findings in found)


def begun(site: Site) -> Worker:
    """A worker that has approved a contact with c1, and knows that c2 wants none."""
    site.publish(policies())
    (worker,) = site.start()
    withdraw(site, "c2")
    site.settle()
    ask(site, "c1")
    wait_until(lambda: told(site) == [("c1", "approved")], "a contact is approved")
    return worker


def lose_disks(kafka: KafkaServer) -> None:
    """Its log is gone; another, empty cluster takes its place at the same address."""
    kafka.kill()
    shutil.rmtree(kafka.directory / "logs")
    (kafka.directory / "server.properties").unlink()
    kafka.start()


def made_anew(make_site: MakeSite, site: Site) -> Site:
    """The same installation, with clients that know nothing of the old Kafka."""
    names = {"redis_prefix": site.name, "topic_prefix": f"{site.name}.", "group": site.name}
    settings = site.settings
    again = make_site(settings.kafka, settings.redis, clock="wall", partitions=PARTITIONS, **names)
    again.name = site.name
    return again


def decides_nothing(site: Site, worker: Worker, reason: str) -> None:
    """Whatever is asked; the worker says why."""
    before = told(site)
    ask(site, "c3")
    time.sleep(WAITING_SECONDS)
    assert before == told(site)
    assert reason in worker.reasons


@pytest.mark.timeout(240)  # Kafka starts twice; half a minute, but the machine may be busy
def test_a_state_goes_on_with_a_new_kafka(make_site: MakeSite, fresh_kafka: FreshKafka, valkey_url: str) -> None:
    """Refused by the running worker, then by the next one, until two things are done; budgets and withdrawals stay."""
    kafka = fresh_kafka()
    site = make_site(kafka.bootstrap, valkey_url, clock="wall", partitions=PARTITIONS)
    worker = begun(site)

    lose_disks(kafka)
    worker.wait_unready("nothing is decided: Kafka does not know")
    assert str(PARTITIONS) == run(site, COUNT)
    assert "contact.requests.v1" in run(site, MAKE)
    again = made_anew(make_site, site)
    wait_refused(worker, "made anew while the worker ran")
    decides_nothing(again, worker, "Restart the workers")
    worker.kill()
    stranger = again.start_one()
    stranger.wait_unready("another installation's (Kafka cluster")
    assert "docs/backup-and-upgrade.md, Kafka is lost" in stranger.reasons
    stranger.kill()
    assert "1" == run(site, FORGET)
    refusing = again.start_one()
    number = wait_lost(again, refusing, "(and 5 more topics)")
    assert [] == told(again)
    refusing.kill()
    again.start(accept_lost_state=number)
    ask(again, "c1", "c2")
    wait_until(lambda: len(told(again)) == 3, "all is decided")

    assert [("c1", "cap_reached"), ("c2", "suppressed"), ("c3", "approved")] == told(again)


@pytest.mark.timeout(240)  # as above
def test_a_new_installation_begins_where_both_are_lost(
    make_site: MakeSite, fresh_kafka: FreshKafka, fresh_valkey: FreshValkey
) -> None:
    """The worker that ran decides nothing, and does not write that the new state is the old Kafka's."""
    kafka, valkey = fresh_kafka(), fresh_valkey()
    site = make_site(kafka.bootstrap, valkey.url, clock="wall", partitions=PARTITIONS)
    worker = begun(site)

    lose_disks(kafka)
    valkey.kill()
    valkey.start()
    worker.wait_unready("nothing is decided: Kafka does not know")
    run(site, MAKE)
    again = made_anew(make_site, site)
    again.publish(policies())
    wait_refused(worker, "made anew while the worker ran")
    decides_nothing(again, worker, "Restart the workers")
    assert not again.redis.exists(Keys(site.name).installation)
    worker.kill()
    run(site, FORGET)
    withdraw(again, "c2")
    again.start()
    ask(again, "c1", "c2")
    wait_until(lambda: len(told(again)) == 3, "all is decided")

    assert [("c1", "approved"), ("c2", "suppressed"), ("c3", "approved")] == told(again)


def test_nothing_is_decided_without_a_topic(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """Deleted, it may have held a withdrawal; made again, it is read before any request once that is accepted."""
    site = make_site(kafka_bootstrap, valkey_url, clock="wall", partitions=PARTITIONS)
    worker, name = begun(site), site.settings.topic(CONSENTS)
    admin = AdminClient(site.client_config)
    admin.delete_topics([name], operation_timeout=30)[name].result(30)
    worker.wait_unready(f"Kafka does not know {name}")
    decides_nothing(site, worker, "docs/backup-and-upgrade.md, A topic was deleted")
    assert name in run(site, MAKE_AGAIN)
    wait_refused(worker, "made anew while the worker ran")
    again = made_anew(make_site, site)
    withdraw(again, "c3")
    worker.kill()
    refusing = again.start_one()
    number = wait_lost(again, refusing, f"{name} was made anew")
    refusing.kill()
    again.start(accept_lost_state=number)
    wait_until(lambda: len(told(again)) == 2, "the request that waited is decided")

    assert [("c1", "approved"), ("c3", "suppressed")] == told(again)
