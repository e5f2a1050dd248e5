"""``arbiter simulate``: what a policy would decide on a file of requests, without any server."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import BinaryIO

import rich_click as click
from rich import box
from rich.console import Console
from rich.table import Table

from arbiter.cli.common import reading
from arbiter.cli.unreadable import Unreadable
from arbiter.cli.whatif import material_options, policy_named, progress_bar
from arbiter.engine.render import encoded
from arbiter.engine.simulate import Simulated, SimulatedDecision
from arbiter.reports.pages.console import cell, terminal
from arbiter.reports.policy_diff.lines import Unread
from arbiter.reports.policy_diff.run import Material, Run
from arbiter.reports.policy_diff.tally import Ends, Tally

RULES_SHOWN = 15
STANDARD_OUTPUT = "-"
EXIT_UNREAD = 1


@click.command(short_help="Decide a file of requests without any server.")
@click.option("--policy", "name", required=True, metavar="DIR", help="The policy: a folder, a version, or `active`.")
@click.option(
    "--requests",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="Requests (and facts) in the order of their arrival: JSON lines, a JSON array, or CSV; .gz is unpacked.",
)
@material_options
@click.option(
    "--out", metavar="FILE", help="Write every decision, as on the topic, as JSON lines; `-` is standard output."
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to sum up."
)
def simulate(
    name: str, requests: Path, facts: tuple[Path, ...], partitions: int, waits: bool, out: str | None, form: str
) -> None:
    """Decide the requests in FILE with the real core, in event time, as a worker would.

    Time is that of the requests (`requested_at`). Without `--keep-waiting`, time goes on after the last record until
    nothing waits any more. The decisions are those of a live worker; only `seq` counts other commits. Exit code 1 if
    a line of the files could not be read; the others are decided.
    """
    policy = policy_named(name)
    material = Material(requests, facts, partitions, waits)
    began, tally, account = monotonic(), Tally(), _Account()
    with reading(), ExitStack() as stack:
        file = None if out is None else stack.enter_context(_opened(out))
        (tell,) = stack.enter_context(progress_bar(material, "deciding"))
        run = Run(policy, material, tell)
        for happening in run.happenings():
            if isinstance(happening, SimulatedDecision):
                tally.add(happening)
                if file is not None:
                    _, value = encoded(happening.decision)
                    file.write(value + b"\n")
            else:
                account.add(happening)
    account.close()
    seconds = monotonic() - began
    if form == "json":
        click.echo(json.dumps(_summary(run, tally, account)), err=out == STANDARD_OUTPUT)
    else:
        _print(terminal(stderr=out == STANDARD_OUTPUT), run, tally, account, seconds)
    raise SystemExit(EXIT_UNREAD if account.lines else 0)


class _Account:
    """What was not decided, and why. The first few are printed at once on standard error."""

    def __init__(self) -> None:
        self._unread = Unreadable()
        self._dead = Unreadable("records that would be dead letters")

    @property
    def lines(self) -> int:
        """How many lines could not be read."""
        return self._unread.count

    @property
    def dead(self) -> int:
        """How many records would be dead letters."""
        return self._dead.count

    def add(self, happening: Simulated | Unread) -> None:
        if isinstance(happening, Unread):
            self._unread(f"{happening.place}: {happening.code}: {happening.message}")
        elif not isinstance(happening, SimulatedDecision):
            topic, partition, offset = happening.record.source
            self._dead(f"{topic}/{partition}/{offset}: {happening.refused.code}: {happening.refused.message}")

    def close(self) -> None:
        """Print how many more there were."""
        self._unread.close()
        self._dead.close()


def _opened(out: str) -> BinaryIO:
    # Standard output is left open by whoever leaves the stack: click's own stream would be closed.
    return open(sys.stdout.fileno(), "wb", closefd=False) if out == STANDARD_OUTPUT else Path(out).open("wb")


def _summary(run: Run, tally: Tally, account: _Account) -> dict[str, object]:
    def ends(of: Ends) -> dict[str, int]:
        return {"requests": of.requests, "approved": of.approved, "rejected": of.rejected, "waiting": of.waiting}

    return {
        "records": run.records,
        **ends(tally.all),
        "decisions": dict(tally.decisions),
        "repeated": tally.repeated,
        "dry_runs": tally.dry_runs,
        "unread_lines": account.lines,
        "dead_letters": account.dead,
        "departments": {name: ends(of) for name, of in sorted(tally.departments.items())},
        "held_back_by": dict(tally.held_back.most_common()),
        "notes": dict(run.notes),
    }


def _print(console: Console, run: Run, tally: Tally, account: _Account, seconds: float) -> None:
    rate = run.records / seconds if seconds else 0
    console.print(f"{run.records:,} records in {seconds:.1f} s ({rate:,.0f}/s), {tally.all.requests:,} requests")
    if account.lines:
        console.print(f"{account.lines:,} lines could not be read")
    if account.dead:
        console.print(f"{account.dead:,} records would be dead letters")
    table = Table("department", box=box.SIMPLE)
    for heading in ("requests", "approved", "rejected", "waiting"):
        table.add_column(heading, justify="right")
    for name, ends in [*sorted(tally.departments.items()), ("all", tally.all)]:
        table.add_row(cell(name), *(f"{n:,}" for n in (ends.requests, ends.approved, ends.rejected, ends.waiting)))
    console.print(table)
    rules = Table("rule", "owner", box=box.SIMPLE)
    rules.add_column("held back at first", justify="right")
    for rule, count in tally.held_back.most_common(RULES_SHOWN):
        rules.add_row(cell(rule), cell(tally.owners[rule]), f"{count:,}")
    if tally.held_back:
        console.print(rules)
    if len(tally.held_back) > RULES_SHOWN:
        console.print(f"and {len(tally.held_back) - RULES_SHOWN} rules more")
