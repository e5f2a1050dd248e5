"""The harness's own hands on Kafka: bulk publishing, and the consumer that counts decisions."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from loadtests.traffic import Entry

FLUSH_SECONDS_MAX = 60.0
ADMIN_SECONDS_MAX = 30.0


class NotPublished(Exception):
    """Records that Kafka did not take; a figure without them would be wrong."""


def publish(bootstrap: str, topic: str, entries: Iterable[Entry]) -> None:
    """Publish everything as fast as it goes and return when it was delivered; :class:`NotPublished`."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
        }
    )
    lost: list[KafkaError] = []

    def reported(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            lost.append(error)

    for entry in entries:
        producer.produce(topic, entry.value, entry.key, entry.partition, on_delivery=reported)
    left = producer.flush(FLUSH_SECONDS_MAX)
    if lost or left:
        raise NotPublished(f"topic {topic}: {len(lost) + left} records were not taken: {lost[:1]}")


def reader(bootstrap: str, topic: str, partitions: int) -> Consumer:
    """A consumer of its own, of no group, at the beginning of every partition; close it after use."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "loadtests",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            # A decision is to be seen when it is there, not when there are more.
            "fetch.wait.max.ms": 50,
            "fetch.min.bytes": 1,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    return consumer


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Remove the topics of one round, so that the next one's broker has as little to do as this one's."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 4})
    names = [name for name in admin.list_topics(timeout=ADMIN_SECONDS_MAX).topics if name.startswith(prefix)]
    for future in admin.delete_topics(names, request_timeout=ADMIN_SECONDS_MAX).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
