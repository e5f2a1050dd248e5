"""From a load and the figures to an installation: partitions, workers, Redis, Kafka."""

from __future__ import annotations

import math

from msgspec import Struct

from arbiter.ledger.identity import ANSWERS_KEPT_MS
from arbiter.settings import PARTITIONS_MAX, Settings
from arbiter.sizing.figures import Figures
from arbiter.sizing.kafka import Kept, kept
from arbiter.sizing.load import Load
from arbiter.timing.instants import DAY_MS

GIB = 1 << 30
WORKERS_MIN = 2
PARTITIONS_MIN = 32
GROWTH = 2
"""Partitions for each worker at least: their number is fixed, the load is not."""
ANSWER_DAYS = ANSWERS_KEPT_MS // DAY_MS


class Rates(Struct, frozen=True):
    """What one process does at most, nothing kept free."""

    worker: float
    """Requests a second of a worker, slowed by what many customers in Redis cost."""
    redis: float
    """Requests a second that one Redis keeps up with."""
    redis_us: float
    slower: float
    """What a decision costs with many customers in Redis, by one with few."""


class Bound(Struct, frozen=True):
    """What ends an installation's growth: this load, by installation, and the most that it bears."""

    what: str
    used: float
    at_most: float
    unit: str
    then: str
    """What happens beyond it."""

    @property
    def times(self) -> float:
        """The bound is reached at so many times this load."""
        return self.at_most / self.used


class Plan(Struct, frozen=True):
    """What the load needs. Partitions, workers and memory are those of each installation."""

    load: Load
    rates: Rates
    installations: int
    partitions: int
    workers: int
    ledgers_bytes: float
    answers_bytes: float
    kafka: list[Kept]
    bounds: list[Bound]
    """What breaks first comes first."""

    @property
    def redis_bytes(self) -> float:
        """What Redis holds, by installation."""
        return self.ledgers_bytes + self.answers_bytes

    @property
    def machine_bytes(self) -> float:
        """The same with what is kept free."""
        return self.redis_bytes / (1 - self.load.headroom)


def rates_of(figures: Figures) -> Rates:
    """A worker on a backlog, slowed as with many customers in Redis; the dearest request of Redis."""
    few, many = figures.cold.worker_us[0].median, figures.cold.worker_us[-1].median
    slower = max(many / few, 1.0)
    redis_us = max(figures.worker.redis_us_per_request.median, *(one.median for one in figures.cold.redis_us))
    return Rates(figures.worker.requests_per_second.median / slower, 1e6 / redis_us, redis_us, slower)


def plan(load: Load, figures: Figures, settings: Settings) -> Plan:
    """The smallest number of installations of which none passes a bound, and what each needs."""
    rates, case = rates_of(figures), figures.case(load.like)
    free = 1 - load.headroom
    ledgers = load.customers * case.ledger_bytes
    answers = load.customers * load.per_week / 7 * ANSWER_DAYS * case.answer_bytes
    by_memory = (ledgers + answers) / (load.redis_gib * GIB * free)
    by_redis = load.per_second / (rates.redis * free)
    by_partitions = load.per_second / (rates.worker * free * (PARTITIONS_MAX // GROWTH - 1))
    count = math.ceil(max(by_memory, by_redis, by_partitions, 1))
    share = load.per_second / count
    workers = max(math.ceil(share / (rates.worker * free)) + 1, WORKERS_MIN)
    partitions = max(PARTITIONS_MIN, 1 << (GROWTH * workers - 1).bit_length())
    bounds = _bounds(load, rates, partitions, share, (ledgers + answers) / count)
    return Plan(
        load, rates, count, partitions, workers, ledgers / count, answers / count, kept(load, figures, settings), bounds
    )


def _bounds(load: Load, rates: Rates, partitions: int, share: float, held: float) -> list[Bound]:
    bounds = [
        Bound("memory of Redis", held / GIB, load.redis_gib, "GiB",
              "Redis refuses writes: nothing is decided, requests wait on Kafka"),
        Bound("processor of Redis", share, rates.redis, "requests/s",
              "decisions come later and later: Redis runs scripts on one core"),
        Bound("workers: one for each partition", share, rates.worker * partitions, "requests/s",
              "lag grows, and more workers do not help: the number of partitions is fixed"),
    ]  # fmt: skip
    return sorted(bounds, key=lambda bound: bound.times)
