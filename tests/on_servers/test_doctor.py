"""``arbiter doctor`` on real servers: a healthy installation, and installations that are broken one way at a time."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)

from arbiter.doctor.examine import examine
from arbiter.doctor.registry import Result, State
from arbiter.settings import load
from tests.inputs.traffic import Traffic, bank
from tests.on_servers.test_topics import alter
from tests.servers.processes import ROOT, SecuredKafkaServer, ValkeyServer
from tests.servers.topics import CONSENTS, REQUESTS
from tests.servers.workers import MakeSite, Site, wait_until

FreshValkey = Callable[..., ValkeyServer]
Found = Mapping[str, Result]

TIMED = ("Redis latency", "clocks")
"""What a busy machine may make worse."""


def doctor(site: Site) -> subprocess.CompletedProcess[str]:
    """Run the command with the settings of an installation."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARBITER_")}
    given = {**inherited, **site.environment, "COLUMNS": "80"}
    words = [sys.executable, "-m", "arbiter", "doctor"]
    return subprocess.run(words, cwd=ROOT, env=given, capture_output=True, text=True, check=False, timeout=60)


def found(site: Site, **settings: str) -> Found:
    """What it finds, by check, with some settings changed; in this process, since a new one takes seconds to start."""
    changed = {f"ARBITER_{name.upper()}": value for name, value in settings.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a process of its own: an error inside confluent-kafka's C is no test's
        results = asyncio.run(examine(load({**site.environment, **changed})))
    return {one.check: one for one in results}


def wrong(checks: Found) -> dict[str, State]:
    """The checks that are not well, and how they are."""
    return {name: one.state for name, one in checks.items() if one.state is not State.OK and name not in TIMED}


def test_a_healthy_installation_is_well(make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey) -> None:
    """Two workers, an append-only file, a policy: nothing is wrong, in lines that fit a terminal; then a backlog."""
    site = make_site(kafka_bootstrap, fresh_valkey(appendonly="yes").url)
    site.publish(bank())
    workers = site.start(2)
    site.send(*Traffic(seed=15).requests(50))
    site.quiet()
    wait_until(lambda: not wrong(found(site)), "nothing is wrong")
    shown = doctor(site)

    assert max(map(len, shown.stdout.splitlines())) <= 80
    assert "2 workers decide for all 8 partitions" in shown.stdout
    assert "nothing waits" in shown.stdout
    for worker in workers:
        worker.kill()
    site.send(*Traffic(seed=16).requests(30))
    site.flush()
    wait_until(lambda: "none decides" in found(site)["workers"].text, "it notices that no worker runs")
    checks = found(site)
    assert {"workers": State.FAIL} == wrong(checks)
    assert checks["lag"].text.startswith("30 records wait")
    assert "arbiter worker" in checks["workers"].fix


def test_what_is_broken_is_named(make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey) -> None:
    """Redis evicts, keeps no file, is nearly full, is another's; topics lose records or are unequal; no policy."""
    site = make_site(kafka_bootstrap, fresh_valkey(appendonly="yes").url)
    fresh = {"policy": State.FAIL, "workers": State.FAIL}
    wait_until(lambda: wrong(found(site)) == fresh, "the new topics are known, and only policy and workers are missing")
    site.publish(bank())
    site.kill("campaign", "spring")
    site.redis.config_set("maxmemory-policy", "allkeys-lru")
    site.redis.config_set("appendonly", "no")
    site.redis.config_set("maxmemory", str(int(site.redis.info("memory")["used_memory"]) * 10 // 9))
    site.redis.hset(f"{site.name}:installation", mapping={"cluster": "other", "partitions": "8"})
    alter(site, site.settings.topic(CONSENTS), cleanup__policy="compact")
    letters = site.settings.topic(REQUESTS) + ".dlq"
    admin = AdminClient(site.client_config)
    admin.create_partitions([NewPartitions(letters, 9)])[letters].result(30)
    wait_until(lambda: found(site)["partitions"].state is State.FAIL, "the new partition is known")
    checks = found(site)

    assert {
        "topics": State.FAIL,
        "partitions": State.FAIL,
        "Redis eviction": State.FAIL,
        "Redis files": State.FAIL,
        "Redis memory": State.WARN,
        "state": State.FAIL,
        "policy": State.WARN,
        "workers": State.FAIL,
    } == wrong(checks)
    assert "withdrawals are lost" in checks["topics"].text
    assert "allkeys-lru" in checks["Redis eviction"].text
    assert letters in checks["partitions"].text
    assert "kill switch 1 stops campaign spring" in checks["policy"].text
    assert all(checks[name].fix for name in wrong(checks))


def test_a_server_that_is_away_or_refuses_is_named(
    make_site: MakeSite, secured_kafka: SecuredKafkaServer, fresh_valkey: FreshValkey
) -> None:
    """Each of the two away; a user of Kafka without a permission, one of Redis without a command."""
    kafka = secured_kafka
    valkey = fresh_valkey(appendonly="yes")
    site = make_site(kafka.open_bootstrap, valkey.url, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka.open_bootstrap})
    kinds = {ResourceType.TOPIC: site.settings.topic_prefix, ResourceType.GROUP: site.settings.group}
    granted = [(kind, operation) for kind in kinds for operation in (AclOperation.READ, AclOperation.DESCRIBE)]
    prefixed, allow, user = ResourcePatternType.PREFIXED, AclPermissionType.ALLOW, f"User:{kafka.USER}"
    rules = [AclBinding(kind, kinds[kind], prefixed, user, "*", operation, allow) for kind, operation in granted]
    for future in admin.create_acls(rules).values():
        future.result(30)
    login = {
        "kafka": kafka.bootstrap,
        "kafka_security_protocol": "SASL_PLAINTEXT",
        "kafka_username": kafka.USER,
        "kafka_password": kafka.PASSWORD,
        "kafka_sasl_mechanism": "PLAIN",
    }
    site.redis.acl_setuser(
        "blind", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-zscan", "-eval", "-evalsha"]
    )
    blind = valkey.url.replace("redis://", "redis://blind:pw@")
    wait_until(lambda: "hidden" in found(site, redis=blind, **login)["topics"].text, "the permissions are in force")
    refused = found(site, redis=blind, **login)
    no_kafka, no_redis = found(site, kafka="127.0.0.1:1"), found(site, redis="redis://127.0.0.1:1/0")

    assert [State.FAIL, State.FAIL, State.FAIL] == [
        refused[name].state for name in ("Kafka ACLs", "Redis writes", "Redis ACL")
    ]
    assert "--operation Write --topic" in refused["Kafka ACLs"].fix
    assert f" --topic {site.settings.topic_prefix}contact.decisions.v1" in refused["Kafka ACLs"].fix
    assert "ZSCAN" in refused["Redis ACL"].text
    assert "hidden from this user" in refused["topics"].text
    assert (State.FAIL, State.SKIPPED, State.SKIPPED) == tuple(
        no_kafka[name].state for name in ("Kafka", "topics", "lag")
    )
    assert State.OK is no_kafka["Redis"].state
    assert (State.FAIL, State.SKIPPED, State.SKIPPED) == tuple(
        no_redis[name].state for name in ("Redis", "policy", "lag")
    )
    assert State.OK is no_redis["topics"].state
