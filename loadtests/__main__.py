"""``python -m loadtests``: real Kafka, real Valkey, real worker processes; what they do in a second and how soon."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from arbiter.policy.document import PolicyDocument
from loadtests import cold, page, sizes, stored
from loadtests.cold import Cold
from loadtests.contenders.arbiter_worker import ArbiterWorker
from loadtests.contenders.base import Contender
from loadtests.contenders.null_transport import NullTransport
from loadtests.contenders.plain_confluent import PlainConfluent
from loadtests.contenders.quix_streams import QuixStreams
from loadtests.contenders.stock_faust import StockFaust
from loadtests.core import POLICY, ROOT, document_of, usual_plan
from loadtests.count import CannotCount, count
from loadtests.page import Counts
from loadtests.plot import plot
from loadtests.report import Report, report, save, show
from loadtests.rounds import FAILURES, Plan, Result, Rig, kafka_in, valkey_in
from loadtests.stages import InNoStage
from loadtests.stored import Cost

RESULTS = ROOT / "loadtests" / "results"
CONTENDERS: tuple[Contender, ...] = (ArbiterWorker(), NullTransport(), PlainConfluent(), QuixStreams(), StockFaust())
PARTS = ("counts", "stored", "cold", "sizes", "rounds")
COLD_CUSTOMERS, COLD_ROUNDS = 5_000_000, 3
NAMES = [contender.name for contender in CONTENDERS]

# Three times the usual number ends in the middle of a day of the input: none ends while latencies are taken.
ROUNDS, RECORDS = 5, 12_500
# A young broker compiles what single records need only when they come.
WARM_UP_SECONDS, SECONDS = 4.0, 5.0


@click.command()
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this contender; may be repeated.")
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True, help="How often all run.")
@click.option("--records", type=click.IntRange(1_000), default=RECORDS, show_default=True, help="The smaller backlog.")
@click.option("--seconds", type=click.FloatRange(1), default=SECONDS, show_default=True, help="How long arrivals last.")
@click.option("--rate", type=click.FloatRange(1), help="Arrivals per second for all, instead of each one's own.")
@click.option("--customers", type=click.IntRange(1), default=20_000, show_default=True, help="Customers with profiles.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the input.")
@click.option("--policy", type=click.Path(path_type=Path), default=POLICY, help="A policy folder.", show_default=False)
@click.option("--readme", is_flag=True, help="Measure all parts, and keep them in results.json and README.md.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="With --readme: only this part.")
def main(
    *,
    readme: bool,
    parts: Sequence[str],
    only: Sequence[str],
    rounds: int,
    records: int,
    seconds: float,
    rate: float | None,
    customers: int,
    seed: int,
    policy: Path,
) -> None:
    """Throughput and latency of the arbiter and of what it is compared with, on a real Kafka and a real Valkey."""
    plan = Plan(
        rounds=rounds,
        records=records,
        customers=customers,
        seconds=seconds,
        warm_up_seconds=WARM_UP_SECONDS,
        rate=rate,
        seed=seed,
    )
    chosen = [contender for contender in CONTENDERS if not only or contender.name in only]
    console = Console(stderr=True)
    document = document_of(policy)

    def rounds_of() -> Report:
        found = report(plan, document.policy, len(document.rules), _run(chosen, document, plan, console))
        show(found, Console())
        path = save(found, RESULTS)
        path.with_suffix(".svg").write_text(plot(found))
        console.print(f"kept in {path.relative_to(ROOT)} and, as a picture, beside it")
        return found

    try:
        if not readme:
            rounds_of()
            return
        if "rounds" in (parts or PARTS):
            check_contenders(chosen)
        _all_parts(parts or PARTS, rounds_of, console)
    except (*FAILURES, CannotCount, InNoStage) as error:
        console.print("no figures:", str(error), markup=False, highlight=False)
        sys.exit(1)


def check_contenders(chosen: Sequence[Contender]) -> None:
    """One of :data:`FAILURES` if one of them cannot run here: before the other parts, which take minutes."""
    for contender in chosen:
        contender.command()


def _all_parts(parts: Sequence[str], rounds_of: Callable[[], Report], console: Console) -> None:
    """Measure these parts, each kept as soon as it is there; the others stay as they were."""
    found = page.load()
    measures: dict[str, Callable[[], Report | Counts | list[Cost] | Cold | dict[str, float]]] = {
        "counts": lambda: count_rules(console),
        "stored": lambda: stored.measure_all(console),
        "cold": lambda: cold.measure(COLD_CUSTOMERS, COLD_ROUNDS, console),
        "sizes": sizes.measure,
        "rounds": rounds_of,
    }
    for part in parts:
        console.print(f"part {part}")
        setattr(found, part, measures[part]())
        page.save(found)
        page.write_readme(found)


def count_rules(console: Console) -> Counts:
    """The engine with the sample policy, and with ten and a hundred rules; for these, half as much input is enough."""
    found = []
    for rules, share in ((None, 1.0), (10, 0.5), (100, 0.5)):
        console.print(f"counting with {rules or 'its own'} rules")
        found.append(count(usual_plan(rules, share)))
    return Counts(page.now(), *found)


def _run(chosen: Sequence[Contender], policy: PolicyDocument, plan: Plan, console: Console) -> list[Result]:
    """All rounds, contenders taking turns, so that a slow minute of the machine meets more than one of them."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with tempfile.TemporaryDirectory(prefix="loadtests-") as name, Progress(*columns, console=console) as progress:
        task = progress.add_task("starting Kafka and Valkey")
        directory = Path(name)
        with kafka_in(directory / "kafka") as kafka, valkey_in(directory / "valkey") as valkey:
            rig = Rig(kafka, valkey, policy, plan, directory)
            results = []
            for number in range(1, plan.rounds + 1):
                for contender in chosen:
                    progress.update(task, description=f"round {number} of {plan.rounds}: {contender.name}")
                    begun = time.monotonic()
                    result = rig.run(contender, number)
                    results.append(result)
                    found, took = result.throughput, time.monotonic() - begun
                    said = f"{found.requests_per_second:,.0f} requests/s, {found.worker_us_per_request:.1f} µs each"
                    progress.console.print(f"round {number} {contender.name}: {said}, took {took:.0f} s")
            return results


if __name__ == "__main__":
    main()
