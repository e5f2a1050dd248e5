"""The state knows whose it is: another cluster, prefix, number of partitions, or topics made anew are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from confluent_kafka.admin import AdminClient, NewPartitions

from arbiter.messages import CONSENTS
from arbiter.state.keys import Keys
from arbiter.stream.topics import all_topics
from tests.reference import entries_of
from tests.servers import KafkaServer
from tests.topics import DECISIONS
from tests.traffic import Traffic, bank
from tests.workers import MakeSite, Site, Worker, wait_until

SOON_SECONDS = 15.0
"""Long enough for a busy machine, and far from the minutes after which Kafka's clients look by themselves."""

FreshKafka = Callable[..., KafkaServer]


def epochs(site: Site) -> list[Any]:
    """How often each partition of the state was claimed."""
    return [site.redis.hget(Keys(site.name).partition(number).head, "epoch") for number in range(site.partitions)]


def grow(site: Site, count: int, *topics: str) -> None:
    """Give these topics more partitions."""
    admin = AdminClient(site.client_config)
    for future in admin.create_partitions([NewPartitions(topic, count) for topic in topics]).values():
        future.result(30)


def wait_refused(worker: Worker, reason: str) -> None:
    """Wait until the worker decides for nothing and says why, with an alarm."""
    wait_until(lambda: reason in worker.reasons, f"the worker says `{reason}`", SOON_SECONDS)
    wait_until(lambda: worker.metric("arbiter_partitions_claimed") == 0, "it decides for nothing", SOON_SECONDS)
    assert worker.metric("arbiter_alarms_total") >= 1
    assert reason in worker.tail()


def test_another_installation_takes_nothing_over(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, fresh_kafka: FreshKafka
) -> None:
    """Another topic prefix, group or Kafka on the same Redis prefix: refused before a claim, with what to set."""
    site, traffic = make_site(kafka_bootstrap, valkey_url, partitions=4), Traffic(seed=21)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    before = epochs(site)

    same = {"redis_prefix": site.name, "partitions": 4}
    beside = make_site(kafka_bootstrap, valkey_url, **same, group=site.name)
    elsewhere = make_site(fresh_kafka().bootstrap, valkey_url, **same, group=site.name, topic_prefix=f"{site.name}.")
    strangers = [beside.start_one(), elsewhere.start_one(), site.start_one(group="another")]
    for stranger, differs in zip(strangers, ("ARBITER_TOPIC_PREFIX", "Kafka cluster", "ARBITER_GROUP"), strict=True):
        wait_refused(stranger, "another installation")
        assert f"({differs} `" in stranger.reasons
        assert "Set ARBITER_REDIS_PREFIX" in stranger.reasons
    site.send(*traffic.requests(500))

    site.compare(site.audit())
    assert epochs(site) == before
    assert worker.is_ready


def test_more_partitions_are_refused(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """All topics grow from 4 to 8: the running worker stops within seconds, and the next one does not begin."""
    site, traffic = make_site(kafka_bootstrap, valkey_url, partitions=4), Traffic(seed=22)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()

    grow(site, 8, *all_topics(site.settings))
    wait_refused(worker, "has 8 partitions, but the state is for 4")
    before = len(entries_of(DECISIONS, site.entries()))
    follower = site.start_one()
    wait_refused(follower, "the topics have 8 partitions, but the state is for 4")
    worker.kill()
    site.send(*traffic.requests(500))
    site.flush()
    third = site.start_one()
    wait_refused(third, "the topics have 8 partitions, but the state is for 4")

    assert len(entries_of(DECISIONS, site.entries())) == before == 0
    assert [follower.is_running, third.is_running] == [True, True]


def test_a_topic_that_grows_is_noticed(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """One topic grows from 4 to 6: withdrawals on the new partitions would wait unseen, so nothing is approved."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=4)
    site.publish(bank())
    (worker,) = site.start()

    topic = site.settings.topic(CONSENTS)
    grow(site, 6, topic)
    wait_refused(worker, f"{topic} has 6 partitions, but the state is for 4")
