"""A report as text, for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from arbiter.reports.departments import figures
from arbiter.reports.departments.document import Line, Report, RuleLine
from arbiter.reports.pages.console import cell, paragraph
from arbiter.reports.pages.figures import share

CAMPAIGNS_SHOWN = 12
RULES_SHOWN = 20
WIDE = 110
"""From so many characters on nothing is left out or folded."""


def show(console: Console, report: Report) -> None:
    """Print everything."""
    paragraph(console, f"Contact requests, {figures.period(report)}", "bold")
    paragraph(console, ", ".join(report.policies) or "no decisions", "dim")
    console.print()
    for sentence in figures.headline(report):
        paragraph(console, f"• {sentence}", hanging=2)
    console.print()
    _lines(console, "department", [*report.departments, report.total], _name)
    _lines(console, "channel", report.channels, _name)
    _lines(console, "campaign", report.campaigns[:CAMPAIGNS_SHOWN], figures.campaign)
    if len(report.campaigns) > CAMPAIGNS_SHOWN:
        paragraph(console, f"and {len(report.campaigns) - CAMPAIGNS_SHOWN} campaigns more", "dim")
    _starving(console, report)
    _rules(console, figures.binding(report), "which rules bind")
    _rules(console, figures.watching(report), "what rules in shadow mode would have stopped")
    _claims(console, report)
    _rejections(console, report)
    _mistakes(console, report)
    _footer(console, report)


def _name(line: Line) -> str:
    return line.name


def _table(first: str, *figures_: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(first, overflow="fold")
    for head in figures_:
        table.add_column(head, justify="right", no_wrap=True)
    return table


def _print(console: Console, title: str, table: Table) -> None:
    paragraph(console, title, "bold")
    console.print(table)
    console.print()


def _lines(console: Console, what: str, lines: Sequence[Line], name_of: Callable[[Line], str]) -> None:
    wide = ["asked", "at once", "later", "waiting", "rejected", "recalled", "approved", "wait p50 / p90"]
    narrow = ["asked", "once", "later", "waits", "reject", "yes", "wait p50 / p90"]
    is_wide = console.width >= WIDE
    table = _table(what, *(wide if is_wide else narrow))
    for line in lines:
        counts = [line.asked, line.approved_at_once, line.approved_later, line.waiting, line.rejected]
        counts += [line.recalled] if is_wide else []
        cells = [*(f"{count:,}" for count in counts), share(line.approved, line.asked), figures.waited(line)]
        name = cell(name_of(line))
        table.add_row(
            name if is_wide else name.replace(" (", "\n("), *cells, style="bold" if line.name == "all" else None
        )
    _print(console, f"by {what}", table)


def _starving(console: Console, report: Report) -> None:
    if not report.starving:
        return
    table = _table("department", "approved", "wait p90", "stopped first")
    table.add_column("whose contacts used the budgets", overflow="fold")
    for one in report.starving:
        values = share(one.approval_share, 1), figures.length(one.wait_p90_s), f"{one.stopped:,}"
        table.add_row(cell(one.department), *values, cell(figures.culprits(report, one.department)))
    _print(console, "who starves: less gets through than of all together", table)


def _rules(console: Console, lines: Sequence[RuleLine], title: str) -> None:
    if not lines:
        return
    is_shadow, is_wide = lines[0].is_shadow, console.width >= WIDE
    table = _table("rule")
    for head in ("kind", "owner") if is_wide else ():
        table.add_column(head)
    for head in ("stopped first", "alone", *(() if is_shadow else ("approved later", "rejected"))):
        table.add_column(head, justify="right")
    for line in lines[:RULES_SHOWN]:
        rule, owner = cell(line.rule), cell(line.owner)
        names = [rule, line.kind, owner] if is_wide else [f"{rule}\n[dim]{line.kind}, {owner}[/]"]
        ends = () if is_shadow else (f"{line.approved_later:,}", f"{line.rejected:,}")
        table.add_row(*names, f"{line.stopped:,}", f"{line.alone:,}", *ends)
    if len(lines) > RULES_SHOWN:
        table.add_row(f"and {len(lines) - RULES_SHOWN} more")
    _print(console, title, table)


def _claims(console: Console, report: Report) -> None:
    claiming = figures.claimants(report.departments)
    if not claiming:
        return
    table = _table("department", "requests", "claim 100", "share")
    for line in claiming:
        table.add_row(cell(line.name), f"{line.claims_known:,}", f"{line.claims_of_100:,}", figures.claimed(line))
    _print(console, "who claims priority 100", table)


def _rejections(console: Console, report: Report) -> None:
    lines = [line for line in [*report.departments, report.total] if line.rejected]
    if not lines:
        return
    table = _table("department", "rejected")
    table.add_column("codes (one request may have several)", overflow="fold")
    for line in lines:
        table.add_row(cell(line.name), f"{line.rejected:,}", cell(figures.reasons(line)))
    _print(console, "why requests are rejected", table)


def _mistakes(console: Console, report: Report) -> None:
    if not report.mistakes:
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for head in ("department", "code", "field"):
        table.add_column(head, overflow="fold")
    table.add_column("records", justify="right", no_wrap=True)
    for row in figures.mistakes(report):
        table.add_row(*map(cell, row))
    _print(console, figures.MISTAKES, table)


def _footer(console: Console, report: Report) -> None:
    m = report.material
    paragraph(console, f"From {m.decisions:,} decisions, {m.source}. Claimed priorities: {m.claims}.", "dim")
    left_out = figures.left_out(report)
    if left_out:
        paragraph(console, f"Left out: {'; '.join(left_out)}.", "dim")
