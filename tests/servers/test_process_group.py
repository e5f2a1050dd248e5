"""What tests start does not outlive them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.process_group import Leashed
from tests.servers.processes import ROOT
from tests.servers.workers import wait_until

STARTER = """
from tests.servers.process_group import Leashed
import sys, time
ended = Leashed([sys.executable, "-c", "pass"])
ended.wait()
print(Leashed([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True).pid, flush=True)
{then}
"""


def runs(pid: int) -> bool:
    """Whether there is such a process; one that ended and that nobody asked about is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_what_was_started_ends_with_a_starter_that_was_killed() -> None:
    """SIGKILL leaves no time for fixtures."""
    command = [sys.executable, "-c", STARTER.format(then="time.sleep(600)")]
    with Leashed(command, cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert runs(pid)
        starter.kill()
    try:
        wait_until(lambda: not runs(pid), "the process is gone", 10)
    finally:
        if runs(pid):  # pragma: no cover - the leash failed
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("code", [0, 3])
def test_an_orderly_end_leaves_alone_what_was_meant_to_run(code: int) -> None:
    """Whoever ends by itself had its chance to stop it."""
    command = [sys.executable, "-c", STARTER.format(then=f"sys.exit({code})")]
    with Leashed(command, cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert code == starter.wait()
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
