"""A worker joins only when it can work, says when nothing moves, and leaves what others could do."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.inputs.traffic import Traffic, bank
from tests.servers.processes import KafkaServer, SecuredKafkaServer, free_port
from tests.servers.relay import Relay
from tests.servers.topics import DECISIONS, REQUESTS
from tests.servers.workers import MakeSite, Site, Worker, wait_until

FreshKafka = Callable[..., KafkaServer]

STALL_MS = 3_000

SEEDS = range(1, int(os.environ.get("SEEDS", "1")) + 1)
"""When Kafka dies; one suffices for every day."""


@pytest.mark.parametrize("seed", SEEDS)
def test_kafka_dies_while_a_worker_starts(
    make_site: MakeSite, valkey_url: str, fresh_kafka: FreshKafka, seed: int
) -> None:
    """Kafka is killed at some moments of the start: the same process goes on, and decides everything."""
    kafka, random = fresh_kafka(), Random(seed)
    site = make_site(kafka.bootstrap, valkey_url, stall_timeout_ms=STALL_MS)
    site.publish(bank())
    worker = site.start_one()
    for _ in range(2):
        time.sleep(random.uniform(0.0, 2.5))
        kafka.kill()
        time.sleep(random.uniform(0.0, 1.0))
        kafka.start()
    site.send(*Traffic(seed).requests(200))
    site.flush()
    worker.wait_ready()
    site.audit()

    assert worker.is_running


def test_a_worker_without_its_store_takes_nothing(site: Site) -> None:
    """Beside a healthy worker, one with a wrong Redis address holds no partition, and says why it is not ready."""
    site.publish(bank())
    (healthy,) = site.start()
    astray = site.start_one(redis=f"redis://127.0.0.1:{free_port()}/0")
    astray.wait_unready("the store does not")
    site.send(*Traffic(7).requests(40))
    site.audit()

    assert healthy.is_ready
    assert healthy.metric("arbiter_partitions", state="claimed") == site.partitions
    assert astray.metric("arbiter_partitions_assigned") == 0
    assert "not in the group" in astray.reasons


def test_a_worker_that_loses_its_store_leaves_its_partitions_to_others(site: Site, valkey_url: str) -> None:
    """One of two workers is cut off from Redis: after the bound the other has all, and the first comes back later."""
    site.publish(bank())
    with Relay(valkey_url) as relay:
        (healthy,) = site.start()
        astray = site.start_one(redis=relay.url, stall_timeout_ms=STALL_MS).wait_ready()
        wait_until(lambda: astray.metric("arbiter_partitions", state="claimed") > 0, "the partitions are shared out")

        relay.cut()
        site.send(*Traffic(8).requests(200))
        astray.wait_unready("not in the group")
        site.audit()
        share = healthy.metric("arbiter_partitions", state="claimed")
        relay.mend()
        astray.wait_ready()
        wait_until(lambda: astray.metric("arbiter_partitions", state="claimed") > 0, "it takes its share again")

    assert share == site.partitions
    assert healthy.is_running
    assert astray.is_running


def commands(worker: Worker) -> list[str]:
    """The `kafka-acls` commands that a worker's log has."""
    (line,) = (line for line in worker.log.read_text().splitlines() if "kafka-acls" in line)
    return line.partition("grant it with: ")[2].split("; ")


def granted(kafka: SecuredKafkaServer, commands: list[str]) -> None:
    """Run `kafka-acls` commands, as far as they are used here."""
    acls = []
    for command in commands:
        given = list(pairwise(word.removeprefix("--") for word in shlex.split(command)))
        (principal,) = (value for name, value in given if name == "allow-principal")
        acls += [
            AclBinding(
                getattr(ResourceType, kind.upper()), name, ResourcePatternType.LITERAL, principal, "*",
                getattr(AclOperation, operation.upper()), AclPermissionType.ALLOW,
            )
            for kind, name in given if kind in {"topic", "group"}
            for word, operation in given if word == "operation"
        ]  # fmt: skip
    admin = AdminClient({"bootstrap.servers": kafka.open_bootstrap})
    for future in admin.create_acls(acls).values():
        future.result()


def test_missing_permissions_are_listed_at_the_first_start(
    make_site: MakeSite, valkey_url: str, secured_kafka: SecuredKafkaServer
) -> None:
    """With the commands that grant them; who has run these has a worker that starts, decides, and starts again."""
    kafka = secured_kafka
    site = make_site(kafka.open_bootstrap, valkey_url)
    site.publish(bank())
    login = {"kafka_username": kafka.USER, "kafka_password": kafka.PASSWORD, "kafka_sasl_mechanism": "PLAIN"}
    login |= {"kafka": kafka.bootstrap, "kafka_security_protocol": "SASL_PLAINTEXT"}
    # As docs/operations.md has it.
    may = ["+@read", "+@write", "+@scripting", "+@connection"]
    site.redis.acl_setuser(
        site.name, enabled=True, passwords=["+pw"], keys=[f"{site.name}:*"], categories=may, commands=["+time", "+info"]
    )
    login["redis"] = valkey_url.replace("//", f"//{site.name}:pw@")

    refused = site.start_one(**login)
    code = refused.ended()
    listed = commands(refused)
    granted(kafka, [line.replace(" --operation Read --operation Write", " --operation Write") for line in listed])
    again = site.start_one(**login)
    code_again = again.ended()
    left = commands(again)
    granted(kafka, left)
    worker = site.start_one(**login).wait_ready()
    site.send(*Traffic(9).requests(100))
    site.put(REQUESTS, b"{", b"c")
    site.audit()
    worker.terminate()
    worker.ended()
    site.start_one(**login).wait_ready()
    site.send(*Traffic(9).requests(100))
    site.audit()

    assert (code, code_again) == (1, 1)
    assert any(f"--group {site.name}" in line for line in listed)
    assert len(left) == 1
    assert "--operation Read --topic" in left[0]
    assert site.settings.topic(DECISIONS) in left[0]
    assert kafka.PASSWORD not in refused.log.read_text() + worker.log.read_text()


def test_why_kafka_does_not_let_a_worker_in(
    make_site: MakeSite, valkey_url: str, secured_kafka: SecuredKafkaServer
) -> None:
    """A wrong password, an unknown CA, another protocol and a wrong host are told apart; no password is shown."""
    kafka = secured_kafka
    site = make_site(kafka.open_bootstrap, valkey_url)
    wrong = "wrong-secret"
    login = {"kafka_username": kafka.USER, "kafka_password": wrong, "kafka_sasl_mechanism": "PLAIN"}
    cases = {
        "ARBITER_KAFKA_USERNAME, _PASSWORD": {"kafka": kafka.bootstrap, "kafka_security_protocol": "SASL_PLAINTEXT"},
        "ARBITER_KAFKA_CA_FILE": {"kafka": f"localhost:{kafka.tls_port}", "kafka_security_protocol": "SSL"},
        "does this listener want TLS": {"kafka": f"localhost:{kafka.tls_port}"},
        "is this a listener with TLS": {"kafka": kafka.bootstrap, "kafka_security_protocol": "SSL"},
        "want TLS, or a login": {"kafka": kafka.bootstrap},
        "check the host names": {"kafka": "no-such-host.invalid:9092"},
    }
    workers = {text: site.start_one(**login, **settings) for text, settings in cases.items()}
    for text, worker in workers.items():
        worker.wait_unready(text)

    assert not any(wrong in worker.log.read_text() for worker in workers.values())
