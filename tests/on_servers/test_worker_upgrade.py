"""An upgrade under load: a worker of this build goes on with the state of one that stored everything in format 1."""

from __future__ import annotations

import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path

import pytest

from tests.inputs.traffic import Traffic, bank
from tests.servers.processes import ROOT
from tests.servers.topics import REQUESTS, Entry, decisions_of
from tests.servers.workers import Site, wait_until

OLD = "17716f6e"
"""The last build that wrote format 1."""

OLD_ANSWERS = 100


@pytest.fixture(scope="session")
def old_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of that build, from the repository's history."""
    packed = subprocess.run(["git", "archive", OLD, "arbiter"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"this clone does not have the build {OLD}: {packed.stderr.decode().strip()}")
    folder = tmp_path_factory.mktemp("old-build")
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def told(entries: Iterable[Entry]) -> Counter[tuple[bytes | None, bytes | None]]:
    """How often each decision stands on the topic."""
    return Counter((entry.key, entry.value) for entry in decisions_of(entries))


def answers(site: Site) -> Counter[bytes]:
    """How many keys of answers there are of either format."""
    keys = [key.split(b":")[2] for key in site.redis.scan_iter(f"{site.name}:{{*}}:*", count=1_000)]
    return Counter(one for one in keys if one in (b"a", b"d"))


def test_a_new_build_goes_on_where_an_old_one_was_killed(site: Site, old_build: Path) -> None:
    """Every decision is the reference's, and repeats are told the same bytes, whoever decided first."""
    traffic = Traffic(seed=20, customers=200)
    site.publish(bank())
    site.root = old_build
    (old,) = site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    requests = list(traffic.requests(1_500))
    site.send(*requests[:750])
    wait_until(lambda: answers(site)[b"d"] >= OLD_ANSWERS, "the old build has answered a part")
    site.send(*requests[750:])
    old.kill()
    by_old, site.unanswered = answers(site), set(site.books(site.entries()).letters)
    site.root = ROOT
    site.start()
    site.settle()
    site.send(*traffic.later_facts())
    site.barrier()
    site.send(*traffic.requests(500))
    before = site.audit()

    site.compare(before)
    assert by_old[b"d"] >= OLD_ANSWERS
    assert by_old[b"a"] == 0
    assert answers(site)[b"a"]
    for entry in before:
        if entry.topic == REQUESTS:
            site.put(entry.topic, entry.value, entry.key)
    after = site.audit()
    latest = [decision.entry for decision in site.books(before).latest()]
    assert set(told(after) - told(before)) == {(entry.key, entry.value) for entry in latest}
    assert set(told(after)) == set(told(before))
