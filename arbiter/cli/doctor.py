"""``arbiter doctor``: a line for everything that an installation needs, with what to do where it is not well."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Final

import rich_click as click
from rich.console import Console
from rich.text import Text

from arbiter.doctor.registry import EXIT_CODES, Result, State, worst
from arbiter.reports.pages.console import paragraph, terminal
from arbiter.settings import SettingsError, load

STYLES: Final = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red", State.SKIPPED: "dim"}
MARKS: Final = {State.OK: "ok", State.WARN: "warn", State.FAIL: "FAIL", State.SKIPPED: "-"}
MARK_WIDTH, NAME_WIDTH = 6, 16
COMMAND: Final = "kafka-"
"""How long commands begin that are to be copied."""


@click.command(short_help="Say what is wrong with the installation, and how to mend it.")
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
def doctor(*, is_json: bool) -> None:
    """Look at everything that the installation needs: Kafka, Redis, topics, policy, workers.

    It reads the same environment as a worker, and changes nothing but a key in Redis that goes after a minute. It
    takes 40 seconds at most, even if a server hangs.

    \b
    Exit codes:
      0  all is well
      1  something is not as it should be, and requests are decided
      2  something keeps requests from being decided, or loses data
    """
    results = _results()
    if is_json:
        checks = [
            {"check": one.check, "state": one.state.value, "text": one.text, "fix": one.fix} for one in results
        ]  # fmt: skip
        click.echo(json.dumps({"state": worst(results).value, "checks": checks}))
    else:
        _show(terminal(), results)
    raise SystemExit(EXIT_CODES[worst(results)])


def _results() -> list[Result]:
    from arbiter.doctor.examine import examine  # noqa: PLC0415 - brings Faust, which other commands need not wait for

    try:
        settings = load(os.environ)
    except SettingsError as error:
        fix = "set it in the environment; `arbiter settings` lists all"
        return [Result("settings", State.FAIL, line, fix) for line in str(error).splitlines()]
    return asyncio.run(examine(settings))


def _show(console: Console, results: Sequence[Result]) -> None:
    indent = MARK_WIDTH + NAME_WIDTH
    for one in (one for one in results if one.state is not State.SKIPPED):
        head = f"{MARKS[one.state]:<{MARK_WIDTH}}{one.check:<{NAME_WIDTH}}"
        paragraph(console, f"{head}{one.text}", STYLES[one.state] if one.state is not State.OK else "", hanging=indent)
        for line in one.fix.splitlines():
            if line.startswith(COMMAND):
                console.print(Text(f"  {line}", style="cyan"), soft_wrap=True)  # whole, to be copied
            else:
                paragraph(console, f"→ {line}", "cyan", indent=indent, hanging=2)
    if skipped := [one.check for one in results if one.state is State.SKIPPED]:
        head = f"{MARKS[State.SKIPPED]:<{MARK_WIDTH}}{State.SKIPPED.value:<{NAME_WIDTH}}"
        text = f"{', '.join(skipped)}: a server that they need does not answer"
        paragraph(console, head + text, STYLES[State.SKIPPED], hanging=indent)
    counts = Counter(one.state for one in results)
    parts = [f"{counts[state]} {state.value}" for state in (State.FAIL, State.WARN, State.OK, State.SKIPPED)
             if counts[state]]  # fmt: skip
    console.print()
    paragraph(console, ", ".join(parts), "bold")
