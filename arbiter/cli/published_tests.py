"""The tests that are published with a policy, and run again before it comes into force."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import PolicyError, load
from arbiter.policy_check.files import FileProblem
from arbiter.policy_check.files.folder import look_into
from arbiter.policy_check.files.problem import printable
from arbiter.policy_check.files.source import Source, read_source
from arbiter.policy_tests.junit import explained
from arbiter.policy_tests.read import read_test_text
from arbiter.policy_tests.run import run_test
from arbiter.state.policy_store import PolicyRecord


def pack_tests(folder: Path) -> tuple[bytes, list[FileProblem]]:
    """The texts of the test files in a policy's folder as they are published (empty if there are none), and what
    prevents reading one.
    """
    texts: dict[str, str] = {}
    problems: list[FileProblem] = []
    for path in look_into(folder).tests:
        source = read_source(path)
        if isinstance(source, FileProblem):
            problems.append(source)
        else:
            texts[printable(path.name)] = source.text
    return (msgspec.json.encode(texts) if texts else b""), problems


def unpack_tests(packed: bytes) -> dict[str, str]:
    """Name and text of each published test file."""
    return msgspec.json.decode(packed, type=dict[str, str]) if packed else {}


def failures(record: PolicyRecord) -> list[str]:
    """A text for each published test that fails or cannot be run."""
    tests = unpack_tests(record.tests)
    return list(_failures(record, tests)) if tests else []


def _failures(record: PolicyRecord, tests: dict[str, str]) -> Iterator[str]:
    try:
        policy = load(record.document, record.version, record.digest)
    except PolicyError as error:
        yield f"the policy cannot be tested: {error}"
        return
    document: PolicyDocument = policy.document
    for name, text in tests.items():
        read, problems = read_test_text(Source(name, text), document)
        yield from map(str, problems)
        for result in (run_test(policy, one) for one in read):
            if not result.is_good:
                told = "".join(f"\n  {line}" for line in explained(result))
                yield f"{name}:{result.test.line}: {result.test.case.name}{told}"
