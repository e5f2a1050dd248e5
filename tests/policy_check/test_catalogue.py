"""The catalogue of codes: complete, nothing too much, each shown by a policy that has it."""

from __future__ import annotations

import re
from pathlib import Path

from arbiter.policy_check.files import read_policy
from arbiter.policy_check.files.catalogue import CODES, GROUPS, markdown
from tests.policies.accept import BAD, WARNED, cases

ROOT = Path(__file__).resolve().parents[2]
SHOWN_ELSEWHERE = {
    # These need a file that cannot be committed, or is not worth it: test_policy_files.py makes them.
    "no-such-folder", "not-a-folder", "unreadable", "too-large", "not-utf8", "too-many-problems",
    # test_policy_folder.py makes these.
    "not-a-file", "outside-link", "too-many-files",
    # The last resort for what the YAML parser may say one day.
    "not-yaml",
}  # fmt: skip


def told(group: Path) -> dict[str, set[str]]:
    """Code → severities, of all problems of a group's policies."""
    found: dict[str, set[str]] = {}
    for name in cases(group):
        for problem in read_policy(group / name)[1]:
            found.setdefault(problem.code, set()).add(problem.severity)
    return found


def test_every_code_is_shown_by_a_policy() -> None:
    """Each error by a bad policy, each warning by a suspicious one, and no policy shows a code that is not listed."""
    bad, warned = told(BAD), told(WARNED)
    errors = {name for name, code in CODES.items() if code.level == "error"}

    assert errors - SHOWN_ELSEWHERE == bad.keys()
    assert CODES.keys() - errors == warned.keys()
    assert {level for levels in bad.values() for level in levels} == {"error"}


def test_codes_are_listed_once() -> None:
    """No code stands in two groups, and each is made of lower-case words."""
    assert sum(map(len, GROUPS.values())) == len(CODES)
    assert [name for name in CODES if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_the_page_has_every_code() -> None:
    """Each with its meaning and its remedy, in one line of a table."""
    lines = markdown().splitlines()

    assert [n for n, code in CODES.items() if f"| `{n}` | {code.meaning} | {code.mend} |" not in lines] == []
