"""What librdkafka does badly, and nobody may therefore ask of it."""

from __future__ import annotations

from tests.servers.processes import ROOT

PLACES = {"arbiter/doctor/logs.py"}
"""Here the partitions' leaders are known before it is asked."""


def test_nobody_lets_librdkafka_list_offsets_of_partitions_whose_leaders_it_does_not_know() -> None:
    """See ``arbiter.worker.kafka.log_offsets``: the process may end with SIGSEGV."""
    places = {
        str(path.relative_to(ROOT)) for path in (ROOT / "arbiter").rglob("*.py") if ".list_offsets(" in path.read_text()
    }

    assert places <= PLACES
