"""``arbiter policy shadow``: evaluate a published version beside the one in force, on the live stream."""

from __future__ import annotations

import rich_click as click

from arbiter.cli.common import EXIT_USAGE, Failure, user, with_policies
from arbiter.cli.confirm import confirm
from arbiter.cli.policy_life import SOON, fetched, named, shown
from arbiter.policy.ruleset import PolicyError, load
from arbiter.state.policy_store import Activation, PolicyRecord, PolicyStore, Shadow


@click.command(short_help="Try a version beside the one in force; it stops nobody.")
@click.argument("version", type=click.IntRange(min=1), required=False)
@click.option("--off", "is_off", is_flag=True, help="Try none any more.")
@click.option("--by", default=user, show_default="you", metavar="NAME", help="Who orders it.")
@click.option("--reason", default="", metavar="TEXT", help="What is to be found out; the audit keeps it.")
def shadow(version: int | None, is_off: bool, by: str, reason: str) -> None:
    """Try VERSION beside the policy in force, on the live stream, instead of any other shadow policy.

    Every decision then says what it would have been under VERSION (`shadow_policy`), and `arbiter policy
    shadow-report` adds it up. It contacts and stops nobody, so no approval is needed; it ends with `--off`.
    """
    if is_off == (version is not None):
        raise Failure("give either a VERSION or --off", EXIT_USAGE)
    name = named(by, "--by")
    if version is None:
        _end(name, reason)
    else:
        _begin(version, name, reason)


def _begin(version: int, by: str, reason: str) -> None:
    async def work(policies: PolicyStore) -> tuple[PolicyRecord, Activation | None, Shadow | None]:
        record = await fetched(policies, version)
        _check(record)
        before = await policies.active()
        return record, await policies.shadow(version, by, reason), before.shadow if before else None

    record, active, before = with_policies(work)
    number = active.number if active else 0
    instead = f", instead of version {before.version}" if before is not None and before.version != version else ""
    click.echo(f"{shown(record)} is evaluated beside what is in force{instead} (activation {number}); {SOON}")
    if active is not None and active.version == version:
        click.echo(f"version {version} is in force itself: nothing is evaluated beside it until another one is")
    confirm(active)
    click.echo("next: `arbiter policy shadow-report`")


def _end(by: str, reason: str) -> None:
    active = with_policies(lambda policies: policies.unshadow(by, reason))
    click.echo(f"no shadow policy is evaluated any more (activation {active.number if active else 0}); {SOON}")
    confirm(active)


def _check(record: PolicyRecord) -> None:
    """Refuse a version that workers of this build cannot take: it would give no numbers."""
    try:
        load(record.document, record.version, record.digest)
    except PolicyError as error:
        raise Failure(f"version {record.version} cannot be evaluated: {error}", EXIT_USAGE) from None
