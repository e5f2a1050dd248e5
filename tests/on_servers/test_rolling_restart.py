"""Workers are restarted one by one while requests come: nothing is lost, nothing is decided twice."""

from __future__ import annotations

import pytest

from loadtests.rolling import restart_all
from tests.inputs.traffic import bank
from tests.servers.workers import MakeSite


@pytest.mark.timeout(300)
def test_a_rolling_restart_loses_and_doubles_nothing(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """Every request is decided once, no promise is broken, all workers end well and unready."""
    site = make_site(kafka_bootstrap, valkey_url, clock="wall")
    site.publish(bank(timezone="UTC"))
    site.start(2)
    restarted, entries = restart_all(site, "one more first", rate=200, customers=300)

    site.check(entries)
    assert restarted.sent > 1_000
    assert ([], []) == (restarted.lost, restarted.twice)
    assert [0, 0] == restarted.codes
    assert 0 == restarted.ready_after_term
    assert {*range(site.partitions)} == {*restarted.during.longest}
