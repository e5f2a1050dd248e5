"""One file: its bytes, its text, its lines, and problems made with a place in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from arbiter.policy_files.problem import FileProblem

BYTES_MAX = 1 << 20

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class Source:
    """A policy file that was read. ``name`` is its path as the user gave it."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines = _LINE_BREAK.split(text)

    def problem(
        self, line: int, column: int, code: str, message: str, fix: str = "",
        severity: Literal["error", "warning"] = "error",
    ) -> FileProblem:  # fmt: skip
        """A problem at a line and column of this file, both counted from 1."""
        return FileProblem(
            file=self.name,
            line=line,
            column=column,
            code=code,
            message=message,
            help=fix,
            severity=severity,
            source=self.lines[line - 1] if 0 < line <= len(self.lines) else "",
        )

    def place_of(self, index: int) -> tuple[int, int]:
        """Line and column, from 1, of the character at ``index`` of the text."""
        before = _LINE_BREAK.split(self.text[:index])
        return len(before), len(before[-1]) + 1


def read_source(path: Path) -> Source | FileProblem:
    """Read one file; a problem if it cannot be read, is larger than 1 MiB or is not UTF-8."""
    name = str(path)
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        return whole(name, "unreadable", f"the file cannot be read: {_reason(error)}", "check the file's permissions")
    if len(content) > BYTES_MAX:
        return whole(name, "too-large", "the file is larger than 1 MiB", "split the policy over several files")
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        source = Source(name, content.decode("utf-8", errors="replace"))
        before = content[: error.start].decode("utf-8", errors="replace")
        line, column = Source(name, before).place_of(len(before))
        return source.problem(line, column, "not-utf8", "the file is not UTF-8 from here on", "save the file as UTF-8")


def list_files(directory: Path) -> list[Path] | list[FileProblem]:
    """The policy's files in name order; problems if the folder cannot be listed or has none."""
    name = str(directory)
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return [whole(name, "no-such-folder", "there is no such folder", "give the folder that holds the policy")]
    except NotADirectoryError:
        return [whole(name, "not-a-folder", "this is not a folder", "give the folder that holds the policy's files")]
    except OSError as error:
        return [whole(name, "unreadable", f"the folder cannot be read: {_reason(error)}", "check its permissions")]
    strays = [path for path in entries if path.suffix.lower() in (".yml", ".yaml") and path.suffix != ".yaml"]
    if strays:
        fix = "rename it so that its name ends in .yaml"
        return [whole(str(path), "wrong-suffix", f"`{path.name}` would not be read", fix) for path in strays]
    files = [path for path in entries if path.suffix == ".yaml" and not path.name.endswith(".test.yaml")]
    if not files:
        return [whole(name, "no-files", "the folder has no policy files", "a policy is one or more *.yaml files")]
    return files


def whole(name: str, code: str, message: str, fix: str) -> FileProblem:
    """A problem of a file or folder as a whole."""
    return FileProblem(file=name, line=0, column=0, code=code, message=message, help=fix)


def _reason(error: OSError) -> str:
    return (error.strerror or "unknown reason").lower()
