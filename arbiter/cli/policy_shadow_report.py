"""``arbiter policy shadow-report``: what shadows would have done, from the decisions on Kafka."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import rich_click as click
from msgspec import Struct

from arbiter.cli.common import EXIT_USAGE, Failure, instant, reading, servers_may_be_away, settings_for
from arbiter.cli.scanning import scan_bar
from arbiter.messages import DECISIONS
from arbiter.policy.document import PolicyDocument
from arbiter.reports.pages.console import terminal
from arbiter.reports.shadow.build import build
from arbiter.reports.shadow.document import ShadowReport
from arbiter.reports.shadow.known import Known, ask
from arbiter.reports.shadow.page import page
from arbiter.reports.shadow.tally import Tally
from arbiter.reports.shadow.text import show
from arbiter.settings import Settings
from arbiter.state.policy_store import PolicyStore
from arbiter.state.redis_store import connect
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_datetime
from arbiter.worker.kafka.scan import Bounds, TopicReader

EXIT_EMPTY = 1
PERIOD_DAYS = 30
EARLY_MS = HOUR_MS
"""A record is written after its decision is made, by another clock: begin to read so much before the period."""


class _Found(Struct):
    """What was read."""

    tally: Tally
    known: Known
    since_ms: int
    until_ms: int
    zone: str


@click.command("shadow-report", short_help="What shadows would have done to the decisions made.")
@click.option(
    "--since", metavar="DAY", help=f"From this day (or time) on.  [default: {PERIOD_DAYS} days before the end]"
)
@click.option("--until", metavar="DAY", help="Up to this day, which is included (or time).  [default: now]")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help="Read at most so many decisions, the newest.  [default: all]",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write it as one page.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object, see schemas/shadow-report.schema.json.")
def shadow_report(since: str | None, until: str | None, last: int | None, html: Path | None, is_json: bool) -> None:
    """Tell what rules in shadow mode and the shadow policy would have done to the decisions of a period.

    Of each rule: how many requests it was about, to how many it would have said no, and how many of those were
    approved. Of the shadow policy: what was answered against what it would have answered, and who would gain and
    lose. Days are those of the policy in force. Reads the decisions from Kafka and the policies from Redis.
    """
    settings = settings_for("kafka", "redis")
    with servers_may_be_away(settings):
        found = asyncio.run(_read(settings, since, until, last))
    source = f"{settings.topic(DECISIONS)} at {settings.kafka}"
    if not found.tally.rows:
        told = " to ".join(f"{to_datetime(at_ms):%Y-%m-%d %H:%M} UTC" for at_ms in (found.since_ms, found.until_ms))
        raise Failure(f"no decisions from {told} in {source}", EXIT_EMPTY)
    report = build(found.tally, found.known, found.since_ms, found.until_ms, found.zone, source)
    _tell(report, html, is_json=is_json)


def _tell(report: ShadowReport, html: Path | None, *, is_json: bool) -> None:
    if html is not None:
        with reading():
            html.write_text(page(report), encoding="utf-8")
    if is_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        show(terminal(), report)
    if html is not None:
        click.echo(f"written to {html}", err=is_json)


async def _read(settings: Settings, since: str | None, until: str | None, last: int | None) -> _Found:
    store = connect(settings.redis, settings.redis_prefix)
    try:
        zone = await _zone(store.policies)
        until_ms = int(time.time() * 1_000) if until is None else instant(until, zone, "end", "--until")
        since_ms = until_ms - PERIOD_DAYS * DAY_MS if since is None else instant(since, zone, "start", "--since")
        if since_ms >= until_ms:
            raise Failure("the period ends before it begins; swap --since and --until", EXIT_USAGE)
        tally = Tally(since_ms, until_ms)
        await asyncio.to_thread(_count, settings, tally, Bounds(last, since_ms - EARLY_MS))
        known = await ask(store.policies, [ref[1] for ref in tally.policies])
    finally:
        await store.close()
    return _Found(tally, known, since_ms, until_ms, zone)


async def _zone(policies: PolicyStore) -> str:
    """The zone of the policy in force; UTC if there is none."""
    active = await policies.active()
    record = None if active is None else await policies.fetch(active.version)
    return "UTC" if record is None else msgspec.json.decode(record.document, type=PolicyDocument).timezone


def _count(settings: Settings, tally: Tally, bounds: Bounds) -> None:
    with TopicReader(settings) as kafka, scan_bar("reading decisions") as tell:
        for message in kafka.records(DECISIONS, bounds, tell):
            try:
                tally.add(message.value() or b"")
            except (msgspec.DecodeError, ValueError):
                tally.unreadable += 1
