"""No process outlives the tests that started it, however they end: Ctrl-C, SIGKILL, or a test process given up.

Fixtures stop what they started in order. Where they are not let, a watcher does: a small process that knows the ids
of all that runs and sees, by the end of its input, that whoever started them is gone.
"""

from __future__ import annotations

import atexit
import subprocess
import sys
from functools import lru_cache
from typing import Any

_WATCHER = """
import os, signal, sys
held = set()
for line in sys.stdin:
    sign, number = line[0], line[1:].strip()
    if sign == "!":
        sys.exit()
    (held.add if sign == "+" else held.discard)(int(number))
for number in held:
    try:
        os.kill(number, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Leashed(subprocess.Popen[bytes]):
    """A ``Popen`` that is killed when this process ends without having waited for it."""

    def __init__(self, command: list[str], **options: Any) -> None:
        """As ``Popen``."""
        watcher = _watcher()
        super().__init__(command, **options)
        _tell(watcher, f"+{self.pid}")

    def wait(self, timeout: float | None = None) -> int:
        """As ``Popen.wait``; from then on the id may be another process's."""
        code = super().wait(timeout)
        _tell(_watcher(), f"-{self.pid}")
        return code


@lru_cache(maxsize=1)
def _watcher() -> subprocess.Popen[str]:
    """This process's own; in a session of its own, so that Ctrl-C does not reach it."""
    command = [sys.executable, "-I", "-c", _WATCHER]
    watcher = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
    )
    # An orderly end: what still runs was meant to.
    atexit.register(_tell, watcher, "!")
    return watcher


def _tell(watcher: subprocess.Popen[str], line: str) -> None:
    if watcher.stdin is not None:
        watcher.stdin.write(line + "\n")
        watcher.stdin.flush()
