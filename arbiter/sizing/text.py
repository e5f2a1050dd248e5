"""A plan in words: rows of what, how much and how it came about."""

from __future__ import annotations

from arbiter.sizing.figures import Figures
from arbiter.sizing.kafka import Kept
from arbiter.sizing.plan import ANSWER_DAYS, GIB, GROWTH, PARTITIONS_MIN, WORKERS_MIN, Bound, Plan
from arbiter.worker.kafka.topic_table import FOR_EVER

Row = tuple[str, str, str]

STEPS = ("B", "kB", "MB", "GB", "TB", "PB")


def rows(plan: Plan, figures: Figures) -> list[Row]:
    """What an installation needs, and why."""
    load, rates = plan.load, plan.rates
    each = "" if plan.installations == 1 else ", each"
    return [
        ("installations", f"{plan.installations:,}", _why_so_many(plan)),
        (f"workers{each}", f"{plan.workers:,}", (
            f"{load.per_second / plan.installations:,.0f} requests/s by {rates.worker * (1 - load.headroom):,.0f} "
            f"(measured: {figures.worker.requests_per_second.median:,.0f}; {rates.slower:.2f} times slower with "
            f"{figures.cold.many:,} customers in Redis; {load.headroom:.0%} headroom), and one more; "
            f"{WORKERS_MIN} at least"
        )),
        (f"partitions{each}", f"{plan.partitions:,}", (
            f"{GROWTH} for each worker, since the number is fixed; a power of two, {PARTITIONS_MIN} at least"
        )),
        (f"Redis holds{each}", gib(plan.redis_bytes), _held(plan, figures)),
        (f"memory for Redis{each}", gib(plan.machine_bytes), (
            f"the same with {load.headroom:.0%} headroom, which copies on write need while Redis saves or rewrites"
        )),
        ("Kafka keeps, all replicas", size(sum(one.bytes for one in plan.kafka)), (
            f"below, {load.replicas} replicas, not compressed; of what is kept for ever the first year"
        )),
    ]  # fmt: skip


def _why_so_many(plan: Plan) -> str:
    if plan.installations == 1:
        return "one Redis is enough"
    first = plan.bounds[0].what
    return f"one would pass its bound ({first}); each has its own Redis, topics and share of the customers"


def _held(plan: Plan, figures: Figures) -> str:
    load, case = plan.load, figures.case(plan.load.like)
    people = load.customers / plan.installations
    return (
        f"{people:,.0f} ledgers of {case.ledger_bytes:.0f} bytes (measured, `{case.case}`): {gib(plan.ledgers_bytes)}; "
        f"{load.per_week:.3g} answers a week for {ANSWER_DAYS} days of {case.answer_bytes:.0f} bytes each: "
        f"{gib(plan.answers_bytes)}"
    )


def topic_rows(plan: Plan) -> list[Row]:
    """What each topic holds."""
    return [(one.topic, size(one.bytes), _topic(one)) for one in plan.kafka]


def _topic(one: Kept) -> str:
    kept = "for ever: this much a year" if one.days == FOR_EVER else f"{one.days} days"
    return f"{one.per_day:,.0f} records a day of {one.record_bytes:.0f} bytes, kept {kept}"


def bound_rows(plan: Plan) -> list[Row]:
    """What breaks first, and what then."""
    return [(bound.what, f"at {bound.times:,.1f} × this load", _bound(bound)) for bound in plan.bounds]


def _bound(bound: Bound) -> str:
    return f"{bound.used:,.0f} of {bound.at_most:,.0f} {bound.unit} used; beyond: {bound.then}"


def gib(count: float) -> str:
    """Memory: ``17.1 GiB``."""
    value = count / GIB
    return f"{value:,.1f} GiB" if value < 100 else f"{value:,.0f} GiB"  # noqa: PLR2004 - three digits are enough


def size(count: float) -> str:
    """Volume on disk: ``2.1 TB``."""
    step = 0
    while count >= 1_000 and step < len(STEPS) - 1:  # noqa: PLR2004 - as kilo, mega and giga are
        count, step = count / 1_000, step + 1
    return f"{count:.3g} {STEPS[step]}"
