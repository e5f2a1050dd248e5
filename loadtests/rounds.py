"""One contender, one round: two backlogs, each on its own topics with an empty Redis, then arrivals on a schedule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import redis
from msgspec import Struct

from arbiter.messages import DECISIONS, REQUESTS
from arbiter.policy.document import PolicyDocument
from arbiter.worker.kafka import topics
from loadtests.contenders.base import Contender, Site
from loadtests.figures import NS_PER_SECOND, Drained, NoSlope, Throughput, schedule, slope
from loadtests.kafka import NotPublished, delete_topics, publish, reader
from loadtests.measure import Answers, NotDecided, Paced, drain, pace
from loadtests.process import Worker, WorkerFailed
from loadtests.traffic import Entry, Traffic
from tests.servers.processes import KafkaServer, ServerFailed, Unavailable, ValkeyServer, free_port

PARTITIONS = 32
# The larger backlog is so many times the smaller one.
FACTOR = 3
# Why there may be no figures; the text of each says what to do.
FAILURES = (NotDecided, NotPublished, NoSlope, ServerFailed, Unavailable, WorkerFailed)


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
        """The smaller of the two backlogs that this contender drains."""
        return max(int(self.records * contender.share), 1)

    def rates(self, contender: Contender) -> tuple[float, ...]:
        """Arrivals per second of this contender's latency tests."""
        return contender.rates if self.rate is None else (self.rate,)

    def arrivals(self, rate: float) -> list[int]:
        """The schedule of a latency test, warm-up included."""
        return schedule(rate, self.warm_up_seconds + self.seconds, self.seed)


class Result(Struct, frozen=True):
    """What one contender did in one round."""

    contender: str
    round: int
    small: Drained
    large: Drained
    throughput: Throughput
    paced: list[Paced]


class Place(Struct, frozen=True):
    """Where a contender works, and who hears its answers, whichever worker gives them."""

    contender: Contender
    site: Site
    answers: Answers


class Bout(Struct, frozen=True):
    """A worker at work, and who hears its answers."""

    site: Site
    worker: Worker
    answers: Answers


@contextmanager
def kafka_in(directory: Path) -> Iterator[KafkaServer]:
    """A Kafka of our own."""
    server = KafkaServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def valkey_in(directory: Path) -> Iterator[ValkeyServer]:
    """A Valkey of our own."""
    server = ValkeyServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


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
        self._made: list[Entry] = []
        # Until the arbiter has shown how long its decisions are.
        self._decision_bytes = 700

    def run(self, contender: Contender, number: int) -> Result:
        """Measure; :class:`loadtests.measure.NotDecided` or :class:`loadtests.process.WorkerFailed` with the reason."""
        backlog = self._plan.backlog(contender)
        with self.placed(contender, f"{number}-small-") as place:
            small = self.drain(place, self._requests(backlog))
        all_of_it = self._requests(FACTOR * backlog)
        with self.placed(contender, f"{number}-large-") as place, self.working(place, all_of_it) as bout:
            large = drain(bout.answers, bout.worker, self._valkey.pid)
            paced = [self._pace(bout, rate) for rate in self._plan.rates(contender)]
        if contender.name == "arbiter":
            self._decision_bytes = round(large.decision_bytes)
        return Result(contender.name, number, small, large, slope(small, large), paced)

    @contextmanager
    def placed(self, contender: Contender, label: str) -> Iterator[Place]:
        """Topics of its own for a contender, an empty Redis, and what it has to know before it starts."""
        site = Site(
            self._kafka.bootstrap,
            self._valkey.url,
            f"load-{contender.name}-{label}",
            PARTITIONS,
            self._policy,
            free_port(),
            self._decision_bytes,
        )
        with redis.Redis.from_url(site.redis) as client:
            client.flushall()
        topics.create(site.settings())
        consumer = reader(site.kafka, site.settings().topic(DECISIONS), PARTITIONS)
        try:
            contender.prepare(site, self._traffic)
            yield Place(contender, site, Answers(consumer))
        finally:
            consumer.close()
            delete_topics(site.kafka, site.prefix)

    @contextmanager
    def working(self, place: Place, entries: Sequence[Entry]) -> Iterator[Bout]:
        """A worker that has just started, and for it a backlog of requests with the next numbers."""
        site, answers = place.site, place.answers
        publish(site.kafka, site.settings().topic(REQUESTS), entries)
        command = place.contender.command()
        with Worker(place.contender.name, command, site.environment(), self._directory) as worker:
            answers.expect(answers.requests + len(entries), worker)
            yield Bout(site, worker, answers)

    def drain(self, place: Place, entries: Sequence[Entry]) -> Drained:
        """What this backlog takes a worker that has just started."""
        with self.working(place, entries) as bout:
            return drain(bout.answers, bout.worker, self._valkey.pid)

    def _pace(self, bout: Bout, rate: float) -> Paced:
        arrivals = self._plan.arrivals(rate)
        first = bout.answers.requests
        count = first + len(arrivals)
        bout.answers.expect(count)
        return pace(
            bout.answers,
            bout.worker,
            bout.site.kafka,
            bout.site.settings().topic(REQUESTS),
            self._requests(count)[first:],
            first,
            arrivals,
            int(self._plan.warm_up_seconds * NS_PER_SECOND),
            rate,
        )

    def _requests(self, count: int) -> list[Entry]:
        if len(self._made) < count:
            self._made = self._traffic.requests(count)
        return self._made[:count]
