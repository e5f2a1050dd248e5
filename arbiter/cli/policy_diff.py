"""``arbiter policy diff``: what would change if one policy replaced another, on real requests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import rich_click as click
from msgspec.structs import replace

from arbiter.cli.common import EXIT_USAGE, Failure, instant, reading, servers_may_be_away, settings_for
from arbiter.cli.in_words import tell_changes, write_page
from arbiter.cli.whatif import material_options, policy_named, progress_bar
from arbiter.policy.ruleset import Policy
from arbiter.reports.pages.console import terminal
from arbiter.reports.pages.figures import policy_name
from arbiter.reports.policy_diff.compare import as_builtins, compare
from arbiter.reports.policy_diff.examples import examples_of
from arbiter.reports.policy_diff.page import page
from arbiter.reports.policy_diff.run import Material
from arbiter.reports.policy_diff.sides import SideFailed, both_sides
from arbiter.reports.policy_diff.text import show
from arbiter.reports.policy_words.changes import Change, as_plain, changes
from arbiter.reports.policy_words.page import changes_page

EXIT_FAILED = 1
REQUESTS_DEFAULT = 100_000


@click.command("diff", short_help="What would change with another policy.")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--requests",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Requests (and facts), as for `arbiter simulate`.",
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
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)
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
    form: str,
    html: Path | None,
    examples: int,
) -> None:
    """Tell what is written differently in the policies OLD and NEW, and what that changes for the same requests.

    OLD and NEW are folders, versions in Redis, or `active`. Without requests only the texts are compared, field by
    field: `limit 4 → 2`. With --requests or --topic both policies decide them. The output says who gains and who loses,
    by department, channel, category, campaign, segment and rule; how long approved requests wait; how many parties are
    over a new cap at once; and examples in words. `--html` writes the same as one page, which can be mailed.
    """
    if is_topic and requests is not None:
        raise Failure("give either --requests FILE or --topic, not both", EXIT_USAGE)
    policies = policy_named(old), policy_named(new)
    differences = changes(policies[0].document, policies[1].document)
    if not is_topic and requests is None:
        _tell_texts(policies, differences, form, html)
        return
    with reading(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="arbiter-diff-")))
        if requests is not None:
            material = Material(requests, facts, partitions, waits)
            _check_ordinary(material.files)
        else:
            material = replace(_downloaded(folder, last, since), partitions=partitions, waits=waits)
            material = replace(material, facts=(*facts, *material.facts))
        progresses = stack.enter_context(progress_bar(material, "before", "after"))
        try:
            sides = both_sides(*policies, material, folder, progresses)
        except SideFailed as error:
            raise Failure(str(error), EXIT_FAILED) from None
        for line in sides[0].first_unread:
            click.echo(line, err=True)
        if sides[0].unread > len(sides[0].first_unread):
            more = sides[0].unread - len(sides[0].first_unread)
            click.echo(f"and {more:,} more lines that cannot be read", err=True)
        if not len(sides[0].fates):
            raise Failure("there are no requests to compare", EXIT_FAILED)
        comparison = compare(*sides, (policies[0].document, policies[1].document), examples)
        in_words = examples_of(comparison.examples, *sides, material.files, policies[1].zone)
    if form == "json":
        plain = {"changes": list(map(as_plain, differences)), "effects": as_builtins(comparison, in_words)}
        click.echo(json.dumps(plain, ensure_ascii=False))
    else:
        tell_changes(differences)
        show(terminal(), comparison, in_words, policies[1].zone)
    if html is not None:
        write_page(html, page(comparison, in_words, policies[1].zone, differences), form)


def _tell_texts(policies: tuple[Policy, Policy], differences: list[Change], form: str, html: Path | None) -> None:
    """Print the differences between the texts, without any request."""
    old, new = (policy_name(*policy.ref) for policy in policies)
    if form == "json":
        click.echo(json.dumps({"changes": list(map(as_plain, differences))}, ensure_ascii=False))
    else:
        click.echo(f"{old} → {new}\n")
        tell_changes(differences)
    if html is not None:
        write_page(html, changes_page(f"{old} → {new}", differences), form)


def _check_ordinary(files: Sequence[Path]) -> None:
    """Refuse pipes: each file is read once per policy and again for the examples."""
    for file in files:
        if not file.is_file():
            raise Failure(f"{file}: is no ordinary file, and it is read several times; save it as one", EXIT_USAGE)


def _downloaded(folder: Path, last: int, since: str | None) -> Material:
    from arbiter.reports.policy_diff.topics import download  # noqa: PLC0415 - who has files need not wait for Kafka's client

    settings = settings_for("kafka")
    begin_ms = None if since is None else instant(since, "UTC", "start", "--since")
    with servers_may_be_away(settings):
        return download(settings, folder, last, begin_ms)
