"""The problems of a policy for other programs: GitHub workflow annotations and SARIF 2.1.0.

Sources: GitHub's "Workflow commands for GitHub Actions"; OASIS, "Static Analysis Results Interchange Format (SARIF)
Version 2.1.0", and what GitHub code scanning asks of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from arbiter import __version__
from arbiter.policy.rules.checking import Mistake
from arbiter.policy_check.files import FileProblem
from arbiter.policy_check.files.catalogue import CODES

SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def github(problems: Sequence[FileProblem]) -> Iterator[str]:
    """One workflow command per problem: the message, and the fix on a line of its own."""
    for problem in problems:
        properties = {"file": _below_here(problem.file), "title": problem.code}
        if problem.line:
            properties |= {"line": str(problem.line), "col": str(problem.column)}
        told = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
        fix = f"\nhelp: {problem.help}" if problem.help else ""
        yield f"::{problem.severity} {told}::{_escaped(problem.message + fix)}"


def sarif(problems: Sequence[FileProblem]) -> dict[str, Any]:
    """A SARIF log of one run. Its rules are the codes that occur, in the catalogue's order."""
    codes = [name for name in CODES if any(problem.code == name for problem in problems)]
    driver = {
        "name": "arbiter policy check",
        "semanticVersion": __version__,
        "rules": [_rule(name, CODES[name]) for name in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, codes.index(problem.code)) for problem in problems],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(name: str, code: Mistake) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": code.meaning},
        "help": {"text": code.mend},
        "defaultConfiguration": {"level": code.level},
    }


def _result(problem: FileProblem, rule: int) -> dict[str, Any]:
    fix = f"\nhelp: {problem.help}" if problem.help else ""
    # Code scanning shows nothing without a line: what is about a file as a whole is shown at its first.
    region: dict[str, Any] = {"startLine": max(problem.line, 1), "startColumn": max(problem.column, 1)}
    if problem.source.strip():
        region["snippet"] = {"text": problem.source}
    location = {"artifactLocation": {"uri": _uri(problem.file)}, "region": region}
    return {
        "ruleId": problem.code,
        "ruleIndex": rule,
        "level": problem.severity,
        "message": {"text": problem.message + fix},
        "locations": [{"physicalLocation": location}],
    }


def _below_here(file: str) -> str:
    """The path relative to the working directory, if the file is below it: both tools identify files by that."""
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return path.as_posix()


def _uri(file: str) -> str:
    path = _below_here(file)
    return Path(path).as_uri() if Path(path).is_absolute() else quote(path)


def _escaped(text: str, more: str = "") -> str:
    """The text escaped for a workflow command; ``more`` are the characters that would end a property."""
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
