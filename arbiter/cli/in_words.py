"""Policies and their differences in words on a terminal, folded to its width; plain elsewhere."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import rich_click as click

from arbiter.cli.common import reading
from arbiter.reports.policy_words.changes import Change
from arbiter.reports.policy_words.page import LISTED_FROM
from arbiter.reports.policy_words.whole import Section

WIDTH_MAX = 100
INDENT = " " * 4


def tell_sections(sections: Iterable[Section]) -> None:
    """Print a policy."""
    for section in sections:
        click.echo()
        click.secho(section.title, bold=True)
        for entry in section.entries:
            kind = f" ({entry.kind})" if entry.kind else ""
            click.echo(f"  {click.style(entry.name, bold=True)}{kind}")
            why = [f"Why: {entry.why}."] if entry.why else []
            ask = [f"Whom to ask: {entry.owner}."] if entry.owner else []
            said = entry.sentences if len(entry.sentences) > LISTED_FROM else [" ".join(entry.sentences)]
            for text in [*said[:-1], " ".join([*said[-1:], *why, *ask])]:
                tell_folded(text, INDENT)


def tell_changes(changes: Sequence[Change]) -> None:
    """Print the differences."""
    click.secho("what is written differently", bold=True)
    if not changes:
        click.echo("  nothing: both say the same")
    for change in changes:
        click.echo(f"  {click.style(change.title, bold=True)} {change.kind}")
        for text in [one.text for one in change.differences] or [" ".join(change.sentences)]:
            tell_folded(text, INDENT)
    click.echo()


def write_page(file: Path, page: str, form: str) -> None:
    """Write a page, and say so where a script's output is not disturbed."""
    with reading():
        file.write_text(page, encoding="utf-8")
    click.echo(f"written to {file}", err=form == "json")


def tell_folded(text: str, indent: str = "") -> None:
    """Print a paragraph, folded on a terminal."""
    if sys.stdout.isatty():
        width = max(min(shutil.get_terminal_size().columns, WIDTH_MAX), 2 * len(INDENT))
        click.echo(textwrap.fill(
            text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
        ))  # fmt: skip
    else:
        click.echo(f"{indent}{text}")
