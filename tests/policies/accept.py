"""Write down what is said about bad policies and tests: ``python -m tests.policies.accept``, then read the diff."""

from __future__ import annotations

import os
from pathlib import Path

from arbiter.policy_check.files import read_policy
from arbiter.policy_tests.read import SUFFIX, read_test_file

HERE = Path(__file__).parent
BAD, WARNED = HERE / "bad", HERE / "warned"
BAD_TESTS = Path(__file__).parent / "bad-tests"
FIRM = Path(__file__).parents[2] / "deploy" / "policies" / "small-firm"
EXPECTED = "expected.txt"


def cases(group: Path = BAD) -> list[str]:
    """The names of the policies in a group."""
    return sorted(path.name for path in group.iterdir())


def said_about(name: str, group: Path = BAD) -> str:
    """All problems of a policy as text, with paths that begin at its folder. Changes the working directory."""
    os.chdir(group)
    return "".join(f"{problem}\n" for problem in read_policy(Path(name))[1])


def bad_tests() -> list[str]:
    """The names of the bad test files."""
    return sorted(path.name.removesuffix(SUFFIX) for path in BAD_TESTS.glob(f"*{SUFFIX}"))


def said_about_tests(name: str) -> str:
    """All problems of a bad test file, held against the small firm's policy. Changes the working directory."""
    document, _ = read_policy(FIRM)
    assert document is not None
    os.chdir(BAD_TESTS)
    return "".join(f"{problem}\n" for problem in read_test_file(Path(f"{name}{SUFFIX}"), document)[1])


def main() -> None:
    """Rewrite the expected texts."""
    for group in (BAD, WARNED):
        for name in cases(group):
            (group / name / EXPECTED).write_text(said_about(name, group))
    for name in bad_tests():
        (BAD_TESTS / f"{name}.{EXPECTED}").write_text(said_about_tests(name))


if __name__ == "__main__":
    main()
