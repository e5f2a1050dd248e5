"""``arbiter policy check``: every mistake in a policy's files, for people and for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from arbiter.cli.policy_notes import notes, tell_ended
from arbiter.cli.report import github, sarif
from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files import FileProblem, digest_of, document_bytes, read_policy
from arbiter.policy_check.files.problem import Part, text_parts

EXIT_BAD_POLICY = 1
DIGEST_SHOWN = 16
WIDTH_MAX = 120

STYLES: dict[Part, dict[str, Any]] = {
    "place": {"bold": True},
    "error": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "caret": {"fg": "green", "bold": True},
    "help": {"fg": "cyan"},
}


@click.command(short_help="Find every mistake in a policy's files.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github", "sarif"]),
    default="text",
    show_default=True,
    help="For people, for scripts, as annotations of a GitHub workflow, or as SARIF 2.1.0.",
)
@click.option("--strict", "is_strict", is_flag=True, help="Fail on warnings, too.")
def check(folder: Path, form: str, is_strict: bool) -> None:
    """Find every mistake in the policy's files in DIR, and what is legal but surely wrong.

    \b
    Exit codes:
      0  the policy can be published; there may be warnings
      1  it has errors; with --strict: errors or warnings
      2  the command was not understood

    A comment `# arbiter: allow CODE` in a line allows a warning there. All codes: docs/policy-check.md.
    """
    document, problems = read_policy(folder)
    is_good = document is not None and not (is_strict and problems)
    if form == "json":
        click.echo(json.dumps(_report(document, problems, is_good=is_good), ensure_ascii=False))
    elif form == "sarif":
        click.echo(json.dumps(sarif(problems), indent=2, ensure_ascii=False))
    else:
        if form == "github":
            for line in github(problems):
                click.echo(line)
        else:
            tell(problems)
            tell_ended(document)
        click.echo(_summary(document, problems, is_strict=is_strict))
    if not is_good:
        raise SystemExit(EXIT_BAD_POLICY)


def tell(problems: Sequence[FileProblem]) -> None:
    """Print problems for people: on a terminal in colour and folded to its width."""
    width = min(shutil.get_terminal_size().columns, WIDTH_MAX) if sys.stdout.isatty() else None
    text = "".join(click.style(part, **STYLES.get(kind, {})) for kind, part in text_parts(problems, width))
    if text:
        click.echo(text)


def counted(problems: Sequence[FileProblem]) -> str:
    """How many problems of each severity, and in how many files; empty if there are none."""
    numbers = [count(sum(p.severity == level for p in problems), level) for level in ("error", "warning")]
    there = [text for text in numbers if not text.startswith("0 ")]
    files = len({problem.file for problem in problems})
    return f"{' and '.join(there)} in {count(files, 'file')}" if there else ""


def count(number: int, what: str) -> str:
    """``1 rule``, ``2 rules``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _summary(document: PolicyDocument | None, problems: Sequence[FileProblem], *, is_strict: bool) -> str:
    if document is None:
        return counted(problems)
    found = f"no errors, {count(len(problems), 'warning')}" if problems else "no errors"
    rules, digest = count(len(document.rules), "rule"), _digest(document)[:DIGEST_SHOWN]
    verdict = " - not accepted, because of --strict" if problems and is_strict else ""
    return f"{document.policy}: {rules}, {found}, digest {digest}{verdict}"


def _report(document: PolicyDocument | None, problems: Sequence[FileProblem], *, is_good: bool) -> dict[str, Any]:
    return {
        "ok": is_good,
        "policy": document.policy if document else None,
        "digest": _digest(document) if document else None,
        "problems": [msgspec.to_builtins(problem) for problem in problems],
        "notes": notes(document),
    }


def _digest(document: PolicyDocument) -> str:
    return digest_of(document_bytes(document))
