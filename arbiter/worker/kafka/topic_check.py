"""Compares the topics at Kafka with the table of how they are to be: what differs, what it costs, how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import ConfigResource, ResourceType
from msgspec import Struct

from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.topic_table import CLEANUP, FOR_EVER, RETENTION, Value, in_words, kind_of, values_of
from arbiter.worker.kafka.topics import ABSENT, TIMEOUT_SECONDS, KafkaAway, admin, all_topics, replicas_of

TOPIC: Final = "topic"
PARTITIONS: Final = "partitions"
REPLICAS: Final = "replicas"
SETTINGS: Final = "settings"
CONFIGS: Final = "kafka-configs --bootstrap-server <broker> --alter --entity-type topics"
ACLS: Final = "kafka-acls --bootstrap-server <broker> --add"


class Topic(Struct, frozen=True):
    """A topic as Kafka has it. ``values`` is ``None`` if the user may not see its settings."""

    partitions: int
    replicas: int
    values: dict[str, str] | None


class Cluster(Struct, frozen=True):
    """The topics of an installation that are there, the number of brokers, and the cluster's id."""

    brokers: int
    topics: dict[str, Topic]
    id: str = ""


class Difference(Struct, frozen=True):
    """Something that is not as the table says."""

    topic: str
    setting: str
    found: str
    wanted: str
    costs: str
    fix: str
    loses: bool = False
    """Whether records or state are lost by it: a worker does not start."""

    @property
    def sentence(self) -> str:
        """What is wrong, in one line."""
        name, found, wanted = self.setting, in_words(self.setting, self.found), in_words(self.setting, self.wanted)
        return f"{self.topic}: {name} is {found}, wanted {wanted}: {self.costs}"


def fetch_cluster(settings: Settings, seconds_max: float = TIMEOUT_SECONDS) -> Cluster | None:
    """The topics as they are now. ``None`` if nobody can be asked (librdkafka's mock). :class:`KafkaAway`. Blocks."""
    causes = Causes()
    client = admin(settings, causes)
    try:
        cluster = client.list_topics(timeout=seconds_max)
        if cluster.controller_id not in cluster.brokers:
            return None
        asked = TopicCollection(all_topics(settings))
        shapes = _known(client.describe_topics(asked, request_timeout=seconds_max))
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in shapes]
        told = client.describe_configs(resources, request_timeout=seconds_max) if resources else {}
        values = _known({resource.name: future for resource, future in told.items()})
    except KafkaException as error:
        client.poll(0)  # lets the client report errors and log lines to `causes`
        raise KafkaAway(causes.why(error.args[0])) from error
    topics = {name: _topic(shape, values.get(name)) for name, shape in shapes.items()}
    return Cluster(len(cluster.brokers), topics, str(cluster.cluster_id))


def _known(futures: dict[str, Any]) -> dict[str, Any]:
    """What Kafka answered, without what is not there or not to be seen."""
    found = {}
    for name, future in futures.items():
        try:
            found[name] = future.result()
        except KafkaException as error:
            if error.args[0].code() not in (*ABSENT, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                raise
    return found


def _topic(shape: Any, entries: Any) -> Topic:
    replicas = min((len(one.replicas) for one in shape.partitions), default=0)
    values = None if entries is None else {name: str(entry.value) for name, entry in entries.items()}
    return Topic(len(shape.partitions), replicas, values)


def differences(settings: Settings, cluster: Cluster) -> list[Difference]:
    """What is not as the table says, what loses records first."""
    found = [*_missing(settings, cluster), *_unequal(settings, cluster)]
    for name in all_topics(settings):
        if (topic := cluster.topics.get(name)) is not None:
            found += _of_topic(name, topic, settings, replicas_of(settings, cluster.brokers))
    return sorted(found, key=lambda one: not one.loses)


def _missing(settings: Settings, cluster: Cluster) -> list[Difference]:
    costs = "no worker starts without it"
    return [
        Difference(name, TOPIC, "missing", "there", costs, "arbiter topics create")
        for name in all_topics(settings)
        if name not in cluster.topics
    ]


def _unequal(settings: Settings, cluster: Cluster) -> list[Difference]:
    counts = {name: cluster.topics[name].partitions for name in all_topics(settings) if name in cluster.topics}
    if len(set(counts.values())) <= 1:
        return []
    every = list(counts.values())
    usual = max(sorted(set(every)), key=every.count)
    costs = "customers are spread over partition numbers, so no worker starts"
    fix = "make the topic anew with the number of the others, or all of them for a new installation"
    return [
        Difference(name, PARTITIONS, str(count), str(usual), costs, fix)
        for name, count in counts.items()
        if count != usual
    ]


def _of_topic(name: str, topic: Topic, settings: Settings, replicas: int) -> list[Difference]:
    found = []
    if topic.replicas < replicas:
        costs = "the loss of one broker " + ("loses the topic" if topic.replicas == 1 else "stops or loses the topic")
        fix = f"kafka-reassign-partitions, with {replicas} brokers for each partition of {name}"
        found.append(Difference(name, REPLICAS, str(topic.replicas), str(replicas), costs, fix))
    if topic.values is None:
        user = settings.kafka_username or "<the principal>"
        fix = f"{ACLS} --allow-principal 'User:{user}' --operation DescribeConfigs --topic {name}"
        costs = "whether records are kept long enough is not known"
        return [*found, Difference(name, SETTINGS, "hidden from this user", "visible", costs, fix)]
    values = values_of(kind_of(name.removeprefix(settings.topic_prefix)), settings, topic.replicas)
    return [*found, *_of_values(name, topic.values, values)]


def _of_values(name: str, there: dict[str, str], values: Sequence[Value]) -> Iterable[Difference]:
    is_only_compacted = there.get(CLEANUP) == "compact" and any("compact" in value.also for value in values)
    for value in values:
        found = there.get(value.name)
        if found is None or _is_good(value, found) or (value.name == RETENTION and is_only_compacted):
            continue
        fix = f"{CONFIGS} --entity-name {name} --add-config {value.name}={value.wanted}"
        yield Difference(name, value.name, found, value.wanted, value.costs, fix, _loses(value, found))


def _is_good(value: Value, found: str) -> bool:
    if value.is_least:
        return _size(found) >= _size(value.wanted)
    return found in (value.wanted, *value.also)


def _loses(value: Value, found: str) -> bool:
    return value.others_lose or (value.loses_below is not None and _size(found) < value.loses_below)


def _size(text: str) -> float:
    number = float(text)
    return float("inf") if number == FOR_EVER else number


def fixes(found: Sequence[Difference]) -> list[str]:
    """One command or sentence per topic and kind of fix, in the order of the differences."""
    configs: dict[str, list[str]] = {}
    lines: dict[str, None] = {}
    for one in found:
        if one.fix.startswith(CONFIGS):
            configs.setdefault(one.topic, []).append(f"{one.setting}={one.wanted}")
            lines[_config(one.topic)] = None
        else:
            lines[one.fix] = None
    joined = {_config(topic): f"{_config(topic)} {','.join(settings)}" for topic, settings in configs.items()}
    return [joined.get(line, line) for line in lines]


def _config(topic: str) -> str:
    return f"{CONFIGS} --entity-name {topic} --add-config"
