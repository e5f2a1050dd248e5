"""Damaged or newer state under real workers: what is wrong with one partition or party is its own trouble."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from redis import Redis

from arbiter.messages import ContactRequest
from arbiter.state.codec import LEDGER_FORMAT
from arbiter.state.keys import Keys
from arbiter.worker.kafka.partitioner import partition_of
from tests.inputs.builders import MONDAY, document, grant
from tests.inputs.builders import request as promotion
from tests.servers.processes import ValkeyServer
from tests.servers.topics import LETTERS, decisions_of
from tests.servers.workers import MakeSite, Site, wait_until

CAP = {"id": "two", "kind": "cap", "owner": "o", "why": "w", "per": ["party"], "limit": 2, "window": "rolling 1d"}
PARTITIONS = 6

FreshValkey = Callable[..., ValkeyServer]


def customers(partition: int, count: int = 3) -> list[str]:
    """Some whose home it is."""
    names = (f"c{number}" for number in range(1_000))
    return [name for name in names if partition_of(name, PARTITIONS) == partition][:count]


def request(request_id: str, customer_id: str) -> ContactRequest:
    """A request without an end."""
    return promotion(request_id, customer_id=customer_id, category="service", expires_at=None)


def to_everybody(name: str) -> list[ContactRequest]:
    """A request to two customers of each partition."""
    parties = [customer for number in range(PARTITIONS) for customer in customers(number, 2)]
    return [request(f"{name}-{customer}", customer_id=customer) for customer in parties]


def decided(site: Site, name: str) -> list[int]:
    """How many of these requests have a decision, by partition."""
    told = [entry.fields() for entry in decisions_of(site.entries())]
    homes = [partition_of(one["customer_id"], PARTITIONS) for one in told if one["request_id"].startswith(name)]
    return [homes.count(number) for number in range(PARTITIONS)]


def letters(site: Site) -> list[tuple[str, bytes | None]]:
    """Code and value of every dead letter."""
    found = [entry for entry in site.entries() if entry.topic.endswith(LETTERS)]
    return [(entry.headers["arbiter-error-code"].decode(), entry.value) for entry in found]


def broken_but_one(site: Site) -> Callable[[], None]:
    """Something else in each partition but the last; gives what mends it all."""
    redis: Any = site.redis
    keys = [Keys(site.name).partition(number) for number in range(PARTITIONS)]
    newer = keys[3].ledger(f"c:{customers(3)[0]}")
    kept = {name: redis.dump(name) for name in (keys[0].head, keys[1].outbox, keys[2].timers, newer, keys[4].waits)}
    redis.hset(keys[0].head, "seq", "many")
    redis.set(keys[1].outbox, b"\x01garbage")
    redis.delete(keys[2].timers)
    redis.rpush(keys[2].timers, "x")
    redis.set(newer, bytes([LEDGER_FORMAT + 1]) + redis.get(newer)[1:])
    redis.set(keys[4].waits, "x")

    def mend() -> None:
        for name, value in kept.items():
            redis.delete(name)
            if value is not None:
                redis.restore(name, 0, value)

    return mend


@pytest.fixture
def used(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation with one worker, that has decided something for everybody."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=PARTITIONS, clock="wall")
    site.publish(document(CAP))
    site.start()
    site.send(*to_everybody("a"))
    site.settle()
    wait_until(lambda: decided(site, "a") == [2] * PARTITIONS, "all is decided")
    return site


def test_a_partition_that_fails_is_stopped_alone(used: Site) -> None:
    """Each of five is damaged in another way: the sixth goes on, and each of the five once it is mended."""
    used.workers[0].terminate()
    assert used.workers[0].ended() == 0
    mend = broken_but_one(used)
    worker = used.start_one()
    used.send(*to_everybody("b"))
    used.flush()
    for number in range(PARTITIONS - 1):
        worker.wait_unready(f"partition {number} is not decided for")
    wait_until(lambda: decided(used, "b")[5] == 2, "the partition that is whole is decided for")
    reasons = worker.reasons

    assert "head has a field that is wrong" in reasons
    assert "outbox: damaged" in reasons
    assert "timers is a list and should be a zset" in reasons
    newer = f"format {LEDGER_FORMAT + 1}, written by a newer build; this build reads formats up to {LEDGER_FORMAT}"
    assert f"ledger: it is in {newer}" in reasons
    assert decided(used, "b") == [0, 0, 0, 0, 0, 2]
    assert worker.metric("arbiter_partitions", state="stopped") == PARTITIONS - 1
    assert worker.metric("arbiter_alarms_total", kind="partition") == PARTITIONS - 1

    mend()
    wait_until(lambda: decided(used, "b") == [2] * PARTITIONS, "the others are decided for once they are mended")
    worker.wait_ready()
    assert worker.metric("arbiter_partitions", state="stopped") == 0
    assert worker.log.read_text().count("ERROR") == PARTITIONS - 1
    assert letters(used) == []


def test_a_head_that_is_damaged_under_a_running_worker_stops_its_partition_alone(used: Site) -> None:
    """Whether a field or the type of the key: the others are decided for, and it is once it is mended."""
    (worker,) = used.workers
    redis: Any = used.redis
    keys = [Keys(used.name).partition(number) for number in (0, 1)]
    kept = [redis.dump(key.head) for key in keys]
    redis.hset(keys[0].head, "seq", "many")
    redis.delete(keys[1].head)
    redis.rpush(keys[1].head, "x")
    used.send(*to_everybody("b"))
    used.flush()
    wait_until(lambda: decided(used, "b") == [0, 0, 2, 2, 2, 2], "the others are decided for")
    worker.wait_unready("partition 0 is not decided for")
    worker.wait_unready("partition 1 is not decided for")

    for key, value in zip(keys, kept, strict=True):
        redis.delete(key.head)
        redis.restore(key.head, 0, value)
    wait_until(lambda: decided(used, "b") == [2] * PARTITIONS, "all are decided for")
    worker.wait_ready()
    assert letters(used) == []


@pytest.mark.parametrize("stored", [b"", b"garbage", None])
def test_a_party_that_cannot_be_read_is_set_aside_alone(used: Site, stored: bytes | None) -> None:
    """Its records are dead letters, its withdrawal too; its neighbours on the partition are decided."""
    used.workers[0].terminate()
    assert used.workers[0].ended() == 0
    redis: Any = used.redis
    ours, theirs = customers(2, 2)
    key = Keys(used.name).partition(2).ledger(f"c:{ours}")
    redis.delete(key)
    redis.rpush(key, "x") if stored is None else redis.set(key, stored)
    (worker,) = used.start()
    withdrawal = grant(ours, captured=MONDAY, state="withdrawn")
    asked = request(f"b-{ours}", customer_id=ours)
    used.send(withdrawal, asked, request(f"b-{theirs}", customer_id=theirs))
    used.settle()
    wait_until(lambda: decided(used, "b")[2] == 1, "the neighbour is decided")

    wanted = [("unreadable_state", msgspec.json.encode(message)) for message in (withdrawal, asked)]
    assert sorted(letters(used)) == sorted(wanted)
    assert worker.is_ready
    assert worker.metric("arbiter_alarms_total", kind="unreadable_state") == 3


def test_refused_credentials_in_the_middle_of_work_are_waited_out(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: FreshValkey
) -> None:
    """The worker's user is locked out and its connection cut: it waits, says why, and goes on when it is let in."""
    valkey = fresh_valkey()
    admin: Any = Redis.from_url(valkey.url)
    admin.execute_command("ACL", "SETUSER", "worker", "on", ">secret", "~*", "&*", "+@all")
    url = valkey.url.replace("redis://", "redis://worker:secret@")
    site = make_site(kafka_bootstrap, url, partitions=PARTITIONS, clock="wall")
    site.publish(document(CAP))
    (worker,) = site.start()
    admin.execute_command("ACL", "SETUSER", "worker", "-@all", "-evalsha", "-time")
    worker.wait_unready("NOPERM")
    admin.execute_command("ACL", "SETUSER", "worker", "+@all", "off")
    admin.execute_command("CLIENT", "KILL", "USER", "worker")
    worker.wait_unready("store")
    admin.execute_command("ACL", "SETUSER", "worker", "on")
    worker.wait_ready()
    site.send(*to_everybody("b"))
    site.settle()
    wait_until(lambda: decided(site, "b") == [2] * PARTITIONS, "all is decided")

    assert worker.is_running
    assert "secret" not in worker.log.read_text()
