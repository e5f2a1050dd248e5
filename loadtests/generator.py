"""The open-loop generator, a process of its own: publishes on schedule and never waits for anybody's answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection

from confluent_kafka import KafkaError, Message, Producer

from loadtests.figures import NS_PER_SECOND
from loadtests.kafka import FLUSH_SECONDS_MAX
from loadtests.traffic import Entry

START_IN_NS = NS_PER_SECOND // 2
CONNECT_SECONDS_MAX = 10.0


def generate(
    bootstrap: str, topic: str, entries: Sequence[Entry], arrivals_ns: Sequence[int], pipe: Connection
) -> None:
    """Publish ``entries[i]`` at start + ``arrivals_ns[i]``.

    Sends through ``pipe`` first the start (``time.monotonic_ns()``, which all processes of a machine share), then how
    late each record was handed to the producer, in nanoseconds, and how many records Kafka did not take. One that is
    late is published at once: the latency counts from the schedule, so our own delay is in it, too.
    """
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "queue.buffering.max.messages": 2_000_000})
    producer.list_topics(topic, timeout=CONNECT_SECONDS_MAX)
    lost: list[KafkaError] = []

    def reported(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            lost.append(error)

    start_ns = time.monotonic_ns() + START_IN_NS
    pipe.send(start_ns)
    late_ns = []
    for entry, arrival_ns in zip(entries, arrivals_ns, strict=True):
        due_ns = start_ns + arrival_ns
        while (left_ns := due_ns - time.monotonic_ns()) > 0:
            time.sleep(left_ns / NS_PER_SECOND)
        producer.produce(topic, entry.value, entry.key, entry.partition, on_delivery=reported)
        late_ns.append(time.monotonic_ns() - due_ns)
        producer.poll(0)
    left = producer.flush(FLUSH_SECONDS_MAX)
    pipe.send((late_ns, len(lost) + left))
