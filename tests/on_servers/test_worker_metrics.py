"""What a scrape of a real worker tells: of Kafka, of Redis, of what waits, and of what is late when Redis is away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from arbiter.messages import ConsentChange, ContactRequest
from arbiter.worker.kafka.partitioner import partition_of
from tests.inputs.builders import document
from tests.servers.processes import ValkeyServer
from tests.servers.workers import MakeSite, Worker, wait_until

WEEK = timedelta(days=7)
ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}
CALLS = {"id": "calls", "kind": "capacity", "limit": 10, "window": "calendar day"}
TODAY = datetime.now(UTC).date()
GOAL = {"id": "goal", "kind": "floor", "reach": 8, "from": str(TODAY - WEEK), "until": str(TODAY + WEEK)}
CUSTOMERS = [f"c{number}" for number in range(5)]


def asked(name: str, customer: str) -> ContactRequest:
    """A request of cards."""
    return ContactRequest(
        request_id=name,
        customer_id=customer,
        department="cards",
        campaign="spring",
        channel="email",
        category="service",
        requested_at=datetime.now(UTC),
    )


def consent(customer: str) -> ConsentChange:
    """A fact."""
    now = datetime.now(UTC)
    return ConsentChange(customer_id=customer, purpose="marketing", state="granted", captured_at=now)


def stands(worker: Worker) -> dict[str, float]:
    """What does not depend on time."""
    return {
        "claimed": worker.metric("arbiter_partitions", state="claimed"),
        "stopped": worker.metric("arbiter_partitions", state="stopped"),
        "kafka": worker.metric("arbiter_kafka_up"),
        "store": worker.metric("arbiter_store_up"),
        "activation": worker.metric("arbiter_policy_activation"),
        "approved": worker.metric("arbiter_lifecycle_events_total", event="approve", department="cards"),
        "first in a week": worker.metric("arbiter_contacts_in_week_total", nth="1"),
        "asked": worker.metric("arbiter_requests_total", department="cards", priority="50-74"),
        "waiting": worker.metric("arbiter_waiting_requests", department="cards", code="cap_reached"),
        "young": worker.metric("arbiter_waiting_requests_by_age", age="1h"),
        "capacity": worker.metric("arbiter_capacity_limit", rule="calls"),
        "used": worker.metric("arbiter_capacity_used", rule="calls"),
        "left": worker.metric("arbiter_capacity_left", rule="calls"),
        "goal": worker.metric("arbiter_floor_reach", rule="goal"),
        "of the goal": worker.metric("arbiter_floor_approved", rule="goal"),
        "each claimed": worker.metric("arbiter_partition_state", state="claimed"),
    }


def test_what_a_scrape_tells(
    make_site: MakeSite, kafka_bootstrap: str, fresh_valkey: Callable[..., ValkeyServer]
) -> None:
    """All is well: nothing is late, and the censuses come; Redis is away: what waits is told, by new workers, too."""
    valkey = fresh_valkey(appendonly="yes", appendfsync="always")
    site = make_site(kafka_bootstrap, valkey.url, clock="wall", stall_timeout_ms=3_000)
    site.publish(document(ONE, CALLS, GOAL))
    (worker,) = site.start()
    site.send(*map(consent, CUSTOMERS))
    site.send(*(asked(f"{name}-{customer}", customer) for customer in CUSTOMERS for name in "ab"))
    site.flush()
    well = {"claimed": site.partitions, "stopped": 0, "kafka": 1, "store": 1, "activation": 1, "approved": 5}
    well |= {"first in a week": 5, "asked": 10, "waiting": 5, "young": 5, "capacity": 10, "used": 5, "left": 5}
    well |= {"goal": 8, "of the goal": 5, "each claimed": site.partitions}
    wait_until(lambda: stands(worker) == well, f"the worker tells {well}, and not {stands(worker)}", 60)
    now = datetime.now(UTC).timestamp()

    assert (0, 0) == (worker.metric("arbiter_lag_records"), worker.metric("arbiter_lag_seconds"))
    assert (0, 0) == (worker.metric("arbiter_partition_lag_records"), worker.metric("arbiter_partition_lag_seconds"))
    assert 1 == worker.metric("arbiter_partition_state", partition=str(site.partitions - 1))
    assert 0 < worker.metric("arbiter_store_memory_used_bytes")
    assert now - 120 < worker.metric("arbiter_policy_activated_timestamp_seconds") < now
    assert 60 > abs(worker.metric("arbiter_waiting_census_timestamp_seconds") - now)
    assert 0 < worker.metric("arbiter_waiting_oldest_seconds", department="cards") < 120
    assert 0 < worker.metric("arbiter_ledger_cache_bytes") < worker.metric("arbiter_ledger_cache_limit_bytes")
    assert 0 < worker.metric("process_resident_memory_bytes")
    assert 1 == worker.metric("arbiter_build_info")

    valkey.kill()
    site.send(asked("late", CUSTOMERS[0]))
    site.flush()
    late = lambda: worker.metric("arbiter_lag_seconds", topic="requests") > 8  # noqa: E731 - a condition
    wait_until(late, "a request is late that nobody decides", 60)

    assert 1 == worker.metric("arbiter_lag_records", topic="requests")
    assert 0 == worker.metric("arbiter_lag_seconds", topic="consents")
    partition = str(partition_of(CUSTOMERS[0], site.partitions))
    assert 1 == worker.metric("arbiter_partition_lag_records", partition=partition)
    of_it = worker.metric("arbiter_partition_lag_seconds", partition=partition)
    assert 8 < of_it <= worker.metric("arbiter_partition_lag_seconds") < of_it + 5
    assert 0 == worker.metric("arbiter_store_up")
    assert 0 < worker.metric("arbiter_store_errors_total", kind="connection")
    # By then the worker has left the group.
    wait_until(lambda: worker.metric("arbiter_partitions_assigned") == 0, "the worker has left the group", 60)
    wait_until(lambda: worker.metric("arbiter_lag_seconds", topic="requests") > 10, "it is late all the same", 60)

    other = site.start_one()
    wait_until(lambda: other.metric("arbiter_lag_seconds", topic="requests") > 10, "the next worker tells it, too", 60)

    assert 1 == other.metric("arbiter_lag_records", topic="requests")
    assert "the store does not say whose state it has" in other.reasons

    valkey.start()
    for one in (worker, other):
        one.wait_ready()
        wait_until(lambda: one.metric("arbiter_lag_seconds") == 0, "nothing is late any more", 60)  # noqa: B023

    assert 1 <= worker.metric("arbiter_store_reconnects_total")
