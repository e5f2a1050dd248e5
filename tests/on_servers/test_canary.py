"""``arbiter canary`` on a real Kafka with a real worker: what it measures, that nothing else counts it, what it may."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import CliRunner
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from arbiter.cli import main
from arbiter.messages.canary import CANARY
from tests.harness.deployment import KUBERNETES, read_yaml
from tests.inputs.builders import document
from tests.inputs.builders import request as promotion
from tests.servers.processes import KafkaServer, SecuredKafkaServer
from tests.servers.topics import DECISIONS, LETTERS, REQUESTS, Entry, decisions_of, read_topics
from tests.servers.workers import MakeSite, Site, wait_until

PARTITIONS = 2
FreshKafka = Callable[..., KafkaServer]
REQUESTS_TOTAL = "arbiter_canary_requests_total"
USER = KUBERNETES / "components" / "strimzi" / "canary-user.yaml"


def entries(site: Site, topic: str) -> list[Entry]:
    """What stands on a topic."""
    return read_topics(site.settings.kafka, site.settings.topic_prefix, (topic,))


def test_it_measures_each_partition_and_is_counted_nowhere(
    make_site: MakeSite, fresh_kafka: FreshKafka, valkey_url: str
) -> None:
    """Decided in time; late while the worker or Kafka is away; counted nowhere; nothing is kept; ends on SIGTERM."""
    kafka = fresh_kafka()
    times = {"canary_interval_ms": 500, "canary_late_ms": 1_500}
    site = make_site(kafka.bootstrap, valkey_url, partitions=PARTITIONS, clock="wall", **times)
    site.publish(document({"id": "many", "kind": "cap", "per": ["party"], "limit": 1_000, "window": "rolling 1d"}))
    (worker,) = site.start()
    canary = site.start_canary()
    canary.wait_ready()
    wait_until(lambda: canary.metric(REQUESTS_TOTAL, result="decided") >= 3 * PARTITIONS, "rounds are decided")
    well = [canary.metric(REQUESTS_TOTAL, result=result) for result in ("late", "wrong")]
    decided_at = canary.metric("arbiter_canary_last_decided_timestamp_seconds")
    counted = [worker.metric(name) for name in ("arbiter_decisions_total", "arbiter_latency_seconds_count")]
    report = CliRunner(env=site.environment).invoke(main, ["report"])
    site.send(promotion("r1", department=CANARY), promotion("r2", customer_id=f"{CANARY}-1"))
    site.settle()
    refused = [entry.headers["arbiter-error-code"] for entry in entries(site, REQUESTS + LETTERS)]

    worker.kill()
    canary.wait_unready("partition 0: no decision within 1.5 s")
    late = canary.metric(REQUESTS_TOTAL, result="late")
    site.start()
    canary.wait_ready()
    kafka.pause()
    canary.wait_unready("Kafka does not answer")
    away = canary.metric(REQUESTS_TOTAL, result="late")
    kafka.resume()
    canary.wait_ready()
    canary.terminate()

    assert canary.ended() == 0
    assert well == [0, 0]
    assert decided_at > 0
    assert (counted, report.exit_code, report.stderr.startswith("arbiter: no decisions")) == ([0, 0], 1, True)
    assert refused == [b"reserved_name", b"reserved_name"]
    assert 0 < late < away
    told = [entry.fields() for entry in decisions_of(entries(site, DECISIONS))]
    assert {(one["department"], one["dry_run"], one["findings"][0]["code"]) for one in told} == {
        (CANARY, True, "invalid")
    }
    assert {one["source"]["partition"] for one in told} == set(range(PARTITIONS))
    assert site.ledgers() == {}


def test_the_user_of_kubernetes_is_all_that_it_needs(
    make_site: MakeSite, secured_kafka: SecuredKafkaServer, valkey_url: str
) -> None:
    """A Kafka that allows nothing else lets it send and read; without what the user has, it says what is refused."""
    kafka = secured_kafka
    site = make_site(kafka.open_bootstrap, valkey_url, partitions=PARTITIONS, clock="wall", canary_interval_ms=500)
    site.publish(document())
    site.start()
    login = {"kafka_username": kafka.USER, "kafka_password": kafka.PASSWORD, "kafka_sasl_mechanism": "PLAIN"}
    canary = site.start_canary(kafka=kafka.bootstrap, kafka_security_protocol="SASL_PLAINTEXT", **login)
    canary.wait_unready("uthoriz")
    refused = canary.metric(REQUESTS_TOTAL, result="decided")
    admin = AdminClient({"bootstrap.servers": kafka.open_bootstrap})
    for future in admin.create_acls(rules_of_the_user(site)).values():
        future.result()
    canary.wait_ready()

    assert 0 == refused
    assert canary.metric(REQUESTS_TOTAL, result="decided") >= PARTITIONS


def rules_of_the_user(site: Site) -> list[AclBinding]:
    """What Strimzi makes of it, for the names of the installation: the topics have its prefix, the group is its own."""
    (user,) = read_yaml(USER.read_text())
    settings = site.settings
    names = {"arbiter-reader": f"{settings.group}-reader"}
    return [
        AclBinding(
            ResourceType[rule["resource"]["type"].upper()],
            names.get(rule["resource"]["name"], settings.topic(rule["resource"]["name"])),
            ResourcePatternType.LITERAL,
            f"User:{SecuredKafkaServer.USER}",
            "*",
            AclOperation[operation.upper()],
            AclPermissionType.ALLOW,
        )
        for rule in user["spec"]["authorization"]["acls"]
        for operation in rule["operations"]
    ]
