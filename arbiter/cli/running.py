"""``arbiter worker`` and ``arbiter settings``."""

from __future__ import annotations

import asyncio

import rich_click as click
from rich.markdown import Markdown

from arbiter.cli.common import settings_for
from arbiter.logs import log_to_stderr
from arbiter.reports.pages.console import terminal
from arbiter.settings import markdown


@click.command(short_help="Decide contact requests until SIGTERM.")
def worker() -> None:
    """Decide contact requests until SIGTERM; its settings are in the environment (see `arbiter settings`)."""
    from arbiter.worker.process import run  # noqa: PLC0415 - brings Faust, which other commands need not wait for

    settings = settings_for("kafka", "redis")
    log_to_stderr(settings)
    raise SystemExit(asyncio.run(run(settings)))


@click.command(short_help="List what the environment can say.")
def settings() -> None:
    """What the environment can say: every variable, its form, default and meaning."""
    console = terminal()
    if console.is_terminal:
        console.print(Markdown(markdown()))
    else:
        click.echo(markdown(), nl=False)
