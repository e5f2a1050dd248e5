"""``arbiter demo`` on the command line."""

from __future__ import annotations

import json
import signal
import sys

import msgspec
import rich_click as click

DEFAULT_SEED = 2008


@click.command("demo")
@click.option(
    "--requests", "limit", type=click.IntRange(min=1), metavar="N", help="Only the first N requests, by time."
)
@click.option("--json", "is_json", is_flag=True, help="No report; the account as one line of JSON at the end.")
@click.option("--seed", type=int, default=DEFAULT_SEED, show_default=True, help="Of everything that is generated.")
def demo(limit: int | None, is_json: bool, seed: int) -> None:
    """A real bank's phone campaigns through a real worker, with nothing to install.

    Every call that the bank made is a request of its phone desk; other desks' offers to the same clients, and who
    lives together, are generated from their real columns. At the end everything is counted again from the topics.
    Exit code 1 if a request is lost, or a cap or a capacity was exceeded.
    """
    from arbiter.demo import report  # noqa: PLC0415 - other commands need not wait for these imports
    from arbiter.demo.feed import FeedError  # noqa: PLC0415
    from arbiter.demo.run import run  # noqa: PLC0415
    from arbiter.dev.processes import ProcessFailed  # noqa: PLC0415
    from arbiter.embedded import EmbeddedError  # noqa: PLC0415
    from arbiter.reports.pages.console import terminal  # noqa: PLC0415

    # A SIGTERM ends it as Ctrl-C does, so that worker and servers are stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        result = run(terminal(stderr=True), limit, seed)
    except (ProcessFailed, FeedError, EmbeddedError) as error:
        raise click.ClickException(str(error)) from None
    if is_json:
        click.echo(json.dumps(msgspec.to_builtins(result.books.totals)))
    else:
        report.show(terminal(), result.account, result.books, result.seconds)
    if not result.is_good:
        sys.exit(1)
