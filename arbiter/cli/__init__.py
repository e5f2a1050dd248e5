"""The command ``arbiter``: the only place that wires the rooms together."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import rich_click as click

from arbiter import __version__
from arbiter.cli.canary import canary
from arbiter.cli.dev import dev
from arbiter.cli.dlq import dlq
from arbiter.cli.doctor import doctor
from arbiter.cli.explain import explain_command
from arbiter.cli.gateway import gateway
from arbiter.cli.generated import schemas
from arbiter.cli.kill import kill
from arbiter.cli.policy import policy
from arbiter.cli.replay import replay
from arbiter.cli.reporting import report_command
from arbiter.cli.running import settings, worker
from arbiter.cli.simulate import simulate
from arbiter.cli.sizing import sizing
from arbiter.cli.topics import topics
from arbiter.cli.verify_sender import verify_sender
from arbiter.printable import guarded

__all__ = ["main"]


class _Commands(click.RichGroup):
    """The commands; the demonstration, with all that it brings, is imported only when asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["demo", *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == "demo":
            command: click.Command = importlib.import_module("arbiter.demo").command
            return command
        return super().get_command(ctx, cmd_name)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run with guarded streams: whatever a command prints, names in it do nothing to the terminal."""
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = guarded(streams[0]), guarded(streams[1])
        try:
            return super().main(*args, **kwargs)
        finally:
            sys.stdout, sys.stderr = streams


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="arbiter")
def main() -> None:
    """Who may contact a customer, when, and how often: contact requests in, decisions with reasons out."""


for _command in (
    dev,
    worker,
    policy,
    kill,
    simulate,
    replay,
    explain_command,
    report_command,
    topics,
    dlq,
    doctor,
    canary,
    gateway,
    sizing,
    settings,
    schemas,
    verify_sender,
):
    main.add_command(_command)
