"""The arithmetic of a load test: schedules of arrivals, percentiles, medians over rounds, ratios. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from statistics import median

from msgspec import Struct

NS_PER_SECOND = 1_000_000_000


class NoSlope(ValueError):
    """The two backlogs are too much alike."""


class Spread(Struct, frozen=True):
    """What several rounds gave: the median, the lowest and the highest."""

    median: float
    low: float
    high: float


class Latency(Struct, frozen=True):
    """Milliseconds from the scheduled arrival to the decision."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class Drained(Struct, frozen=True):
    """A backlog and what it took until each request had its first answer; nothing is left out of processor time.

    ``seconds`` run from the first answer to the last. ``starved`` is for how many seconds of each second the worker's
    threads, together, were ready but had no core.
    """

    requests: int
    decisions: int
    seconds: float
    worker_seconds: float
    redis_seconds: float
    decision_bytes: float
    starved: float


class Throughput(Struct, frozen=True):
    """The slope between two backlogs: requests that got their first answer, decisions first and later ones."""

    requests_per_second: float
    decisions_per_second: float
    worker_us_per_request: float
    worker_us_per_decision: float
    redis_us_per_request: float
    redis_us_per_decision: float
    decision_bytes: float
    starved: float


def spread(values: Sequence[float]) -> Spread:
    """Median and extremes of at least one value; ``ValueError`` for none."""
    if not values:
        raise ValueError("no rounds to take a median of")
    return Spread(median(values), min(values), max(values))


def percentile(ascending: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``share`` (0 to 1) of all values do not exceed.

    A value that occurred, never one in between; ``ValueError`` without values or for a share out of range.
    """
    if not ascending or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(ascending)} values")
    # Rounded first: 0.07 * 100 is 7.000000000000001 in doubles, and would take the eighth value.
    rank = math.ceil(round(share * len(ascending), 9))
    return ascending[max(rank, 1) - 1]


def latency(scheduled_ns: Sequence[int], arrived_ns: Sequence[int]) -> Latency:
    """The distribution of ``arrived − scheduled``, pair by pair, both on the same clock."""
    ascending = sorted((b - a) / 1e6 for a, b in zip(scheduled_ns, arrived_ns, strict=True))
    p50, p90, p99 = (percentile(ascending, share) for share in (0.5, 0.9, 0.99))
    return Latency(len(ascending), p50, p90, p99, ascending[-1])


def schedule(rate: float, seconds: float, seed: int) -> list[int]:
    """When requests arrive, in nanoseconds from the start: independent of each other, ``rate`` a second on average.

    A Poisson process, as of many senders who do not know of one another: it has bursts, an even beat would hide
    what they do. Ends before ``seconds``; the same arguments give the same schedule.
    """
    if rate <= 0:
        raise ValueError(f"arrivals need a rate above 0, not {rate}")
    chance = random.Random(seed)
    arrivals, at = [], chance.expovariate(rate)
    while at < seconds:
        arrivals.append(int(at * NS_PER_SECOND))
        at += chance.expovariate(rate)
    return arrivals


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Ours by theirs, round by round.

    The rounds of one number ran one after the other, so what the machine did meanwhile touched both alike.
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def slope(small: Drained, large: Drained) -> Throughput:
    """What a request more costs: the larger backlog less the smaller one.

    Start-up, first connections, facts that are read before and records that were fetched before the first answer are
    in both and cancel out. :class:`NoSlope` if the larger one is not larger, or took no longer.
    """
    requests = large.requests - small.requests
    seconds = large.seconds - small.seconds
    if requests <= 0 or seconds <= 0:
        raise NoSlope(
            f"no slope between {small.requests} requests in {small.seconds:.2f} s and {large.requests} in "
            f"{large.seconds:.2f} s; take more --records"
        )
    decisions = large.decisions - small.decisions
    worker_us = 1e6 * (large.worker_seconds - small.worker_seconds)
    redis_us = 1e6 * (large.redis_seconds - small.redis_seconds)
    return Throughput(
        requests / seconds,
        decisions / seconds,
        worker_us / requests,
        worker_us / decisions,
        redis_us / requests,
        redis_us / decisions,
        large.decision_bytes,
        large.starved,
    )
