"""Permissions that Kafka takes away in the middle of work: the worker waits, says why, and goes on with them."""

from __future__ import annotations

import time

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.inputs.traffic import Traffic, bank
from tests.servers.processes import SecuredKafkaServer
from tests.servers.topics import DECISIONS, REQUESTS, entries_of
from tests.servers.workers import MakeSite, wait_until

DENIED_SECONDS = 3.0


def acl(
    kafka: SecuredKafkaServer, kind: ResourceType, name: str, operation: AclOperation, *, allow: bool
) -> AclBinding:
    """What the worker may do, or must not."""
    verdict = AclPermissionType.ALLOW if allow else AclPermissionType.DENY
    return AclBinding(kind, name, ResourcePatternType.LITERAL, f"User:{kafka.USER}", "*", operation, verdict)


def test_permissions_taken_away_in_the_middle_of_work_are_waited_for(
    make_site: MakeSite, valkey_url: str, secured_kafka: SecuredKafkaServer
) -> None:
    """To read a topic, then to be in the group: the same process decides everything once they are back."""
    kafka = secured_kafka
    admin = AdminClient({"bootstrap.servers": kafka.open_bootstrap})
    kinds = (ResourceType.TOPIC, ResourceType.GROUP)
    everything = [acl(kafka, kind, "*", AclOperation.ALL, allow=True) for kind in kinds]
    for future in admin.create_acls(everything).values():
        future.result()
    site = make_site(kafka.open_bootstrap, valkey_url, partitions=2)
    site.publish(bank())
    login = {"kafka_username": kafka.USER, "kafka_password": kafka.PASSWORD, "kafka_sasl_mechanism": "PLAIN"}
    worker = site.start_one(kafka=kafka.bootstrap, kafka_security_protocol="SASL_PLAINTEXT", **login).wait_ready()
    traffic, count = Traffic(seed=15), 0
    for kind, name in zip(kinds, (site.settings.topic(REQUESTS), site.settings.group), strict=True):
        denied = acl(kafka, kind, name, AclOperation.READ, allow=False)
        admin.create_acls([denied])[denied].result()
        site.send(*traffic.requests(50))
        site.flush()
        wait_until(lambda: not worker.is_ready or not worker.is_running, "the worker says that it may not")
        time.sleep(DENIED_SECONDS)
        assert worker.is_running, worker.tail()
        reasons = worker.reasons
        pattern = AclBindingFilter(
            kind,
            name,
            ResourcePatternType.LITERAL,
            f"User:{kafka.USER}",
            "*",
            AclOperation.READ,
            AclPermissionType.DENY,
        )
        admin.delete_acls([pattern])[pattern].result()
        count += 50
        wait_until(lambda: len(entries_of(DECISIONS, site.entries())) >= count, "all is decided", 60)  # noqa: B023
        worker.wait_ready()
        assert reasons

    site.audit()
    assert worker.is_running
