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

from loadtests.cells import Cells, print_cells, short, told
from loadtests.figures import Spread, Throughput, ratios, spread
from loadtests.measure import Paced
from loadtests.rounds import Plan, Result

OURS = "arbiter"
STARVED_MAX = 0.2
LATE_MS_MAX = 5.0
PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "redis", "msgspec")


class Pace(Struct, frozen=True):
    """Arrivals at one rate, over all rounds."""

    rate: float
    worker_us_per_request: Spread
    p50_ms: Spread
    p99_ms: Spread
    max_ms: float
    starved: float
    generator_late_p99_ms: float


class Summary(Struct, frozen=True):
    """One contender over all rounds."""

    contender: str
    requests_per_second: Spread
    decisions_per_second: Spread
    worker_us_per_request: Spread
    worker_us_per_decision: Spread
    redis_us_per_request: Spread
    decision_bytes: float
    starved: float
    paces: list[Pace]


class ComparedPace(Struct, frozen=True):
    """The arbiter by another contender at one rate, round by round."""

    rate: float
    worker_us_per_request: Spread
    p50_ms: Spread
    p99_ms: Spread


class Compared(Struct, frozen=True):
    """The arbiter by another contender, round by round."""

    other: str
    requests_per_second: Spread
    decisions_per_second: Spread
    worker_us_per_request: Spread
    worker_us_per_decision: Spread
    paces: list[ComparedPace]


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
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(now, machine(), plan, policy, rules, summaries, compared, list(results))


def _summary(name: str, rounds: Sequence[Result]) -> Summary:
    def over(figure: Callable[[Throughput], float]) -> Spread:
        return spread([figure(result.throughput) for result in rounds])

    return Summary(
        name,
        over(lambda found: found.requests_per_second),
        over(lambda found: found.decisions_per_second),
        over(lambda found: found.worker_us_per_request),
        over(lambda found: found.worker_us_per_decision),
        over(lambda found: found.redis_us_per_request),
        over(lambda found: found.decision_bytes).median,
        over(lambda found: found.starved).high,
        [_pace([at(result, rate) for result in rounds]) for rate in rates_of(rounds)],
    )


def rates_of(rounds: Sequence[Result]) -> list[float]:
    """The rates at which arrivals came in all of these rounds."""
    return [paced.rate for paced in rounds[0].paced]


def at(result: Result, rate: float) -> Paced:
    """A round's latency test at this rate."""
    return next(paced for paced in result.paced if paced.rate == rate)


def _pace(found: Sequence[Paced]) -> Pace:
    return Pace(
        found[0].rate,
        spread([paced.worker_us_per_request for paced in found]),
        spread([paced.latency.p50_ms for paced in found]),
        spread([paced.latency.p99_ms for paced in found]),
        max(paced.latency.max_ms for paced in found),
        max(paced.starved for paced in found),
        max(paced.late_p99_ms for paced in found),
    )


def _compared(name: str, ours: Sequence[Result], theirs: Sequence[Result]) -> Compared:
    def by(figure: Callable[[Throughput], float]) -> Spread:
        return ratios([figure(result.throughput) for result in ours], [figure(result.throughput) for result in theirs])

    def paced_by(rate: float, figure: Callable[[Paced], float]) -> Spread:
        return ratios([figure(at(result, rate)) for result in ours], [figure(at(result, rate)) for result in theirs])

    return Compared(
        name,
        by(lambda found: found.requests_per_second),
        by(lambda found: found.decisions_per_second),
        by(lambda found: found.worker_us_per_request),
        by(lambda found: found.worker_us_per_decision),
        [
            ComparedPace(
                rate,
                paced_by(rate, lambda paced: paced.worker_us_per_request),
                paced_by(rate, lambda paced: paced.latency.p50_ms),
                paced_by(rate, lambda paced: paced.latency.p99_ms),
            )
            for rate in rates_of(ours)
            if rate in rates_of(theirs)
        ],
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
    console.print(scope(found), highlight=False)
    for cells in tables(found):
        print_cells(cells, console)
    for row in found.summaries:
        starved = max([row.starved, *(pace.starved for pace in row.paces)])
        late_ms = max([0.0, *(pace.generator_late_p99_ms for pace in row.paces)])
        if starved > STARVED_MAX or late_ms > LATE_MS_MAX:
            console.print(
                f"{row.contender}: the machine was busy. In each second the worker's threads were ready to run but had "
                f"no core for {starved:.2f} s; the generator was late by {late_ms:.0f} ms (p99). "
                "Latencies are the machine's, too; look at the ratios, or run again on a quiet machine.",
                highlight=False,
            )


def scope(found: Report) -> str:
    """What the tables are about, in a line."""
    rounds = found.plan.rounds
    medians = f"medians of {rounds} rounds (lowest–highest)" if rounds > 1 else "one round"
    return f"policy {found.policy}, {found.rules} rules; {medians}"


def tables(found: Report) -> list[Cells]:
    """All that was found, narrow enough for 80 columns."""
    made = [_rates(found), _processor_time(found), _paces(found)]
    return [*made, _ratios(found), *_paced_ratios(found)] if found.compared else made


def _rates(found: Report) -> Cells:
    rows = [
        [row.contender, told(row.requests_per_second), told(row.decisions_per_second), f"{row.decision_bytes:,.0f}"]
        for row in found.summaries
    ]
    return Cells("a backlog, by slope", ["contender", "requests/s", "decisions/s", "bytes each"], rows)


def _processor_time(found: Report) -> Cells:
    rows = [
        [
            row.contender,
            told(row.worker_us_per_request),
            told(row.worker_us_per_decision),
            told(row.redis_us_per_request),
        ]
        for row in found.summaries
    ]
    headings = ["contender", "worker, a request", "worker, a decision", "Redis, a request"]
    return Cells("processor time for that, µs", headings, rows)


def _paces(found: Report) -> Cells:
    rows = [
        [
            f"{row.contender}, {pace.rate:,.0f}/s",
            told(pace.p50_ms),
            told(pace.p99_ms),
            short(pace.max_ms),
            told(pace.worker_us_per_request),
        ]
        for row in found.summaries
        for pace in row.paces
    ]
    return Cells("arrivals on a schedule", ["contender", "p50 ms", "p99 ms", "max", "worker µs"], rows)


def _ratios(found: Report) -> Cells:
    figures: list[tuple[str, Callable[[Compared], Spread]]] = [
        ("requests/s", lambda pair: pair.requests_per_second),
        ("worker µs, a request", lambda pair: pair.worker_us_per_request),
    ]
    rows = [[pair.other, *(told(figure(pair)) for _, figure in figures)] for pair in found.compared]
    return Cells(f"{OURS}: so many times the other's", ["other", *(name for name, _ in figures)], rows)


def _paced_ratios(found: Report) -> list[Cells]:
    rows = [
        [f"{pair.other}, {pace.rate:,.0f}/s", told(pace.p50_ms), told(pace.p99_ms), told(pace.worker_us_per_request)]
        for pair in found.compared
        for pace in pair.paces
    ]
    title = f"{OURS} with arrivals on a schedule: so many times the other's"
    return [Cells(title, ["other", "p50", "p99", "worker µs"], rows)] if rows else []


def save(found: Report, directory: Path) -> Path:
    """Write the report as JSON; give the file."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{found.at.replace(':', '').removesuffix('+0000')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    return path
