"""The table of topics, and what is said of a cluster that is not as it says."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from arbiter.metrics import Metrics
from arbiter.settings import Settings
from arbiter.timing.instants import DAY_MS
from arbiter.worker import topic_settings
from arbiter.worker.health import Health
from arbiter.worker.kafka.permissions import needed
from arbiter.worker.kafka.topic_check import Cluster, Difference, Topic, differences, fixes
from arbiter.worker.kafka.topic_table import TABLE, in_words, kind_of, values_of
from arbiter.worker.kafka.topics import all_topics

SETTINGS = Settings(kafka="", redis="", topic_prefix="bank.")
CONSENTS, PROFILES, REQUESTS = "bank.contact.consents.v1", "bank.contact.profiles.v1", "bank.contact.requests.v1"
AUDIT, ROUTED, LETTERS = "bank.arbiter.audit.v1", "bank.arbiter.routed.v1", "bank.contact.requests.v1.dlq"


def right(brokers: int = 3, settings: Settings = SETTINGS) -> Cluster:
    """A cluster as the table says."""
    replicas = min(brokers, 3)
    topics = {}
    for name in all_topics(settings):
        values = values_of(kind_of(name.removeprefix(settings.topic_prefix)), settings, replicas)
        topics[name] = Topic(32, replicas, {value.name: value.wanted for value in values})
    return Cluster(brokers, topics)


def changed(name: str, **values: str) -> Cluster:
    """A cluster of which one topic has other settings; ``__`` stands for a dot."""
    cluster = right()
    topic = cluster.topics[name]
    given = {key.replace("__", "."): value for key, value in values.items()}
    cluster.topics[name] = replace(topic, values={**(topic.values or {}), **given})
    return cluster


def told(cluster: Cluster, settings: Settings = SETTINGS) -> list[tuple[str, str, bool]]:
    """Topic, setting, and whether it loses records."""
    return [(one.topic, one.setting, one.loses) for one in differences(settings, cluster)]


def test_every_topic_has_its_row() -> None:
    """All topics of an installation stand in the table, each once; what a worker needs is among them."""
    rows = [name for kind in TABLE for name in kind.topics]

    assert sorted(rows) == sorted(all_topics(Settings(kafka="", redis="")))
    assert set(needed(Settings(kafka="", redis=""))) == set(rows)


@pytest.mark.parametrize("brokers", [1, 2, 3, 9])
def test_what_create_makes_is_right(brokers: int) -> None:
    """On any number of brokers; with one replica no second one is waited for."""
    cluster = right(brokers)
    insync = {(topic.values or {})["min.insync.replicas"] for topic in cluster.topics.values()}

    assert [] == told(cluster)
    assert {"2" if brokers >= 3 else "1"} == insync


def test_kafkas_own_settings_are_not_enough() -> None:
    """A week for everything, one replica: nothing is lost at once, and all that is too short is told."""
    cluster = right()
    week = {"retention.ms": str(7 * DAY_MS), "min.insync.replicas": "1", "max.message.bytes": "1048588"}
    for name, topic in cluster.topics.items():
        there = topic.values or {}
        cluster.topics[name] = Topic(32, 1, {**there, **{key: week[key] for key in there if key in week}})
    found = told(cluster)

    short = {name for name, setting, _ in found if setting == "retention.ms"}
    assert set(all_topics(SETTINGS)) == short
    assert {name for name, setting, _ in found if setting == "max.message.bytes"} == {
        name for name in cluster.topics if name.endswith((".dlq", "routed.v1"))
    }
    assert {name for name, setting, _ in found if setting == "replicas"} == set(cluster.topics)
    assert not any(loses for *_, loses in found)


@pytest.mark.parametrize("name", all_topics(SETTINGS))
def test_compaction_loses_records(name: str) -> None:
    """Everywhere but on profiles, of which the newest record of each customer is enough."""
    found = told(changed(name, cleanup__policy="compact"))
    with_time = told(changed(name, cleanup__policy="compact,delete"))

    assert [] == found if name == PROFILES else [(name, "cleanup.policy", True)] == found
    assert [(name, "cleanup.policy", name != PROFILES)] == with_time


@pytest.mark.parametrize(
    ("name", "days", "loses"),
    [
        (CONSENTS, 365.0, False),
        (CONSENTS, 6.9, True),
        (REQUESTS, 89.0, False),
        (REQUESTS, 0.9, True),
        (ROUTED, 0.5, True),
        (AUDIT, 0.1, False),
        (LETTERS, 7.0, False),
    ],
)
def test_what_is_kept_too_short_is_told(name: str, days: float, *, loses: bool) -> None:
    """It loses records where a worker that was away for that long has not read them."""
    assert [(name, "retention.ms", loses)] == told(changed(name, retention__ms=str(int(days * DAY_MS))))


def test_longer_and_larger_is_as_good() -> None:
    """For ever is longer than any time; more replicas than wanted; more bytes."""
    assert [] == told(changed(REQUESTS, retention__ms="-1", min__insync__replicas="3"))
    assert [] == told(changed(LETTERS, max__message__bytes=str(1 << 30)))


def test_an_installation_says_how_long_it_keeps_what() -> None:
    """Its settings are what is compared with; `-1` is for ever."""
    short = replace(SETTINGS, retention_days=7, facts_retention_days=400, dlq_retention_days=30)

    assert [] == told(right(settings=short), short)
    assert {(CONSENTS, "retention.ms", False), (REQUESTS, "retention.ms", False)} <= {*told(right(settings=short))}
    assert [(AUDIT, "retention.ms", False)] == told(changed(AUDIT, retention__ms="1"))
    assert [] == told(changed(AUDIT, retention__ms=str(400 * DAY_MS)), replace(SETTINGS, audit_retention_days=400))


def test_what_is_missing_unequal_or_hidden_is_told() -> None:
    """Each with its own fix."""
    cluster = right()
    del cluster.topics[AUDIT]
    cluster.topics[LETTERS] = replace(cluster.topics[LETTERS], partitions=4)
    cluster.topics[ROUTED] = replace(cluster.topics[ROUTED], values=None)
    found = differences(SETTINGS, cluster)

    assert {(AUDIT, "topic"), (LETTERS, "partitions"), (ROUTED, "settings")} == {
        (one.topic, one.setting) for one in found
    }
    assert "arbiter topics create" in fixes(found)
    assert any("--operation DescribeConfigs" in line and ROUTED in line for line in fixes(found))


def test_one_command_mends_a_topic() -> None:
    """All of its settings at once, what loses records first, with the values of the table."""
    cluster = changed(AUDIT, retention__ms="1", retention__bytes="1000")
    cluster.topics[CONSENTS] = changed(CONSENTS, cleanup__policy="compact").topics[CONSENTS]
    start = "kafka-configs --bootstrap-server <broker> --alter --entity-type topics --entity-name"

    assert [
        f"{start} {CONSENTS} --add-config cleanup.policy=delete",
        f"{start} {AUDIT} --add-config retention.ms=-1,retention.bytes=-1",
    ] == fixes(differences(SETTINGS, cluster))


def test_values_are_said_in_words() -> None:
    """Milliseconds as days or hours, bytes as MiB."""
    times = [in_words("retention.ms", str(number)) for number in (-1, DAY_MS, 90 * DAY_MS, DAY_MS // 2)]

    assert ["for ever", "1 day", "90 days", "12 h"] == times
    assert ["64 MiB", "1048588"] == [in_words("max.message.bytes", text) for text in (str(1 << 26), "1048588")]


async def test_a_worker_waits_while_records_are_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says which topic and the command; what is only worse than it should be is warned of, once."""
    clusters = [changed(CONSENTS, cleanup__policy="compact"), *2 * [changed(AUDIT, retention__ms="1")], None]
    monkeypatch.setattr(topic_settings, "fetch_cluster", lambda _: clusters.pop(0))
    health = Health(Metrics())
    check = topic_settings.TopicSettings(SETTINGS, health)

    assert not await check.are_safe()
    (reason,) = health.reasons
    assert f"{CONSENTS}: cleanup.policy is compact, wanted delete: " in reason
    assert f"--entity-name {CONSENTS} --add-config cleanup.policy=delete" in reason
    assert [True, True, True] == [await check.are_safe() for _ in range(3)]
    assert [] == health.reasons
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert f"{AUDIT}: retention.ms is 2.78e-07 h" in warning
    assert "`arbiter topics check`" in warning


def test_a_difference_is_one_sentence() -> None:
    """What, where, and what it costs, with values in words."""
    one = Difference("t", "retention.ms", str(7 * DAY_MS), "-1", "it is forgotten", "mend it")

    assert "t: retention.ms is 7 days, wanted for ever: it is forgotten" == one.sentence
