"""The state knows whose it is: another cluster, prefix, number of partitions, or topics made anew are refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from arbiter.messages import CONSENTS
from arbiter.state.keys import Keys
from arbiter.worker.kafka.topics import all_topics, create
from tests.inputs.traffic import Traffic, ask, bank
from tests.oracle.invariants import contents
from tests.servers.processes import KafkaServer, ValkeyServer
from tests.servers.topics import DECISIONS, REQUESTS, entries_of
from tests.servers.workers import MakeSite, Site, Worker, wait_until

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
    wait_until(
        lambda: worker.metric("arbiter_partitions", state="claimed") == 0, "it decides for nothing", SOON_SECONDS
    )
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


def id_of(worker: Worker) -> str:
    """The id under which the loss may be accepted that the worker tells."""
    found = {*re.findall(r"ARBITER_ACCEPT_LOST_STATE=([0-9a-f]{8}) ", worker.reasons)}
    assert len(found) == 1, worker.reasons
    return str(found.pop())


def wait_lost(site: Site, worker: Worker, reason: str) -> str:
    """Wait until the worker refuses every partition for this reason; gives the id of the loss."""
    wait_until(lambda: worker.reasons.count(reason) == site.partitions, f"every partition says `{reason}`")
    assert worker.metric("arbiter_partitions", state="claimed") == 0
    return id_of(worker)


def notes(site: Site) -> list[str]:
    """What the audit says of accepted losses."""
    entries = site.with_policies(lambda policies: policies.history(1_000))
    return [entry.reason for entry in entries if entry.action == "loss_accepted"]


def make_anew(site: Site, *names: str) -> None:
    """Delete these topics, and make others of the same names."""
    admin, topics_ = AdminClient(site.client_config), [site.settings.topic(name) for name in names]
    for future in admin.delete_topics(topics_, operation_timeout=30).values():
        future.result(30)
    wait_until(lambda: not {*topics_} & {*admin.list_topics(timeout=10).topics}, "the topics are gone")
    wait_until(lambda: {*topics_} <= {*create(site.settings)} or has(admin, topics_), "the topics are there again")


def has(admin: AdminClient, names: list[str]) -> bool:
    """Whether Kafka has these topics."""
    return {*names} <= {*admin.list_topics(timeout=10).topics}


def test_a_topic_made_anew_is_read_from_its_beginning_once_accepted(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """It is noticed within seconds, not read without an order, and then nothing of it is left out."""
    site, traffic = make_site(kafka_bootstrap, valkey_url, partitions=4), Traffic(seed=23)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(600))
    site.quiet()

    make_anew(site, REQUESTS)
    wait_refused(worker, "made anew while the worker ran")
    worker.kill()
    again = [ask(f"again-{number}", f"w{number % 40}", number) for number in range(2_000)]
    site.send(*again)
    site.flush()
    refusing = site.start_one()
    number = wait_lost(site, refusing, "was made anew")
    told = len(entries_of(DECISIONS, site.entries()))
    refusing.kill()
    (accepting,) = site.start(accept_lost_state=number)
    site.quiet()

    answered = {fields["request_id"] for entry in entries_of(DECISIONS, site.entries()) if (fields := entry.fields())}
    assert {message.request_id for message in again} <= answered
    assert told < len(answered)
    assert accepting.metric("arbiter_accepted_losses_total") == site.partitions
    assert len(notes(site)) == site.partitions


def lose(site: Site, copy: dict[bytes, bytes]) -> None:
    """Let the store have nothing but this copy; nothing at all but a policy if that is empty."""
    site.redis.flushall()
    for key, value in copy.items():
        site.redis.restore(key, 0, value)
    if not copy:
        site.publish(bank())


@pytest.mark.parametrize("loss", ["the store has no state", "restored from an older copy"])
def test_an_accepted_loss_is_accepted_once(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: Callable[..., ValkeyServer], loss: str
) -> None:
    """Workers go on by the id of the loss, with a trace and with new decision ids; left on, it accepts nothing else."""
    site, traffic = make_site(kafka_bootstrap, fresh_valkey().url, partitions=4), Traffic(seed=24)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(400))
    site.quiet()
    is_copy = "copy" in loss
    copy = {key: site.redis.dump(key) or b"" for key in site.redis.scan_iter(count=1_000)} if is_copy else {}
    site.send(*traffic.requests(400))
    site.quiet()
    worker.kill()

    lose(site, copy)
    refusing = site.start_one()
    number = wait_lost(site, refusing, loss)
    refusing.kill()
    (accepting,) = site.start(accept_lost_state=number)
    site.settle()
    site.send(*traffic.requests(300))
    site.quiet()
    log, noted = accepting.log.read_text(), notes(site)
    accepting.kill()
    (restarted,) = site.start(accept_lost_state=number)
    going_on = restarted.metric("arbiter_accepted_losses_total")
    restarted.kill()
    twice = list(contents(site.books(site.entries())))

    lose(site, copy)
    another = wait_lost(site, site.start_one(accept_lost_state=number), loss)

    assert [] == twice
    assert log.count(f"goes on after a loss, as ARBITER_ACCEPT_LOST_STATE={number} says") == site.partitions
    assert sorted(reason.partition(":")[0] for reason in noted) == [f"partition {n}" for n in range(site.partitions)]
    assert going_on == 0
    assert another != number
