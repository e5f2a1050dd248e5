"""``arbiter worker``, ``arbiter topics`` and ``arbiter settings``: the commands of operators."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable

import rich_click as click
from rich.markdown import Markdown

from arbiter.cli.common import servers_may_be_away, settings_for
from arbiter.logs import log_to_stderr
from arbiter.reports.pages.console import terminal
from arbiter.settings import markdown, variable
from arbiter.worker.kafka import topics as kafka_topics

VISIBLE_SECONDS_MAX = 10.0


@click.command(short_help="Decide contact requests until SIGTERM.")
def worker() -> None:
    """Decide contact requests until SIGTERM; its settings are in the environment (see `arbiter settings`)."""
    from arbiter.worker.process import run  # noqa: PLC0415 - brings Faust, which other commands need not wait for

    settings = settings_for("kafka", "redis")
    log_to_stderr(settings)
    raise SystemExit(asyncio.run(run(settings)))


@click.group(short_help="Make the Kafka topics.")
def topics() -> None:
    """The Kafka topics."""


@topics.command()
@click.option("--partitions", type=click.IntRange(1, 1024), metavar="N", help="Instead of ARBITER_PARTITIONS.")
def create(partitions: int | None) -> None:
    """Make the topics that are missing. The number of partitions is fixed from then on."""
    settings = settings_for("kafka")
    if partitions is None and variable("partitions") in os.environ:
        partitions = settings.partitions
    with servers_may_be_away(settings):
        for name in kafka_topics.create(settings, partitions):
            click.echo(f"made {name}")
        count = _visible(lambda: kafka_topics.verify(settings))
    click.echo(f"all {len(kafka_topics.all_topics(settings))} topics are there, each with {count} partitions")


def _visible(verify: Callable[[], int]) -> int:
    """The number of partitions, once it is known: a new topic is not known to every broker at once."""
    deadline = time.monotonic() + VISIBLE_SECONDS_MAX
    while True:
        try:
            return verify()
        except kafka_topics.TopicsError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


@click.command(short_help="List what the environment can say.")
def settings() -> None:
    """What the environment can say: every variable, its form, default and meaning."""
    console = terminal()
    if console.is_terminal:
        console.print(Markdown(markdown()))
    else:
        click.echo(markdown(), nl=False)
