"""Each alert of deploy/prometheus is made to fire by a real fault: real workers, Kafka and Valkey, a real Prometheus.

The rules are those of the file with every duration (ranges, offsets, ``for``) divided by HURRY: an hour is 90 s.
The numbers that are compared with (30 seconds, 14.4 times the budget) are as in production. Prometheus
looks twice a second instead of every 15 seconds.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from arbiter.messages import OUTCOMES
from arbiter.messages.canary import CANARY
from arbiter.state.keys import Keys
from arbiter.state.policy_store import PolicyStore
from arbiter.timing.instants import DAY_MS, HOUR_MS
from arbiter.worker.kafka.partitioner import partition_of
from tests.harness.alerts import RUNBOOKS, alerts, hurried
from tests.inputs.builders import document, grant, request
from tests.servers.processes import KafkaServer, ValkeyServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.relay import Relay
from tests.servers.topics import CONSENTS, DECISIONS, REQUESTS, read_topics
from tests.servers.workers import MakeSite, Site, wait_until

HURRY = 40
SECONDS_MAX = 120.0
PARTITIONS = 4
CAPACITY = 5
WELL_SECONDS = 5.0
SCRAPE_SECONDS = 0.5

BUSY = frozenset(("ArbiterDecisionsLate", "ArbiterDecisionsOftenLate"))
"""What fires on a machine that is too busy to decide within a second, without a fault of ours."""

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
        """Wait until all of these have fired."""
        wanted = set(names)
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
    """An installation with a canary and two workers, of which the second reaches Redis through a relay."""

    def __init__(self, site: Site, kafka: KafkaServer, relay: Relay) -> None:
        self.site, self.kafka, self.relay = site, kafka, relay
        site.publish(policies())
        self.first, self.second = site.start_one(), site.start_one(redis=relay.url)
        for worker in (self.first, self.second):
            worker.wait_ready()
        self.canary = site.start_canary().wait_ready()

    def begin(self, prometheus: PrometheusServer) -> None:
        """Let all be watched."""
        prometheus.scrape(self.first.address, self.second.address, self.canary.address)
        wait_until(lambda: len(prometheus.query("up == 1")) == 3, "workers and canary are scraped")
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
    given = {"clock": "wall", "partitions": PARTITIONS, "stall_timeout_ms": 3_000, "canary_interval_ms": 2_000}
    site = make_site(kafka.bootstrap, valkey.url, **given)
    with Relay(valkey.url) as relay:
        found = Scene(site, kafka, relay)
        found.begin(fresh_prometheus(interval=f"{SCRAPE_SECONDS * 1_000:.0f}ms", rule_files=[rules]))
        try:
            found.ask(20)
            yield found
        finally:
            found.watch.close()


Fault = Callable[[Scene], Iterator[None]]


def records_that_cannot_be_taken(scene: Scene) -> Iterator[None]:
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
    yield


def a_capacity_that_is_spent(scene: Scene) -> Iterator[None]:
    """All places of a day are asked for just after midnight."""
    scene.ask(CAPACITY, category="regulatory")
    yield


def policies_that_fail(scene: Scene) -> Iterator[None]:
    """A policy that no build can read is put in force, and another one beside it as a shadow."""

    async def shadow(policies: PolicyStore) -> None:
        record = await policies.publish("shadow", "0" * 64, "ana", b"{}")
        await policies.shadow(record.version, "ana", "a test")

    scene.site.publish({"policy": "broken"})
    scene.site.with_policies(shadow)
    yield
    scene.site.publish(policies())


def a_worker_that_is_cut_off(scene: Scene) -> Iterator[None]:
    """One of two workers does not reach Redis any more, and a kill switch is ordered."""
    scene.relay.cut()
    scene.site.kill("campaign", "spring")
    yield
    scene.relay.mend()
    scene.second.wait_ready()


def a_worker_that_starts_again_and_again(scene: Scene) -> Iterator[None]:
    """Others become the owners of a worker's partitions, so it is fenced and ends; it is started again and killed."""
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
    yield
    worker.wait_ready()


def a_redis_that_is_full(scene: Scene) -> Iterator[None]:
    """Redis has no memory left and takes no writes, while requests and consents come."""
    redis: Any = scene.site.redis
    redis.config_set("maxmemory", redis.info("memory")["used_memory"])
    scene.ask(30)
    scene.site.send(grant("c5"))
    scene.site.flush()
    yield


def a_stranger_that_decides(scene: Scene) -> Iterator[None]:
    """While no worker decides, somebody else writes a decision on the canary's request, about another customer."""

    def is_taken() -> bool:
        # The canary waits for five seconds only: a round may be over when it is answered.
        lie(scene.site)
        return scene.canary.metric("arbiter_canary_requests_total", result="wrong") > 0

    wait_until(is_taken, "the canary reads the wrong decision")
    yield


def lie(site: Site) -> None:
    """Decide on the canary's newest request as if another customer had been asked for."""
    asked = read_topics(site.settings.kafka, site.settings.topic_prefix, (REQUESTS,))
    canarys = [one for one in asked if (one.key or b"").startswith(CANARY.encode())]
    newest = max(canarys, key=lambda one: one.timestamp_ms)
    source = {"topic": site.settings.topic(REQUESTS), "partition": newest.partition, "offset": newest.offset}
    request_id = newest.fields()["request_id"]
    said = {"request_id": request_id, "customer_id": "c6", "department": "cards", "source": source}
    site.put(DECISIONS, json.dumps(said).encode(), newest.key, newest.partition)
    site.flush()


def a_kafka_that_is_silent(scene: Scene) -> Iterator[None]:
    """Kafka's process stands still, and Redis is full: for a minute nothing was decided."""
    scene.kafka.pause()
    yield
    scene.kafka.resume()


def requests_that_waited(scene: Scene) -> Iterator[None]:
    """Redis has memory again, and what waited is decided late."""
    redis: Any = scene.site.redis
    redis.config_set("maxmemory", "512mb")
    yield
    for worker in (scene.first, scene.second):
        worker.wait_ready()


def a_partition_that_lost_its_head(scene: Scene) -> Iterator[None]:
    """Redis loses a partition's head, so it stops, and a capacity, which cannot be counted again without that one."""
    redis: Any = scene.site.redis
    redis.delete(Keys(scene.site.name).partition(0).head, *redis.keys(f"{scene.site.name}:stock:*"))
    scene.ask(10 * PARTITIONS)
    # They may wait for tomorrow's places.
    expires_at = int(time.time() * 1_000) + 2 * DAY_MS
    scene.ask(10 * PARTITIONS, category="regulatory", campaign="summer", expires_at=expires_at)
    yield


def a_department_without_consents(_scene: Scene) -> Iterator[None]:
    """A desk asks for customers who gave no consent, and for nobody else, while another desk gets approvals."""
    yield  # it asked before all else


def a_worker_that_is_killed(scene: Scene) -> Iterator[None]:
    """One of two workers is killed."""
    scene.second.kill()
    yield


def the_last_worker_that_is_killed(scene: Scene) -> Iterator[None]:
    """The other one is killed, too, and nobody starts them."""
    scene.first.kill()
    yield


def a_canary_that_is_killed(scene: Scene) -> Iterator[None]:
    """The canary is killed, and nobody starts it."""
    scene.canary.kill()
    yield


FAULTS: dict[Fault, tuple[str, ...]] = {
    records_that_cannot_be_taken: (
        "ArbiterDeadLetters",
        "ArbiterConsentDeadLetters",
        "ArbiterWishesWithoutEffect",
        "ArbiterContactsUnapproved",
        "ArbiterAlarm",
    ),
    a_capacity_that_is_spent: ("ArbiterCapacitySpentEarly",),
    policies_that_fail: ("ArbiterPolicyRefused", "ArbiterShadowFails"),
    a_worker_that_is_cut_off: ("ArbiterPoliciesMixed", "ArbiterWorkerCutOff"),
    a_worker_that_starts_again_and_again: ("ArbiterWorkerRestarts",),
    a_redis_that_is_full: (
        "ArbiterRedisMemoryHigh",
        "ArbiterRedisMemoryFull",
        "ArbiterRedisUnreachable",
        "ArbiterRequestsUndecided",
        "ArbiterRequestsOftenUndecided",
        "ArbiterFactsLate",
    ),
    a_stranger_that_decides: ("ArbiterCanaryWrong",),
    a_kafka_that_is_silent: ("ArbiterKafkaUnreachable", "ArbiterCanaryLate"),
    requests_that_waited: ("ArbiterDecisionsLate", "ArbiterDecisionsOftenLate"),
    a_partition_that_lost_its_head: ("ArbiterPartitionsStopped", "ArbiterPartitionsSlowToStart"),
    a_department_without_consents: ("ArbiterDepartmentStarves",),
    a_canary_that_is_killed: ("ArbiterCanarySilent",),
    a_worker_that_is_killed: ("ArbiterWorkerSilent",),
    the_last_worker_that_is_killed: ("ArbiterWorkersAbsent",),
}
"""Each fault, and the alerts that it makes fire, in the order in which they are made."""


@pytest.mark.timeout(500)  # about three minutes; the machine may be busy
def test_each_alert_fires_by_its_fault(scene: Scene) -> None:
    """One fault after the other; before the first one nothing fires."""
    # Starving takes an hour (here: 90 s), so it begins before all others.
    scene.ask(25, department="loans", category="promotional")
    time.sleep(WELL_SECONDS)
    assert set(scene.watch.seen) <= BUSY

    for fault, names in FAULTS.items():
        at_work = fault(scene)
        next(at_work)
        scene.watch.fires(*names)
        next(at_work, None)

    assert set(alerts()) == set(scene.watch.seen)
    assert [] == [told for told in scene.watch.seen.values() if "%!" in told or "NaN" in told or "<no value>" in told]


def test_the_page_tells_of_each_alert_what_made_it_fire() -> None:
    """docs/runbooks/README.md has the faults in the words of their docstrings."""
    page = (RUNBOOKS / "README.md").read_text()
    rows = [f"| {', '.join(names)} | {fault.__doc__} |" for fault, names in FAULTS.items()]

    assert sorted(alerts()) == sorted(name for names in FAULTS.values() for name in names)
    assert "\n".join(rows) in page
