"""Kafka or the store goes away, comes back, or comes back empty: the worker waits, says so, and never guesses."""

from __future__ import annotations

from collections.abc import Callable

from arbiter.state.codec import unpack_outbox
from tests.reference import entries_of
from tests.servers import KafkaServer, ValkeyServer
from tests.topics import DECISIONS
from tests.traffic import Traffic, bank
from tests.workers import MakeSite, Site, wait_until

LINES_MAX = 100
"""Clients try again many times a second; a log with a line for each could not be read after an outage."""

FreshKafka = Callable[..., KafkaServer]
FreshValkey = Callable[..., ValkeyServer]


def test_the_store_is_killed_and_comes_back(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey
) -> None:
    """Valkey is killed while records flow, and comes back with its data: the worker says so once and goes on."""
    valkey = fresh_valkey(appendonly="yes", appendfsync="always")
    site, traffic = make_site(kafka_bootstrap, valkey.url), Traffic(seed=10)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()

    for sent in site.paced(traffic.requests(2_000)):
        if sent == 500:
            valkey.kill()
    worker.wait_unready("the store does not answer")
    decided = len(entries_of(DECISIONS, site.entries()))
    up = worker.metric("arbiter_store_up")
    valkey.start()
    worker.wait_ready()
    site.send(*traffic.requests(500))

    entries = site.audit()
    site.compare(entries)
    assert decided < 2_000
    assert up == 0
    assert worker.log.read_text().count("the store does not answer") == 1


def test_kafka_is_restarted_while_records_flow(make_site: MakeSite, valkey_url: str, fresh_kafka: FreshKafka) -> None:
    """Kafka is stopped and comes back: the worker says that it waits, and the same process decides everything."""
    kafka = fresh_kafka()
    site, traffic = make_site(kafka.bootstrap, valkey_url), Traffic(seed=11)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()

    for sent in site.paced(traffic.requests(2_000)):
        if sent == 1_000:
            kafka.stop()
    worker.wait_unready("Kafka")
    kafka.start()
    worker.wait_ready()
    site.send(*traffic.requests(500))

    entries = site.audit()
    site.compare(entries)
    log = worker.log.read_text()
    assert worker.is_running
    assert log.count("nothing is committed or published") == 1
    assert len(log.splitlines()) < LINES_MAX


def test_what_was_committed_but_not_published_is_published_by_the_next(site: Site) -> None:
    """Kafka refuses decisions, so they are committed only; the worker dies; the next one publishes the same ones."""
    traffic = Traffic(seed=13)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.limit_decisions(100)
    site.send(*traffic.requests(500))
    worker.wait_unready("Kafka refuses records")
    wait_until(lambda: len(site.unconfirmed()) == site.partitions, "every partition has committed what nobody has seen")
    worker.kill()
    committed = site.unconfirmed()
    published = entries_of(DECISIONS, site.entries())

    site.limit_decisions(1_000_000)
    site.start()

    entries = site.audit()
    site.compare(entries)
    told = {(entry.key, entry.value) for entry in entries_of(DECISIONS, entries)}
    assert published == []
    assert {(record.key, record.value) for outbox in committed for record in unpack_outbox(outbox)} <= told


def test_a_store_that_lost_everything_approves_nothing(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey
) -> None:
    """After FLUSHALL no decision follows: not by the running worker, not by the next, not with the policy back."""
    valkey = fresh_valkey()
    site, traffic = make_site(kafka_bootstrap, valkey.url), Traffic(seed=12)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(1_000))
    before = entries_of(DECISIONS, site.audit())

    site.redis.flushall()
    site.send(*traffic.requests(1_000))
    site.flush()
    worker.wait_unready("partition 0: the store has lost commits")
    wait_until(
        lambda: all(f"partition {number}:" in worker.reasons for number in range(site.partitions)),
        "the worker has stopped deciding for every partition",
    )
    worker.kill()
    site.publish(bank())
    follower = site.start_one()
    wait_until(
        lambda: all(f"partition {number} is not decided for" in follower.reasons for number in range(site.partitions)),
        "the next worker decides for no partition either",
    )
    after = entries_of(DECISIONS, site.entries())

    assert after == before
    assert "ARBITER_ACCEPT_LOST_STATE" in follower.reasons
    assert follower.is_running


def test_a_store_restored_from_an_older_copy_approves_nothing(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey
) -> None:
    """Worker and store end together, and the store comes back as it was before: what was told since gives it away."""
    valkey = fresh_valkey()
    site, traffic = make_site(kafka_bootstrap, valkey.url), Traffic(seed=14)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(500))
    site.audit()
    older = {key: site.redis.dump(key) or b"" for key in site.redis.scan_iter(count=1_000)}
    site.send(*traffic.requests(1_000))
    before = entries_of(DECISIONS, site.audit())
    worker.kill()

    site.redis.flushall()
    for key, value in older.items():
        site.redis.restore(key, 0, value)
    follower = site.start_one()
    wait_until(
        lambda: all(f"partition {number} is not decided for" in follower.reasons for number in range(site.partitions)),
        "the next worker decides for no partition",
    )
    after = entries_of(DECISIONS, site.entries())

    assert after == before
    assert "an older copy" in follower.reasons
    assert follower.is_running
