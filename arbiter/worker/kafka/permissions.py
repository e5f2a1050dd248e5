"""What a worker may do at Kafka, asked before it starts: all that is missing at once, with the commands that grant it.

What is needed later only (to start again, to write the first dead letter) would else be missed in the middle of work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AclOperation, AdminClient

from arbiter.messages import AUDIT, DECISIONS, DLQ_SUFFIX, ROUTED
from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.topics import TIMEOUT_SECONDS, KafkaAway, TopicsError, client_config, department_topics

GROUP_SECONDS: Final = 0.5
READ, WRITE = AclOperation.READ, AclOperation.WRITE

_AWAY: Final = (
    KafkaError._TRANSPORT,  # noqa: SLF001 - its name
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError.REQUEST_TIMED_OUT,
)


def needed(settings: Settings) -> dict[str, tuple[AclOperation, ...]]:
    """What a worker does with each topic."""
    inputs = {settings.topic(name): (READ,) for name in INPUTS}
    return {
        **inputs,
        settings.topic(ROUTED): (READ, WRITE),
        settings.topic(DECISIONS): (READ, WRITE),
        **dict.fromkeys(department_topics(settings).values(), (WRITE,)),
        settings.topic(AUDIT): (WRITE,),
        **{name + DLQ_SUFFIX: (WRITE,) for name in inputs},
    }


def commands(settings: Settings, missing: Iterable[tuple[str, AclOperation]], *, with_group: bool) -> list[str]:
    """The commands that grant these operations on topics, and reading in the group."""
    user = settings.kafka_username or "<the worker's principal>"
    start = f"kafka-acls --bootstrap-server <broker> --add --allow-principal 'User:{user}'"
    operations: dict[str, list[str]] = defaultdict(list)
    for topic, operation in missing:
        operations[topic].append(f"--operation {operation.name.capitalize()}")
    topics: dict[str, list[str]] = defaultdict(list)
    for topic, words in operations.items():
        topics[" ".join(words)].append(f"--topic {topic}")
    lines = [f"{start} {words} {' '.join(names)}" for words, names in topics.items()]
    return [*lines, *([f"{start} --operation Read --group {settings.group}"] if with_group else [])]


def verify(settings: Settings) -> None:
    """:class:`TopicsError` if a permission is missing, :class:`KafkaAway`. Blocks. Says nothing where none are kept."""
    lines = missing_grants(settings)
    if lines:
        raise TopicsError(f"Kafka does not let this worker do all that it has to; grant it with: {'; '.join(lines)}")


def missing_grants(settings: Settings) -> list[str]:
    """The commands that grant what is missing; none if nothing is. :class:`KafkaAway`. Blocks."""
    causes = Causes()
    try:
        granted = _granted(settings, causes)
        may_read_group = _may_read_group(settings, causes)
    except KafkaException as error:
        raise KafkaAway(causes.why(error.args[0])) from error
    missing = [
        (topic, operation)
        for topic, operations in needed(settings).items()
        for operation in operations
        if (there := granted.get(topic)) is not None and operation not in there
    ]
    return commands(settings, missing, with_group=not may_read_group)


def _granted(settings: Settings, causes: Causes) -> dict[str, set[AclOperation] | None]:
    """What is allowed on each topic; ``None`` where Kafka does not say. ``KafkaException`` if it does not answer."""
    admin = AdminClient({**client_config(settings), **causes.config})
    found: dict[str, set[AclOperation] | None] = {}
    try:
        cluster = admin.list_topics(timeout=TIMEOUT_SECONDS)
        if cluster.controller_id not in cluster.brokers:
            return found  # nobody to ask, as in librdkafka's own mock cluster
        asked = TopicCollection(list(needed(settings)))
        described: dict[str, Any] = admin.describe_topics(
            asked, include_authorized_operations=True, request_timeout=TIMEOUT_SECONDS
        )
        for name, future in described.items():
            found[name] = _operations(future)
    except KafkaException:
        admin.poll(0)  # lets the client report errors and log lines to `causes`
        raise
    return found


def _operations(future: Any) -> set[AclOperation] | None:
    try:
        operations = future.result().authorized_operations
    except KafkaException as error:
        code = error.args[0].code()
        if code in _AWAY:
            raise
        return set() if code == KafkaError.TOPIC_AUTHORIZATION_FAILED else None
    return None if operations is None else set(operations)


def _may_read_group(settings: Settings, causes: Causes) -> bool:
    """Asked as a consumer: librdkafka may abort the process while it waits for a group to describe."""
    consumer = Consumer({**client_config(settings), "group.id": settings.group, **causes.config})
    until = monotonic() + TIMEOUT_SECONDS
    try:
        while not _is_refused(consumer):
            try:
                consumer.committed([TopicPartition(settings.topic(INPUTS[0]), 0)], GROUP_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.GROUP_AUTHORIZATION_FAILED and monotonic() >= until:
                    raise
            else:
                return True
    finally:
        consumer.close()
    return False


def _is_refused(consumer: Consumer) -> bool:
    """Whether Kafka hides the group's coordinator from us: that comes as a message, and no call fails."""
    while (message := consumer.poll(0)) is not None:
        if (error := message.error()) is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            return True
    return False
