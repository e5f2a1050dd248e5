"""The tests that are published with a policy, and run again before it is put in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from arbiter.core.document import PolicyDocument
from arbiter.policy_files import FileProblem
from arbiter.policy_files.source import read_source

SUFFIX = ".test.yaml"
CANNOT = "this build cannot run a policy's tests; activate it with one that can"

Runner = Callable[[PolicyDocument, Mapping[str, str]], list[str]]
"""Takes a policy and the texts of its test files by name, gives a sentence for each test that fails."""

run_tests: Runner | None = None
"""What runs them; without it a policy that has tests is not activated."""


def pack_tests(folder: Path) -> tuple[bytes, list[FileProblem]]:
    """The texts of the test files in a policy's folder, as they are published (empty if there are none), and what
    stands in the way of reading one.
    """
    texts: dict[str, str] = {}
    problems: list[FileProblem] = []
    for path in sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX)):
        source = read_source(path)
        if isinstance(source, FileProblem):
            problems.append(source)
        else:
            texts[path.name] = source.text
    return (msgspec.json.encode(texts) if texts else b""), problems


def unpack_tests(packed: bytes) -> dict[str, str]:
    """Name and text of each published test file."""
    return msgspec.json.decode(packed, type=dict[str, str]) if packed else {}


def failures(document: bytes, packed: bytes) -> list[str]:
    """What fails of a published policy's own tests, a sentence each."""
    tests = unpack_tests(packed)
    if not tests:
        return []
    if run_tests is None:
        return [CANNOT]
    return run_tests(msgspec.json.decode(document, type=PolicyDocument), tests)
