"""Real workers on a real Kafka and a real Valkey: whatever comes in, and however it comes, the promises hold.

Every test ends in the invariants (``tests.oracle.invariants``). Where the event clock makes decisions
determined, also in a comparison with the sequential reference model.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import msgspec
from confluent_kafka import Producer

from tests.inputs.traffic import BEGIN, LONG_AGO, Traffic, ask, bank, consent
from tests.oracle.invariants import home_of
from tests.servers.topics import CONSENTS, DECISIONS, LETTERS, PROFILES, REQUESTS, Entry, decisions_of, entries_of
from tests.servers.workers import Site, wait_until


def outcomes(entries: list[Entry]) -> Counter[str]:
    """How many decisions there are of each outcome, repeats not counted."""
    told = {entry.fields()["decision_id"]: entry.fields()["outcome"] for entry in decisions_of(entries)}
    return Counter(told.values())


def letters(entries: list[Entry]) -> dict[bytes | None, str]:
    """The codes of the dead letters by the records' keys."""
    return {
        entry.key: entry.headers["arbiter-error-code"].decode() for entry in entries if entry.topic.endswith(LETTERS)
    }


def test_a_worker_killed_in_the_middle_of_the_stream_is_not_missed(site: Site) -> None:
    """Two workers share eight partitions, one gets SIGKILL: all 5,000 are decided, as if nothing had happened."""
    traffic = Traffic(seed=1)
    site.publish(bank())
    doomed, survivor = site.start(2)
    site.send(*traffic.first_facts())
    site.barrier()

    for sent in site.paced(traffic.requests(2_500)):
        if sent == 1_250:
            doomed.kill()
    site.settle()
    site.send(*traffic.later_facts())
    site.barrier()
    site.send(*traffic.requests(2_500))

    entries = site.audit()
    site.compare(entries)
    assert set(outcomes(entries)) == {"approved", "deferred", "rejected", "recalled"}
    assert survivor.metric("arbiter_partitions", state="claimed") == site.partitions


def test_the_same_records_again_spend_nothing(site: Site) -> None:
    """A whole batch produced a second time is told the latest decisions again, byte for byte; no ledger changes."""
    traffic = Traffic(seed=2, customers=100)
    site.publish(bank())
    site.start()
    site.send(*traffic.first_facts())
    site.barrier()
    site.send(*traffic.requests(500))
    before = site.audit()
    ledgers = site.ledgers()

    # Facts are left out: an old profile read again is a new profile, and may move what waits.
    for entry in before:
        if entry.topic == REQUESTS:
            site.put(entry.topic, entry.value, entry.key)
    after = site.audit()

    told_before, told_after = (
        Counter((entry.key, entry.value) for entry in decisions_of(entries)) for entries in (before, after)
    )
    latest = [decision.entry for decision in site.books(before).latest()]
    assert set(told_after - told_before) == {(entry.key, entry.value) for entry in latest}
    assert set(told_after) == set(told_before)
    assert site.ledgers() == ledgers


GOOD = msgspec.json.encode(ask("r1", "c"))
POISON: dict[str, tuple[str, bytes | None]] = {
    "empty": (REQUESTS, b""),
    "tombstone": (REQUESTS, None),
    "truncated": (REQUESTS, b'{"request_id": "r1", "customer_id'),
    "not-utf8": (REQUESTS, b'{"request_id": "\xff\xfe"}'),
    "array": (REQUESTS, b"[1, 2]"),
    "wrong-type": (REQUESTS, GOOD.replace(b'"r1"', b"17")),
    "missing": (REQUESTS, b'{"request_id": "r1", "customer_id": "c"}'),
    "twice": (REQUESTS, GOOD.replace(b"{", b'{"request_id": "r0",')),
    "nested": (REQUESTS, GOOD.replace(b"{", b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b",")),
    "far-future": (REQUESTS, msgspec.json.encode(ask("r1", "c", requested_at=BEGIN + timedelta(days=3_650)))),
    "oversized": (REQUESTS, b'{"request_id": "' + b"x" * 300_000 + b'"}'),
    "unknown-kind": (CONSENTS, b'{"type": "wish", "customer_id": "c"}'),
    "no-customer": (PROFILES, b'{"time_zone": "Europe/Lisbon"}'),
}
CODES = {
    "empty": "empty",
    "tombstone": "empty",
    "truncated": "malformed_json",
    "not-utf8": "not_utf8",
    "array": "wrong_type",
    "wrong-type": "wrong_type",
    "missing": "missing_field",
    "twice": "duplicate_key",
    "nested": "malformed_json",
    "far-future": "far_future",
    "oversized": "oversized",
    "unknown-kind": "wrong_type",
    "no-customer": "missing_field",
}


def test_poison_among_good_records_is_set_aside_alone(site: Site) -> None:
    """Each unreadable record becomes one dead letter, byte for byte with its code; its neighbours are decided."""
    site.publish(bank())
    customers = [f"n{number}" for number in range(80)]
    site.send(*(consent(customer, "granted", LONG_AGO) for customer in customers))
    for name, (topic, value) in POISON.items():
        site.put(topic, value, name.encode(), partition=3)
        site.send(*(ask(f"{name}-{customer}", customer) for customer in customers[::8]))
    site.note_barrier()
    (worker,) = site.start()

    entries = site.audit()

    assert letters(entries) == {name.encode(): code for name, code in CODES.items()}
    assert sum(outcomes(entries).values()) == len(POISON) * len(customers[::8])
    assert worker.metric("arbiter_dead_letters_total") == len(POISON)


def test_a_misrouted_record_is_decided_once_at_home(site: Site) -> None:
    """Records on a foreign partition, facts too, go home; there each is decided once, and nowhere else."""
    site.publish(bank())
    (worker,) = site.start()
    customers = [f"m{number}" for number in range(40)]
    away = {customer: (home_of(customer, site.partitions) + 3) % site.partitions for customer in customers}
    for customer in customers:
        site.send(consent(customer, "granted", LONG_AGO), partition=away[customer])
    wait_until(lambda: len(site.ledgers()) == len(customers), "all facts are at home")
    site.barrier()
    for minute, customer in enumerate(customers):
        site.send(ask("r1", customer, minute), partition=away[customer])
    wait_until(lambda: len(entries_of(DECISIONS, site.entries())) == len(customers), "all requests are decided")
    site.barrier()
    site.send(*(ask("r2", customer, 60, channel="mail") for customer in customers))

    entries = site.audit()
    site.compare(entries)

    decided = decisions_of(entries)
    assert {entry.partition == home_of(entry.fields()["customer_id"], site.partitions) for entry in decided} == {True}
    assert len(decided) == 2 * len(customers)
    assert outcomes(entries) == {"approved": 2 * len(customers)}
    assert worker.metric("arbiter_misrouted_records_total") == 2 * len(customers)


def test_an_aborted_transaction_is_never_decided(site: Site) -> None:
    """Of two transactions and plain records around them the aborted one leaves no decision and no dead letter."""
    site.publish(bank())
    site.start()
    site.send(*(consent(f"t{number}", "granted", LONG_AGO) for number in range(40)))
    site.barrier()
    producer = Producer({**site.client_config, "transactional.id": site.name})
    producer.init_transactions(30)
    for attempt, finish in (("aborted", producer.abort_transaction), ("committed", producer.commit_transaction)):
        producer.begin_transaction()
        for number in range(40):
            request = msgspec.json.encode(ask(attempt, f"t{number}"))
            producer.produce(site.settings.topic(REQUESTS), request, key=f"t{number}".encode())
        producer.flush(30)
        finish(30)
    site.send(*(ask("plain", f"t{number}", 3_000) for number in range(40)))

    entries = site.audit()

    asked = Counter(entry.fields()["request_id"] for entry in decisions_of(entries))
    assert asked == {"committed": 40, "plain": 40}
    site.compare(entries)


def test_a_worker_tells_how_it_is(site: Site) -> None:
    """Alive at once, ready with a policy and its partitions, and its metrics count what stands on the topics."""
    worker = site.start_one()
    worker.wait_unready("no policy is active")
    alive = worker.get("/healthz")
    version = site.publish(bank())
    worker.wait_ready()
    site.send(consent("c1", "granted", LONG_AGO))
    site.barrier()
    site.send(ask("r1", "c1"), ask("r2", "c1", 1), ask("r2", "c1", 2), ask("r3", "c1", department="nobody"))
    entries = site.audit()

    told = outcomes(entries)
    status, text = worker.get("/readyz")
    shown: dict[str, Any] = msgspec.json.decode(text)
    assert alive == (200, "ok\n")
    assert (status, shown["ready"], shown["reasons"]) == (200, True, [])
    assert shown["partitions"] == {"assigned": site.partitions, "claimed": site.partitions}
    assert shown["policy"]["version"] == version == worker.metric("arbiter_policy_version")
    assert told == {"approved": 1, "deferred": 1, "rejected": 1}
    for outcome, count in told.items():
        assert worker.metric("arbiter_decisions_total", outcome=outcome) == count
    assert worker.metric("arbiter_repeated_decisions_total") == 1
    assert worker.metric("arbiter_facts_total") == 1
    assert worker.metric("arbiter_store_up") == 1


def test_requests_of_one_customer_compete_in_their_order(site: Site) -> None:
    """Sixty desks' requests for one customer in one burst: as many are approved as the strictest cap allows."""
    site.publish(bank())
    site.start()
    site.send(consent("vip", "granted", LONG_AGO))
    site.barrier()
    desks = [("cards", "email"), ("loans", "phone")] * 30
    requests = [
        ask(f"r{number}", "vip", number, department=department, channel=channel)
        for number, (department, channel) in enumerate(desks)
    ]
    site.send(*requests)

    entries = site.audit()

    site.compare(entries)
    assert outcomes(entries)["approved"] == 2
