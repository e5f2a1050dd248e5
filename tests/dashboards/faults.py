"""What goes wrong while the pictures are taken: each of these happens to real workers and real servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from arbiter.messages import CONSENTS, OUTCOMES, REQUESTS
from arbiter.state.keys import Keys
from arbiter.state.policy_store import PolicyStore
from tests.dashboards.bank import Bank, policy, with_unknown_field
from tests.servers.processes import KafkaServer, ValkeyServer
from tests.servers.prometheus import PrometheusServer
from tests.servers.workers import Site, Worker, wait_until

AWAY_S = 4.0
RECOVERY_S = 120.0
WORKERS = 2


@dataclass
class Stage:
    """All that a fault may touch."""

    site: Site
    bank: Bank
    kafka: KafkaServer
    valkey: ValkeyServer
    prometheus: PrometheusServer

    @property
    def running(self) -> list[Worker]:
        """The workers that run, the oldest first."""
        return [one for one in self.site.workers if one.is_running and one.command == "worker"]

    def recover(self) -> None:
        """Start workers for those that died, as a supervisor does, and return once all are ready."""
        wait_until(self._are_ready, "all workers are ready again", RECOVERY_S)

    def _are_ready(self) -> bool:
        while len(self.running) < WORKERS:
            self.site.start_one()
            self.scrape()
        return all(worker.is_ready for worker in self.running)

    def await_census(self) -> None:
        """Return once workers have counted what waits, and Prometheus has read it. They count now and then."""
        waiting = f"sum(arbiter_waiting_requests) > 0 and count(arbiter_waiting_census_timestamp_seconds) == {WORKERS}"
        wait_until(lambda: self.prometheus.query(waiting), "what waits is counted", RECOVERY_S)

    def scrape(self) -> None:
        """Prometheus scrapes all workers that run, and the canary."""
        self.prometheus.scrape(*(one.address for one in self.site.workers if one.is_running))


def bad_records(stage: Stage) -> None:
    """Dead letters on several topics, unknown fields, and records on a wrong partition."""
    site = stage.site
    for number in range(12):
        site.put(REQUESTS, b'{"request_id": ', f"x{number}".encode())
        site.put(REQUESTS, b'{"request_id": "a", "customer_id": "b"}', b"b")
    for _ in range(5):
        site.put(OUTCOMES, b"\xff\xfe", b"b")
        site.put(CONSENTS, None, b"b")
    for number in range(16):
        request = stage.bank.request()
        site.put(REQUESTS, with_unknown_field(request), request.customer_id.encode())
        site.send(stage.bank.request(), partition=number % site.partitions)


def households_change(stage: Stage) -> None:
    """Customers move, with all that their household knows of them."""
    stage.site.send(*(stage.bank.moves() for _ in range(60)))


def another_policy(stage: Stage) -> None:
    """Fewer offers a week; what waits and what is unsent is judged again."""
    stage.site.publish(policy(offers_a_week=3), recalls=True)


def refused_policies(stage: Stage) -> None:
    """A policy and a shadow policy that no worker can take, and good ones after them."""
    stage.site.publish(policy(timezone="Nowhere/Land"))
    _put_in_shadow(stage, policy(timezone="Nowhere/Land"))
    time.sleep(AWAY_S)
    stage.site.publish(policy(offers_a_week=3))
    shadow_policy(stage)


def shadow_policy(stage: Stage) -> None:
    """A stricter policy is evaluated beside the one in force."""
    _put_in_shadow(stage, policy(offers_a_week=1))


def _put_in_shadow(stage: Stage, content: dict[str, Any]) -> None:
    packed = msgspec.json.encode(content)

    async def order(policies: PolicyStore) -> None:
        record = await policies.publish("shadow", sha256(packed).hexdigest(), "ana", packed)
        await policies.shadow(record.version, "ana", "a trial")

    stage.site.with_policies(order)


def kill_switch(stage: Stage) -> None:
    """A campaign is stopped, and what is unsent of it is recalled."""
    stage.site.kill("campaign", "car")


def dead_worker(stage: Stage) -> None:
    """The oldest worker is killed; another one comes a little later."""
    stage.running[0].kill()
    time.sleep(AWAY_S)


def silent_worker(stage: Stage) -> None:
    """The oldest worker stands still until its partitions are another's, and then goes on."""
    oldest = stage.running[0]
    oldest.pause()
    time.sleep(3 * AWAY_S)
    oldest.resume()
    time.sleep(AWAY_S)


def damaged_partition(stage: Stage) -> None:
    """A key of a partition has another type for a while: the partition stops, and goes on once it is mended."""
    redis: Any = stage.site.redis
    timers = Keys(stage.site.name).partition(1).timers
    kept = f"{stage.site.name}:kept"
    redis.rename(timers, kept)
    redis.rpush(timers, "x")
    stopped = 'sum(arbiter_partitions{state="stopped"}) > 0'
    wait_until(lambda: stage.prometheus.query(stopped), "the partition is seen to be stopped", RECOVERY_S)
    time.sleep(AWAY_S)
    redis.rename(kept, timers)


def redis_away(stage: Stage) -> None:
    """Redis answers nothing, and then comes back."""
    stage.valkey.stop()
    time.sleep(AWAY_S)
    stage.valkey.start()


def kafka_away(stage: Stage) -> None:
    """Kafka is killed, and comes back a little later than the group's session lasts."""
    stage.kafka.kill()
    time.sleep(2 * AWAY_S)
    stage.kafka.start()


FAULTS: tuple[Callable[[Stage], None], ...] = (
    households_change, shadow_policy, bad_records, another_policy, dead_worker, kill_switch, redis_away,
    refused_policies, damaged_partition, kafka_away, silent_worker,
)  # fmt: skip
"""In the order in which they happen."""
