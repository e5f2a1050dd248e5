"""A comparison as text, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from arbiter.reports.pages.console import cell
from arbiter.reports.pages.figures import policy_name, signed
from arbiter.reports.policy_diff.compare import Comparison, Line, RuleLine
from arbiter.reports.policy_diff.examples import Example
from arbiter.reports.policy_diff.figures import headline, span, waiting_sentence

LINES_SHOWN = 12
RULES_SHOWN = 20
WIDE = 110
"""From so many characters on there is room for the owners of rules."""


def show(console: Console, comparison: Comparison, examples: Sequence[Example], zone: str) -> None:
    """Print everything."""
    c = comparison
    console.print(f"[bold]{cell(policy_name(*c.old))}[/] → [bold]{cell(policy_name(*c.new))}[/]", highlight=False)
    console.print(f"{c.requests:,} requests, {span(c, zone)}", highlight=False)
    console.print()
    for sentence in headline(c):
        console.print(f"  {sentence}", highlight=False, markup=False)
    console.print(f"  {waiting_sentence(c)}", highlight=False, markup=False)
    console.print(_ends(c))
    for dimension, lines in c.lines.items():
        console.print(_table(dimension, lines))
    console.print(_rules(c.rules, has_room=console.width >= WIDE))
    if c.over:
        console.print(_over(c))
    if examples:
        console.print(f"[bold]examples[/] (times of {zone})\n", highlight=False)
    for number, example in enumerate(examples, 1):
        _print_example(console, number, example)


def _ends(c: Comparison) -> Table:
    table = Table("before", "after", box=box.SIMPLE, title="in the end", title_justify="left")
    table.add_column("requests", justify="right")
    for (before, after), count in sorted(c.ends.items(), key=lambda entry: -entry[1]):
        style = "dim" if before == after else None
        table.add_row(before, after, f"{count:,}", style=style)
    return table


def _table(dimension: str, lines: Sequence[Line]) -> Table:
    table = Table(dimension, box=box.SIMPLE)
    for heading in ("requests", "approved before", "after", "change", "gained", "lost"):
        table.add_column(heading, justify="right")
    for line in lines[:LINES_SHOWN]:
        colour = "green" if line.change > 0 else "red" if line.change < 0 else "dim"
        figures = [f"{n:,}" for n in (line.requests, line.old, line.new)]
        change = f"[{colour}]{signed(line.change)}[/]"
        table.add_row(cell(line.name), *figures, change, f"{line.gained:,}", f"{line.lost:,}")
    if len(lines) > LINES_SHOWN:
        table.add_row(f"and {len(lines) - LINES_SHOWN} more")
    return table


def _rules(lines: Iterable[RuleLine], *, has_room: bool) -> Table:
    table = Table("rule", "", box=box.SIMPLE)
    if has_room:
        table.add_column("owner")
    table.add_column("held back at first", justify="right")
    table.add_column("change", justify="right")
    table.add_column("stopped for good", justify="right")
    shown = [line for line in lines if line.is_moved]
    for line in shown[:RULES_SHOWN]:
        owner = [cell(line.owner)] if has_room else []
        held = f"{line.held_old:,} → {line.held_new:,}"
        stopped = f"{line.stopped_old:,} → {line.stopped_new:,}"
        table.add_row(cell(line.rule), line.status, *owner, held, signed(line.held_new - line.held_old), stopped)
    if len(shown) > RULES_SHOWN:
        table.add_row(f"and {len(shown) - RULES_SHOWN} more")
    return table


def _over(c: Comparison) -> Table:
    table = Table("new cap", "owner", box=box.SIMPLE, title="at once", title_justify="left")
    table.add_column("parties over it", justify="right")
    table.add_column("with nothing left", justify="right")
    for over in c.over:
        name = over.rule if over.mode == "enforce" else f"{over.rule} ({over.mode})"
        table.add_row(cell(name), cell(over.owner), f"{over.parties:,}", f"{over.full:,}")
    return table


def _print_example(console: Console, number: int, example: Example) -> None:
    console.print(f"[bold]{number}. {cell(example.title)}[/]", highlight=False)
    console.print(_indented(3, example.about))
    for when, answer in (("before", example.old), ("after", example.new)):
        console.print(f"   {when:<6}  {answer.sentence}", highlight=False, markup=False)
        for reason in answer.reasons:
            console.print(_indented(11, f"{reason.rule} ({reason.owner}): {reason.message}"))
    console.print()


def _indented(by: int, text: str) -> Padding:
    """Dim, and still indented where it goes on in the next line."""
    return Padding(Text(text, style="dim"), (0, 0, 0, by))
