"""N places, ten times as many requests on real servers, three real workers, either clock, SIGKILL: exactly N."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from arbiter.ledger.capacity import Draw
from arbiter.messages import ContactRequest
from arbiter.state.keys import Keys
from tests.inputs.builders import document
from tests.servers.workers import MakeSite, Site, wait_until

N = 30
WORKERS = 3
CALLS = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": N, "window": "calendar year"}
QUIET_SECONDS = 3
"""Longer than it takes until what was given back has woken who waits for it."""


@pytest.fixture(params=["event", "wall"])
def site(request: pytest.FixtureRequest, make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation on either clock, with a call centre that can make N calls a year."""
    site = make_site(kafka_bootstrap, valkey_url, clock=request.param)
    site.publish(document(CALLS))
    return site


def calls(count: int) -> list[ContactRequest]:
    """Calls to customers on all partitions, all asked for in the same minute."""
    begin = datetime.now(UTC) - timedelta(minutes=1)
    return [
        ContactRequest(
            request_id=f"r{number}",
            customer_id=f"customer-{number}",
            department="cards",
            campaign="spring",
            channel="phone",
            category="service",
            requested_at=begin + timedelta(milliseconds=number),
            expires_at=begin + timedelta(days=600),
        )
        for number in range(count)
    ]


def outcomes(site: Site) -> Counter[str]:
    """How many requests have which outcome now."""
    return Counter(decision.outcome for decision in site.books(site.entries()).latest())


def places(site: Site) -> list[tuple[str, int, int, int]]:
    """Of each window that anything was used of: its rule, places used by all partitions, used and granted centrally."""
    found, server = [], cast("Any", site.redis)
    for name in [key.decode() for key in server.zrange(f"{site.name}:stocks", 0, -1)]:
        owned = [server.hget(Keys(site.name).partition(p).spent(name), "used") for p in range(site.partitions)]
        used, granted = (int(word or 0) for word in server.hmget(Keys(site.name).stock(name), "used", "granted"))
        if any(owned):
            found.append((Draw.of(name).name, sum(int(word or 0) for word in owned), used, granted))
    return found


def check_exactly_n(site: Site) -> None:
    """Once quiet N are approved, it stays at N, and every token is accounted for: used, and none set aside."""
    site.settle()
    wait_until(lambda: outcomes(site) == {"approved": N, "deferred": 9 * N}, "as many are approved as there are places")
    time.sleep(QUIET_SECONDS)

    assert {"approved": N, "deferred": 9 * N} == outcomes(site)
    assert [("calls/year", N, N, N)] == places(site)


def test_exactly_n_at_once(site: Site) -> None:
    """All are there before the workers are, so that every partition wants more than there is at the same time."""
    site.send(*calls(10 * N))
    site.flush()
    site.start(WORKERS)

    check_exactly_n(site)


def test_exactly_n_after_kills(site: Site) -> None:
    """Workers are killed while they hold tokens, and others started."""
    site.start(WORKERS)
    for number in site.paced(calls(10 * N), at_a_time=10, pause_s=0.02):
        if number % (4 * N) == 0:
            next(worker for worker in site.workers if worker.is_running).kill()
            site.start_one()

    check_exactly_n(site)
