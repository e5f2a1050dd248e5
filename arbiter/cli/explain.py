"""``arbiter explain``: why a request was answered as it was, and what would have let it through."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import rich_click as click

from arbiter.cli.common import EXIT_USAGE, Failure, instant, reading, servers_may_be_away, settings_for
from arbiter.cli.scanning import scan_bar
from arbiter.cli.whatif import policy_named, progress_bar
from arbiter.messages import DECISIONS, DLQ_SUFFIX, REQUESTS
from arbiter.reports.explain.document import Explanation
from arbiter.reports.explain.files import find_in_file, not_simulated, simulated
from arbiter.reports.explain.history import Found, explain
from arbiter.reports.explain.lookup import Key, OnKafka, Wanted, fetch_requests, fetch_state, find
from arbiter.reports.explain.text import as_lines, show
from arbiter.reports.pages.console import terminal
from arbiter.reports.policy_diff.run import Material
from arbiter.settings import Settings
from arbiter.worker.kafka.scan import Bounds, TopicReader

EXIT_NOT_FOUND = 1
LAST_DEFAULT = 1_000_000
CHOICES_SHOWN = 20

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("explain", short_help="Why a request was answered as it was.")
@click.argument("request_id", metavar="REQUEST_ID")
@click.option("--department", metavar="NAME", help="Whose request, where several have that id.")
@click.option("--customer", metavar="ID", help="About which customer, where several requests have that id.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Look through the newest N decisions.  [default: {LAST_DEFAULT:,}, or all since --since]",
)
@click.option("--since", metavar="DAY", help="Look through the decisions from this day (or time, UTC) on.")
@click.option(
    "--decisions",
    type=_FILE,
    metavar="FILE",
    help="The decisions of a simulation (`arbiter simulate --out`) instead of those on Kafka; needs no server.",
)
@click.option("--requests", type=_FILE, metavar="FILE", help="With --decisions: the requests that were simulated.")
@click.option("--facts", type=_FILE, multiple=True, metavar="FILE", help="With --requests: as for the simulation.")
@click.option("--policy", "name", metavar="DIR", help="With --requests: the policy that was simulated.")
@click.option("--partitions", type=click.IntRange(1, 1024), default=1, metavar="N", help="As for the simulation.")
@click.option("--json", "is_json", is_flag=True, help="One JSON object, see schemas/explanation.schema.json.")
def explain_command(
    request_id: str,
    department: str | None,
    customer: str | None,
    last: int | None,
    since: str | None,
    decisions: Path | None,
    requests: Path | None,
    facts: tuple[Path, ...],
    name: str | None,
    partitions: int,
    is_json: bool,
) -> None:
    """Tell the history of a request in sentences.

    What was asked and answered; every rule that said no, its counters, whom to ask and which contacts used the budget;
    when it will be decided again; and which rules, dropped one at a time, would have let it through. Reads the
    decisions and the request from Kafka, the policies and the customer's ledger from Redis; changes nothing.
    """
    wanted = Wanted(request_id, department, customer)
    if decisions is not None:
        if (requests is None) != (name is None):
            raise Failure("give --requests and --policy together, or neither", EXIT_USAGE)
        told = _in_files(decisions, wanted, name, Material(requests or decisions, facts, partitions))
    elif requests is not None or name is not None or facts:
        raise Failure("--requests, --facts and --policy go with --decisions", EXIT_USAGE)
    else:
        told = _on_servers(wanted, last, since)
    if is_json:
        click.echo(msgspec.json.encode(told).decode())
    else:
        show(terminal(), told)


def _on_servers(wanted: Wanted, last: int | None, since: str | None) -> Explanation:
    settings = settings_for("kafka", "redis")
    since_ms = None if since is None else instant(since, "UTC", "start", "--since")
    bounds = Bounds(last=last if last or since else LAST_DEFAULT, since_ms=since_ms)
    with servers_may_be_away(settings):
        return _look_up(settings, wanted, bounds, since)


def _in_files(decisions: Path, wanted: Wanted, name: str | None, material: Material) -> Explanation:
    with reading():
        with scan_bar("looking for the request", "bytes") as tell:
            found = find_in_file(decisions, wanted, tell)
        searched = f"{decisions} (there were {found.read:,} decisions)"
        _the_one(wanted, found, searched, "see whether it is among the requests, or became a dead letter")
        (history,) = found.histories.values()
        made = not_simulated(history)
        if name is not None:
            with progress_bar(material, "simulating once more") as (tell_records,):
                made = simulated(policy_named(name), material, history, tell_records)
    return explain(Found(history, made.asked, made.state, f"Searched: {searched}."), made.last_ms)


def _look_up(settings: Settings, wanted: Wanted, bounds: Bounds, since: str | None) -> Explanation:
    with TopicReader(settings) as kafka:
        with scan_bar("looking for the request") as tell:
            on_kafka = find(kafka, wanted, bounds, tell)
        searched = _searched(settings, on_kafka, bounds, since)
        dead, prefix = settings.topic(REQUESTS) + DLQ_SUFFIX, settings.topic_prefix
        hint = f"look further back with --last or --since, see whether it became a dead letter ({dead})"
        hint += f", or whether ARBITER_TOPIC_PREFIX={prefix} is meant" if prefix else ", or set ARBITER_TOPIC_PREFIX"
        _, customer = _the_one(wanted, on_kafka, searched, hint)
        (history,) = on_kafka.histories.values()
        asked = fetch_requests(kafka, settings, history)
    state = asyncio.run(fetch_state(settings, history, customer, on_kafka.partitions))
    return explain(Found(history, asked, state, f"Searched: {searched}."), int(time.time() * 1000))


def _the_one(wanted: Wanted, found: OnKafka, searched: str, hint: str) -> Key:
    """The request that is meant. Ends the command if there is none (``hint`` says what to do) or more than one."""
    if not found.histories:
        named = [f"`{wanted.request_id}`"]
        named += [f"of department {wanted.department}"] if wanted.department else []
        named += [f"for customer {wanted.customer}"] if wanted.customer else []
        raise Failure(f"no decision on request {' '.join(named)} in {searched}; {hint}", EXIT_NOT_FOUND)
    if len(found.histories) > 1:
        choices = as_lines(sorted(found.histories.items()))
        shown = "".join(f"\n  {line}" for line in choices[:CHOICES_SHOWN])
        more = f"\n  and {len(choices) - CHOICES_SHOWN} more" if len(choices) > CHOICES_SHOWN else ""
        raise Failure(f"{len(choices)} requests have the id `{wanted.request_id}`; choose one{shown}{more}", EXIT_USAGE)
    return next(iter(found.histories))


def _searched(settings: Settings, found: OnKafka, bounds: Bounds, since: str | None) -> str:
    """What was searched, as part of a sentence."""
    how = "all" if bounds.last is None else f"the newest {bounds.last:,}"
    told = f" since {since} (UTC)" if since else ""
    return f"{how} decisions{told} on {settings.topic(DECISIONS)} at {settings.kafka} (there were {found.read:,})"
