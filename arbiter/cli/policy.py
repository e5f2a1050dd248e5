"""``arbiter policy``: what the owners of a policy run."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import msgspec
import rich_click as click
from rich import box
from rich.console import Console
from rich.table import Table

from arbiter.cli.common import EXIT_USAGE, Failure, with_policies
from arbiter.cli.policy_check import DIGEST_SHOWN, EXIT_BAD_POLICY, check, counted, tell
from arbiter.core.document import PolicyDocument
from arbiter.core.instants import to_datetime
from arbiter.policy_files import digest_of, document_bytes, read_policy
from arbiter.state.redis_store import RedisPolicyStore
from arbiter.state.store import Activation, PolicyRecord


def _user() -> str:
    """The name of who runs this; in a container a user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)


@click.group()
def policy() -> None:
    """Check, publish and activate contact policies."""


policy.add_command(check)


@policy.command()
@_folder
@click.option("--author", default=_user, show_default="you", metavar="NAME", help="Who publishes it.")
@click.option("--activate", "is_activated", is_flag=True, help="Put it in force at once.")
def publish(folder: Path, author: str, is_activated: bool) -> None:
    """Check the policy in DIR and keep it in Redis under a version number.

    A policy that equals the newest version gets that version again.
    """
    document, problems = read_policy(folder)
    tell(problems)
    if document is None:
        click.echo(counted(problems))
        raise Failure("not published: the policy has errors", EXIT_BAD_POLICY)
    content = document_bytes(document)
    digest = digest_of(content)

    async def work(policies: RedisPolicyStore) -> PolicyRecord:
        record = await policies.publish(document.policy, digest, author, content)
        if is_activated:
            await policies.activate(record.version)
        return record

    record = with_policies(work)
    then = (
        "is in force" if is_activated else f"is published; `arbiter policy activate {record.version}` puts it in force"
    )
    click.echo(f"{record.name} version {record.version} (digest {record.digest[:DIGEST_SHOWN]}) {then}")


@policy.command()
@click.argument("version", type=click.IntRange(min=1))
def activate(version: int) -> None:
    """Put VERSION in force: running workers take it over within seconds."""

    async def work(policies: RedisPolicyStore) -> Activation:
        return await policies.activate(version)

    try:
        activation = with_policies(work)
    except KeyError:
        raise _unknown_version(version) from None
    click.echo(f"version {version} is in force (activation {activation.number})")


@policy.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@_format
def show(version: int | None, form: str) -> None:
    """Show the policy in force, or VERSION: who published it, and its rules."""

    async def work(policies: RedisPolicyStore) -> tuple[Activation | None, PolicyRecord | None]:
        active = await policies.active()
        wanted = version or (active.version if active else None)
        return active, None if wanted is None else await policies.fetch(wanted)

    active, record = with_policies(work)
    if record is None:
        if version is None:
            raise Failure("no policy is in force; `arbiter policy activate VERSION` puts one in force", EXIT_BAD_POLICY)
        raise _unknown_version(version)
    is_active = active is not None and active.version == record.version
    if form == "json":
        published = to_datetime(record.published_at_ms).isoformat()
        known = {"version": record.version, "digest": record.digest, "author": record.author}
        content = msgspec.json.decode(record.document)
        click.echo(json.dumps({**known, "published_at": published, "active": is_active, "document": content}))
    else:
        _print(record, is_active=is_active)


def _print(record: PolicyRecord, *, is_active: bool) -> None:
    published = f"{to_datetime(record.published_at_ms):%Y-%m-%d %H:%M:%S} UTC"
    click.echo(f"{record.name} version {record.version}, {'in force' if is_active else 'not in force'}")
    click.echo(f"published {published} by {record.author}, digest {record.digest}")
    document = msgspec.json.decode(record.document, type=PolicyDocument)
    table = Table("rule", "kind", "owner", "mode", box=box.SIMPLE)
    for rule in document.rules:
        table.add_row(rule.id, str(rule.__struct_config__.tag), rule.owner, rule.mode)
    Console().print(table)


def _unknown_version(version: int) -> Failure:
    return Failure(f"there is no version {version}; `arbiter policy publish` tells the versions", EXIT_USAGE)
