"""The report on shadows as text, for a terminal of 80 columns or more."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from arbiter.reports.pages.console import cell, paragraph
from arbiter.reports.shadow import figures
from arbiter.reports.shadow.document import Effect, Example, RuleInShadow, ShadowPolicy, ShadowReport, Stopped

LINES_SHOWN = 12


def show(console: Console, report: ShadowReport) -> None:
    """Print everything."""
    paragraph(console, f"What shadows would have done, {figures.period(report)}", "bold")
    paragraph(console, figures.material(report), "dim")
    console.print()
    if report.policy is not None:
        _policy(console, report.policy, report)
    for rule in report.rules:
        _rule(console, rule, report.zone)
    if report.policy is None and not report.rules:
        paragraph(console, "No rule was in shadow mode, and no shadow policy beside the one in force.")
        paragraph(console, "`mode: shadow` tries a rule, `arbiter policy shadow VERSION` a whole policy.")
        console.print()
    paragraph(console, figures.LIMIT, "dim")


def _policy(console: Console, policy: ShadowPolicy, report: ShadowReport) -> None:
    paragraph(console, f"Shadow policy {figures.policy_title(policy)}", "bold")
    paragraph(console, f"evaluated {figures.since(policy.since, report.zone)}", "dim")
    for sentence in figures.policy_sentences(policy.total):
        paragraph(console, f"• {sentence}", hanging=2)
    if report.earlier:
        paragraph(console, f"not counted: what {', '.join(report.earlier)} said before", "dim")
    console.print()
    table = _table("answered \\ would have been", *figures.columns(policy))
    for live, cells in figures.matrix(policy):
        table.add_row(live, *(f"{cell:,}" for cell in cells))
    _print(console, table)
    _effects(console, "department", policy.departments)
    _effects(console, "channel", policy.channels)
    if policy.rules:
        table = _table("rule", "owner", "would stop", "would free", texts=2)
        for rule in policy.rules[:LINES_SHOWN]:
            table.add_row(cell(rule.rule), cell(rule.owner), f"{rule.stops:,}", f"{rule.frees:,}")
        _print(console, table)
    _examples(console, policy.examples)


def _effects(console: Console, first: str, lines: Sequence[Effect]) -> None:
    table = _table(first, "requests", "lost", "later", "gained", "sooner")
    for line in lines[:LINES_SHOWN]:
        cells = (line.requests, line.lost, line.later, line.gained, line.sooner)
        table.add_row(cell(line.name), *(f"{cell:,}" for cell in cells))
    _print(console, table)


def _rule(console: Console, rule: RuleInShadow, zone: str) -> None:
    paragraph(console, f"Rule {rule.rule} ({rule.kind}), owner {rule.owner}", "bold")
    paragraph(console, f"{rule.why}; in shadow mode {figures.since(rule.since, zone)}", "dim")
    paragraph(console, f"• {figures.rule_sentence(rule)}", hanging=2)
    console.print()
    if rule.would_stop:
        for first, lines in (
            ("department", rule.departments),
            ("channel", rule.channels),
            ("campaign", rule.campaigns),
        ):
            _stopped(console, first, lines)
        _examples(console, rule.examples)


def _stopped(console: Console, first: str, lines: Sequence[Stopped]) -> None:
    shown = [line for line in lines if line.would_stop]
    table = _table(first, "requests", "would have said no", "of them approved")
    for line in shown[:LINES_SHOWN]:
        table.add_row(cell(line.name), f"{line.judged:,}", f"{line.would_stop:,}", f"{line.approved:,}")
    if len(shown) > LINES_SHOWN:
        table.add_row(f"and {len(shown) - LINES_SHOWN} more")
    _print(console, table)


def _examples(console: Console, examples: Sequence[Example]) -> None:
    if examples:
        paragraph(console, "examples", "bold")
    for number, example in enumerate(examples, 1):
        paragraph(console, f"{number}. {example.title}", indent=2)
        paragraph(console, example.about, "dim", indent=5)
        for name, said in (("in force", example.live), ("in shadow", example.shadow)):
            paragraph(console, f"{name:<9}  {said.sentence}", indent=5, hanging=11)
            for reason in said.reasons:
                paragraph(console, f"{reason.rule} ({reason.owner}): {reason.message}", "dim", indent=16)
    if examples:
        console.print()


def _table(first: str, *figures_: str, texts: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(cell(first), overflow="fold")
    for number, head in enumerate(figures_, 1):
        if number < texts:
            table.add_column(head, overflow="fold")
        else:
            table.add_column(head, justify="right", no_wrap=True)
    return table


def _print(console: Console, table: Table) -> None:
    console.print(table)
    console.print()
