"""``arbiter report``: who asked, who was approved, who waits and for whom, over a period."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import rich_click as click

from arbiter.cli.common import EXIT_USAGE, Failure, instant, reading, servers_may_be_away, settings_for
from arbiter.cli.scanning import scan_bar
from arbiter.cli.unreadable import Unreadable
from arbiter.messages import DECISIONS, REQUESTS
from arbiter.policy.ruleset import PolicyError, load
from arbiter.reports.departments.build import build, earlier
from arbiter.reports.departments.document import Material, Report
from arbiter.reports.departments.page import page
from arbiter.reports.departments.read import claims_in_file, claims_on_kafka, decisions_in_file, decisions_on_kafka
from arbiter.reports.departments.tally import Seen, Tally
from arbiter.reports.departments.text import show
from arbiter.reports.pages.console import terminal
from arbiter.settings import Settings
from arbiter.state.redis_store import connect
from arbiter.timing.instants import DAY_MS, to_datetime
from arbiter.timing.windows import zone_of
from arbiter.worker.kafka.scan import TopicReader

EXIT_EMPTY = 1
PERIOD_DAYS = 30

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("report", short_help="Departments over a period: who asks, who waits, who starves.")
@click.option(
    "--since", metavar="DAY", help=f"From this day (or time) on.  [default: {PERIOD_DAYS} days before the end]"
)
@click.option("--until", metavar="DAY", help="Up to this day, which is included (or time).  [default: now]")
@click.option(
    "--decisions",
    type=_file,
    metavar="FILE",
    help="Decisions as JSON lines, as `arbiter simulate --out` writes them, instead of those on Kafka; .gz too.",
)
@click.option(
    "--requests",
    type=_file,
    metavar="FILE",
    help="With --decisions: the requests, to know which priorities they claim.",
)
@click.option("--zone", metavar="ZONE", help="Whose days are meant.  [default: the policy's; UTC with --decisions]")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it as one page.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object, see schemas/report.schema.json.")
def report_command(
    since: str | None,
    until: str | None,
    decisions: Path | None,
    requests: Path | None,
    zone: str | None,
    html: Path | None,
    is_json: bool,
) -> None:
    """Tell by department, channel and campaign what became of the requests that were first answered in a period.

    How many were approved at once, approved after waiting, still wait, were rejected and why, how long they waited;
    who claims priority 100; who starves, and whose contacts used the budgets; which rules bind. Reads the decisions
    from Kafka (and the requests, for their priorities), or from files.
    """
    if requests is not None and decisions is None:
        raise Failure("--requests goes with --decisions; without it the requests are read from Kafka", EXIT_USAGE)
    zone = _checked(zone)
    if decisions is not None:
        made = _from_files(decisions, requests, since, until, zone or "UTC")
    else:
        settings = settings_for("kafka", "redis")
        with servers_may_be_away(settings):
            made = _from_kafka(settings, since, until, zone or asyncio.run(_zone_in_force(settings)))
    if html is not None:
        with reading():
            html.write_text(page(made), encoding="utf-8")
    if is_json:
        click.echo(msgspec.json.encode(made).decode())
    else:
        show(terminal(), made)
    if html is not None:
        click.echo(f"written to {html}", err=is_json)


def _checked(zone: str | None) -> str | None:
    try:
        if zone is not None:
            zone_of(zone)
    except ValueError as error:
        raise Failure(f"--zone: {error}", EXIT_USAGE) from None
    return zone


def _from_kafka(settings: Settings, since: str | None, until: str | None, zone: str) -> Report:
    now_ms = int(time.time() * 1000)
    until_ms = now_ms if until is None else instant(until, zone, "end", "--until")
    since_ms = until_ms - PERIOD_DAYS * DAY_MS if since is None else instant(since, zone, "start", "--since")
    _in_order(since_ms, until_ms)
    tally, unreadable = Tally(since_ms, until_ms), Unreadable()
    where = f"{settings.topic(DECISIONS)} at {settings.kafka}"
    with TopicReader(settings) as kafka:
        with scan_bar("reading decisions") as tell:
            _count(tally, decisions_on_kafka(kafka, since_ms, tell, unreadable))
        unreadable.close()
        _not_empty(tally, where, since_ms, until_ms)
        with scan_bar("reading requests") as tell:
            claims_on_kafka(kafka, settings, tally, tell)
    claims = f"from {settings.topic(REQUESTS)}"
    return build(tally, since_ms, until_ms, zone, _material(tally, where, claims, unreadable.count))


def _from_files(decisions: Path, requests: Path | None, since: str | None, until: str | None, zone: str) -> Report:
    since_ms = None if since is None else instant(since, zone, "start", "--since")
    until_ms = None if until is None else instant(until, zone, "end", "--until")
    tally, unreadable = Tally(since_ms, until_ms), Unreadable()
    claims = "not known, since --requests was not given"
    with reading():
        with scan_bar("reading decisions", "bytes") as tell:
            _count(tally, decisions_in_file(decisions, tell, unreadable))
        _not_empty(tally, str(decisions), since_ms, until_ms)
        if requests is not None:
            claims = f"from {requests}"
            with scan_bar("reading requests", "bytes") as tell:
                claims_in_file(requests, tally, tell, unreadable)
        unreadable.close()
    low_ms, high_ms = tally.seen_ms or (0, 0)
    begin_ms, end_ms = (low_ms if since_ms is None else since_ms), (high_ms + 1 if until_ms is None else until_ms)
    return build(tally, begin_ms, end_ms, zone, _material(tally, str(decisions), claims, unreadable.count))


def _count(tally: Tally, decisions: Iterator[Seen]) -> None:
    for seen in decisions:
        tally.add(seen)


def _material(tally: Tally, source: str, claims: str, unreadable: int) -> Material:
    return Material(
        source=source,
        decisions=tally.decisions,
        repeated=tally.repeated,
        outside=tally.outside,
        dry_runs=tally.dry_runs,
        unreadable=unreadable,
        earlier=earlier(tally),
        claims=claims,
    )


def _in_order(since_ms: int, until_ms: int) -> None:
    if since_ms >= until_ms:
        raise Failure("the period ends before it begins; swap --since and --until", EXIT_USAGE)


def _not_empty(tally: Tally, where: str, since_ms: int | None, until_ms: int | None) -> None:
    """End the command if nothing was decided in the period, and say when something was."""
    if tally.decisions:
        return
    spans = (("from", since_ms), ("until", until_ms))
    told = "".join(f" {word} {to_datetime(at_ms):%Y-%m-%d %H:%M} UTC" for word, at_ms in spans if at_ms is not None)
    if tally.seen_ms is None:
        raise Failure(f"no decisions{told} in {where}", EXIT_EMPTY)
    low, high = (to_datetime(at_ms) for at_ms in tally.seen_ms)
    seen = f"those found are from {low:%Y-%m-%d} to {high:%Y-%m-%d}"
    raise Failure(f"no decisions{told} in {where}; {seen}: give --since and --until", EXIT_EMPTY)


async def _zone_in_force(settings: Settings) -> str:
    """The zone of the policy in force; UTC if there is none, or none that this build can read."""
    store = connect(settings.redis, settings.redis_prefix)
    try:
        active = await store.policies.active()
        record = None if active is None else await store.policies.fetch(active.version)
        return "UTC" if record is None else load(record.document, record.version, record.digest).zone
    except PolicyError:
        return "UTC"
    finally:
        await store.close()
