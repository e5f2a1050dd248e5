"""Kafka or the store goes away, comes back, or comes back empty: the worker waits, says so, and never guesses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from arbiter.state.codec import unpack_outbox
from tests.inputs.traffic import Traffic, bank
from tests.servers.processes import KafkaServer, ValkeyServer, free_port
from tests.servers.topics import DECISIONS, Entry, entries_of
from tests.servers.workers import MakeSite, Site, wait_until

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


def the_next_decides_nothing(site: Site, before: list[Entry], reason: str) -> None:
    """A new worker decides for no partition, says why, and lives on; the decisions are still those from before."""
    follower = site.start_one()
    wait_until(
        lambda: all(f"partition {number} is not decided for" in follower.reasons for number in range(site.partitions)),
        "the next worker decides for no partition",
    )
    after = entries_of(DECISIONS, site.entries())

    assert after == before
    assert reason in follower.reasons
    assert follower.is_running


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
    the_next_decides_nothing(site, before, "ARBITER_ACCEPT_LOST_STATE")


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
    the_next_decides_nothing(site, before, "an older copy")


def test_a_store_that_takes_no_writes_is_one_trouble(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey
) -> None:
    """Out of memory, read-only, and unable to save: each is said once, and is over when a write succeeds."""
    valkey = fresh_valkey()
    site, traffic = make_site(kafka_bootstrap, valkey.url), Traffic(seed=15)
    site.publish(bank())
    (worker,) = site.start()
    (valkey.directory / "dump.rdb").mkdir()  # so that it cannot be saved
    troubles = {
        "OOM": ({"maxmemory": "1"}, {"maxmemory": "0"}),
        "READONLY": ({"replicaof": f"127.0.0.1 {free_port()}"}, {"replicaof": "no one"}),
        "MISCONF": ({"save": "3600 1"}, {"save": ""}),
    }
    for word, (begin, end) in troubles.items():
        set_up(site, begin)
        site.send(*traffic.requests(100))
        site.flush()
        worker.wait_unready(word)
        time.sleep(3)
        assert not worker.is_ready
        set_up(site, end)
        worker.wait_ready()
        site.settle()
    site.audit()

    log = worker.log.read_text()
    assert log.count("the store does not answer") == len(troubles)
    assert log.count("store: works again") == len(troubles)


def set_up(site: Site, settings: Mapping[str, str]) -> None:
    """Change how the server is set up while it runs."""
    for name, value in settings.items():
        if name == "replicaof":
            site.redis.replicaof(*value.split())
        else:
            site.redis.config_set(name, value)
        if name == "save" and value:
            site.redis.bgsave()


def test_nothing_is_decided_on_a_store_that_evicts(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey
) -> None:
    """Set up so while a worker runs, or before one starts: it says so, and goes on when it is noeviction again."""
    site, traffic = make_site(kafka_bootstrap, fresh_valkey().url), Traffic(seed=16)
    site.publish(bank())
    (worker,) = site.start()
    site.redis.config_set("maxmemory-policy", "allkeys-lru")
    worker.wait_unready("maxmemory-policy is allkeys-lru")
    site.send(*traffic.requests(200))
    site.flush()
    second = site.start_one()
    second.wait_unready("maxmemory-policy is allkeys-lru")
    time.sleep(2)
    decided = entries_of(DECISIONS, site.entries())
    alarms = worker.metric("arbiter_alarms_total", kind="eviction")
    claimed = second.metric("arbiter_partitions", state="claimed")
    site.redis.config_set("maxmemory-policy", "noeviction")
    worker.wait_ready()
    second.wait_ready()
    site.audit()

    assert decided == []
    assert alarms == 1
    assert claimed == 0
    assert worker.log.read_text().count("append-only file") == 1
