"""One round of the canary: a request for each partition, and the decisions on them, within a bound of time.

The requests are dry runs: a worker decides them by the policy in force, and nothing of them is kept. Decisions are read
from where their partitions ended before the requests were sent, so a round reads only what is decided meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from msgspec import Struct

from arbiter.messages import DECISIONS, REQUESTS, ContactRequest, Source, is_letter_answer
from arbiter.messages.canary import CANARY
from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.topics import KafkaAway, client_config

ASK_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.1
MESSAGES_MAX: Final = 1_000

Result = Literal["decided", "late", "wrong"]


class Seen(Struct, frozen=True):
    """What became of the request for a partition: after how many seconds, and what was wrong with the decision."""

    partition: int
    result: Result
    seconds: float = 0.0
    why: str = ""


class _Said(Struct):
    """What the canary looks at in a decision."""

    request_id: str
    customer_id: str
    department: str
    source: Source
    dry_run: bool = False
    decision_id: str = ""


class _Sent(Struct):
    """A request on its way: when it was sent, and the offset that it got."""

    request_id: str
    customer_id: str
    at: float
    offset: int | None = None


def customers(partitions: int) -> list[str]:
    """A customer of the canary for each partition: those whose ids belong there."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        name = f"{CANARY}-{number}"
        found.setdefault(partition_of(name, partitions), name)
        number += 1
    return [found[partition] for partition in range(partitions)]


class Rounds:
    """Sends and reads; every method blocks, in one thread. ``is_ending`` is asked while it waits."""

    def __init__(self, settings: Settings, name: str, is_ending: Callable[[], bool]) -> None:
        """``name`` is one that no other canary has."""
        self._settings = settings
        self._name = name
        self._is_ending = is_ending
        self._number = 0
        self._causes = Causes()
        late_ms = settings.canary_late_ms
        self._producer = Producer(
            # What Kafka does not take in time is late, and must not come in a flood once Kafka is back.
            {**client_config(settings), "message.timeout.ms": late_ms, "linger.ms": 0, **self._causes.config}
        )
        self._consumer = Consumer(
            {
                **client_config(settings),
                "group.id": f"{settings.group}-reader",  # the client wants one; it never joins it
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "fetch.wait.max.ms": 100,
                "isolation.level": "read_committed",
                **self._causes.config,
            }
        )

    def partitions(self) -> int:
        """How many partitions there are; :class:`KafkaAway`."""
        topic = self._settings.topic(REQUESTS)
        try:
            found = self._consumer.list_topics(topic, ASK_SECONDS).topics[topic]
        except KafkaException as error:
            raise KafkaAway(self._why(error)) from error
        if found.error is not None:
            raise KafkaAway(f"topic {topic}: {found.error.str()}")
        return len(found.partitions)

    def run(self, names: list[str]) -> Iterator[Seen]:
        """One round for the customers, in the order of their partitions; :class:`KafkaAway` if nothing was sent.

        Gives what is known, as soon as it is; then what is late.
        """
        self._begin_reading(len(names))
        sent = self._send(names)
        until = monotonic() + self._settings.canary_late_ms / 1_000
        while sent and monotonic() < until and not self._is_ending():
            yield from self._read(sent)
        if not self._is_ending():
            limit = f"no decision within {self._settings.canary_late_ms / 1_000:g} s"
            yield from (Seen(partition, "late", why=limit) for partition in sorted(sent))
        self._consumer.unassign()

    def close(self) -> None:
        """Let go of what is on its way."""
        self._producer.purge()
        self._producer.poll(0)
        self._consumer.close()

    def _begin_reading(self, count: int) -> None:
        topic = self._settings.topic(DECISIONS)
        try:
            ends = [
                self._consumer.get_watermark_offsets(TopicPartition(topic, number), ASK_SECONDS)[1]
                for number in range(count)
                if not self._is_ending()
            ]
        except KafkaException as error:
            raise KafkaAway(self._why(error)) from error
        self._causes.over()
        self._consumer.assign([TopicPartition(topic, number, end) for number, end in enumerate(ends)])

    def _send(self, names: list[str]) -> dict[int, _Sent]:
        sent: dict[int, _Sent] = {}
        for partition, customer in enumerate(names):
            self._number += 1
            one = sent[partition] = _Sent(f"{self._name}-{self._number}", customer, monotonic())
            value = msgspec.json.encode(_request(one))
            self._producer.produce(
                self._settings.topic(REQUESTS), value, customer, partition, on_delivery=_noting_offset(one)
            )
        self._producer.poll(0)
        return sent

    def _read(self, sent: dict[int, _Sent]) -> Iterator[Seen]:
        """The decisions that came meanwhile; takes them out of ``sent``."""
        self._producer.poll(0)
        for said in _decisions(self._consumer.consume(MESSAGES_MAX, POLL_SECONDS)):
            found = next((number for number, one in sent.items() if one.request_id == said.request_id), None)
            if found is not None:
                one = sent.pop(found)
                seconds = monotonic() - one.at
                # The offset may be known to us only after the decision came.
                while one.offset is None and not self._is_ending() and self._producer.flush(POLL_SECONDS):
                    pass
                why = _fault(said, one, self._settings.topic(REQUESTS), found)
                yield Seen(found, "wrong" if why else "decided", seconds, why)

    def _why(self, error: KafkaException) -> str:
        self._consumer.poll(0)  # lets the client report errors and log lines to `causes`
        return self._causes.why(error.args[0])


def _request(one: _Sent) -> ContactRequest:
    return ContactRequest(
        request_id=one.request_id,
        customer_id=one.customer_id,
        department=CANARY,
        campaign=CANARY,
        channel=CANARY,
        category=CANARY,
        dry_run=True,
    )


def _noting_offset(one: _Sent) -> Callable[[KafkaError | None, Message], None]:
    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:
            one.offset = message.offset()

    return note


def _decisions(messages: Iterable[Message]) -> Iterator[_Said]:
    """The canary's among the decisions; they are known by their key, without reading the others."""
    start = CANARY.encode()
    for message in messages:
        key: Any = message.key()
        if message.error() is not None or not (key or b"").startswith(start):
            continue
        with suppress(msgspec.DecodeError):  # nobody's decision; the request becomes late
            said = msgspec.json.decode(message.value() or b"", type=_Said)
            if not is_letter_answer(said.decision_id):  # nor is it decided, if it became a dead letter
                yield said


def _fault(said: _Said, one: _Sent, topic: str, partition: int) -> str:
    """What is wrong with the decision on a request."""
    if (said.customer_id, said.department, said.dry_run) != (one.customer_id, CANARY, True):
        return f"the decision on {one.request_id} is about {said.department}, {said.customer_id}"
    if said.source != (sent := Source(topic, partition, -1 if one.offset is None else one.offset)):
        return f"the decision on {one.request_id} names {said.source}, and its record is {sent}"
    return ""
