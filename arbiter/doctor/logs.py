"""When the newest records were written that Kafka has."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from arbiter.doctor.subject import SECONDS_MAX
from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.topics import KafkaAway, admin

OFFSETS = "__consumer_offsets"
"""Kafka's own topic of what groups commit. Brokers write it, and date its records by their own clock."""


def newest_ms(settings: Settings, topic: str) -> int:
    """The time of the newest record of a topic (ms); 0 if there is none. :class:`KafkaAway`. Blocks."""
    causes = Causes()
    return _newest_ms(admin(settings, causes), causes, topic, lambda _: True)


def group_committed_ms(settings: Settings) -> int:
    """When a member of the group last committed, by the broker's clock (ms); 0 if it never did, or is not to be seen.

    :class:`KafkaAway`. Blocks.
    """
    causes = Causes()
    client = admin(settings, causes)
    try:
        found = client.describe_topics(TopicCollection([OFFSETS]), request_timeout=SECONDS_MAX)[OFFSETS].result()
    except KafkaException:
        return 0  # it has no such topic yet, or this user may not describe it
    number = partition_of_group(settings.group, len(found.partitions))
    return _newest_ms(client, causes, OFFSETS, number.__eq__)


def partition_of_group(group: str, partitions: int) -> int:
    """Where Kafka keeps what a group commits: by Java's hash of its name."""
    number = 0
    units = group.encode("utf-16-be")
    for at in range(0, len(units), 2):
        number = (31 * number + int.from_bytes(units[at : at + 2])) & 0xFFFF_FFFF
    signed = number - (1 << 32) if number >> 31 else number
    return (0 if signed == -(1 << 31) else abs(signed)) % partitions


def _newest_ms(client: AdminClient, causes: Causes, topic: str, is_asked: Callable[[int], bool]) -> int:
    """The time of the newest record (ms) of those partitions of a topic that have a leader."""
    newest = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
    try:
        # With leaders that it does not know yet, `list_offsets` may end the process: see `worker/kafka/log_offsets.py`.
        there = client.list_topics(timeout=SECONDS_MAX).topics.get(topic)
        led = [number for number, one in there.partitions.items() if one.leader >= 0] if there is not None else []
        asked = {TopicPartition(topic, number): newest for number in led if is_asked(number)}
        futures = client.list_offsets(asked, request_timeout=SECONDS_MAX) if asked else {}
        return max((int(future.result().timestamp) for future in futures.values()), default=0)
    except KafkaException as error:
        client.poll(0)  # lets the client report errors and log lines to `causes`
        raise KafkaAway(causes.why(error.args[0])) from error
