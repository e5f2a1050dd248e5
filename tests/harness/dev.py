"""``arbiter dev`` in a process of its own, as a person has it in a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from signal import SIGINT, Signals
from types import TracebackType
from typing import Self

from tests.servers.process_group import Leashed
from tests.servers.processes import ROOT

START_SECONDS_MAX = 180.0
END_SECONDS_MAX = 90.0

# A process started in a shell's background ignores SIGINT; the command takes it nevertheless.
PROGRAM = (sys.executable, "-m", "arbiter", "dev")


class Dev:
    """The command with these options; ``environment`` is what it prints for other terminals."""

    def __init__(self, *options: str, folder: Path) -> None:
        """``folder`` is where its files are."""
        self.said = ""
        self.environment: dict[str, str] = {}
        self._options = options
        self._folder = folder
        self._is_there = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARBITER_")}
        environment = {**inherited, "TMPDIR": str(self._folder), "PYTHONUNBUFFERED": "1"}
        self._process = Leashed(
            [*PROGRAM, *self._options], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._is_there.wait(START_SECONDS_MAX)
        self.environment = {**inherited, **dict(re.findall(r"export (ARBITER_\w+)=(\S+)", self.said))}
        if "ARBITER_KAFKA" not in self.environment:
            self.end()
            raise AssertionError(f"it did not start within {START_SECONDS_MAX:g} s:\n{self.said}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running command."""
        assert self._process is not None
        return self._process

    def end(self, number: Signals = SIGINT) -> int:
        """Send a signal, and wait for the end; gives the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        self._reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line.decode()
            if "docs/senders.md" in self.said:
                self._is_there.set()
        self._is_there.set()
