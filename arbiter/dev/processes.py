"""The processes of an installation on this machine: each with its own settings, stopped with SIGTERM."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STOP_SECONDS_MAX = 15.0
LOG_LINES_MAX = 12
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ARBITER = (sys.executable, "-m", "arbiter")


class ProcessFailed(RuntimeError):
    """A process of the installation did not start, or stopped. The text says why and what to do."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: these settings, and no other of the caller's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARBITER_")}
    return {**inherited, **settings}


def activate_policy(folder: Path, settings: Mapping[str, str], author: str) -> None:
    """Publish the policy and put it in force with the owners' own command. Raises :class:`ProcessFailed`."""
    who = ("--author", author, "--reason", f"arbiter {author}: nobody is there to approve it")
    command = [*ARBITER, "policy", "publish", "--activate", "--without-approval", *who, str(folder)]
    alone = {**settings, "ARBITER_ACTIVATE_ALONE": "true"}
    done = subprocess.run(command, env=environment(alone), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProcessFailed(f"the policy in {folder} was not taken:\n{done.stdout}{done.stderr}")


class Running:
    """A running process. ``check`` raises :class:`ProcessFailed` with the end of its log if it has stopped."""

    def __init__(self, command: str, process: subprocess.Popen[bytes], log: Path) -> None:
        """``command`` is of ``arbiter``: `worker`."""
        self._command = command
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise if it has stopped."""
        code = self._process.poll()
        if code is not None:
            raise ProcessFailed(
                f"`arbiter {self._command}` stopped with exit code {code}; the end of its log:\n{self.log_end()}"
            )

    def log_end(self) -> str:
        """The last lines that it logged."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES_MAX:])

    def stop(self) -> None:
        """Ask it to finish; by force if it takes too long."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(command: str, settings: Mapping[str, str], log: Path) -> Iterator[Running]:
    """A command of ``arbiter`` that stops at the end of the block. It logs to the file ``log``."""
    process = None
    try:
        with _signals_later():
            process = Running(command, _started(command, settings, log), log)
        yield process
    finally:
        if process is not None:
            process.stop()


def _started(command: str, settings: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        # Ctrl-C goes to every process of the terminal; this one is stopped by us, when it is its turn.
        return subprocess.Popen(
            [*ARBITER, command],
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _signals_later() -> Iterator[None]:
    """Delay Ctrl-C and the other signals that end us to the end of the block.

    During a start the process is not known yet, so none could end it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda one, _: came.append(one)) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for first in came[:1]:
            signal.raise_signal(first)
