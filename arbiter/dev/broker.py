"""Where an installation on this machine has its topics: on the embedded broker, or on a Kafka that is already there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from arbiter.embedded import embedded_broker
from arbiter.messages import AUDIT, DECISIONS, DLQ_SUFFIX
from arbiter.settings import Settings, load
from arbiter.worker.kafka import topics
from arbiter.worker.kafka.reader import INPUTS

PARTITIONS = 4
TOPICS = (DECISIONS, AUDIT, *INPUTS, *(topic + DLQ_SUFFIX for topic in INPUTS))
REMOVE_SECONDS = 20.0


@contextmanager
def embedded() -> Iterator[dict[str, str]]:
    """The settings of a broker in this process; ``EmbeddedError``."""
    with embedded_broker(dict.fromkeys(TOPICS, PARTITIONS)) as kafka:
        yield {"ARBITER_KAFKA": kafka, "ARBITER_PARTITIONS": str(PARTITIONS)}


@contextmanager
def on(kafka: str) -> Iterator[dict[str, str]]:
    """The settings of new topics on this Kafka, under a prefix and with a group of their own.

    At the end the topics and the group are removed. ``KafkaAway``, ``TopicsError``.
    """
    name = f"dev-{uuid4().hex[:8]}"
    given = {
        "ARBITER_KAFKA": kafka,
        "ARBITER_PARTITIONS": str(PARTITIONS),
        "ARBITER_TOPIC_PREFIX": f"{name}.",
        "ARBITER_GROUP": name,
    }
    settings = _loaded(given)
    is_there = True
    try:
        topics.create(settings)
        yield given
    except topics.KafkaAway:
        is_there = False
        raise
    finally:
        if is_there:
            _remove(settings)


def _loaded(given: Mapping[str, str]) -> Settings:
    return load({**given, "ARBITER_REDIS": "redis://unused"})


def _remove(settings: Settings) -> None:
    """Remove what was made. What cannot be removed, as without a broker, is left: its name says what it is."""
    admin = AdminClient({**topics.client_config(settings), "log_level": 0})
    wanted = [
        *admin.delete_topics(topics.all_topics(settings), request_timeout=REMOVE_SECONDS).values(),
        *admin.delete_consumer_groups([settings.group], request_timeout=REMOVE_SECONDS).values(),
    ]
    for one in wanted:
        try:
            one.result(REMOVE_SECONDS)
        except (KafkaException, TimeoutError):
            continue
