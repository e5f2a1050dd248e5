"""Decisions in: from given offsets, or as a member of a consumer group. Every method blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from time import monotonic, sleep
from typing import Any, Final, TypeVar

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from msgspec import Struct

from arbiter.client.connection import ASK_SECONDS, LOG, OPEN_SECONDS, Connection, Said
from arbiter.client.core.errors import ClientFailed, KafkaUnreachable
from arbiter.client.core.following import ReadDecision
from arbiter.client.core.records import Place
from arbiter.messages import DECISIONS, DecisionMessage
from arbiter.timing.instants import to_ms

MESSAGES_MAX: Final = 1_000
AGAIN_SECONDS: Final = 0.2

Answer = TypeVar("Answer")
NO_GROUP: Final = "arbiter-client"
"""librdkafka wants the name of a group from every consumer; a reader of given offsets joins none."""

HOPELESS: Final = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
)
"""Errors that do not pass by themselves."""


class _Whose(Struct):
    department: str


_whose = msgspec.json.Decoder(_Whose).decode
_decode = msgspec.json.Decoder(DecisionMessage).decode


class DecisionReader:
    """Reads the decisions topic: of one department, or of all.

    Call :meth:`start` with offsets, or :meth:`join` if a ``group`` was given; then :meth:`read`, again and again.
    ``positions`` is where to go on by partition, behind everything that :meth:`read` gave or passed over.
    """

    def __init__(
        self, connection: Connection, *, department: str | None = None, group: str = "", topic: str = DECISIONS
    ) -> None:
        """``topic`` is the name without the installation's prefix."""
        self.positions: dict[int, int] = {}
        self._topic = connection.topic(topic)
        self._department = department
        self._said = Said()
        self._kept: dict[int, int] = {}
        self._consumer = Consumer(
            {
                "fetch.wait.max.ms": 100,
                "group.id": group or NO_GROUP,
                **self._said.config(connection),
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )

    def partitions(self) -> int:
        """How many partitions the topic has; :class:`KafkaUnreachable`."""
        found = self._asked(lambda: self._consumer.list_topics(self._topic, ASK_SECONDS).topics[self._topic])
        if found.error is not None:
            fix = "check the topics' prefix, or make the topics with `arbiter topics create`"
            raise KafkaUnreachable(f"topic {self._topic}: {found.error.str()}; {fix}")
        return len(found.partitions)

    def begins(self) -> dict[int, int]:
        """The first offset of each partition; :class:`KafkaUnreachable`."""
        return {number: low for number, (low, _) in self._watermarks().items()}

    def ends(self) -> dict[int, int]:
        """Where each partition ends now; :class:`KafkaUnreachable`."""
        return {number: high for number, (_, high) in self._watermarks().items()}

    def since(self, at: datetime) -> dict[int, int]:
        """The first offsets that were written at this time or later; :class:`KafkaUnreachable`."""
        ends = self.ends()
        wanted = [TopicPartition(self._topic, number, max(to_ms(at), 0)) for number in ends]
        found = self._asked(lambda: self._consumer.offsets_for_times(wanted, ASK_SECONDS))
        return {one.partition: one.offset if one.offset >= 0 else ends[one.partition] for one in found}

    def start(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on. An offset that is no longer there is moved to the first."""
        self.positions = dict(offsets)
        self._consumer.assign([TopicPartition(self._topic, number, offset) for number, offset in offsets.items()])

    def join(self) -> None:
        """Read as a member of the group: it shares the partitions, and goes on where :meth:`commit` ended."""
        self._consumer.subscribe([self._topic], on_revoke=self._left, on_lost=self._left)

    def commit(self, positions: Mapping[int, int]) -> None:
        """Keep positions as the group's, without waiting for it."""
        owned = {one.partition for one in self._consumer.assignment()}
        new = {number: at for number, at in positions.items() if number in owned and self._kept.get(number) != at}
        if new:
            offsets = [TopicPartition(self._topic, number, at) for number, at in new.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)
            self._kept |= new

    def read(self, seconds: float) -> list[ReadDecision]:
        """The next decisions; nothing if none come for so long. :class:`ClientFailed` if none can come any more."""
        read = []
        # `consume` with a time would wait until it has all that it may give.
        first = self._consumer.poll(seconds)
        batch = [] if first is None else [first, *self._consumer.consume(MESSAGES_MAX, 0)]
        for message in batch:
            if self._is_record(message):
                self.positions[message.partition() or 0] = (message.offset() or 0) + 1
                decision = self._decision(message)
                if decision is not None:
                    read.append(decision)
        return read

    def close(self) -> None:
        """Leave the group, and let go of the connection."""
        self._consumer.close()

    def _left(self, _: Consumer, places: Sequence[TopicPartition]) -> None:
        for place in places:
            self.positions.pop(place.partition, None)
            self._kept.pop(place.partition, None)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.fatal() or error.code() in HOPELESS:
            raise ClientFailed(f"decisions cannot be read from {self._topic}: {error.str()}")
        LOG.warning("reading %s: %s", self._topic, error.str())
        return False

    def _decision(self, message: Message) -> ReadDecision | None:
        value: Any = message.value() or b""
        place = Place(self._topic, message.partition() or 0, message.offset() or 0)
        try:
            if self._department is not None and _whose(value).department != self._department:
                return None
            return ReadDecision(_decode(value), place, value)
        except msgspec.DecodeError as error:
            LOG.warning("%s is no decision that this version can read, and is passed over: %s", place, error)
            return None

    def _watermarks(self) -> dict[int, tuple[int, int]]:
        return {number: self._asked(partial(self._watermark, number)) for number in range(self.partitions())}

    def _watermark(self, number: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), ASK_SECONDS)
        return low, high

    def _asked(self, ask: Callable[[], Answer]) -> Answer:
        """The brokers' answer; asked again for a while if they are away. :class:`KafkaUnreachable`."""
        end = monotonic() + OPEN_SECONDS
        while True:
            try:
                return ask()
            except KafkaException as error:
                self._consumer.poll(0)  # lets the client report its errors
                if monotonic() > end:
                    why = self._said.why(error.args[0].str())
                    raise KafkaUnreachable(f"Kafka does not answer: {why}") from error
                sleep(AGAIN_SECONDS)
