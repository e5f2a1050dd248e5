"""``arbiter kill``: stop a campaign, a channel, a department, or everything, until a time; list and lift the stops."""

from __future__ import annotations

import json
from collections.abc import Mapping

import msgspec
import rich_click as click
from rich import box
from rich.table import Table

from arbiter.cli.campaigns import tell_unknown_campaign
from arbiter.cli.common import EXIT_USAGE, Failure, instant, user, with_policies
from arbiter.cli.confirm import confirm, swept
from arbiter.ledger.names import nearest
from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import Kill, Target
from arbiter.printable import in_text
from arbiter.reports.pages.console import cell, terminal
from arbiter.state.policy_store import OUTCOMES_STOPPED, Activation, KillOrder, PolicyStore
from arbiter.timing.instants import to_datetime
from arbiter.timing.windows import duration_ms, spoken_until

NO_ZONE = "UTC"


@click.group(invoke_without_command=True, short_help="Stop a campaign, a channel, a department, or everything.")
@click.option("--campaign", metavar="NAME", help="Stop this campaign.")
@click.option("--channel", metavar="NAME", help="Stop this channel.")
@click.option("--department", metavar="NAME", help="Stop what this department asks for.")
@click.option("--all", "is_all", is_flag=True, help="Stop everything.")
@click.option(
    "--until", metavar="TIME", help="When it ends: `2026-12-24 18:00` in the policy's zone, or with an offset."
)
@click.option("--for", "span", metavar="SPAN", help="How long it lasts, at most 30d: `2h`.")
@click.option("--include-legal", "includes_legal", is_flag=True, help="Also what has `purpose: legal`.")
@click.option("--reason", metavar="TEXT", help="Why. Every decision that it touches says so.")
@click.option(
    "--by", default=user, show_default="you", metavar="NAME", help="Who orders it; decisions name it as owner."
)
@click.pass_context
def kill(
    context: click.Context, campaign: str | None, channel: str | None, department: str | None, is_all: bool,
    until: str | None, span: str | None, includes_legal: bool, reason: str | None, by: str,
) -> None:  # fmt: skip
    """Stop something within two seconds, until a time at which it ends by itself.

    What asks is deferred until then, what is approved and unsent is recalled. One person can do it; the audit keeps it.
    Waits until all workers have confirmed it, at most ten seconds; the exit code is 4 if not all did.
    """
    if context.invoked_subcommand is not None:
        return
    target, name = _target(campaign, channel, department, is_all=is_all)
    if not (reason and reason.strip() and by.strip()):
        raise Failure(
            "say why with --reason (and who with --by): every decision that it touches names both", EXIT_USAGE
        )
    if (until is None) == (span is None):
        raise Failure("say when it ends, with --until TIME or --for SPAN; at most 30 days", EXIT_USAGE)

    async def work(policies: PolicyStore) -> tuple[Kill, Activation | None, str, str]:
        zone, unknown = await _surroundings(policies, target, name)
        order = KillOrder(
            target=target,
            name=name,
            by=by.strip(),
            reason=reason.strip(),
            includes_legal=includes_legal,
            until_ms=None if until is None else instant(until, zone, "end", "--until"),
            for_ms=None if span is None else _span(span),
        )
        return *(await policies.kill(order)), zone, unknown

    ordered, active, zone, unknown = with_policies(work)
    if unknown:
        click.echo(in_text(unknown), err=True)
    number = f" (activation {active.number})" if active else ""
    click.echo(f"kill switch {ordered.id} stops {ordered.label} {spoken_until(ordered.until_ms, zone)}{number}")
    click.echo(f"it ends by itself; earlier: `arbiter kill lift {ordered.id}`")
    if confirm(active) and active is not None:
        is_done = swept(active.number)
        click.echo(_stopped(with_policies(lambda policies: policies.stopped(ordered.id)), is_done=is_done))
    if target == "campaign":
        tell_unknown_campaign(name)


@kill.command("list", short_help="List the kill switches in force.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def list_(form: str) -> None:
    """List the kill switches in force: what they stop, until when, by whom and why, and how much it was so far."""

    async def work(policies: PolicyStore) -> list[tuple[Kill, dict[str, int]]]:
        return [(kill, await policies.stopped(kill.id)) for kill in await policies.kills()]

    kills = with_policies(work)
    if form == "json":
        shown = [
            {**msgspec.to_builtins(one), "until": to_datetime(one.until_ms).isoformat(), "stopped": stopped}
            for one, stopped in kills
        ]
        click.echo(json.dumps(shown, ensure_ascii=False))
        return
    if not kills:
        click.echo("no kill switch is in force")
        return
    table = Table("switch", "stops", "until (UTC)", "legal too", "by", "why", "stopped so far", box=box.SIMPLE)
    for one, stopped in kills:
        until = f"{to_datetime(one.until_ms):%Y-%m-%d %H:%M:%S}"
        counted = ", ".join(f"{count} {outcome}" for outcome, count in stopped.items()) or "nothing"
        legal = "yes" if one.includes_legal else "no"
        table.add_row(str(one.id), cell(one.label), until, legal, cell(one.by), cell(one.reason), counted)
    terminal().print(table)


@kill.command(short_help="End a kill switch before its time.")
@click.argument("switch", type=click.IntRange(min=1))
@click.option("--by", default=user, show_default="you", metavar="NAME", help="Who lifts it.")
@click.option("--reason", default="", metavar="TEXT", help="Why; the audit keeps it.")
def lift(switch: int, by: str, reason: str) -> None:
    """End a kill switch before its time: what waited is decided again within seconds."""
    active = with_policies(lambda policies: policies.lift(switch, by, reason))
    click.echo(f"kill switch {switch} is lifted; what waited is decided again")
    confirm(active)


def _stopped(counts: Mapping[str, int], *, is_done: bool) -> str:
    """How much a switch has stopped so far."""
    recalled, deferred, rejected = (counts.get(outcome, 0) for outcome in OUTCOMES_STOPPED)
    text = f"stopped so far: {recalled} approvals recalled, {deferred} requests deferred, {rejected} rejected"
    return text if is_done else f"{text}; workers still look at what waits and what is unsent"


def _target(campaign: str | None, channel: str | None, department: str | None, *, is_all: bool) -> tuple[Target, str]:
    given: list[tuple[Target, str]] = []
    named: list[tuple[Target, str | None]] = [
        ("campaign", campaign), ("channel", channel), ("department", department), ("all", "" if is_all else None)
    ]  # fmt: skip
    given = [(target, name) for target, name in named if name is not None]
    if len(given) != 1 or (not given[0][1] and not is_all):
        raise Failure("say what to stop: one of --campaign, --channel, --department NAME, or --all", EXIT_USAGE)
    return given[0]


async def _surroundings(policies: PolicyStore, target: Target, name: str) -> tuple[str, str]:
    """The business zone, and a note if the policy in force does not know the name. Campaigns are not listed in
    policies.
    """
    active = await policies.active()
    record = None if active is None else await policies.fetch(active.version)
    if record is None:
        return NO_ZONE, ""
    try:
        document = msgspec.json.decode(record.document, type=PolicyDocument)
    except msgspec.DecodeError:
        return NO_ZONE, ""  # a broken policy must not stand in the way of a stop
    known = {"channel": [*document.channels], "department": [*document.departments]}.get(target)
    if known is None or name in known:
        return document.timezone, ""
    return document.timezone, f"note: the policy in force knows no {target} `{name}`; {nearest(name, known)}"


def _span(text: str) -> int:
    try:
        return duration_ms(text)
    except ValueError as error:
        raise Failure(f"--for: {error}", EXIT_USAGE) from None
