"""What commands that try policies out share: the policy, the files, and a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import rich_click as click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from arbiter.cli.common import EXIT_USAGE, Failure, with_policies
from arbiter.policy.ruleset import Policy, PolicyError
from arbiter.reports.pages.console import terminal
from arbiter.reports.policy_diff.policies import BadPolicy, NoSuchPolicy, from_folder, from_store, is_published
from arbiter.reports.policy_diff.run import Material

EXIT_BAD_POLICY = 1

Command = TypeVar("Command", bound=Callable[..., object])


def material_options(command: Command) -> Command:
    """The options that select what goes through a policy."""
    for option in (
        click.option(
            "--keep-waiting", "waits", is_flag=True, help="Stop with the last record: what waits does not come back."
        ),
        click.option(
            "--partitions",
            type=click.IntRange(1, 1024),
            default=1,
            show_default=True,
            metavar="N",
            help="Decide in N partitions, each with its clock, as an installation of N does.",
        ),
        click.option(
            "--facts",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            multiple=True,
            metavar="FILE",
            help="Profiles, consents, outcomes … that are known before the first request. May be given several times.",
        ),
    ):
        command = option(command)
    return command


def policy_named(name: str) -> Policy:
    """The policy in a folder, a version in Redis, or the ``active`` one. Ends the command if there is none."""
    try:
        if is_published(name):
            return with_policies(lambda policies: from_store(name, policies))
        return from_folder(name)
    except BadPolicy as error:
        for problem in error.problems:
            click.echo(f"{problem}\n", err=True)
        raise Failure(f"{name}: {error}", EXIT_BAD_POLICY) from None
    except (NoSuchPolicy, PolicyError) as error:
        raise Failure(f"policy {name}: {error}", EXIT_USAGE) from None


@contextmanager
def progress_bar(material: Material, *names: str) -> Iterator[list[Callable[[int, int], None]]]:
    """One function per name that moves its bar on standard error; no bars without a terminal."""
    console = terminal(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records, {task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:

        def teller(name: str) -> Callable[[int, int], None]:
            task = progress.add_task(name, total=material.bytes, records=0, rate=0.0)

            def tell(records: int, read: int) -> None:
                elapsed = progress.tasks[task].elapsed or 0
                rate = records / elapsed if elapsed else 0.0
                progress.update(task, completed=read, records=records, rate=rate)

            return tell

        yield [teller(name) for name in names]
