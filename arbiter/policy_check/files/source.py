"""One file: its text, its lines, and problems with a place in it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Literal

from arbiter.policy_check.files.problem import FileProblem, printable

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
    """Read one file; a problem if it cannot be read, is larger than 1 MiB, is not UTF-8, or lies outside its folder."""
    name = shown(path)
    try:
        content = _content(path)
    except _Refused as refused:
        return whole(name, *refused.args)
    except OSError as error:
        return whole(name, "unreadable", f"the file cannot be read: {reason_of(error)}", "check the file's permissions")
    if len(content) > BYTES_MAX:
        return whole(name, "too-large", "the file is larger than 1 MiB", "split the policy over several files")
    try:
        return Source(name, content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        source = Source(name, content.decode("utf-8", errors="replace"))
        before = content[: error.start].decode("utf-8", errors="replace")
        line, column = Source(name, before).place_of(len(before))
        return source.problem(line, column, "not-utf8", "the file is not UTF-8 from here on", "save the file as UTF-8")


class _Refused(Exception):
    """A path that must not be read: code, message, fix."""


def _content(path: Path) -> bytes:
    """The first bytes of a regular file, one more than it may have.

    A link must not lead out of the policy's folder: problems quote the lines of a file, so the check would show
    whatever the link's author chose. Links that stay inside are allowed, since Kubernetes mounts a ConfigMap so. Only
    regular files are opened: a pipe would wait for its writer, and a device may be endless.
    """
    real = os.path.realpath(path)
    if not os.path.lexists(real):
        raise _Refused("unreadable", "the target of the link does not exist", "correct the link, or remove it")
    if not Path(real).is_relative_to(os.path.realpath(path.parent)):
        fix = "replace the link by a copy of the file"
        raise _Refused("outside-link", "this is a link to a file outside the policy's folder", fix)
    _check_regular(Path(real).stat().st_mode)
    # The path may have been replaced since: no link is followed, and no pipe is waited for.
    file = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(file, "rb") as opened:
        _check_regular(os.fstat(file).st_mode)
        return opened.read(BYTES_MAX + 1)


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        text = f"this is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file"
        raise _Refused("not-a-file", text, "remove or rename it; policies and tests are ordinary files")


def whole(name: str, code: str, message: str, fix: str, severity: Literal["error", "warning"] = "error") -> FileProblem:
    """A problem of a file or folder as a whole."""
    return FileProblem(file=name, line=0, column=0, code=code, message=message, help=fix, severity=severity)


def shown(path: Path) -> str:
    """A path as it is printed. Some file systems allow names that are no text or that harm a terminal."""
    return printable(str(path))


def reason_of(error: OSError) -> str:
    """Why a file cannot be read, as the end of a sentence."""
    return (error.strerror or "unknown reason").lower()
