"""The commands of docs/backup-and-upgrade.md: a copy of Redis that is restored as the page says, and an older one.

Those about Kafka run in test_disasters.py.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.harness.guide import section
from tests.inputs.traffic import Traffic, bank
from tests.on_servers.test_docs import shell_lines
from tests.servers.processes import ROOT, ValkeyServer
from tests.servers.topics import DECISIONS, entries_of
from tests.servers.workers import MakeSite, wait_until

PAGE = ROOT / "docs" / "backup-and-upgrade.md"
(BACK_UP,) = shell_lines(section("Back up Redis", PAGE))
RESTORE = shell_lines(section("Restore Redis", PAGE))


def run(line: str, valkey: ValkeyServer, folder: Path) -> str:
    """A line of the page, as in a shell."""
    given = {**os.environ, "ARBITER_REDIS": valkey.url}
    done = subprocess.run(["sh", "-c", line], cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def restore(valkey: ValkeyServer, copy: Path) -> str:
    """Lose everything, start with the copy as the page says; gives what the server says of its persistence."""
    valkey.kill()
    (valkey.directory / "dump.rdb").write_bytes(copy.read_bytes())
    valkey.start()
    size, switched, _ = (run(line, valkey, copy.parent) for line in RESTORE)
    assert int(size) > 0
    assert "OK" == switched.strip()
    wait_until(lambda: "aof_rewrite_in_progress:0" in run(RESTORE[-1], valkey, copy.parent), "the file is written")
    return run(RESTORE[-1], valkey, copy.parent)


def test_a_restored_copy_goes_on_and_an_older_one_does_not(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: Callable[..., ValkeyServer], tmp_path: Path
) -> None:
    """Copied while nothing runs, nothing is lost; the same copy again, after more decisions, decides nothing."""
    valkey = fresh_valkey()
    site, traffic = make_site(kafka_bootstrap, valkey.url, partitions=4), Traffic(seed=31)
    site.publish(bank())
    (worker,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(400))
    site.quiet()
    worker.terminate()
    worker.ended()
    run(BACK_UP, valkey, tmp_path)
    said = restore(valkey, tmp_path / "arbiter.rdb")
    (going_on,) = site.start()
    site.send(*traffic.requests(400))
    entries = site.audit()
    site.compare(entries)
    going_on.kill()
    restore(valkey, tmp_path / "arbiter.rdb")
    refusing = site.start_one()
    wait_until(lambda: "restored from an older copy" in refusing.reasons, "the worker says what is lost")

    assert "aof_enabled:1" in said
    assert "aof_last_bgrewrite_status:ok" in said
    assert re.search(r"ARBITER_ACCEPT_LOST_STATE=[0-9a-f]{8} ", refusing.reasons)
    assert len(entries_of(DECISIONS, site.entries())) == len(entries_of(DECISIONS, entries))
