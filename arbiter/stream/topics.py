"""The topics: made with equal numbers of partitions, and checked before a worker starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from arbiter.messages import AUDIT, DECISIONS, DLQ_SUFFIX, ROUTED
from arbiter.settings import Settings
from arbiter.stream.records import INPUTS

TIMEOUT_SECONDS = 10.0
LONG_BYTES_MAX = 64 * 1024 * 1024


class TopicsError(Exception):
    """Topics that are missing or do not fit together; the text names them, what was found, and the fix."""


class KafkaAway(Exception):
    """No broker answers now."""


def client_config(settings: Settings) -> dict[str, Any]:
    """How confluent-kafka's clients connect."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka,
        "security.protocol": settings.kafka_security_protocol,
        "reconnect.backoff.max.ms": 2_000,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_username
        config["sasl.password"] = settings.kafka_password
    if settings.kafka_ca_file:
        config["ssl.ca.location"] = settings.kafka_ca_file
    return config


def all_topics(settings: Settings) -> list[str]:
    """Every topic of an installation: inputs, decisions, the audit, and where dead letters of each input go."""
    inputs = [settings.topic(name) for name in INPUTS]
    return [*inputs, settings.topic(DECISIONS), settings.topic(AUDIT), *(name + DLQ_SUFFIX for name in inputs)]


def create(settings: Settings, partitions: int | None = None) -> list[str]:
    """Make the topics that are missing, give their names; then :func:`verify`. Safe to repeat.

    :class:`TopicsError` if topics are there already and have not as many ``partitions`` as was asked for. Otherwise the
    missing ones get as many as those have.
    """
    admin = _admin(settings)
    counts = _counts(admin)
    there = {counts[name] for name in all_topics(settings) if name in counts}
    if partitions is not None and there - {partitions}:
        listed = ", ".join(f"{name} has {counts[name]}" for name in all_topics(settings) if name in counts)
        raise TopicsError(
            f"{partitions} partitions were asked for, but {listed}. The number is fixed once topics are made, since "
            "state is kept per partition: ask for as many as there are, or make new topics under another prefix"
        )
    count = partitions or max(there, default=settings.partitions)
    wanted = [_new_topic(name, settings, count) for name in all_topics(settings) if name not in counts]
    made = []
    futures = admin.create_topics(wanted, request_timeout=TIMEOUT_SECONDS) if wanted else {}
    for name, future in futures.items():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"topic {name} cannot be made: {error.args[0].str()}") from error
    return made


def _new_topic(name: str, settings: Settings, partitions: int) -> NewTopic:
    config: dict[str, str] = {}
    if name.endswith((DLQ_SUFFIX, ROUTED)):
        # What was too long for us must still fit, and so must a ledger that moves, with all its answers.
        config["max.message.bytes"] = str(LONG_BYTES_MAX)
    return NewTopic(name, partitions, settings.replication, config=config)


def verify(settings: Settings) -> int:
    """The number of partitions that all topics have; :class:`TopicsError`, or :class:`KafkaAway`. Blocks."""
    counts = _counts(_admin(settings))
    wanted = all_topics(settings)
    missing = [name for name in wanted if name not in counts]
    if missing:
        raise TopicsError(f"missing topics: {', '.join(missing)}; make them with `arbiter topics create`")
    found = {counts[name] for name in wanted}
    if len(found) > 1:
        listed = ", ".join(f"{name} has {counts[name]}" for name in wanted)
        raise TopicsError(
            f"all topics need the same number of partitions, but {listed}; "
            "make the ones that differ anew with the number of the others (state is kept per partition)"
        )
    return found.pop()


def _admin(settings: Settings) -> AdminClient:
    # Callers say that Kafka is away, once; librdkafka would say it twenty times a second, to standard error.
    return AdminClient({**client_config(settings), "log_level": 2})


def _counts(admin: AdminClient) -> Mapping[str, int]:
    try:
        topics = admin.list_topics(timeout=TIMEOUT_SECONDS).topics
    except KafkaException as error:
        raise KafkaAway(error.args[0].str()) from error
    return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}
