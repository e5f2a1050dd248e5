"""Looks a real decision up: on Kafka the decision and the request that it answers, in Redis the party's ledger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from arbiter.core.decide import asked_at
from arbiter.core.model import Ledger
from arbiter.core.party import customer_party, household_party
from arbiter.messages import DECISIONS, ContactRequest, Decision
from arbiter.settings import Settings
from arbiter.state.codec import unpack_ledger
from arbiter.state.redis_store import RedisStore
from arbiter.stream.partitioner import partition_of
from arbiter.stream.topics import KafkaAway, client_config

TIMEOUT_SECONDS = 10.0
MESSAGES_MAX = 5_000

_decision = msgspec.json.Decoder(Decision).decode
_request = msgspec.json.Decoder(ContactRequest).decode


class NotFound(Exception):
    """There is no such decision, or more than one could be meant; the text says which."""


class Kafka:
    """Reads topics of an installation; a context manager. Raises :class:`KafkaAway`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        config = client_config(settings) | {"group.id": f"{settings.group}-look-up", "enable.auto.commit": False}
        self._consumer = Consumer({**config, "isolation.level": "read_committed", "log_level": 2})
        self.partitions = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def decision(self, request_id: str, department: str | None, customer: str | None, last: int) -> Decision:
        """The latest decision (but a recall) on a request, among the ``last`` ones of each partition.

        :class:`NotFound` if there is none, or several requests have that id and are not told apart.
        """
        found: dict[tuple[str, str], Decision] = {}
        for decision in self._newest(last):
            is_meant = department in (None, decision.department) and customer in (None, decision.customer_id)
            if decision.request_id == request_id and is_meant and decision.outcome != "recalled":
                found[decision.department, decision.customer_id] = decision
        if not found:
            raise NotFound(
                f"no decision on request `{request_id}` among the newest {last:,} of each partition; "
                "look further back with --last"
            )
        if len(found) > 1:
            named = ", ".join(f"{department} for {customer}" for department, customer in sorted(found)[:5])
            raise NotFound(f"several requests are called `{request_id}` ({named}); give --department and --customer")
        return next(iter(found.values()))

    def request(self, decision: Decision) -> tuple[ContactRequest, int]:
        """The request that was decided, and when it was asked (ms); :class:`NotFound` if Kafka deleted it."""
        source = decision.source
        place = TopicPartition(source.topic, source.partition, source.offset)
        try:
            self._consumer.assign([place])
            for message in self._consumer.consume(1, TIMEOUT_SECONDS):
                if message.error() is None and message.offset() == source.offset:
                    request = _request(message.value() or b"")
                    return request, asked_at(request, message.timestamp()[1])
        except KafkaException as error:
            raise KafkaAway(error.args[0].str()) from error
        where = f"{source.topic}/{source.partition}/{source.offset}"
        raise NotFound(f"the request itself, {where}, is no longer on Kafka; a test needs it")

    def _newest(self, last: int) -> Iterator[Decision]:
        """Decisions from the last records of each partition, in their order."""
        topic = self._settings.topic(DECISIONS)
        try:
            found = self._consumer.list_topics(topic, TIMEOUT_SECONDS).topics[topic]
            if found.error is not None:
                raise KafkaAway(f"topic {topic}: {found.error.str()}")
            self.partitions = len(found.partitions)
            ends: dict[int, int] = {}
            places = []
            for number in found.partitions:
                low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), TIMEOUT_SECONDS)
                if high > low:
                    ends[number] = high
                    places.append(TopicPartition(topic, number, max(low, high - last)))
            self._consumer.assign(places)
            while ends:
                for message in self._consumer.consume(MESSAGES_MAX, 1.0):
                    if message.error() is None:
                        yield _decision(message.value() or b"")
                done = self._consumer.position([TopicPartition(topic, number) for number in ends])
                for place in done:
                    if place.offset >= ends[place.partition]:
                        del ends[place.partition]
        except KafkaException as error:
            raise KafkaAway(error.args[0].str()) from error


async def ledger_of(store: RedisStore, customer: str, partitions: int) -> Ledger:
    """The ledger of the customer's party: at home, or at the household's; empty if there is none."""
    ledger = await _load(store, customer_party(customer), partition_of(customer, partitions))
    if ledger.away is None or ledger.away.household is None:
        return ledger
    household = ledger.away.household
    return await _load(store, household_party(household), partition_of(household, partitions))


async def _load(store: RedisStore, party: str, partition: int) -> Ledger:
    (packed,) = await store.load(partition, [party])
    return Ledger() if packed is None else unpack_ledger(packed)
