"""What stands on the topics, read back by a consumer that owes nothing to the worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from msgspec import Struct

REQUESTS = "contact.requests.v1"
CONSENTS = "contact.consents.v1"
PROFILES = "contact.profiles.v1"
OUTCOMES = "contact.outcomes.v1"
ROUTED = "arbiter.routed.v1"
DECISIONS = "contact.decisions.v1"
LETTERS = ".dlq"
INPUTS = (CONSENTS, PROFILES, OUTCOMES, REQUESTS)
TOPICS = (*INPUTS, DECISIONS, *(name + LETTERS for name in INPUTS))

READ_SECONDS_MAX = 60.0

Place = tuple[str, int, int]
"""Topic (without the installation's prefix), partition, offset."""


class Entry(Struct, frozen=True):
    """A record as it stands on a topic; ``topic`` is without the installation's prefix."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes] = {}
    timestamp_ms: int = 0

    @property
    def place(self) -> Place:
        """What tells it from every other record."""
        return self.topic, self.partition, self.offset

    def fields(self) -> dict[str, Any]:
        """The JSON object that the value is; an empty one if it is none."""
        try:
            found = json.loads(self.value or b"")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def entries_of(topic: str, entries: Iterable[Entry]) -> list[Entry]:
    """The records of one topic, in order."""
    return [entry for entry in entries if entry.topic == topic]


def is_answer(entry: Entry) -> bool:
    """Whether it answers a dead letter, and is no decision on a request."""
    return str(entry.fields().get("decision_id", "")).endswith(":0")


def decisions_of(entries: Iterable[Entry]) -> list[Entry]:
    """The decisions on requests, in order."""
    return [entry for entry in entries_of(DECISIONS, entries) if not is_answer(entry)]


class Barrier(Struct, frozen=True):
    """All facts below ``facts`` are taken in before any request from ``requests`` on is decided, by (topic, partition)
    and by partition. A test makes it true (it waits, or it starts the worker later) and writes it down.
    """

    facts: Mapping[tuple[str, int], int]
    requests: Mapping[int, int]


def read_topics(bootstrap: str, prefix: str, topics: Sequence[str] = TOPICS) -> list[Entry]:
    """Every committed record of these topics of the installation, each partition in its order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{prefix}auditor",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    try:
        return _read_to_the_end(consumer, prefix, topics)
    finally:
        consumer.close()


def _read_to_the_end(consumer: Consumer, prefix: str, topics: Sequence[str]) -> list[Entry]:
    known = consumer.list_topics(timeout=READ_SECONDS_MAX).topics
    names = [prefix + name for name in topics]
    left = {(name, number) for name in names for number in known[name].partitions}
    consumer.assign([TopicPartition(name, number, 0) for name, number in left])
    entries: list[Entry] = []
    end = time.monotonic() + READ_SECONDS_MAX
    while left:
        assert time.monotonic() < end, f"not read to the end in {READ_SECONDS_MAX} s: {sorted(left)}"
        for message in consumer.consume(1_000, timeout=0.05):
            error = message.error()
            if error is None:
                entries.append(_entry(message, prefix))
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error  # noqa: SLF001 - its name
                left.discard((message.topic() or "", _number(message.partition())))
    return sorted(entries, key=lambda entry: entry.place)


def _entry(message: Message, prefix: str) -> Entry:
    given: Any = message.headers() or []
    headers = {name: value or b"" for name, value in given}
    return Entry(
        (message.topic() or "").removeprefix(prefix),
        _number(message.partition()),
        _number(message.offset()),
        message.key(),
        message.value(),
        headers,
        message.timestamp()[1],
    )


def _number(given: int | None) -> int:
    assert given is not None
    return given
