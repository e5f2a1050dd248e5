"""What happens to running workers in the course of things: policies change, they are stopped, they come back."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.inputs.traffic import LONG_AGO, Traffic, ask, bank, consent
from tests.servers.topics import DECISIONS, Entry, entries_of
from tests.servers.workers import MakeSite, Sent, Site, wait_until


@contextmanager
def flowing(site: Site, messages: Sequence[Sent]) -> Iterator[None]:
    """Produce these at some thousand a second while the test does something else; all are sent in the end."""

    def produce() -> None:
        for _ in site.paced(messages):
            pass

    thread = threading.Thread(target=produce)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def versions_by_partition(entries: list[Entry]) -> dict[int, list[int]]:
    """The versions of the policies that made the decisions, in their order on each partition."""
    versions: dict[int, list[int]] = {}
    for entry in entries_of(DECISIONS, entries):
        versions.setdefault(entry.partition, []).append(entry.fields()["policy"]["version"])
    return versions


def test_a_policy_is_taken_over_while_records_flow(site: Site) -> None:
    """Running workers take over a new policy, refuse a bad one, and take the next; decisions name who made them."""
    traffic = Traffic(seed=3)
    first = site.publish(bank())
    workers = site.start(2)
    site.send(*traffic.first_facts())
    site.barrier()

    def all_have(version: int) -> bool:
        return all(worker.metric("arbiter_policy_version") == version for worker in workers)

    with flowing(site, list(traffic.requests(3_000))):
        wait_until(lambda: workers[0].metric("arbiter_decisions_total") > 100, "records flow")
        second = site.publish(bank(limit=2))
        wait_until(lambda: all_have(second), "both workers have the second policy")
        bad = site.publish(bank(timezone="Nowhere/Land"))
        wait_until(
            lambda: all(worker.metric("arbiter_policy_load_failures_total") == 1 for worker in workers),
            "both workers refuse the bad policy",
        )
        reasons = [worker.reasons for worker in workers]
        kept = all_have(second)
        third = site.publish(bank(limit=1))
        wait_until(lambda: all_have(third), "both workers have the third policy")
    site.settle()
    site.send(*traffic.requests(500))

    del site.documents[bad]
    # What waits is heard again at the moment of the takeover, which the reference cannot know; the promises must hold.
    made = versions_by_partition(site.audit())
    assert kept
    assert all("Nowhere/Land" in reason for reason in reasons)
    assert {version for versions in made.values() for version in versions} == {first, second, third}


def test_policy_versions_only_grow_on_a_partition(site: Site) -> None:
    """Two workers under a policy that changes every moment: no partition goes back, whoever decides for it."""
    traffic = Traffic(seed=4)
    site.publish(bank())
    site.start(1)
    site.send(*traffic.first_facts())
    site.barrier()

    with flowing(site, [request for request in traffic.requests(2_500) if request.campaign != "another"]):
        for limit in (2, 1, 4, 5):
            site.publish(bank(limit=limit))
            if limit == 1:
                site.start(1)
    entries = site.audit()

    firsts = {entry.fields()["decision_id"]: entry for entry in reversed(entries_of(DECISIONS, entries))}
    made = versions_by_partition(sorted(firsts.values(), key=lambda entry: entry.place))
    assert [versions for versions in made.values() if versions != sorted(versions)] == []


@pytest.mark.parametrize("clock", ["event", "wall"])
def test_facts_come_first_after_a_pause(make_site: MakeSite, kafka_bootstrap: str, valkey_url: str, clock: str) -> None:
    """Withdrawals that came while no worker ran hold for every request that waited, even those sent before them."""
    site = make_site(kafka_bootstrap, valkey_url, clock=clock)
    fresh: dict[str, Any] = {} if clock == "event" else {"requested_at": datetime.now(UTC)}
    site.publish(bank(timezone="UTC"))
    customers = [f"w{number}" for number in range(200)]
    (worker,) = site.start()
    site.send(*(consent(customer, "granted", LONG_AGO) for customer in customers))
    site.settle()
    worker.terminate()
    code = worker.ended()

    site.send(*(ask("before", customer, 1, **fresh) for customer in customers))
    site.send(*(consent(customer, "withdrawn", LONG_AGO + timedelta(days=1)) for customer in customers[::2]))
    site.send(*(ask(f"after-{number}", customer, 2, **fresh) for number in range(10) for customer in customers))
    site.flush()
    site.note_barrier()
    site.start()
    entries = site.audit()

    told = {
        entry.fields()["customer_id"]: {finding["code"] for finding in entry.fields().get("findings", [])}
        for entry in entries_of(DECISIONS, entries)
        if entry.fields()["request_id"] == "before"
    }
    withdrawn = {customer for customer, codes in told.items() if "consent_withdrawn" in codes}
    assert code == 0
    assert len(told) == len(customers)
    assert withdrawn == set(customers[::2])


def test_a_stopped_worker_leaves_nothing_half_done(site: Site) -> None:
    """SIGTERM under load: it ends with 0, another goes on, and no record is decided or published a second time."""
    traffic = Traffic(seed=5)
    site.publish(bank())
    leaving, staying = site.start(2)
    site.send(*traffic.first_facts())
    site.barrier()
    requests = [request for request in traffic.requests(4_000) if request.campaign != "another"]

    with flowing(site, requests):
        wait_until(lambda: leaving.metric("arbiter_decisions_total") > 300, "records flow")
        leaving.terminate()
        code = leaving.ended(30)

    entries = site.audit()
    site.compare(entries)
    ids = [entry.fields()["decision_id"] for entry in entries_of(DECISIONS, entries)]
    assert code == 0
    # One decision for each record, also for a repeated one, and one whenever something came back.
    assert len(ids) == len(requests) + len({name for name in ids if not name.endswith(":1")})
    assert staying.metric("arbiter_replayed_records_total") == 0


def test_a_paused_worker_finds_its_partitions_taken(site: Site) -> None:
    """SIGSTOP past the session time-out: another decides; woken, the worker does no harm, and the promises hold."""
    traffic = Traffic(seed=6)
    site.publish(bank())
    sleeper, waking = site.start(2)
    site.send(*traffic.first_facts())
    site.barrier()

    with flowing(site, list(traffic.requests(2_000))):
        wait_until(lambda: sleeper.metric("arbiter_decisions_total") > 100, "records flow")
        sleeper.pause()
        wait_until(
            lambda: waking.metric("arbiter_partitions", state="claimed") == site.partitions, "the other takes over"
        )
    site.settle()
    sleeper.resume()
    site.send(*traffic.requests(500))

    entries = site.audit()
    site.compare(entries)
