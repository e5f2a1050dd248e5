"""``arbiter canary``: the whole path, asked every few seconds."""

from __future__ import annotations

import asyncio

import rich_click as click

from arbiter.cli.common import EXIT_USAGE, Failure, settings_for
from arbiter.logs import log_to_stderr


@click.command(short_help="Ask every few seconds, and measure the decisions, until SIGTERM.")
def canary() -> None:
    """Send a synthetic request to every partition each few seconds, and measure whether its decision comes in time.

    They are dry runs of a department that only the canary uses: they spend nothing, and no report counts them. Serves
    its own /metrics at ARBITER_HTTP. Needs Kafka only.
    """
    from arbiter.worker.canary.process import run  # noqa: PLC0415 - brings the web server

    settings = settings_for("kafka")
    if settings.clock == "event":
        text = "its requests are of now, and would move the event clock: run it where workers have ARBITER_CLOCK=wall"
        raise Failure(text, EXIT_USAGE)
    log_to_stderr(settings)
    raise SystemExit(asyncio.run(run(settings)))
