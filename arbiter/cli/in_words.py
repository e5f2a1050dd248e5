"""Policies and their differences in words, on a terminal: folded to its width, plain where it is none."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import rich_click as click

from arbiter.cli.common import reading
from arbiter.policy_words.changes import Change
from arbiter.policy_words.whole import Section

WIDTH_MAX = 100


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
            _paragraph(" ".join([*entry.sentences, *why, *ask]))


def tell_changes(changes: Sequence[Change]) -> None:
    """Print what is written differently."""
    click.secho("what is written differently", bold=True)
    if not changes:
        click.echo("  nothing: both say the same")
    for change in changes:
        click.echo(f"  {click.style(change.title, bold=True)} {change.kind}")
        for text in [one.text for one in change.differences] or [" ".join(change.sentences)]:
            _paragraph(text)
    click.echo()


def write_page(file: Path, page: str, form: str) -> None:
    """Write a page, and say so where it does not disturb what a script reads."""
    with reading():
        file.write_text(page, encoding="utf-8")
    click.echo(f"written to {file}", err=form == "json")


def _paragraph(text: str) -> None:
    for line in _folded(text):
        click.echo(line)


def _folded(text: str) -> Iterator[str]:
    indent = " " * 4
    if not sys.stdout.isatty():
        yield indent + text
        return
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
    yield from textwrap.wrap(
        text, max(width, 2 * len(indent)), initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
