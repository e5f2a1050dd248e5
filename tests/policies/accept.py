"""Write down what is now said about every bad policy: ``python -m tests.policies.accept``, then read the diff."""

from __future__ import annotations

import os
from pathlib import Path

from arbiter.policy_files import read_policy

BAD = Path(__file__).parent / "bad"
EXPECTED = "expected.txt"


def cases() -> list[str]:
    """The names of the bad policies."""
    return sorted(path.name for path in BAD.iterdir())


def said_about(name: str) -> str:
    """All problems of a bad policy as text, with paths that begin at its folder. Changes the working directory."""
    os.chdir(BAD)
    return "".join(f"{problem}\n" for problem in read_policy(Path(name))[1])


def main() -> None:
    """Rewrite the expected texts."""
    for name in cases():
        (BAD / name / EXPECTED).write_text(said_about(name))


if __name__ == "__main__":
    main()
