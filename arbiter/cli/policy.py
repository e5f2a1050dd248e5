"""``arbiter policy``: what the owners of a policy run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click

from arbiter.cli.policy_exceptions import tell_ended
from arbiter.core.document import PolicyDocument
from arbiter.policy_files import FileProblem, digest_of, document_bytes, read_policy

DIGEST_SHOWN = 16
EXIT_BAD_POLICY = 1


_folder = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)


@click.group()
def policy() -> None:
    """Check, publish, approve and activate contact policies."""


@policy.command()
@_folder
@_format
def check(folder: Path, form: str) -> None:
    """Find every mistake in the policy's files in DIR. Exit code 1 if there is one."""
    document, problems = read_policy(folder)
    if form == "json":
        click.echo(json.dumps(_report(document, problems), ensure_ascii=False))
    else:
        tell(problems)
        tell_ended(document)
        if document is not None:
            rules, digest = _count(len(document.rules), "rule"), _digest(document)[:DIGEST_SHOWN]
            click.echo(f"{document.policy}: {rules}, no errors, digest {digest}")
    if document is None:
        raise SystemExit(EXIT_BAD_POLICY)


def tell(problems: Sequence[FileProblem]) -> None:
    """Print the problems, and how many there are."""
    for problem in problems:
        click.echo(str(problem) + "\n")
    errors = sum(problem.severity == "error" for problem in problems)
    if errors:
        files = len({problem.file for problem in problems if problem.severity == "error"})
        click.echo(f"{_count(errors, 'error')} in {_count(files, 'file')}")


def _report(document: PolicyDocument | None, problems: Sequence[FileProblem]) -> dict[str, Any]:
    return {
        "ok": document is not None,
        "policy": document.policy if document else None,
        "digest": _digest(document) if document else None,
        "problems": [msgspec.to_builtins(problem) for problem in problems],
    }


def _digest(document: PolicyDocument) -> str:
    return digest_of(document_bytes(document))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
