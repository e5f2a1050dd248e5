"""Where logs begin and end, asked of a real Kafka."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from faust.types import TP

from arbiter.messages import REQUESTS
from arbiter.worker.kafka.log_offsets import EARLIEST, LATEST, LogOffsets
from arbiter.worker.kafka.topics import KafkaAway
from tests.servers.processes import KafkaServer
from tests.servers.workers import MakeSite, wait_until


def test_the_end_is_that_of_committed_transactions_and_the_beginning_moves(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """A transaction that is not committed yet does not count."""
    site = make_site(kafka_bootstrap, valkey_url)
    topic = site.settings.topic(REQUESTS)
    asked = [TP(topic, number) for number in range(8)]
    log_offsets = LogOffsets(site.settings)
    committed = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": f"{site.name}-committed"})
    open_still = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": f"{site.name}-open"})
    for producer, partition in ((committed, 0), (open_still, 1)):
        producer.init_transactions(10)
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, b"{}", partition=partition)
        producer.flush(10)
    committed.commit_transaction(10)
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    admin.delete_records([TopicPartition(topic, 0, 2)])[TopicPartition(topic, 0)].result()

    first, end = log_offsets.of(asked, EARLIEST), log_offsets.of(asked, LATEST)

    open_still.abort_transaction(10)
    assert first == {tp: 2 if tp.partition == 0 else 0 for tp in asked}
    assert end == {tp: 4 if tp.partition == 0 else 0 for tp in asked}  # three records and the transaction's marker


def test_who_is_away_is_named_and_asked_again(
    make_site: MakeSite, fresh_kafka: Callable[..., KafkaServer], valkey_url: str
) -> None:
    """A broker that is killed and comes back, and a topic that is not there."""
    kafka = fresh_kafka()
    site = make_site(kafka.bootstrap, valkey_url)
    tp = TP(site.settings.topic(REQUESTS), 0)
    log_offsets = LogOffsets(site.settings)

    def answers() -> bool:
        try:
            return log_offsets.of([tp], LATEST, 3) == {tp: 0}
        except KafkaAway:  # the broker is there, and does not lead the partition yet
            return False

    wait_until(answers, "the broker leads the partition")
    with pytest.raises(KafkaAway):
        log_offsets.of([TP("no-such-topic", 0)], LATEST, 1)
    kafka.kill()
    with pytest.raises(KafkaAway, match="no broker listens there"):
        log_offsets.of([tp], LATEST, 3)
    kafka.start()
    wait_until(answers, "the client asks the restarted broker")
