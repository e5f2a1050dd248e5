"""``arbiter policy diff``: what would change if one policy replaced another, on real requests."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import rich_click as click
from msgspec.structs import replace

from arbiter.cli.common import EXIT_USAGE, Failure, instant, reading, servers_may_be_away, settings_for
from arbiter.cli.whatif import material_options, policy_named, progress_bar
from arbiter.pages.console import terminal
from arbiter.whatif.compare import compare
from arbiter.whatif.examples import tell
from arbiter.whatif.page import page
from arbiter.whatif.run import Material
from arbiter.whatif.sides import SideFailed, both_sides
from arbiter.whatif.text import show

EXIT_FAILED = 1
REQUESTS_DEFAULT = 100_000


@click.command("diff", short_help="What would change with another policy.")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--requests",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Requests (and facts) as JSON lines, as for `arbiter simulate`.",
)
@click.option("--topic", "is_topic", is_flag=True, help="Take the requests and facts that are on Kafka instead.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=REQUESTS_DEFAULT,
    show_default=True,
    metavar="N",
    help="With --topic: at most so many requests, the newest.",
)
@click.option("--since", metavar="DAY", help="With --topic: only requests from this day (or time, UTC) on.")
@material_options
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it as one page.")
@click.option("--examples", type=click.IntRange(0, 100), default=10, show_default=True, metavar="N", help="How many.")
def diff(
    old: str,
    new: str,
    requests: Path | None,
    is_topic: bool,
    last: int,
    since: str | None,
    facts: tuple[Path, ...],
    partitions: int,
    waits: bool,
    html: Path | None,
    examples: int,
) -> None:
    """Decide the same requests under the policies OLD and NEW and tell what differs.

    OLD and NEW are folders, versions in Redis, or `active`. Told are: who gains and who loses, by department,
    channel, category, campaign, segment and rule; how long approved requests wait; how many parties are over a new
    cap at once; and examples in words. `--html` writes the same as one page with charts, which can be mailed.
    """
    if is_topic == (requests is not None):
        raise Failure("give either --requests FILE or --topic", EXIT_USAGE)
    policies = policy_named(old), policy_named(new)
    with reading(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arbiter-diff-")))
        if requests is not None:
            material = Material(requests, facts, partitions, waits)
            _check_ordinary(material.files)
        else:
            material = replace(_downloaded(folder, last, since), partitions=partitions, waits=waits)
            material = replace(material, facts=(*facts, *material.facts))
        tellers = stack.enter_context(progress_bar(material, "before", "after"))
        try:
            sides = both_sides(*policies, material, folder, tellers)
        except SideFailed as error:
            raise Failure(str(error), EXIT_FAILED) from None
        for line in sides[0].first_unread:
            click.echo(line, err=True)
        if not len(sides[0].fates):
            raise Failure("there are no requests to compare", EXIT_FAILED)
        comparison = compare(*sides, (policies[0].document, policies[1].document), examples)
        told = tell(comparison.examples, *sides, material.files, policies[1].zone)
    if html is not None:
        with reading():
            html.write_text(page(comparison, told, policies[1].zone), encoding="utf-8")
    show(terminal(), comparison, told, policies[1].zone)
    if html is not None:
        click.echo(f"written to {html}")


def _check_ordinary(files: Sequence[Path]) -> None:
    """Each file is read once for each policy, and again for the examples: a pipe would be empty by then."""
    for file in files:
        if not file.is_file():
            raise Failure(f"{file}: is no ordinary file, and it is read several times; save it as one", EXIT_USAGE)


def _downloaded(folder: Path, last: int, since: str | None) -> Material:
    from arbiter.whatif.topics import download  # noqa: PLC0415 - who has files need not wait for Kafka's client

    settings = settings_for("kafka")
    begin_ms = None if since is None else instant(since, "UTC", "start", "--since")
    with servers_may_be_away(settings):
        return download(settings, folder, last, begin_ms)
