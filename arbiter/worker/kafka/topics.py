"""The topics: made with equal numbers of partitions, and checked before a worker starts."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic
from msgspec import Struct

from arbiter.messages import AUDIT, DECISIONS, DLQ_SUFFIX
from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.topic_table import REPLICAS, kind_of, values_of

TIMEOUT_SECONDS = 10.0
AGAIN_SECONDS = 4.0
"""How long a question may take once Kafka has answered: a worker that ends waits for one that is under way."""

NO_ID: Final = "AAAAAAAAAAAAAAAAAAAAAA"
"""How a topic id of zeros is written: that of a broker which has none."""

ABSENT: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


class TopicsError(Exception):
    """Topics that are missing or do not fit together; the text names them, what was found, and the fix."""


class KafkaAway(Exception):
    """No broker answers now."""


class Layout(Struct, frozen=True):
    """How Kafka has an installation's topics: the cluster's id; the number of partitions and the id of each topic.

    ``counts`` lacks what is missing. ``ids`` has those that Kafka gives: librdkafka's mock cluster gives none.
    """

    cluster: str
    counts: dict[str, int]
    ids: dict[str, str]


class Topics:
    """Asks Kafka for the layout of an installation's topics, with one client of its own. Every method blocks."""

    def __init__(self, settings: Settings) -> None:
        self._wanted = all_topics(settings)
        self.causes: Final = Causes()
        self._admin = admin(settings, self.causes)
        self._cluster = ""
        self._tells_ids = False
        self._seconds_max = TIMEOUT_SECONDS

    def layout(self) -> Layout:
        """The topics as they are now; :class:`KafkaAway`."""
        counts: dict[str, int] = {}
        ids: dict[str, str] = {}
        try:
            if not self._tells_ids:
                counts = self._listed()
            if self._tells_ids:
                counts, ids = self._described()
        except KafkaException as error:
            self._admin.poll(0)  # lets the client report errors and log lines to `causes`
            raise KafkaAway(self.causes.why(error.args[0])) from error
        self._admin.poll(0)
        self.causes.over()
        self._seconds_max = AGAIN_SECONDS
        return Layout(self._cluster, counts, ids)

    def _listed(self) -> dict[str, int]:
        metadata = self._admin.list_topics(timeout=self._seconds_max)
        self._cluster = str(metadata.cluster_id)
        # Who names no controller answers no request for one either, and those for ids are such.
        self._tells_ids = metadata.controller_id in metadata.brokers
        topics = {name: metadata.topics[name] for name in self._wanted if name in metadata.topics}
        return {name: len(topic.partitions) for name, topic in topics.items() if topic.error is None}

    def _described(self) -> tuple[dict[str, int], dict[str, str]]:
        counts, ids = {}, {}
        futures = self._admin.describe_topics(TopicCollection(self._wanted), request_timeout=self._seconds_max)
        for name, future in futures.items():
            try:
                topic = future.result()
            except KafkaException as error:
                if error.args[0].code() not in ABSENT:
                    raise
                continue
            counts[name] = len(topic.partitions)
            if (number := str(topic.topic_id)) != NO_ID:
                ids[name] = number
        return counts, ids


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
    """Every topic of an installation: inputs, decisions (departments' too), the audit, dead letters of each input."""
    inputs = [settings.topic(name) for name in INPUTS]
    decisions = [settings.topic(DECISIONS), *department_topics(settings).values()]
    return [*inputs, *decisions, settings.topic(AUDIT), *(name + DLQ_SUFFIX for name in inputs)]


def department_topics(settings: Settings) -> dict[str, str]:
    """The topics that departments have of their own for their decisions, by department."""
    return {one: settings.topic(f"{DECISIONS}.{one}") for one in settings.departments_with_topic}


def create(settings: Settings, partitions: int | None = None) -> list[str]:
    """Make the topics that are missing, give their names; then :func:`verify`. Safe to repeat.

    :class:`TopicsError` if topics are there already and have not as many ``partitions`` as was asked for. Otherwise the
    missing ones get as many as those have.
    """
    causes = Causes()
    client, counts = admin(settings, causes), Topics(settings).layout().counts
    there = {counts[name] for name in all_topics(settings) if name in counts}
    if partitions is not None and there - {partitions}:
        listed = ", ".join(f"{name} has {counts[name]}" for name in all_topics(settings) if name in counts)
        raise TopicsError(
            f"{partitions} partitions were asked for, but {listed}. The number is fixed once topics are made, since "
            "state is kept per partition: ask for as many as there are, or make new topics under another prefix"
        )
    count = partitions or max(there, default=settings.partitions)
    missing = [name for name in all_topics(settings) if name not in counts]
    if not missing:
        return []
    replicas = replicas_of(settings, _brokers(client, causes))
    wanted = [_new_topic(name, settings, count, replicas) for name in missing]
    made = []
    for name, future in client.create_topics(wanted, request_timeout=TIMEOUT_SECONDS).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicsError(f"topic {name} cannot be made: {error.args[0].str()}") from error
    return made


def _brokers(client: AdminClient, causes: Causes) -> int:
    try:
        return len(client.list_topics(timeout=TIMEOUT_SECONDS).brokers)
    except KafkaException as error:
        raise KafkaAway(causes.why(error.args[0])) from error


def replicas_of(settings: Settings, brokers: int) -> int:
    """How many replicas each topic is to have, on so many brokers."""
    return settings.replication if settings.replication > 0 else min(REPLICAS, brokers)


def _new_topic(name: str, settings: Settings, partitions: int, replicas: int) -> NewTopic:
    kind = kind_of(name.removeprefix(settings.topic_prefix))
    config = {value.name: value.wanted for value in values_of(kind, settings, replicas)}
    return NewTopic(name, partitions, replicas, config=config)


def verify(settings: Settings) -> int:
    """The number of partitions that all topics have; :class:`TopicsError`, or :class:`KafkaAway`. Blocks."""
    return partitions_of(settings, Topics(settings).layout())


def partitions_of(settings: Settings, layout: Layout) -> int:
    """The number of partitions that all topics have; :class:`TopicsError`."""
    counts, wanted = layout.counts, all_topics(settings)
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


def admin(settings: Settings, causes: Causes) -> AdminClient:
    """A client for questions about the cluster; it must be polled for what ``causes`` hears."""
    # Callers say that Kafka is away, once; librdkafka would say it twenty times a second, to standard error.
    return AdminClient({**client_config(settings), **causes.config})
