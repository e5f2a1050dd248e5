"""Saves the requests and facts that are on Kafka now as files that a simulation can read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import msgspec
from confluent_kafka import Message
from msgspec import Struct

from arbiter.messages import CONSENTS, OUTCOMES, PROFILES, REQUESTS
from arbiter.reports.policy_diff.run import Material
from arbiter.settings import Settings
from arbiter.worker.kafka.scan import Bounds, TopicReader


class Stored(Struct, frozen=True):
    """A record as a line that :mod:`arbiter.reports.policy_diff.lines` reads, as ``kcat -J`` prints it."""

    topic: str
    partition: int
    offset: int
    ts: int
    key: str | None
    payload: str


_encode = msgspec.json.Encoder().encode


def download(settings: Settings, folder: Path, last: int, begin_ms: int | None) -> Material:
    """Write the input topics into ``folder``: facts, then the newest requests with the outcomes among them.

    Profiles and consents are read whole, as a worker reads them after a claim. Of the requests the ``last`` ones by
    time are taken, none from before ``begin_ms``. Outcomes are in the order of time. Raises :class:`KafkaAway`.
    """
    facts, flow = folder / "facts.jsonl", folder / "requests.jsonl"
    with TopicReader(settings) as kafka:
        with facts.open("wb") as file:
            for topic in (PROFILES, CONSENTS):
                file.writelines(_encode(one) + b"\n" for one in _read(kafka, topic))
        # As many per partition as all together may be: which are the newest of all is known only in the end.
        newest = sorted(_newest(_read(kafka, REQUESTS, begin_ms), last), key=_order)[-last:]
        first_ms = newest[0].ts if newest else 0
        outcomes = [one for one in _read(kafka, OUTCOMES, first_ms) if newest and one.ts >= first_ms]
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


def _read(kafka: TopicReader, name: str, begin_ms: int | None = None) -> Iterator[Stored]:
    """Read a topic from its beginning, or from a time on, to its present end."""
    for message in kafka.records(name, Bounds(since_ms=begin_ms)):
        stored = _stored(message, name)
        if stored is not None:
            yield stored


def _stored(message: Message, name: str) -> Stored | None:
    """The record; ``None`` if no line can hold it. The simulation leaves out what a worker could not read."""
    try:
        payload = (message.value() or b"").decode()
        key = message.key()
        name_of_key = key.decode() if isinstance(key, bytes) else None
    except UnicodeDecodeError:
        return None
    _, stamp = message.timestamp()
    return Stored(name, message.partition() or 0, message.offset() or 0, stamp, name_of_key, payload)
