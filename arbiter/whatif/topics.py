"""The requests and facts that are on Kafka now, as files that a simulation can read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from msgspec import Struct

from arbiter.core.windows import moment
from arbiter.messages import CONSENTS, OUTCOMES, PROFILES, REQUESTS
from arbiter.settings import Settings
from arbiter.stream.topics import KafkaAway, client_config
from arbiter.whatif.run import Material

TIMEOUT_SECONDS = 10.0
MESSAGES_MAX = 5_000


class Stored(Struct, frozen=True):
    """A record as a line: what :mod:`arbiter.whatif.lines` reads, and ``kcat -J`` prints."""

    topic: str
    partition: int
    offset: int
    ts: int
    key: str | None
    payload: str


_encode = msgspec.json.Encoder().encode


def since_ms(text: str) -> int:
    """The instant (ms) of a day or a time, in UTC; ``ValueError``."""
    return moment(text, "UTC", "start")


def download(settings: Settings, folder: Path, last: int, begin_ms: int | None) -> Material:
    """Write what is on the input topics into ``folder``: facts, then the newest requests with the outcomes among them.

    Profiles and consents are read whole, as a worker reads them after a claim; of the requests the ``last`` ones by
    time, none from before ``begin_ms``; and the outcomes, in the order of time. :class:`KafkaAway`.
    """
    facts, flow = folder / "facts.jsonl", folder / "requests.jsonl"
    with _consumer(settings) as consumer:
        with facts.open("wb") as file:
            for topic in (PROFILES, CONSENTS):
                file.writelines(_encode(one) + b"\n" for one in _read(consumer, settings, topic, None))
        # As many per partition as all together may be: which are the newest of all is known only in the end.
        newest = sorted(_newest(_read(consumer, settings, REQUESTS, begin_ms), last), key=_order)[-last:]
        first_ms = newest[0].ts if newest else 0
        outcomes = [one for one in _read(consumer, settings, OUTCOMES, first_ms) if newest and one.ts >= first_ms]
        with flow.open("wb") as file:
            file.writelines(_encode(one) + b"\n" for one in sorted([*newest, *outcomes], key=_order))
    return Material(flow, (facts,))


def _order(record: Stored) -> tuple[int, bool, int, int]:
    """By time; at one instant outcomes come before requests."""
    return record.ts, record.topic == REQUESTS, record.partition, record.offset


def _newest(records: Iterator[Stored], last: int) -> Iterator[Stored]:
    kept: dict[int, deque[Stored]] = {}
    for record in records:
        kept.setdefault(record.partition, deque(maxlen=last)).append(record)
    for queue in kept.values():
        yield from queue


class _consumer:  # noqa: N801 - a context manager that reads as a function
    def __init__(self, settings: Settings) -> None:
        config = client_config(settings) | {"group.id": f"{settings.group}-diff", "enable.auto.commit": False}
        self._consumer = Consumer({**config, "isolation.level": "read_committed", "log_level": 2})

    def __enter__(self) -> Consumer:
        return self._consumer

    def __exit__(self, *_: object) -> None:
        self._consumer.close()


def _read(consumer: Consumer, settings: Settings, name: str, begin_ms: int | None) -> Iterator[Stored]:
    """A topic from its beginning, or from a time on, to where it ends now."""
    topic = settings.topic(name)
    try:
        found = consumer.list_topics(topic, TIMEOUT_SECONDS).topics[topic]
        if found.error is not None:
            raise KafkaAway(f"topic {topic}: {found.error.str()}")
        ends = {number: consumer.get_watermark_offsets(_place(topic, number), TIMEOUT_SECONDS)
                for number in found.partitions}  # fmt: skip
        begins = {number: low for number, (low, _) in ends.items()}
        if begin_ms is not None:
            wanted = [TopicPartition(topic, number, begin_ms) for number in begins]
            told = consumer.offsets_for_times(wanted, TIMEOUT_SECONDS)
            begins |= {place.partition: place.offset for place in told if place.offset >= 0}
            begins |= {place.partition: ends[place.partition][1] for place in told if place.offset < 0}
        left = {number for number, begin in begins.items() if begin < ends[number][1]}
        consumer.assign([TopicPartition(topic, number, begins[number]) for number in left])
        while left:
            for message in consumer.consume(MESSAGES_MAX, 1.0):
                stored = _stored(message, name)
                if stored is not None:
                    yield stored
            # A topic may end in records that are not given out: the position tells.
            done = consumer.position([TopicPartition(topic, number) for number in left])
            left -= {place.partition for place in done if place.offset >= ends[place.partition][1]}
        consumer.unassign()
    except KafkaException as error:
        raise KafkaAway(error.args[0].str()) from error


def _place(topic: str, number: int) -> TopicPartition:
    return TopicPartition(topic, number)


def _stored(message: Message, name: str) -> Stored | None:
    """The record; ``None`` for one that no line can hold: the simulation leaves out what a worker cannot read."""
    error, value = message.error(), message.value()
    if error is not None:
        raise KafkaException(error)
    try:
        payload = (value or b"").decode()
        key = message.key()
        name_of_key = key.decode() if isinstance(key, bytes) else None
    except UnicodeDecodeError:
        return None
    _, stamp = message.timestamp()
    return Stored(name, message.partition() or 0, message.offset() or 0, stamp, name_of_key, payload)
