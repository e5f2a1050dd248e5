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
from rich.box import SIMPLE_HEAD
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
    requests_per_second: Spread
    decisions_per_second: Spread
    worker_us_per_request: Spread
    worker_us_per_decision: Spread
    redis_us_per_request: Spread
    redis_us_per_decision: Spread
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
    requests_per_second: Spread
    decisions_per_second: Spread
    worker_us_per_request: Spread
    worker_us_per_decision: Spread


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
        over(lambda result: result.throughput.requests_per_second),
        over(lambda result: result.throughput.decisions_per_second),
        over(lambda result: result.throughput.worker_us_per_request),
        over(lambda result: result.throughput.worker_us_per_decision),
        over(lambda result: result.throughput.redis_us_per_request),
        over(lambda result: result.throughput.redis_us_per_decision),
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
        by(lambda result: result.throughput.requests_per_second),
        by(lambda result: result.throughput.decisions_per_second),
        by(lambda result: result.throughput.worker_us_per_request),
        by(lambda result: result.throughput.worker_us_per_decision),
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
    tables = [_rates(found), _processor_time(found), _latencies(found)]
    for table in [*tables, _ratios(found)] if found.compared else tables:
        console.print(table, "")
    for row in found.summaries:
        if row.starved > STARVED_MAX or row.generator_late_p99_ms > LATE_MS_MAX:
            console.print(
                f"{row.contender}: the machine was busy. In each second the worker's threads were ready to run but had "
                f"no core for {row.starved:.2f} s; the generator was late by {row.generator_late_p99_ms:.0f} ms (p99). "
                "Latencies are the machine's, too; look at the ratios, or run again on a quiet machine.",
                highlight=False,
            )


def _rates(found: Report) -> Table:
    table = _table("a backlog drained", "contender", "requests/s", "decisions/s", "bytes each")
    for row in found.summaries:
        rates = row.requests_per_second, row.decisions_per_second
        table.add_row(row.contender, *map(_told, rates), f"{row.decision_bytes:,.0f}")
    return table


def _processor_time(found: Report) -> Table:
    table = _table("processor time for that, µs", "contender", "per request", "per decision")
    for row in found.summaries:
        worker = row.worker_us_per_request, row.worker_us_per_decision
        redis = row.redis_us_per_request, row.redis_us_per_decision
        table.add_row(f"{row.contender}, worker", *map(_told, worker))
        table.add_row(f"{row.contender}, Redis", *map(_told, redis))
    return table


def _latencies(found: Report) -> Table:
    table = _table("arrivals on a schedule, ms", "contender", "arrivals/s", "p50", "p99", "max")
    for row in found.summaries:
        spreads = row.p50_ms, row.p99_ms
        table.add_row(row.contender, f"{row.rate:,.0f}", *map(_told, spreads), _short(row.max_ms.high))
    return table


def _ratios(found: Report) -> Table:
    table = _table(f"{OURS}, so many times the …", "", *(f"of {pair.other}" for pair in found.compared))
    figures: list[tuple[str, Callable[[Compared], Spread]]] = [
        ("requests/s", lambda pair: pair.requests_per_second),
        ("decisions/s", lambda pair: pair.decisions_per_second),
        ("worker time per request", lambda pair: pair.worker_us_per_request),
        ("worker time per decision", lambda pair: pair.worker_us_per_decision),
    ]
    for name, figure in figures:
        table.add_row(name, *(_told(figure(pair)) for pair in found.compared))
    return table


def _table(title: str, first: str, *headings: str) -> Table:
    """A table that fits into 80 columns, whatever the figures."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column(first, no_wrap=True)
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
