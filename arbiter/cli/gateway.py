"""``arbiter gateway``: HTTP for systems without Kafka, and its keys."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import rich_click as click

from arbiter.cli.common import EXIT_REFUSED, EXIT_USAGE, Failure, settings_for
from arbiter.gateway.core.keys import ROLES, Key, KeysError, Role, digest, token
from arbiter.gateway.core.signing import WebhooksError
from arbiter.logs import log_to_stderr

VARIABLE = "ARBITER_GATEWAY_KEYS_FILE"


@click.group(short_help="Take requests over HTTP until SIGTERM; make its keys.", invoke_without_command=True)
@click.pass_context
def gateway(context: click.Context) -> None:
    """Take requests over HTTP until SIGTERM, for systems without Kafka.

    Calls come in at ARBITER_GATEWAY_HTTP; /metrics, /healthz and /readyz are at ARBITER_HTTP. Each department needs a
    key: `arbiter gateway key new`.
    """
    if context.invoked_subcommand is not None:
        return
    from arbiter.gateway.process import run  # noqa: PLC0415 - brings the web server

    settings = settings_for("kafka", "redis")
    if not settings.gateway_keys_file:
        raise Failure(f"{VARIABLE}: missing; make a key with `arbiter gateway key new`, and name its file", EXIT_USAGE)
    log_to_stderr(settings)
    try:
        raise SystemExit(asyncio.run(run(settings)))
    except KeysError as error:
        raise Failure(f"{settings.gateway_keys_file}: {error}", EXIT_USAGE) from None
    except WebhooksError as error:
        raise Failure(f"{settings.gateway_webhooks_file}: {error}", EXIT_USAGE) from None


@gateway.group(short_help="Make, list and revoke keys.")
def key() -> None:
    """Make, list and revoke keys. Running gateways take a changed file within a second."""


_file = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar=VARIABLE,
    required=True,
    show_envvar=True,
    help="The file of keys.",
)


@key.command(short_help="Make a key, and print it this once.")
@click.option("--department", required=True, help="Whose it is: it can ask, report and read as no other.")
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, default=("publisher", "reader"),
              show_default=True, help="What it may do; may be repeated.")  # fmt: skip
@click.option("--days", type=click.IntRange(1, 3_650), help="It expires after so many days; without: never.")
@click.option("--note", default="", help="For people: which system has it.")
@_file
def new(department: str, roles: tuple[Role, ...], days: int | None, note: str, path: Path) -> None:
    """Make a key, and print it this once: the file has only its digest.

    To rotate a key, make the new one, let the system take it, then revoke the old one.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    text = token(secrets.token_hex(4), secrets.token_urlsafe(32))
    made = Key(
        id=text.split("_")[1],
        department=department,
        roles=[role for role in ROLES if role in roles],
        sha256=digest(text),
        created_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
        note=note,
    )
    from arbiter.gateway.keys_file import changed  # noqa: PLC0415 - as above

    with _refusals(path), changed(path) as keys:
        keys[made.id] = made
    click.echo(text)
    click.echo(f"{_line(made, now)}\nIt is shown this once. Keep it where the system keeps its secrets.", err=True)


@key.command(name="list", short_help="List keys, without what is secret.")
@_file
def list_keys(path: Path) -> None:
    """List keys: id, department, roles, expiry."""
    from arbiter.gateway.core.keys import read  # noqa: PLC0415 - as above

    with _refusals(path):
        keys = read(path.read_bytes())
    for one in keys.values() or ():
        click.echo(_line(one, datetime.now(UTC)))
    if not keys:
        click.echo("no keys; make one with `arbiter gateway key new`")


@key.command(short_help="End a key.")
@click.argument("key_id")
@_file
def revoke(key_id: str, path: Path) -> None:
    """End a key by its id: calls with it are refused within a second."""
    from arbiter.gateway.keys_file import changed  # noqa: PLC0415 - as above

    with _refusals(path), changed(path) as keys:
        if keys.pop(key_id, None) is None:
            raise KeysError(f"there is no key `{key_id}`; its keys are {', '.join(keys) or 'none'}")
    click.echo(f"key {key_id} is revoked")


def _line(one: Key, now: datetime) -> str:
    ends = "never expires"
    if one.expires_at is not None:
        ends = f"{'expired' if one.expires_at <= now else 'expires'} {one.expires_at.isoformat()}"
    return "  ".join([one.id, one.department, ",".join(one.roles), ends, *([one.note] if one.note else [])])


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except KeysError as error:
        raise Failure(f"{path}: {error}", EXIT_REFUSED) from None
    except OSError as error:
        raise Failure(f"{error.filename or path}: {os.strerror(error.errno or 0).lower()}", EXIT_USAGE) from None
