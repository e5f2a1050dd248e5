"""The tests that are published with a policy, and run again before it is put in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from arbiter.core.document import PolicyDocument

SUFFIX = ".test.yaml"
CANNOT = "this build cannot run a policy's tests; activate it with one that can"

Runner = Callable[[PolicyDocument, Mapping[str, str]], list[str]]
"""Takes a policy and the texts of its test files by name, gives a sentence for each test that fails."""

run_tests: Runner | None = None
"""What runs them; without it a policy that has tests is not activated."""


def pack_tests(folder: Path) -> bytes:
    """The texts of the test files in a policy's folder, as they are published; empty if there are none."""
    files = sorted(path for path in folder.iterdir() if path.name.endswith(SUFFIX))
    return msgspec.json.encode({path.name: path.read_text(encoding="utf-8") for path in files}) if files else b""


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
