"""The servers that other tests stand on: killed, paused and restarted, they come back as the tests believe they do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from tests.servers.processes import KafkaServer, RedisServer, ServerFailed, ValkeyServer
from tests.servers.prometheus import JOB, PrometheusServer, QueryRefused
from tests.servers.workers import wait_until

PLACE = TopicPartition("kept", 0)


def newest_offset(bootstrap: str) -> int:
    """The offset that the next record will have."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "check"})
    offset: int = consumer.get_watermark_offsets(PLACE, timeout=30)[1]
    consumer.close()
    return offset


def client(server: RedisServer) -> Redis:
    """A client that waits half a second and does not repeat."""
    return Redis.from_url(server.url, socket_timeout=0.5, retry=Retry(NoBackoff(), 0))


def test_kafka_comes_back_with_its_records(fresh_kafka: Callable[..., KafkaServer]) -> None:
    """What Kafka acknowledged before a SIGKILL is there after it, on the same port, and after a restart too."""
    kafka = fresh_kafka(message__max__bytes="2000000")
    bootstrap = kafka.bootstrap
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(30)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    producer.produce("kept", b"value", partition=0)
    assert producer.flush(30) == 0

    kafka.kill()
    kafka.start()
    after_kill = newest_offset(bootstrap)
    kafka.restart()

    assert (after_kill, newest_offset(bootstrap)) == (1, 1)


def test_kafka_makes_no_topic_unasked(kafka_bootstrap: str) -> None:
    """A misspelt topic is an error, as in production."""
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    topics = producer.list_topics("misspelt", timeout=30).topics

    assert topics["misspelt"].error is not None


def test_valkey_keeps_what_it_was_told_to_keep(fresh_valkey: Callable[..., ValkeyServer]) -> None:
    """With every write on disk a SIGKILL loses nothing; without persistence it loses all."""
    durable, forgetful = fresh_valkey(appendonly="yes", appendfsync="always"), fresh_valkey()
    for server in (durable, forgetful):
        client(server).set("key", "value")
        server.kill()
        server.start()

    assert [client(server).get("key") for server in (durable, forgetful)] == [b"value", None]


def test_a_paused_server_answers_nothing_until_resumed(fresh_valkey: Callable[..., ValkeyServer]) -> None:
    """SIGSTOP makes clients time out; SIGCONT heals it without a restart."""
    server = fresh_valkey()
    process_id = server.pid

    server.pause()
    with pytest.raises(RedisTimeoutError):
        client(server).ping()
    server.resume()

    assert client(server).ping()
    assert server.pid == process_id


def test_redis_and_valkey_are_two_servers(redis_url: str, valkey_url: str) -> None:
    """Both answer, and each is what its name says."""
    redis, valkey = (Redis.from_url(url).info("server") for url in (redis_url, valkey_url))

    assert redis.get("server_name", "redis") == "redis"
    assert valkey["server_name"] == "valkey"


def test_a_server_that_cannot_start_is_reported_with_its_log(fresh_valkey: Callable[..., ValkeyServer]) -> None:
    """A wrong option ends in an error that holds what the server said."""
    with pytest.raises(ServerFailed, match="not-an-option"):
        fresh_valkey(not_an_option="1")


def test_prometheus_scrapes_what_it_is_told_and_answers(fresh_prometheus: Callable[..., PrometheusServer]) -> None:
    """Itself, here: a value, a range of values, and a refusal that names the expression."""
    prometheus = fresh_prometheus()
    own = prometheus.url.removeprefix("http://")
    assert [] == prometheus.query("up")
    prometheus.scrape(own)
    wait_until(lambda: [1.0] == [series.value for series in prometheus.query("up")], "it has scraped itself")
    (up,) = prometheus.query("up")
    (now,) = prometheus.query("time()")
    (over_time,) = prometheus.query_range("up", now.value - 2, now.value + 2, 1)

    assert (JOB, own) == (up.labels["job"], up.labels["instance"])
    assert {1.0} == {value for _, value in over_time.points}
    assert set() == prometheus.firing()
    with pytest.raises(QueryRefused, match=r"^sum\(: "):
        prometheus.query("sum(")
