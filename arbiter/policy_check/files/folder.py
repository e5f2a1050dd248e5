"""A policy's folder: which entries are read, which are tests, and which are ignored.

The ``*.yaml`` files directly in the folder are read. Whatever else may be meant as a part of the policy is reported,
since a rule in a file that nobody reads protects nobody.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from msgspec import Struct

from arbiter.policy_check.files.problem import FileProblem, printable
from arbiter.policy_check.files.source import reason_of, shown, whole

SUFFIX = ".yaml"
TEST_SUFFIX = ".test.yaml"
FILES_MAX = 500

BESIDES = frozenset(
    (".md", ".markdown", ".rst", ".adoc", ".txt", ".pdf", ".html", ".doc", ".docx", ".odt", ".xlsx", ".png", ".jpg",
     ".jpeg", ".svg", ".csv", ".jsonl", ".gz", ".xml")
)  # fmt: skip
"""Documentation, sample requests, reports: nobody takes these for a part of a policy."""
BESIDES_NAMES = frozenset(
    (
        "README",
        "LICENSE",
        "LICENCE",
        "NOTICE",
        "CHANGELOG",
        "CONTRIBUTING",
        "CODEOWNERS",
        "OWNERS",
        "Makefile",
        "Thumbs.db",
        "desktop.ini",
    )
)

_YAML_LIKE = re.compile(r"\.ya?ml(?![a-z])", re.IGNORECASE)
"""The name of a policy file to which an editor, a copy or a mail program added something."""


class Folder(Struct, frozen=True):
    """The content of a folder. If any problem is an error, ``files`` are not the whole policy."""

    files: list[Path]
    tests: list[Path]
    problems: list[FileProblem]


def look_into(directory: Path) -> Folder:
    """The policy's files and tests by name, and the problems of the folder. Never raises."""
    name = shown(directory)
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return _nothing(name, "no-such-folder", "there is no such folder", "give the folder that holds the policy")
    except NotADirectoryError:
        return _nothing(name, "not-a-folder", "this is not a folder", "give the folder that holds the policy's files")
    except OSError as error:
        return _nothing(name, "unreadable", f"the folder cannot be read: {reason_of(error)}", "check its permissions")
    yaml = [path for path in entries if path.suffix == SUFFIX and not path.name.startswith(".")]
    tests = [path for path in yaml if path.name.endswith(TEST_SUFFIX)]
    files = [path for path in yaml if not path.name.endswith(TEST_SUFFIX)]
    problems = [problem for path in entries if path not in yaml for problem in _left_out(path)]
    if not files:
        text, fix = "the folder has no policy files", f"a policy is one or more *{SUFFIX} files"
        problems.append(whole(name, "no-files", text, fix))
    if len(yaml) > FILES_MAX:
        text = f"the folder has {len(yaml)} *{SUFFIX} files, more than {FILES_MAX}"
        return _nothing(name, "too-many-files", text, "put several rules into one file")
    return Folder(files, tests, problems)


def _nothing(name: str, code: str, message: str, fix: str) -> Folder:
    return Folder([], [], [whole(name, code, message, fix)])


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False  # it is reported all the same


def _left_out(path: Path) -> list[FileProblem]:
    """The problem of an entry that is not read; none if nobody can take it for a part of the policy."""
    is_yaml_like = _YAML_LIKE.search(path.name) is not None
    place, name = shown(path), printable(path.name)
    if path.name.startswith(".") and not is_yaml_like:
        return []
    if not path.name.startswith(".") and path.suffix.lower() in (".yml", SUFFIX):
        fix = f"rename it so that its name ends in {SUFFIX}"
        return [whole(place, "wrong-suffix", f"`{name}` would not be read", fix)]
    if _is_folder(path):
        text, fix = f"the folder `{name}` is not read", "move its files up, or move it out of the folder"
    elif not is_yaml_like and (path.suffix.lower() in BESIDES or path.name in BESIDES_NAMES):
        return []
    else:
        text = f"`{name}` is not read"
        fix = f"if it belongs to the policy, rename it to end in {SUFFIX} and begin without a dot; else move it away"
    return [whole(place, "ignored-file", text, fix, "warning")]
