"""What kills the worker's process: after some deaths it is given up alone, and everything else is decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from arbiter.messages import ContactRequest
from arbiter.state.keys import Keys
from arbiter.timing.instants import FAR_MS
from tests.inputs.builders import MONDAY, document, grant
from tests.inputs.builders import request as promotion
from tests.servers.deadly import DEADLY, DEADLY_LOOK
from tests.servers.topics import LETTERS, decisions_of
from tests.servers.workers import MakeSite, Site, wait_until

PARTITIONS = 2
DEATHS_MAX = 12
OURS = "c1"
RULE = {"owner": "o", "why": "w"}
HOLD = {"id": "hold", "kind": "arbitration", "when": {"campaign": DEADLY_LOOK}, "hold": "1s", **RULE}
CAP = {"id": "many", "kind": "cap", "per": ["party"], "limit": 1_000, "window": "rolling 1d", **RULE}


@pytest.fixture
def site(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str) -> Site:
    """An installation whose workers can be killed by a record."""
    site = make_site(kafka_bootstrap, valkey_url, partitions=PARTITIONS, clock="wall")
    site.module = "tests.servers.deadly"
    return site


def request(name: str, customer: str = OURS, campaign: str = "gold") -> ContactRequest:
    """A request without an end."""
    return promotion(name, customer_id=customer, campaign=campaign, category="service", expires_at=None)


def decided(site: Site) -> set[str]:
    """The requests that have a decision."""
    return {str(entry.fields()["request_id"]) for entry in decisions_of(site.entries())}


def letters(site: Site) -> list[tuple[str, bytes | None]]:
    """Code and value of every dead letter."""
    found = [entry for entry in site.entries() if entry.topic.endswith(LETTERS)]
    return [(entry.headers["arbiter-error-code"].decode(), entry.value) for entry in found]


def restarted(site: Site, is_over: Callable[[], Any], send: Callable[[int], None]) -> int:
    """Start a worker whenever there is none, as a supervisor does, until it is over; gives how many died.

    Before each start something is sent, so that each life commits something before it ends.
    """
    for deaths in range(DEATHS_MAX):
        send(deaths)
        site.flush()
        worker = site.start_one()
        wait_until(lambda: not worker.is_running or is_over(), "the worker dies, or lives on", 60)  # noqa: B023
        if worker.is_running:
            return deaths
    raise AssertionError(f"still deadly after {DEATHS_MAX} deaths")


def test_a_record_that_kills_workers_becomes_one_letter(site: Site) -> None:
    """Although each life commits facts and what waits before it; its neighbours are decided, on its partition too."""
    site.publish(document(CAP))
    deadly = request("deadly", campaign=DEADLY)
    site.send(*(request(f"before-{number}") for number in range(30)), deadly)
    site.send(*(request(f"after-{number}") for number in range(100)))
    wanted = {f"before-{number}" for number in range(30)} | {f"after-{number}" for number in range(100)}

    def send(life: int) -> None:
        site.send(grant(OURS, captured=MONDAY + life), request(f"beside-{life}", "c2"))
        wanted.add(f"beside-{life}")

    deaths = restarted(site, lambda: letters(site), send)
    site.settle()
    wait_until(lambda: decided(site) == wanted, "all others are decided")

    assert letters(site) == [("undecidable", msgspec.json.encode(deadly))]
    assert deaths <= 8
    assert site.workers[-1].metric("arbiter_dead_letters_total", code="undecidable") == 1


def test_a_party_that_kills_workers_when_it_is_looked_at_is_left_alone(site: Site) -> None:
    """What waits there is not looked at any more until its next record; all others are decided, timers too."""
    site.publish(document(CAP, HOLD))
    deadly = request("deadly", campaign=DEADLY_LOOK)
    site.send(deadly, request("beside"))
    wanted = {"beside", "deadly"}
    timers = [Keys(site.name).partition(number).timers for number in range(PARTITIONS)]

    def send(life: int) -> None:
        site.send(request(f"beside-{life}", "c2"), request(f"with-{life}", f"n{life}"))
        wanted.update((f"beside-{life}", f"with-{life}"))

    def left_alone() -> bool:
        redis: Any = site.redis
        return any(redis.zrangebyscore(key, FAR_MS + 1, "+inf") == [b"c:" + OURS.encode()] for key in timers)

    deaths = restarted(site, left_alone, send)
    site.settle()
    wait_until(lambda: decided(site) == wanted, "all others are decided")
    worker = site.workers[-1]

    assert letters(site) == []
    assert deaths <= 9
    assert worker.metric("arbiter_alarms_total", kind="undecidable") == 1
    assert worker.is_running
