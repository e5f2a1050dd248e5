"""A real worker in a process of its own, as in production: started with settings, stopped with SIGTERM."""

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
STOPPING = (signal.SIGINT, signal.SIGTERM)
ARBITER = (sys.executable, "-m", "arbiter")


class DemoError(RuntimeError):
    """The demonstration cannot go on. The text says why and what to do."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process: these settings, and no other of the caller's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARBITER_")}
    return {**inherited, **settings}


def activate_policy(folder: Path, settings: Mapping[str, str]) -> None:
    """Publish the policy and put it in force with the owners' own command. Raises :class:`DemoError`."""
    who = ("--author", "demo", "--reason", "a demonstration: nobody is there to approve it")
    command = [*ARBITER, "policy", "publish", "--activate", "--without-approval", *who, str(folder)]
    alone = {**settings, "ARBITER_ACTIVATE_ALONE": "true"}
    done = subprocess.run(command, env=environment(alone), capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"the policy in {folder} was not taken:\n{done.stdout}{done.stderr}")


class Worker:
    """A running worker. ``check`` raises :class:`DemoError` with the end of its log if it has stopped."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise if the worker has stopped."""
        code = self._process.poll()
        if code is not None:
            raise DemoError(f"the worker stopped with exit code {code}; the end of its log:\n{self.log_end()}")

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
def running_worker(settings: Mapping[str, str], log: Path) -> Iterator[Worker]:
    """A worker that stops at the end of the block. It logs to the file ``log``."""
    worker = None
    try:
        with _signals_later():
            worker = Worker(_started(settings, log), log)
        yield worker
    finally:
        if worker is not None:
            worker.stop()


def _started(settings: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        # Ctrl-C goes to every process of the terminal; the worker is stopped by us, when it is its turn.
        return subprocess.Popen(
            [*ARBITER, "worker"],
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@contextmanager
def _signals_later() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block. During a start the process is not known yet, so none could end
    it.
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
