"""One contender, one round: topics of its own, an empty Redis, a backlog, then arrivals on a schedule."""

from __future__ import annotations

from pathlib import Path

import redis
from msgspec import Struct

from arbiter.messages import DECISIONS, REQUESTS
from arbiter.policy.document import PolicyDocument
from arbiter.worker.kafka import topics
from loadtests.contenders.base import Contender, Site
from loadtests.figures import NS_PER_SECOND, schedule
from loadtests.kafka import delete_topics, publish, reader
from loadtests.measure import Answers, Paced, Throughput, drain, pace
from loadtests.process import Worker
from loadtests.traffic import Entry, Traffic
from tests.servers.processes import KafkaServer, ValkeyServer, free_port

PARTITIONS = 32


class Plan(Struct, frozen=True):
    """How much is measured. ``rate`` replaces each contender's own, if given."""

    rounds: int
    records: int
    customers: int
    seconds: float
    warm_up_seconds: float
    rate: float | None
    seed: int

    def backlog(self, contender: Contender) -> int:
        """How many records this contender drains."""
        return max(int(self.records * contender.share), 1)

    def arrivals(self, contender: Contender) -> tuple[float, list[int]]:
        """The rate and the schedule of this contender's latency test, warm-up included."""
        rate = self.rate or contender.rate
        return rate, schedule(rate, self.warm_up_seconds + self.seconds, self.seed)


class Result(Struct, frozen=True):
    """What one contender did in one round."""

    contender: str
    round: int
    throughput: Throughput
    paced: Paced


class Rig:
    """The servers, and the same input for everyone."""

    def __init__(
        self, kafka: KafkaServer, valkey: ValkeyServer, policy: PolicyDocument, plan: Plan, directory: Path
    ) -> None:
        self._kafka = kafka
        self._valkey = valkey
        self._policy = policy
        self._plan = plan
        self._directory = directory
        self._traffic = Traffic(policy, plan.customers, PARTITIONS, plan.seed)
        self._requests: list[Entry] = []
        # Until the arbiter has shown how long its decisions are.
        self._decision_bytes = 700

    def run(self, contender: Contender, number: int) -> Result:
        """Measure; :class:`loadtests.measure.NotDecided` or :class:`loadtests.process.WorkerFailed` with the reason."""
        site = Site(
            self._kafka.bootstrap,
            self._valkey.url,
            f"load-{contender.name}-{number}-",
            PARTITIONS,
            self._policy,
            free_port(),
            self._decision_bytes,
        )
        with redis.Redis.from_url(site.redis) as client:
            client.flushall()
        topics.create(site.settings())
        try:
            contender.prepare(site, self._traffic)
            result = self._measure(contender, number, site)
        finally:
            delete_topics(site.kafka, site.prefix)
        if contender.name == "arbiter":
            self._decision_bytes = round(result.throughput.decision_bytes)
        return result

    def _measure(self, contender: Contender, number: int, site: Site) -> Result:
        settings, plan = site.settings(), self._plan
        backlog = plan.backlog(contender)
        rate, arrivals = plan.arrivals(contender)
        requests = self._first(backlog + len(arrivals))
        topic = settings.topic(REQUESTS)
        publish(site.kafka, topic, requests[:backlog])
        consumer = reader(site.kafka, settings.topic(DECISIONS), PARTITIONS)
        try:
            with Worker(contender.name, contender.command(), site.environment(), self._directory) as worker:
                answers = Answers(consumer, worker)
                answers.expect(backlog)
                throughput = drain(answers, worker, self._valkey.pid)
                answers.expect(backlog + len(arrivals))
                paced = pace(
                    answers,
                    worker,
                    site.kafka,
                    topic,
                    requests[backlog:],
                    backlog,
                    arrivals,
                    int(plan.warm_up_seconds * NS_PER_SECOND),
                    rate,
                )
        finally:
            consumer.close()
        return Result(contender.name, number, throughput, paced)

    def _first(self, count: int) -> list[Entry]:
        if len(self._requests) < count:
            self._requests = self._traffic.requests(count)
        return self._requests[:count]
