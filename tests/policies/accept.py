"""Write down what is said about every bad or suspicious policy: ``python -m tests.policies.accept``; read the diff."""

from __future__ import annotations

import os
from pathlib import Path

from arbiter.policy_files import read_policy

HERE = Path(__file__).parent
BAD, WARNED = HERE / "bad", HERE / "warned"
EXPECTED = "expected.txt"


def cases(group: Path = BAD) -> list[str]:
    """The names of the policies in a group."""
    return sorted(path.name for path in group.iterdir())


def said_about(name: str, group: Path = BAD) -> str:
    """All problems of a policy as text, with paths that begin at its folder. Changes the working directory."""
    os.chdir(group)
    return "".join(f"{problem}\n" for problem in read_policy(Path(name))[1])


def main() -> None:
    """Rewrite the expected texts."""
    for group in (BAD, WARNED):
        for name in cases(group):
            (group / name / EXPECTED).write_text(said_about(name, group))


if __name__ == "__main__":
    main()
