"""``arbiter verify-sender``: what of that which a system publishes would be refused, noted or ignored."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import rich_click as click

from arbiter.cli.common import EXIT_REFUSED, EXIT_USAGE, Failure, instant, reading, servers_may_be_away, settings_for
from arbiter.cli.scanning import scan_bar
from arbiter.cli.whatif import policy_named
from arbiter.policy.ruleset import Policy
from arbiter.reports.pages.console import terminal
from arbiter.reports.senders.document import SenderReport
from arbiter.reports.senders.kinds import KINDS
from arbiter.reports.senders.read import in_file, on_topic
from arbiter.reports.senders.text import show
from arbiter.reports.senders.verify import INPUTS, Verifier
from arbiter.settings import Settings, variable
from arbiter.worker.kafka.scan import Bounds, TopicReader

LAST_DEFAULT = 10_000


@click.command("verify-sender", short_help="Check what a system publishes before a worker reads it.")
@click.argument("files", metavar="[FILE]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--topic", metavar="NAME", help="Read this input topic instead, as `contact.requests.v1`.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With --topic: the newest N records.  [default: {LAST_DEFAULT:,}, or all since --since]",
)
@click.option("--since", metavar="TIME", help="With --topic: the records from this day (or time, UTC) on.")
@click.option("--kind", type=click.Choice([*KINDS]), help="What all lines of the files are, if not each says so.")
@click.option("--policy", "name", metavar="DIR", help="Also compare names with this policy.")
@click.option(
    "--unknown-fields",
    type=click.Choice(["note", "refuse"]),
    help="As the installation has it.  [default: ARBITER_UNKNOWN_FIELDS, or note]",
)
@click.option("--strict", is_flag=True, help="Exit code 1 also for what would be noted or ignored.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object, see schemas/sender-report.schema.json.")
def verify_sender(
    files: tuple[Path, ...],
    topic: str | None,
    last: int | None,
    since: str | None,
    kind: str | None,
    name: str | None,
    unknown_fields: str | None,
    strict: bool,
    is_json: bool,
) -> None:
    """Read what a system publishes as a worker does, and say what would be refused, answered with a note, or ignored.

    With place, field and fix; counted by kind. FILE has JSON lines, a JSON array, CSV, or what `kcat -J` printed.
    Nothing is sent and nothing is decided. Exit code 1 if something would be refused.
    """
    if bool(files) == bool(topic):
        raise Failure("give files, or --topic", EXIT_USAGE)
    if not topic and (last or since):
        raise Failure("--last and --since go with --topic", EXIT_USAGE)
    policy = policy_named(name) if name is not None else None
    refuses = (unknown_fields or os.environ.get(variable("unknown_fields"), "note")) == "refuse"
    if topic:
        report = _on_topic(topic, last, since, policy, refuses=refuses)
    else:
        report = _in_files(files, kind, policy, refuses=refuses)
    if is_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        show(terminal(), report)
    is_bad = [one for one in report.findings if strict or one.what == "refused"]
    raise SystemExit(EXIT_REFUSED if is_bad else 0)


def _in_files(files: tuple[Path, ...], kind: str | None, policy: Policy | None, *, refuses: bool) -> SenderReport:
    settings = settings_for()
    verifier = Verifier(settings.record_bytes, refuses_unknown=refuses, policy=policy)
    now_ms = int(time.time() * 1_000)
    with reading(), scan_bar("checking", "bytes") as tell:
        for file in files:
            for one in in_file(file, kind, settings.topic_prefix, tell):
                verifier.check(one, now_ms)
    return verifier.report(", ".join(map(str, files)))


def _on_topic(topic: str, last: int | None, since: str | None, policy: Policy | None, *, refuses: bool) -> SenderReport:
    settings = settings_for("kafka")
    name = _input(settings, topic)
    since_ms = None if since is None else instant(since, "UTC", "start", "--since")
    bounds = Bounds(last=last if last or since else LAST_DEFAULT, since_ms=since_ms)
    now_ms = int(time.time() * 1_000)
    with servers_may_be_away(settings), TopicReader(settings) as kafka, scan_bar("checking") as tell:
        verifier = Verifier(
            settings.record_bytes, refuses_unknown=refuses, policy=policy, partitions=kafka.partitions(name)
        )
        for one in on_topic(kafka, name, bounds, tell):
            verifier.check(one, now_ms)
    return verifier.report(f"{settings.topic(name)} at {settings.kafka}")


def _input(settings: Settings, topic: str) -> str:
    """The logical name of an input topic. Ends the command if it is none."""
    name = topic.removeprefix(settings.topic_prefix)
    if name not in INPUTS:
        known = ", ".join(map(settings.topic, INPUTS))
        raise Failure(f"--topic: `{topic}` is not an input; there are {known}", EXIT_USAGE)
    return name
