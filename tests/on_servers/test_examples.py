"""The examples for senders, each with its ordinary client, on a real Kafka with a worker of ``arbiter dev``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from arbiter.dev.broker import PARTITIONS
from arbiter.worker.kafka.partitioner import partition_of
from tests.conftest import unavailable
from tests.harness.dev import Dev
from tests.harness.examples import PROGRAMS, command, run
from tests.servers.processes import Unavailable
from tests.servers.topics import OUTCOMES, REQUESTS, read_topics

pytestmark = pytest.mark.timeout(400)  # a busy machine starts four processes slowly


@pytest.fixture(scope="module")
def dev(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    """An installation on the session's Kafka; its topics are gone at the end."""
    with Dev("--kafka", kafka_bootstrap, folder=tmp_path_factory.mktemp("dev")) as started:
        yield started
        prefix = started.environment["ARBITER_TOPIC_PREFIX"]
        assert 0 == started.end()
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap, "log_level": 0})
    assert not [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_example_asks_uses_its_permit_and_tells_so(program: str, dev: Dev, tmp_path: Path) -> None:
    """Its records have the customer's partition; an offer without consent is refused with the reason."""
    try:
        words = command(program, tmp_path)
    except Unavailable as problem:
        unavailable(problem)
    customer = f"c-{program}"
    approved = run([*words, customer, "service"], dev.environment)
    refused = run([*words, customer, "offer"], dev.environment)

    assert (0, 1) == (approved.returncode, refused.returncode), approved.stderr + refused.stderr
    assert re.search(
        rf"^approved {customer}.*\ne-mail to {customer}, key [0-9a-f]{{32}}:1$", approved.stdout, re.MULTILINE
    )
    assert re.search(rf"^rejected {customer}.* not consented", refused.stdout, re.MULTILINE)
    assert "e-mail" not in refused.stdout
    assert [(OUTCOMES, "sent"), (REQUESTS, None), (REQUESTS, None)] == sorted(sent(dev, customer), key=str)


def sent(dev: Dev, customer: str) -> Iterator[tuple[str, str | None]]:
    """What an example wrote, by topic and kind of outcome; each record stands where the customer belongs."""
    bootstrap, prefix = dev.environment["ARBITER_KAFKA"], dev.environment["ARBITER_TOPIC_PREFIX"]
    for entry in read_topics(bootstrap, prefix, (REQUESTS, OUTCOMES)):
        if entry.key == customer.encode():
            assert partition_of(customer, PARTITIONS) == entry.partition
            yield entry.topic, entry.fields().get("kind")
