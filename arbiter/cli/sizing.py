"""``arbiter sizing``: what a load needs, from what was measured on this build."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import rich_click as click
from rich.console import Console
from rich.table import Table

from arbiter.cli.common import EXIT_USAGE, Failure, settings_for
from arbiter.reports.pages.console import cell, paragraph, terminal
from arbiter.sizing.figures import PACKAGED, Figures, FiguresError, read_figures
from arbiter.sizing.load import LoadError, load_of
from arbiter.sizing.plan import Plan, plan
from arbiter.sizing.text import Row, bound_rows, rows, topic_rows

CASES = ("contacts", "facts", "load", "bank")


@click.command(short_help="Say what a load needs: partitions, workers, Redis, Kafka.")
@click.option(
    "--customers", required=True, type=click.IntRange(1, 10**11), metavar="N", help="Customers with a ledger."
)
@click.option(
    "--per-second",
    required=True,
    type=click.FloatRange(0.001, 10**9),
    metavar="N",
    help="Requests, at the busiest time.",
)
@click.option(
    "--per-week",
    type=click.FloatRange(0, 10**6, min_open=True),
    metavar="N",
    help="Requests for each customer and week. Without it, all week is as busy as --per-second says.",
)
@click.option("--replicas", type=click.IntRange(1, 9), default=3, show_default=True, help="Of every topic.")
@click.option(
    "--headroom",
    type=click.FloatRange(0, 90),
    default=50,
    show_default=True,
    metavar="PERCENT",
    help="How much of each worker and each Redis stays free.",
)
@click.option(
    "--redis-gib",
    type=click.FloatRange(1, 65_536),
    default=64,
    show_default=True,
    metavar="GIB",
    help="Memory for one Redis, headroom included.",
)
@click.option(
    "--like", type=click.Choice(CASES), default="bank", show_default=True, help="Whose ledgers: see docs/sizing.md."
)
@click.option(
    "--figures",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=PACKAGED,
    show_default="those of this build",
    help="A results.json of the load tests, measured on your machines.",
)
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
def sizing(
    *,
    customers: int,
    per_second: float,
    per_week: float | None,
    replicas: int,
    headroom: float,
    redis_gib: float,
    like: str,
    path: Path,
    is_json: bool,
) -> None:
    """Say how many partitions, workers and Redis servers a load needs, how much Kafka keeps, and what breaks first.

    Every number says how it came about. Topics are kept as the settings say (`arbiter topics describe`).
    """
    machines = {"replicas": replicas, "headroom": headroom / 100, "redis_gib": redis_gib, "like": like}
    try:
        figures = read_figures(path)
        found = plan(load_of(customers, per_second, per_week, **machines), figures, settings_for())
    except (FiguresError, LoadError) as error:
        raise Failure(str(error), EXIT_USAGE) from None
    if is_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    show(terminal(), found, figures)


def show(console: Console, found: Plan, figures: Figures) -> None:
    """Print the tables."""
    paragraph(
        console, f"From the load tests of {figures.rounds.at[:10]}: policy {figures.rounds.policy}, one worker.", "dim"
    )
    _table(console, "What it needs", rows(found, figures))
    _table(console, "Kafka, by topic", topic_rows(found))
    _table(console, "What breaks first", bound_rows(found))


def _table(console: Console, title: str, shown: Sequence[Row]) -> None:
    table = Table("", "", "how it came about", title=title, title_justify="left", box=None, pad_edge=False)
    for what, number, why in shown:
        table.add_row(cell(what), cell(number), cell(why))
    console.print()
    console.print(table)
