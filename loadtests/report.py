"""What a load test found, as tables for people and as JSON for machines."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from loadtests.figures import Spread, ratios, spread
from loadtests.rounds import Plan, Result

OURS = "arbiter"
STARVED_MAX = 0.2
LATE_MS_MAX = 5.0
PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "redis", "msgspec")


class Summary(Struct, frozen=True):
    """One contender over all rounds."""

    contender: str
    per_second: Spread
    worker_cpu_us: Spread
    redis_cpu_us: Spread
    decision_bytes: float
    rate: float
    p50_ms: Spread
    p99_ms: Spread
    max_ms: Spread
    starved: float
    generator_late_p99_ms: float


class Compared(Struct, frozen=True):
    """The arbiter by another contender, round by round."""

    other: str
    per_second: Spread
    worker_cpu_us: Spread


class Report(Struct, frozen=True):
    """Everything about one load test."""

    at: str
    machine: dict[str, str]
    plan: Plan
    policy: str
    rules: int
    summaries: list[Summary]
    compared: list[Compared]
    rounds: list[Result]


def report(plan: Plan, policy: str, rules: int, results: Sequence[Result]) -> Report:
    """Summaries and ratios of all rounds; contenders in the order in which they ran."""
    names = list(dict.fromkeys(result.contender for result in results))
    by_name = {name: [result for result in results if result.contender == name] for name in names}
    summaries = [_summary(name, rounds) for name, rounds in by_name.items()]
    others = [name for name in names if name != OURS] if OURS in names else []
    compared = [_compared(name, by_name[OURS], by_name[name]) for name in others]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(at, machine(), plan, policy, rules, summaries, compared, list(results))


def _summary(name: str, rounds: Sequence[Result]) -> Summary:
    def over(figure: Callable[[Result], float]) -> Spread:
        return spread([figure(result) for result in rounds])

    return Summary(
        name,
        over(lambda result: result.throughput.per_second),
        over(lambda result: result.throughput.worker_cpu_us),
        over(lambda result: result.throughput.redis_cpu_us),
        over(lambda result: result.throughput.decision_bytes).median,
        rounds[0].paced.rate,
        over(lambda result: result.paced.latency.p50_ms),
        over(lambda result: result.paced.latency.p99_ms),
        over(lambda result: result.paced.latency.max_ms),
        over(lambda result: max(result.throughput.starved, result.paced.starved)).high,
        over(lambda result: result.paced.late_p99_ms).high,
    )


def _compared(name: str, ours: Sequence[Result], theirs: Sequence[Result]) -> Compared:
    def by(figure: Callable[[Result], float]) -> Spread:
        return ratios([figure(result) for result in ours], [figure(result) for result in theirs])

    return Compared(
        name,
        by(lambda result: result.throughput.per_second),
        by(lambda result: result.throughput.worker_cpu_us),
    )


def machine() -> dict[str, str]:
    """What the figures depend on, besides the code."""
    return {
        "cores": str(os.cpu_count()),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def show(found: Report, console: Console) -> None:
    """Print the tables: medians, and in brackets the lowest and highest of the rounds."""
    rounds = found.plan.rounds
    scope = f"medians of {rounds} rounds (lowest–highest)" if rounds > 1 else "one round"
    console.print(f"policy {found.policy}, {found.rules} rules; {scope}", highlight=False)
    drained = _table("a backlog drained", "decisions/s", "worker CPU µs each", "Redis CPU µs each", "bytes each")
    for row in found.summaries:
        spreads = (row.per_second, row.worker_cpu_us, row.redis_cpu_us)
        drained.add_row(row.contender, *map(_told, spreads), f"{row.decision_bytes:,.0f}")
    paced = _table("arrivals on a schedule", "arrivals/s", "p50 ms", "p99 ms", "max ms")
    for row in found.summaries:
        latencies = (row.p50_ms, row.p99_ms, row.max_ms)
        paced.add_row(row.contender, f"{row.rate:,.0f}", *map(_told, latencies))
    console.print(drained, paced)
    for row in found.summaries:
        if row.starved > STARVED_MAX or row.generator_late_p99_ms > LATE_MS_MAX:
            console.print(
                f"{row.contender}: the machine was busy. In each second the worker's threads were ready to run but had "
                f"no core for {row.starved:.2f} s; the generator was late by {row.generator_late_p99_ms:.0f} ms (p99). "
                "Latencies are the machine's, too; look at the ratios, or run again on a quiet machine.",
                highlight=False,
            )
    for pair in found.compared:
        console.print(
            f"{OURS} / {pair.other}: {_told(pair.per_second)} times the decisions/s, "
            f"{_told(pair.worker_cpu_us)} times the worker CPU each",
            highlight=False,
        )


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("contender", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def _told(value: Spread) -> str:
    if value.low == value.high:
        return _short(value.median)
    return f"{_short(value.median)} ({_short(value.low)}–{_short(value.high)})"


def _short(number: float) -> str:
    """Three digits are as much as such a figure is good for: 12.3, 0.045, 12,300."""
    if not number:
        return "0"
    decimals = 2 - int(f"{number:e}".partition("e")[2])
    return f"{round(number, decimals):,.{max(decimals, 0)}f}"


def save(found: Report, directory: Path) -> Path:
    """Write the report as JSON; give the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{found.at.replace(':', '').removesuffix('+0000')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return path
