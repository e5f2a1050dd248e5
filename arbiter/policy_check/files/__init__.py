"""Policy files: from a folder of YAML to a checked document, or to every error with file, line and column.

``read_policy`` reads and checks. ``document_bytes`` and ``digest_of`` make what is published.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec.structs import replace

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.checks import problems
from arbiter.policy_check.files.folder import look_into
from arbiter.policy_check.files.mend import mended
from arbiter.policy_check.files.merge import Merged, merge
from arbiter.policy_check.files.odd import odd_characters
from arbiter.policy_check.files.problem import FileProblem
from arbiter.policy_check.files.schema import condition_fields
from arbiter.policy_check.files.source import Source, read_source
from arbiter.policy_check.files.words import SINGULAR, Shape, Whole, wrong_shapes
from arbiter.policy_check.files.yaml_tree import OLD_BOOLEANS, Node, Path, Refused, read_tree
from arbiter.policy_check.lints import lints
from arbiter.policy_check.problem import Problem

__all__ = ["FileProblem", "digest_of", "document_bytes", "read_policy"]

PROBLEMS_MAX = 200
"""At most so many problems are reported; the last one says how many more there are."""

_ALLOW = re.compile(r"#.*\barbiter: allow ([a-z-]+(?:,\s*[a-z-]+)*)")
_GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}\.\d\d0")
_MSGSPEC_PATH = re.compile(r" - at `\$\S*`$")


def read_policy(directory: FilePath) -> tuple[PolicyDocument | None, list[FileProblem]]:
    """The policy in a folder, and all its problems by file and line.

    The document is ``None`` if any problem is an error. Never raises, whatever is in the folder.
    """
    folder = look_into(directory)
    found = list(folder.problems)
    documents: list[tuple[Source, Node]] = []
    for file in folder.files:
        source = read_source(file)
        if isinstance(source, FileProblem):
            found.append(source)
            continue
        node, wrong = read_tree(source)
        found += wrong
        if node is not None:
            documents.append((source, node))
    document = None
    if documents:
        try:
            merged = merge(documents)
        except Refused as refused:
            return None, [*found, refused.problem]
        is_whole = len(documents) == len(folder.files) and not any(map(_is_error, folder.problems))
        is_whole = is_whole and not any(node.is_reported for _, node in documents)
        document, wrong = _checked(merged, is_whole=is_whole)
        found += [*merged.problems, *_ambiguous_words(merged), *wrong]
        if document is not None and not any(map(_is_error, found)):
            found += _warned(merged, document)
    found = _bounded(sorted(set(found), key=lambda problem: problem.order))
    return (None if any(map(_is_error, found)) else document), found


def _is_error(problem: FileProblem) -> bool:
    return problem.severity == "error"


def document_bytes(document: PolicyDocument) -> bytes:
    """The document as published: JSON. Equal policies are equal bytes, whatever the order of their files."""
    return msgspec.json.encode(document, order="sorted")


def digest_of(document: bytes) -> str:
    """The SHA-256 of a published document, in hexadecimal."""
    return hashlib.sha256(document).hexdigest()


class _Reported(msgspec.Struct, frozen=True):
    """Problems of values and names that were reported already. What follows from them is not."""

    values: set[Path]
    names: set[Path]
    problems: list[FileProblem]


def _checked(merged: Merged, *, is_whole: bool) -> tuple[PolicyDocument | None, list[FileProblem]]:
    """The document, and the problems of its values. Nothing is missing unless the files are the whole policy."""
    reported = _odd(merged)
    shapes = list(wrong_shapes(Whole(merged.value, merged.places)))
    found = reported.problems + [
        _placed(merged, shape.path, shape.code, shape.message, shape.help, at_key=shape.at_key)
        for shape in shapes
        if shape.path not in reported.values | reported.names
        and (is_whole or shape.path or shape.code != "missing-field")
    ]
    usable = mended(merged.value, [*shapes, *(Shape(path, "spoilt", "", "") for path in reported.values if path)])
    if usable is None:
        return None, found
    try:
        document = msgspec.convert(usable.value, PolicyDocument)
    except msgspec.ValidationError as error:
        text = _MSGSPEC_PATH.sub("", str(error))
        return None, [*found, _placed(merged, (), "wrong-type", f"the policy cannot be read: {text}", "")]
    usable.unsure |= set(SINGULAR) & {str(path[0]) for path in reported.names if len(path) == 2}  # noqa: PLR2004 - a name
    usable.unsure.update(() if is_whole else ("rules", *SINGULAR))
    for problem in problems(document, usable.doubtful, is_whole=usable.is_whole):
        path = usable.path_of(problem.path)
        if path not in reported.values | reported.names and not usable.follows(problem):
            found += _at_places(merged, replace(problem, path=path))
    return (None if shapes or not is_whole else document), found


def _odd(merged: Merged) -> _Reported:
    """Values whose YAML is wrong, which is reported already, and characters that are surely not meant."""
    reported = _Reported({path for path, place in merged.places.items() if place.is_reported}, set(), [])
    for path, is_name, problem in odd_characters(merged.value, merged.places):
        (reported.names if is_name else reported.values).add(path)
        reported.problems.append(problem)
    return reported


def _warned(merged: Merged, document: PolicyDocument) -> Iterator[FileProblem]:
    """The warnings, without those that a comment in their line or the line above allows."""
    texts = {source.name: source.lines for source in merged.sources}
    warnings = [found for problem in lints(document) for found in _at_places(merged, problem)]
    for warning in [*warnings, *_ambiguous_numbers(merged)]:
        beside = texts[warning.file][max(warning.line - 2, 0) : warning.line]
        if not any(warning.code in _allowed(line) for line in beside):
            yield warning


def _ambiguous_numbers(merged: Merged) -> Iterator[FileProblem]:
    """``50.000``: fifty in YAML, fifty thousand where points group digits."""
    for path, place in merged.places.items():
        if _GROUPED.fullmatch(place.written) and not place.is_quoted:
            number, digits = f"{_at(merged.value, path):g}", place.written.replace(".", "")
            message = f"`{place.written}` is {number} here, not {digits}"
            fix = f"write `{digits}` if that is meant, else `{number}`"
            problem = _placed(merged, path, "ambiguous-number", message, fix)
            yield replace(problem, severity="warning")


def _allowed(line: str) -> list[str]:
    """The codes that a line's comment allows."""
    allowed = _ALLOW.search(line)
    return re.split(r",\s*", allowed[1]) if allowed else []


def _ambiguous_words(merged: Merged) -> Iterator[FileProblem]:
    """``yes`` and the like in conditions, where a word or true or false can be meant."""
    for path, place in merged.places.items():
        if not place.is_quoted and condition_fields() & set(path):
            text = _at(merged.value, path)
            if isinstance(text, str) and text.lower() in OLD_BOOLEANS:
                word = OLD_BOOLEANS[text.lower()]
                message = f"`{text}` means `{word}` to some readers of YAML and the word to others"
                fix = f'write `{word}`, or `"{text}"` if the word is meant'
                yield _placed(merged, path, "ambiguous-word", message, fix)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _at_places(merged: Merged, problem: Problem) -> Iterator[FileProblem]:
    """A problem of the policy with its place in the files."""
    message, fix = problem.message, problem.help
    place = merged.places.get(problem.path)
    if problem.code == "never-matches" and place is not None and not place.is_quoted and '"' in fix:
        # As it is written: the number 1.5 does not know that it was `1.50`.
        short = fix[fix.index('"') + 1 : fix.rindex('"')]
        message, fix = (text.replace(f"`{short}`", f"`{place.written}`") for text in (message, fix))
        fix = fix.replace(f'"{short}"', f'"{place.written}"')
    if problem.first is not None:
        first = merged.places[problem.first]
        file, (line, column) = first.source.name, first.value
        is_near = merged.places.get(problem.path, first).source is first.source
        message += f" (see line {line})" if is_near else f" (see {file}:{line}:{column})"
    is_named = bool(problem.path) and f"`{problem.path[-1]}`" in problem.message
    at_key = problem.at_key or (is_named and problem.code != "never-matches")
    yield _placed(merged, problem.path, problem.code, message, fix, at_key=at_key, problem=problem)


def _placed(
    merged: Merged, path: Path, code: str, message: str, fix: str, *, at_key: bool = False,
    problem: Problem | None = None,
) -> FileProblem:  # fmt: skip
    """A problem at the place of a path, or of the nearest part of the policy around it."""
    places = merged.places
    while path and path not in places:
        path, at_key = path[:-1], True
    place = places.get(path) or places.get(("policy",)) or next(iter(places.values()))
    line, column = place.key if place.key and (at_key or not path) else place.value
    severity = problem.severity if problem else "error"
    return place.source.problem(line, column, code, message, fix, severity)


def _bounded(found: list[FileProblem]) -> list[FileProblem]:
    if len(found) <= PROBLEMS_MAX:
        return found
    rest = FileProblem(
        file=found[0].file, line=0, column=0, code="too-many-problems",
        message=f"there are {len(found) - PROBLEMS_MAX} more problems", help="correct these first",
    )  # fmt: skip
    return [*found[:PROBLEMS_MAX], rest]
