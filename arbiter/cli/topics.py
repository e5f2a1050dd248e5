"""``arbiter topics``: the Kafka topics made, compared with how they are to be, and described."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence

import msgspec
import rich_click as click
from rich.console import Console

from arbiter.cli.common import EXIT_AWAY, EXIT_REFUSED, Failure, servers_may_be_away, settings_for
from arbiter.reports.pages.console import paragraph, terminal
from arbiter.settings import PARTITIONS_MAX, Settings, variable
from arbiter.worker.kafka import topics as kafka_topics
from arbiter.worker.kafka.topic_check import Difference, differences, fetch_cluster, fixes
from arbiter.worker.kafka.topic_table import TABLE, Kind, Value, in_words, values_of

VISIBLE_SECONDS_MAX = 10.0

_json_option = click.option("--json", "is_json", is_flag=True, help="As JSON.")


@click.group(short_help="Make, check and describe the Kafka topics.")
def topics() -> None:
    """The Kafka topics: how they are to be set, and how they are."""


@topics.command()
@click.option(
    "--partitions", type=click.IntRange(1, PARTITIONS_MAX), metavar="N", help="Instead of ARBITER_PARTITIONS."
)
def create(partitions: int | None) -> None:
    """Make the topics that are missing, set as `describe` says.

    The number of partitions is fixed from then on. What is there is not changed: `check` says how to.
    """
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


@topics.command()
@_json_option
def check(*, is_json: bool) -> None:
    """Say which topics at Kafka are not as `describe` says, what that costs, and how to mend it.

    Exit code 0 if all are, 1 if something differs, 3 if Kafka does not answer. Changes nothing.
    """
    settings = settings_for("kafka")
    with servers_may_be_away(settings):
        cluster = fetch_cluster(settings)
    if cluster is None:
        raise Failure(f"Kafka at {settings.kafka} names no controller, so topics cannot be described", EXIT_AWAY)
    found = differences(settings, cluster)
    if is_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        _show(terminal(), found, len(kafka_topics.all_topics(settings)))
    if found:
        raise SystemExit(EXIT_REFUSED)


def _show(console: Console, found: Sequence[Difference], count: int) -> None:
    if not found:
        paragraph(console, f"all {count} topics are as they should be")
        return
    for one in found:
        mark, style = ("LOSES RECORDS ", "bold red") if one.loses else ("differs ", "yellow")
        paragraph(console, f"{mark} {one.topic}", style)
        wanted, there = in_words(one.setting, one.wanted), in_words(one.setting, one.found)
        paragraph(console, f"{one.setting} is {there}, wanted {wanted}: {one.costs}", indent=4)
    console.print()
    paragraph(console, "To mend it:", "bold")
    for line in fixes(found):
        # One line, to be copied.
        console.print(f"  {line}", soft_wrap=True, markup=False, highlight=False)


@topics.command()
@_json_option
def describe(*, is_json: bool) -> None:
    """Print how this installation's topics are to be set, and why; needs no Kafka."""
    settings = settings_for()
    if is_json:
        click.echo(json.dumps([_as_json(kind, settings) for kind in TABLE]))
        return
    _describe(terminal(), settings)


def _describe(console: Console, settings: Settings) -> None:
    values = {kind: values_of(kind, settings) for kind in TABLE}
    shared = [one for one in values[TABLE[0]] if all(one.wanted in _wanted(each, one.name) for each in values.values())]
    for kind, each in values.items():
        for name in kind.topics:
            paragraph(console, settings.topic(name), "bold")
        paragraph(console, kind.holds, "dim", indent=2)
        for value in each:
            if value.name not in {one.name for one in shared} or value.also:
                _value(console, value)
    paragraph(console, "every topic", "bold")
    replicas = "three, or as many as there are brokers" if settings.replication < 1 else str(settings.replication)
    paragraph(console, f"  replicas: {replicas} ({variable('replication')})", hanging=6)
    for value in shared:
        _value(console, value)


def _wanted(values: Sequence[Value], name: str) -> set[str]:
    return {value.wanted for value in values if value.name == name}


def _value(console: Console, value: Value) -> None:
    words = in_words(value.name, value.wanted)
    said = f"={value.wanted}" + (f" ({words})" if words != value.wanted else "")
    paragraph(console, f"  {value.name}{said}: {value.why}", hanging=6)


def _as_json(kind: Kind, settings: Settings) -> dict[str, object]:
    values = [
        {"name": value.name, "value": value.wanted, "why": value.why, "otherwise": value.costs}
        for value in values_of(kind, settings)
    ]
    return {"topics": [settings.topic(name) for name in kind.topics], "holds": kind.holds, "settings": values}
