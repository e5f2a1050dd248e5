"""``python -m loadtests``: real Kafka, real Valkey, real worker processes; what they do in a second and how soon."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files import read_policy
from loadtests.contenders.arbiter_worker import ArbiterWorker
from loadtests.contenders.base import Contender
from loadtests.contenders.null_transport import NullTransport
from loadtests.contenders.plain_confluent import PlainConfluent
from loadtests.contenders.quix_streams import QuixStreams
from loadtests.contenders.stock_faust import StockFaust
from loadtests.measure import NotDecided
from loadtests.plot import plot
from loadtests.process import WorkerFailed
from loadtests.report import report, save, show
from loadtests.rounds import Plan, Result, Rig, kafka_in, valkey_in
from tests.servers.processes import Unavailable

ROOT = Path(__file__).resolve().parents[1]
POLICY = ROOT / "deploy" / "policies" / "retail-bank"
RESULTS = ROOT / "loadtests" / "results"
CONTENDERS: tuple[Contender, ...] = (ArbiterWorker(), NullTransport(), PlainConfluent(), QuixStreams(), StockFaust())
NAMES = [contender.name for contender in CONTENDERS]

# Three times the usual number ends with a day of the input: none ends while latencies are taken.
QUICK = {"rounds": 1, "records": 10_000, "seconds": 5.0}
USUAL = {"rounds": 5, "records": 25_000, "seconds": 10.0}


@click.command()
@click.option("--quick", is_flag=True, help="One short round, some minutes: does it run, and roughly how fast.")
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="Only this contender; may be repeated.")
@click.option("--rounds", type=click.IntRange(1), help="How often each contender runs, in turn.")
@click.option("--records", type=click.IntRange(1_000), help="The smaller backlog; a fast contender has a longer one.")
@click.option("--seconds", type=click.FloatRange(1), help="How long arrivals on a schedule are measured.")
@click.option("--rate", type=click.FloatRange(1), help="Arrivals per second for all, instead of each one's own.")
@click.option("--customers", type=click.IntRange(1), default=20_000, show_default=True, help="Customers with profiles.")
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the input.")
@click.option("--policy", type=click.Path(path_type=Path), default=POLICY, help="A policy folder.", show_default=False)
def main(
    *,
    quick: bool,
    only: Sequence[str],
    rounds: int | None,
    records: int | None,
    seconds: float | None,
    rate: float | None,
    customers: int,
    seed: int,
    policy: Path,
) -> None:
    """Throughput and latency of the arbiter and of what it is compared with, on a real Kafka and a real Valkey."""
    usual = QUICK if quick else USUAL
    plan = Plan(
        rounds=rounds or int(usual["rounds"]),
        records=records or int(usual["records"]),
        customers=customers,
        seconds=seconds or usual["seconds"],
        # A young broker compiles what single records need only when they come.
        warm_up_seconds=6.0,
        rate=rate,
        seed=seed,
    )
    chosen = [contender for contender in CONTENDERS if not only or contender.name in only]
    console = Console(stderr=True)
    document = _policy(policy)
    try:
        results = _run(chosen, document, plan, console)
    except (NotDecided, Unavailable, WorkerFailed) as error:
        console.print(f"[red]no figures:[/] {error}", markup=True, highlight=False)
        sys.exit(1)
    found = report(plan, document.policy, len(document.rules), results)
    show(found, Console())
    path = save(found, RESULTS)
    path.with_suffix(".svg").write_text(plot(found))
    console.print(f"kept in {path.relative_to(ROOT)} and, as a picture, beside it")


def _policy(folder: Path) -> PolicyDocument:
    document, problems = read_policy(folder)
    if document is None:
        raise click.UsageError(f"the policy in {folder} has errors; the first: {problems[0]}")
    return document


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
