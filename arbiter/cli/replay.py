"""``arbiter replay``: records of the past onto the topics, one stretch of time after another."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import rich_click as click

from arbiter.cli.common import EXIT_AWAY, EXIT_USAGE, Failure, reading, servers_may_be_away, settings_for
from arbiter.cli.unreadable import Unreadable
from arbiter.engine.input_record import InputRecord
from arbiter.reports.policy_diff.lines import Lines, Unread
from arbiter.settings import Settings
from arbiter.state.redis_store import connect
from arbiter.timing.windows import duration_ms
from arbiter.worker.kafka import topics
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.replaying import Replay, ReplayStalled, stretches

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Put a file of the past onto the topics, paced.")
@click.option(
    "--requests", type=FILE, required=True, metavar="FILE", help="Requests (and facts) as JSON lines, by time."
)
@click.option("--facts", type=FILE, multiple=True, metavar="FILE", help="What is known before the first request.")
@click.option(
    "--ahead",
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How much time of the requests is on its way at once: so far one partition's clock may be ahead of another.",
)
def replay(requests: Path, facts: tuple[Path, ...], ahead: str) -> None:
    """Put the records in FILE onto the input topics of an installation under the event clock, in their order.

    What is asked for within `--ahead` goes there together, and the next only once all of it is decided; so does a fact
    before the requests after it. Workers must run with ARBITER_CLOCK=event. Nothing is read from what they answer.
    """
    settings = settings_for("kafka", "redis")
    if settings.clock != "event":
        raise Failure(
            "a replay goes by the event clock, and where workers go by the wall clock it would ask for real contacts: "
            "set ARBITER_CLOCK=event for this command and for the workers of an installation of its own",
            EXIT_USAGE,
        )
    try:
        ahead_ms = duration_ms(ahead)
    except ValueError as error:
        raise Failure(f"--ahead: {error}", EXIT_USAGE) from None
    unreadable = Unreadable()
    with reading(), servers_may_be_away(settings):
        done = asyncio.run(_replay(settings, [*facts, requests], ahead_ms, unreadable))
    unreadable.close()
    click.echo(f"{done.records:,} records in {done.stretches:,} stretches, all decided")
    raise SystemExit(1 if unreadable.count else 0)


async def _replay(settings: Settings, files: list[Path], ahead_ms: int, unreadable: Unreadable) -> Replay:
    partitions = topics.verify(settings)
    store = connect(settings.redis, settings.redis_prefix)
    paced = Replay(settings, store, partitions)
    try:
        for stretch in stretches(_records(settings, files, partitions, unreadable), ahead_ms):
            await paced.put(stretch)
    except ReplayStalled as error:
        raise Failure(f"{error} ({paced.records:,} records were decided)", EXIT_AWAY) from None
    finally:
        paced.close()
        await store.close()
    return paced


def _records(settings: Settings, files: list[Path], partitions: int, unreadable: Unreadable) -> Iterator[InputRecord]:
    """The records of the files. Lines that are no records are reported and left out."""
    lines = Lines(lambda name: partition_of(name, partitions), settings.topic_prefix)
    for file in files:
        for read in lines.read(file):
            if isinstance(read, Unread):
                unreadable(f"{read.place}: {read.code}: {read.message}")
            else:
                yield read
