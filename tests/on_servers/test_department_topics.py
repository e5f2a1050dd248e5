"""Departments that read their own decisions and no others: topics of their own, written by real workers."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka.admin import AdminClient

from arbiter.settings import load
from arbiter.worker.kafka import topics
from tests.inputs.traffic import Traffic, bank
from tests.servers.topics import DECISIONS, REQUESTS, Entry, read_topics
from tests.servers.workers import MakeSite, Site

OWN = {"cards": f"{DECISIONS}.cards", "loans": f"{DECISIONS}.loans"}


def said(entries: Iterable[Entry]) -> list[tuple[int, bytes | None, bytes | None]]:
    """What stands on a topic, without its offsets; what was published again counts once."""
    return sorted({(one.partition, one.key, one.value) for one in entries}, key=repr)


def on(site: Site, topic: str) -> list[Entry]:
    """The records of one topic."""
    return read_topics(site.settings.kafka, site.settings.topic_prefix, (topic,))


def test_each_department_finds_its_decisions_on_its_own_topic(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """Also the answers to its dead letters, and whatever a worker that is killed had not published yet."""
    site = make_site(kafka_bootstrap, valkey_url, department_topics="cards, loans")
    traffic = Traffic(seed=11)
    site.publish(bank())
    first, _ = site.start(2)
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(600))
    first.kill()
    site.send(*traffic.requests(300))
    site.put(REQUESTS, b'{"request_id": "broken", "department": "loans", "customer_id": "c11-1"', b"c11-1")
    site.settle()

    every = on(site, DECISIONS)
    for department, topic in OWN.items():
        own = on(site, topic)
        assert said(own) == said(one for one in every if one.fields()["department"] == department)
        assert len(own) > 100
    assert "broken" in {one.fields()["request_id"] for one in on(site, OWN["loans"])}
    assert f"{site.settings.topic(DECISIONS)}.mortgages" not in AdminClient(site.client_config).list_topics().topics


def test_a_department_can_be_given_a_topic_later(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> None:
    """The state stays; workers refuse to start until the topic is there."""
    site = make_site(kafka_bootstrap, valkey_url)
    traffic = Traffic(seed=12)
    site.publish(bank())
    (worker,) = site.start(1)
    site.send(*traffic.first_facts(), *traffic.requests(100))
    site.settle()
    worker.end()

    given = {"department_topics": "cards"}
    refused = site.start_one(**given)
    assert refused.ended() == 1
    assert f"missing topics: {site.settings.topic(OWN['cards'])}" in refused.tail()

    topics.create(load({**site.environment, "ARBITER_DEPARTMENT_TOPICS": "cards"}))
    site.start(1, **given)
    before = len(on(site, DECISIONS))
    site.send(*traffic.requests(100))
    site.settle()
    later = on(site, DECISIONS)[before:]

    assert len(later) >= 100
    assert {one.fields()["department"] for one in on(site, OWN["cards"])} == {"cards"}
