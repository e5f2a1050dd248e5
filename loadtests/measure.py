"""The measurements: a backlog drained, and arrivals on a schedule. Both are told by decisions that were published."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from confluent_kafka import Consumer, Message
from msgspec import Struct

from loadtests.figures import Drained, Latency, latency, percentile
from loadtests.generator import generate
from loadtests.process import Worker, cpu_seconds, waiting_seconds
from loadtests.traffic import Entry, decision_in, number_in

START_SECONDS_MAX = 120.0
SILENCE_SECONDS_MAX = 30.0
DRAIN_BATCH = 2_000
DRAIN_POLL_SECONDS = 0.05


class Paced(Struct, frozen=True):
    """Latency at a rate. ``late_p99_ms`` is how late the generator itself was; it is part of the latency.

    Processor time is the worker's, over the measured requests.
    """

    rate: float
    latency: Latency
    late_p99_ms: float
    worker_us_per_request: float
    starved: float


class NotDecided(Exception):
    """Requests that got no decision: a contender that loses some has no figures."""


class Answers:
    """Reads decisions and knows which requests are still to be answered.

    ``requests`` counts those that were, ``decisions`` what was decided about them: a request that was put off gets more
    than one. A decision that is told again counts once.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._worker: Worker | None = None
        self._begun_at = self._heard_at = time.monotonic()
        self._has_begun = False
        self._seen = bytearray()
        self._decisions: set[bytes | int] = set()
        self.bytes = 0
        self.requests = 0

    def expect(self, count: int, worker: Worker | None = None) -> None:
        """Requests with numbers below ``count`` are or will be published, for this worker from now on."""
        if worker is not None:
            self._worker, self._has_begun = worker, False
        self._seen.extend(bytes(count - len(self._seen)))
        self._heard_at = time.monotonic()

    @property
    def are_complete(self) -> bool:
        """Whether every expected request was answered."""
        return self.requests == len(self._seen)

    @property
    def decisions(self) -> int:
        """How many decisions were seen."""
        return len(self._decisions)

    def read(self, most: int, seconds: float) -> list[int]:
        """The numbers of requests that are answered for the first time, after at most ``seconds``.

        :class:`NotDecided` when nothing came for too long.
        """
        first = [number for message in self._consumer.consume(most, seconds) for number in self._note(message)]
        if first:
            self._has_begun, self._heard_at = True, time.monotonic()
        elif time.monotonic() - self._heard_at > (SILENCE_SECONDS_MAX if self._has_begun else START_SECONDS_MAX):
            left = f"{len(self._seen) - self.requests} of {len(self._seen)}"
            failure = self._worker.failure("is silent") if self._worker else "No worker was started."
            raise NotDecided(f"{left} requests have no decision. {failure}")
        elif self._worker:
            self._worker.check()
        return first

    def _note(self, message: Message) -> list[int]:
        value = message.value() or b""
        number = number_in(value)
        if message.error() is not None or number is None or number >= len(self._seen):
            return []
        decision = decision_in(value) or number
        if decision not in self._decisions:
            self._decisions.add(decision)
            self.bytes += len(value)
        if self._seen[number]:
            return []
        self._seen[number] = 1
        self.requests += 1
        return [number]


def drain(answers: Answers, worker: Worker, redis_pid: int) -> Drained:
    """How long a published backlog takes a worker that has just started, and what it costs."""
    redis_before, requests, decisions = cpu_seconds(redis_pid), answers.requests, answers.decisions
    first_at = last_at = 0.0
    while not answers.are_complete:
        if answers.read(DRAIN_BATCH, DRAIN_POLL_SECONDS):
            last_at = time.monotonic()
            first_at = first_at or last_at
    seconds = last_at - first_at
    return Drained(
        answers.requests - requests,
        answers.decisions - decisions,
        seconds,
        cpu_seconds(worker.pid),
        cpu_seconds(redis_pid) - redis_before,
        answers.bytes / answers.decisions,
        waiting_seconds(worker.pid) / max(seconds, 1.0),
    )


def pace(
    answers: Answers,
    worker: Worker,
    bootstrap: str,
    topic: str,
    entries: Sequence[Entry],
    first: int,
    arrivals_ns: Sequence[int],
    warm_up_ns: int,
    rate: float,
) -> Paced:
    """Latency of requests that arrive on a schedule; ``entries`` have the numbers from ``first`` on.

    Open loop: a generator in a process of its own follows the schedule whatever the contender does, and a request's
    latency counts from when it was due. So a stall is seen by everyone whom it made wait.
    """
    pipe, remote = multiprocessing.Pipe()
    arguments = (bootstrap, topic, entries, arrivals_ns, remote)
    generator = multiprocessing.get_context("spawn").Process(target=generate, args=arguments, daemon=True)
    measured = [i for i, due_ns in enumerate(arrivals_ns) if due_ns >= warm_up_ns]
    generator.start()
    try:
        start_ns: int = _receive(pipe, generator)
        arrived_ns, used = _arrivals(answers, worker, first, len(arrivals_ns), measured[0])
        late_ns, lost = _receive(pipe, generator)
    finally:
        generator.join(SILENCE_SECONDS_MAX)
    if lost:
        raise NotDecided(f"the generator could not publish {lost} requests")
    found = latency([start_ns + arrivals_ns[i] for i in measured], [arrived_ns[i] for i in measured])
    late_ms = percentile(sorted(late_ns[i] / 1e6 for i in measured), 0.99)
    return Paced(rate, found, late_ms, 1e6 * used.worker_seconds / len(measured), used.starved)


class Used(Struct, frozen=True):
    """Processor time of the worker in a span of time, and the share of it for which its threads had no core."""

    worker_seconds: float
    starved: float


def _arrivals(answers: Answers, worker: Worker, first: int, count: int, warm_up: int) -> tuple[list[int], Used]:
    """When each request was answered, and what those after the warm-up took."""
    arrived_ns, before = [0] * count, answers.requests
    begun: tuple[float, float, float] | None = None
    while not answers.are_complete:
        # One at a time: a call for more would wait for them.
        for number in answers.read(1, DRAIN_POLL_SECONDS):
            arrived_ns[number - first] = time.monotonic_ns()
        if begun is None and answers.requests - before >= warm_up:
            begun = _clocks(worker)
    elapsed, used, waited = (after - at for after, at in zip(_clocks(worker), begun or _clocks(worker), strict=True))
    return arrived_ns, Used(used, waited / elapsed)


def _clocks(worker: Worker) -> tuple[float, float, float]:
    return time.monotonic(), cpu_seconds(worker.pid), waiting_seconds(worker.pid)


def _receive(pipe: Connection, generator: multiprocessing.process.BaseProcess) -> Any:
    while not pipe.poll(1):
        if not generator.is_alive():
            raise NotDecided(f"the generator ended with code {generator.exitcode}")
    return pipe.recv()
