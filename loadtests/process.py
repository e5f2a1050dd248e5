"""A worker process under measurement: started, its processor time read, stopped by its process id."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.servers.process_group import Leashed

STOP_SECONDS_MAX = 30.0
# utime and stime are the 14th and 15th fields; the 2nd is the name in brackets, which may hold spaces (proc(5)).
_AFTER_NAME = 3
_UTIME, _STIME = 14 - _AFTER_NAME, 15 - _AFTER_NAME
_TICKS = os.sysconf("SC_CLK_TCK")


class WorkerFailed(Exception):
    """A worker ended or did not answer; the text has the end of its log."""


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, user and system, all threads; hundredths of a second. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS


def waiting_seconds(pid: int) -> float:
    """How long the threads of a process were ready to run but had no core, so far, all together. Linux only.

    From ``schedstat`` (Documentation/scheduler/sched-stats.rst in the kernel's source): the second number, nanoseconds.
    """
    return sum(int(file.read_text().split()[1]) for file in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


class Worker:
    """``with Worker(...)``: runs from enter to exit."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self._command = command
        # Where stock Faust keeps its tables' files: not in the directory in which the load test was started.
        self._environment = {**os.environ, "APP_DATADIR": str(directory / f"{name}-data"), **environment}
        self._log = directory / f"{name}-{time.time_ns()}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") as output:
            self._process = Leashed(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        process = self._started()
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._started().pid

    def check(self) -> None:
        """:class:`WorkerFailed` if it ended by itself."""
        if (code := self._started().poll()) is not None:
            raise self.failure(f"ended with code {code}")

    def failure(self, what: str) -> WorkerFailed:
        """The error to raise, with the end of the log."""
        said = self._log.read_text(errors="replace")[-3000:]
        return WorkerFailed(f"worker {self.name} {what}; its log ends:\n{said}")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise WorkerFailed(f"worker {self.name} was not started; use it as a context")
        return self._process
