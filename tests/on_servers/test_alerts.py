"""Each alert of deploy/prometheus is made to fire by a real fault: real workers, Kafka and Valkey, a real Prometheus.

The rules are those of the file with every duration (ranges, offsets, ``for``) divided by HURRY: an hour is 90 s.
The numbers that are compared with (30 seconds, 14.4 times the budget) are as in production. Prometheus
looks twice a second instead of every 15 seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from arbiter.messages import OUTCOMES
from arbiter.state.keys import Keys
from arbiter.state.policy_store import PolicyStore
from arbiter.timing.instants import HOUR_MS
from arbiter.worker.kafka.partitioner import partition_of
from tests.harness.alerts import alerts, hurried
from tests.inputs.builders import document, grant, request
from tests.servers.processes import KafkaServer, ValkeyServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.relay import Relay
from tests.servers.topics import CONSENTS, REQUESTS
from tests.servers.workers import MakeSite, Site, wait_until

HURRY = 40
SECONDS_MAX = 120.0
PARTITIONS = 4
CAPACITY = 5
WELL_SECONDS = 5.0
SCRAPE_SECONDS = 0.5

UNFIRED = frozenset(("ArbiterFactsLate", "ArbiterPartitionsSlowToStart", "ArbiterCanaryLate", "ArbiterCanaryWrong"))
"""Not made to fire here; their rules have tests. No canary runs here, and no fault here makes facts late, or keeps a
partition from its start, for as long.
"""

FreshKafka = Callable[..., KafkaServer]
FreshValkey = Callable[..., ValkeyServer]
FreshPrometheus = Callable[..., PrometheusServer]


def early_zone() -> str:
    """A zone in which it is between midnight and two: of a capacity's calendar day more than half is to come."""
    hours = -datetime.now(UTC).hour % 24
    # The names of these zones have the sign the other way round.
    return f"Etc/GMT{-hours if hours <= 12 else f'+{24 - hours}'}" if hours else "Etc/GMT"


def policies() -> dict[str, Any]:
    """Two desks; e-mails of the cards desk have a capacity, and promotions need consent."""
    capacity = {"id": "mails", "kind": "capacity", "when": {"category": "regulatory"}, "limit": CAPACITY}
    return document({**capacity, "window": "calendar day"}, timezone=early_zone())


class Watch:
    """What has fired so far; looks all the time, in a thread."""

    def __init__(self, prometheus: PrometheusServer) -> None:
        self._prometheus = prometheus
        self.seen: dict[str, str] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def fires(self, *names: str) -> None:
        """Wait until all of these have fired, but for what is :data:`UNFIRED`."""
        wanted = set(names) - UNFIRED
        wait_until(lambda: wanted <= set(self.seen), f"{sorted(wanted)} fire", SECONDS_MAX)

    def close(self) -> None:
        """Look no more."""
        self._ends.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ends.wait(0.25):
            for alert in self._prometheus.alerts():
                if alert["state"] == "firing":
                    self.seen.setdefault(alert["labels"]["alertname"], alert["annotations"]["description"])


class Scene:
    """An installation with two workers, of which the second reaches Redis through a relay, and a Prometheus."""

    def __init__(self, site: Site, kafka: KafkaServer, relay: Relay) -> None:
        self.site, self.kafka, self.relay = site, kafka, relay
        site.publish(policies())
        self.first, self.second = site.start_one(), site.start_one(redis=relay.url)
        for worker in (self.first, self.second):
            worker.wait_ready()

    def begin(self, prometheus: PrometheusServer) -> None:
        """Let both be watched."""
        prometheus.scrape(self.first.address, self.second.address)
        wait_until(lambda: len(prometheus.query("up == 1")) == 2, "both workers are scraped")
        self.watch = Watch(prometheus)

    def ask(self, count: int = 1, **fields: Any) -> None:
        """Send requests, each of a customer of its own; service needs no consent."""
        now_ms = int(time.time() * 1_000)
        given = {"category": "service", "requested_at": now_ms, "expires_at": now_ms + 8 * HOUR_MS, **fields}
        for _ in range(count):
            name = uuid4().hex[:12]
            self.site.send(request(f"r-{name}", **{"customer_id": f"c-{name}", **given}))
        self.site.flush()


@pytest.fixture
def scene(
    make_site: MakeSite,
    fresh_kafka: FreshKafka,
    fresh_valkey: FreshValkey,
    fresh_prometheus: FreshPrometheus,
    tmp_path: Path,
) -> Iterator[Scene]:
    """All is well for some seconds, and no alert fires."""
    rules = tmp_path / "rules.yml"
    rules.write_text(hurried(HURRY))
    kafka, valkey = fresh_kafka(), fresh_valkey(maxmemory="512mb")
    site = make_site(kafka.bootstrap, valkey.url, clock="wall", partitions=PARTITIONS, stall_timeout_ms=3_000)
    with Relay(valkey.url) as relay:
        found = Scene(site, kafka, relay)
        found.begin(fresh_prometheus(interval=f"{SCRAPE_SECONDS * 1_000:.0f}ms", rule_files=[rules]))
        try:
            found.ask(20)
            yield found
        finally:
            found.watch.close()


def records_that_cannot_be_taken(scene: Scene) -> None:
    """Garbage on two topics, a wish for an unknown purpose, a contact that nobody asked for, a damaged ledger."""
    site = scene.site
    site.put(REQUESTS, b"{garbage", b"c1")
    site.put(CONSENTS, b"{garbage", b"c1")
    site.send(grant("c2", int(time.time() * 1_000), purpose="marketign"))
    now = datetime.now(UTC).isoformat()
    told = f'{{"customer_id": "c3", "department": "cards", "request_id": "none", "kind": "sent", "at": "{now}"}}'
    site.put(OUTCOMES, told.encode(), b"c3")
    site.redis.set(Keys(site.name).partition(partition_of("c4", PARTITIONS)).ledger("c:c4"), b"garbage")
    scene.ask(customer_id="c4")
    scene.watch.fires(
        "ArbiterDeadLetters",
        "ArbiterConsentDeadLetters",
        "ArbiterWishesWithoutEffect",
        "ArbiterContactsUnapproved",
        "ArbiterAlarm",
    )


def a_capacity_that_is_spent(scene: Scene) -> None:
    """All places of a day are asked for just after midnight."""
    scene.ask(CAPACITY, category="regulatory")
    scene.watch.fires("ArbiterCapacitySpentEarly")


def policies_that_fail(scene: Scene) -> None:
    """A version that no build can read is put in force, and another one beside it."""

    async def shadow(policies: PolicyStore) -> None:
        record = await policies.publish("shadow", "0" * 64, "ana", b"{}")
        await policies.shadow(record.version, "ana", "a test")

    scene.site.publish({"policy": "broken"})
    scene.site.with_policies(shadow)
    scene.watch.fires("ArbiterPolicyRefused", "ArbiterShadowFails")
    scene.site.publish(policies())


def a_worker_that_is_cut_off(scene: Scene) -> None:
    """The second one does not reach Redis any more; a kill switch reaches only the first one."""
    scene.relay.cut()
    scene.site.kill("campaign", "spring")
    scene.watch.fires("ArbiterPoliciesMixed", "ArbiterWorkerCutOff")
    scene.relay.mend()
    scene.second.wait_ready()


def a_worker_that_starts_again_and_again(scene: Scene) -> None:
    """Others become the owners of its partitions, so it is fenced and ends; started again, it is killed twice."""
    redis: Any = scene.site.redis
    worker = scene.second

    def owned() -> list[bytes]:
        heads = [Keys(scene.site.name).partition(number).head for number in range(PARTITIONS)]
        return [head for head in heads if f"-{worker.pid}-" in (redis.hget(head, "owner") or b"").decode()]

    wait_until(owned, "the second worker has partitions")
    for head in owned():
        redis.hincrby(head, "epoch", 1)
    scene.ask(10 * PARTITIONS)
    assert worker.ended() == 1
    assert "was claimed by another worker while this one held it" in worker.tail()
    for _ in range(3):
        worker.end()
        worker.start_again()
        wait_until(lambda: worker.get("/metrics")[0] == 200, "the worker gives metrics again")
        time.sleep(2 * SCRAPE_SECONDS)
    scene.watch.fires("ArbiterWorkerRestarts")
    worker.wait_ready()


def a_redis_that_is_full(scene: Scene) -> None:
    """It takes no writes until the alerts fire; what came meanwhile is decided late."""
    redis: Any = scene.site.redis
    redis.config_set("maxmemory", redis.info("memory")["used_memory"])
    scene.ask(30)
    scene.site.send(grant("c5"))
    scene.site.flush()
    scene.watch.fires("ArbiterRedisMemoryHigh", "ArbiterRedisMemoryFull", "ArbiterRedisUnreachable")
    scene.watch.fires("ArbiterRequestsUndecided", "ArbiterRequestsOftenUndecided", "ArbiterFactsLate")
    redis.config_set("maxmemory", "512mb")
    scene.watch.fires("ArbiterDecisionsLate", "ArbiterDecisionsOftenLate")


def a_kafka_that_is_silent(scene: Scene) -> None:
    """Its process is stopped."""
    scene.kafka.pause()
    scene.watch.fires("ArbiterKafkaUnreachable")
    scene.kafka.resume()


def a_partition_that_lost_its_head(scene: Scene) -> None:
    """So it stops."""
    redis: Any = scene.site.redis
    redis.delete(Keys(scene.site.name).partition(0).head)
    scene.ask(10 * PARTITIONS)
    scene.watch.fires("ArbiterPartitionsStopped", "ArbiterPartitionsSlowToStart")


def a_department_without_consents(scene: Scene) -> None:
    """It asked before all else, and got nothing since, while the cards desk did."""
    scene.watch.fires("ArbiterDepartmentStarves")


def workers_that_end(scene: Scene) -> None:
    """One after the other is killed."""
    scene.second.kill()
    scene.watch.fires("ArbiterWorkerSilent")
    scene.first.kill()
    scene.watch.fires("ArbiterWorkersAbsent")


FAULTS = (
    records_that_cannot_be_taken,
    a_capacity_that_is_spent,
    policies_that_fail,
    a_worker_that_is_cut_off,
    a_worker_that_starts_again_and_again,
    a_redis_that_is_full,
    a_kafka_that_is_silent,
    a_partition_that_lost_its_head,
    a_department_without_consents,
    workers_that_end,
)


@pytest.mark.timeout(400)  # about two minutes; the machine may be busy
def test_each_alert_fires_by_a_fault(scene: Scene) -> None:
    """One fault after the other; before the first one nothing fires, and in the end each has."""
    # Starving takes an hour (here: 90 s), so it begins before all others.
    scene.ask(25, department="loans", category="promotional")
    time.sleep(WELL_SECONDS)
    assert {} == scene.watch.seen

    for fault in FAULTS:
        fault(scene)

    assert set(alerts()) - UNFIRED <= set(scene.watch.seen)
    assert [] == [told for told in scene.watch.seen.values() if "%!" in told or "NaN" in told or "<no value>" in told]
