"""A real worker in a process of its own, as in production: started with settings, stopped with SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STOP_SECONDS_MAX = 15.0
LOG_LINES_MAX = 12
ARBITER = (sys.executable, "-m", "arbiter")


class DemoError(RuntimeError):
    """The demonstration cannot go on; the text says why and what to do."""


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The process's environment with these settings and none that the caller happens to have."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARBITER_")}
    return {**inherited, **settings}


def activate_policy(folder: Path, settings: Mapping[str, str]) -> None:
    """Publish the policy and put it in force with the command that its owners use; :class:`DemoError`."""
    who = ("--author", "demo", "--reason", "a demonstration: nobody is there to approve it")
    command = [*ARBITER, "policy", "publish", "--activate", "--without-approval", *who, str(folder)]
    alone = {**settings, "ARBITER_ACTIVATE_ALONE": "true"}
    done = subprocess.run(command, env=environment(alone), capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(f"the policy in {folder} was not taken:\n{done.stdout}{done.stderr}")


class Worker:
    """A running worker. ``check`` raises :class:`DemoError` with the end of its log once it is gone."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Complain if the worker has stopped."""
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
    """A worker that ends with the block; it logs to the file ``log``."""
    with log.open("wb") as output:
        # Ctrl-C goes to every process of the terminal; the worker is stopped by us, when it is its turn.
        process = subprocess.Popen(
            [*ARBITER, "worker"],
            env=environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    worker = Worker(process, log)
    try:
        yield worker
    finally:
        worker.stop()
