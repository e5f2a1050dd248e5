"""What the machine of tests/harness/machine.py found, each as small as it can be told."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.ledger.contacts import ContactState
from arbiter.state.memory import MemoryStore
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, Desk, codes, grant, policy, request

CALLS = {
    "id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": 3, "window": "calendar week", "hourly": 1,
}  # fmt: skip
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "10:00-12:00"}}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbiter.worker.partition.tokens.WAKE_SECONDS", 0.0)


def site_of(*rules: dict[str, Any], **fields: Any) -> SteppedCluster:
    """One partition under these rules."""
    return SteppedCluster(policy(*rules, **fields), 1, MONDAY, MemoryStore())


def said(site: SteppedCluster) -> list[tuple[str, str, list[str]]]:
    """Request, outcome and codes of every decision."""
    return [
        (one["request_id"], one["outcome"], [finding["code"] for finding in one.get("findings", [])])
        for one in site.decisions
    ]


async def test_who_waits_for_the_hour_is_not_woken_because_the_week_has_places() -> None:
    """Looked at again and again, once a second, a request that could not be approved before the next hour."""
    site = site_of(CALLS)
    site.send(grant("c1"))
    for name in ("a", "b"):
        site.send(request(name, channel="phone"))
    await site.settle()
    before = len(site.commits)
    await site.work(0)
    await site.end(0)

    assert before == len(site.commits)
    assert [("a", "approved", []), ("b", "deferred", ["capacity_exhausted"])] == said(site)


async def test_a_batch_gets_as_many_places_as_it_needs() -> None:
    """What came back by a timer was not counted on, and was told that the last places were being given out."""
    site = site_of({**CALLS, "limit": 9, "hourly": 8}, NIGHT)
    site.send(grant("c1"))
    for name in ("a", "b", "c"):
        site.send(request(name, channel="phone"))
    await site.settle()
    site.wait(2 * HOUR_MS)
    site.send(request("d", channel="phone"))
    await site.settle()
    await site.end(0)

    assert [(name, "approved", []) for name in "abcd"] == said(site)[3:]


async def test_an_exhausted_capacity_is_told_whenever_a_request_is_decided() -> None:
    """A request that waited for something else was decided without the capacity being looked up: one "no" too few."""
    site = site_of({**CALLS, "limit": 1}, {**NIGHT, "when": {"campaign": "gold"}})
    for customer in ("c1", "c2"):
        site.send(grant(customer))
    site.send(request("a", customer_id="c1", channel="phone"))
    site.send(request("b", customer_id="c2", channel="phone", campaign="other"))
    await site.settle()
    site.send(grant("c1", captured=1))  # whatever is new of a customer, what waits is decided again
    await site.settle()
    await site.end(0)

    assert ["quiet_hours", "capacity_exhausted"] == sorted(said(site)[-1][2], reverse=True)
    assert [("a", "deferred"), ("b", "approved"), ("a", "deferred")] == [one[:2] for one in said(site)]


async def test_an_exhausted_capacity_is_told_also_where_the_permit_would_be_too_short() -> None:
    """Before the first question nothing was known of the hour, and its end was taken for the only obstacle."""
    site = site_of(CALLS)
    site.send(grant("c1"))
    site.send(request("a", channel="phone"))
    await site.settle()
    await site.end(0)  # the next worker has heard of no window yet
    site.wait(HOUR_MS - MINUTE_MS)
    site.send(request("b", channel="phone"))
    await site.settle()
    await site.end(0)

    assert ("b", "deferred", ["capacity_exhausted"]) in said(site)


async def test_an_exhausted_capacity_is_told_also_to_who_is_held() -> None:
    """A request that waits for an arbitration takes no place, so nobody learnt that there was none."""
    auction = {"id": "auction", "kind": "arbitration", "when": {"campaign": "gold"}, "hold": "10m"}
    site = site_of({**CALLS, "limit": 1}, auction)
    for customer in ("c1", "c2"):
        site.send(grant(customer))
    site.send(request("a", customer_id="c1", channel="phone", campaign="other"))
    await site.settle()
    await site.end(0)  # the next worker has heard of no window yet
    site.send(request("b", customer_id="c2", channel="phone", campaign="gold"))
    await site.settle()
    await site.end(0)

    assert [("a", "approved", []), ("b", "deferred", ["capacity_exhausted", "held_for_arbitration"])] == said(site)


async def test_a_policy_with_fewer_places_recalls_what_has_none() -> None:
    """Looked at under the new policy an approval took no place, and the worker had not heard what was used."""
    week = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "window": "calendar week"}
    site = site_of({**week, "limit": 2})
    for customer in ("c1", "c2"):
        site.send(grant(customer))
        site.send(request(f"of {customer}", customer_id=customer, channel="phone"))
    await site.settle()
    await site.end(0)
    site.activate(policy({**week, "limit": 0}, version=2), recalls=True)
    await site.settle()
    await site.end(0)

    assert {("of c1", "recalled"), ("of c2", "recalled")} <= {one[:2] for one in said(site)}


def test_what_waits_longer_than_ids_are_remembered_is_not_too_old() -> None:
    """A budget that frees after 40 days was promised for then, and the request was rejected as from 40 days ago."""
    desk = Desk(policy({"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 40d"}), grant())
    desk.ask(request("a"))
    retry_ms = desk.ask(request("b")).retry_at_ms or 0
    (again,) = desk.tick(retry_ms)

    assert retry_ms > MONDAY + 40 * DAY_MS
    assert ("approved", []) == (again.outcome, codes(again))


def test_silence_is_released_though_facts_came_first() -> None:
    """After an outage a fact was read when the permit had run out, and the place was never given back."""
    channels = {"email": {"on_silence": "release"}, "sms": {}, "phone": {}, "mail": {}}
    desk = Desk(policy(channels=channels), grant())
    ends_ms = desk.ask(request("a")).valid_until_ms or 0
    desk.read(grant(captured=1), ends_ms + MINUTE_MS)
    desk.tick(ends_ms + MINUTE_MS)

    assert [ContactState.RELEASED] == [contact.state for contact in desk.ledger.contacts]


async def test_a_new_policy_reaches_what_waits_whatever_ends_meanwhile() -> None:
    """A worker that ended between its first commit under the policy and the look at what waits left that to nobody."""
    one = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
    site = site_of(one)
    site.send(grant("c1"))
    for name in ("a", "b"):
        site.send(request(name))
    await site.settle()
    await site.end(0)
    site.activate(policy({**one, "limit": 2}, version=2))
    site.send(grant("c2"))  # read first, and committed under the new policy
    site.fault(0, "after commit")
    await site.work(0)
    await site.settle()
    await site.end(0)

    assert [("a", "approved"), ("b", "deferred"), ("b", "approved")] == [one[:2] for one in said(site)]
