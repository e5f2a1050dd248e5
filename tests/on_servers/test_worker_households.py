"""Households formed and split while their members have requests in flight, and a worker dies: real servers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from random import Random

from confluent_kafka import Consumer, TopicPartition

from arbiter.ledger.keys import customer_party, household_party
from arbiter.ledger.model import Ledger
from arbiter.messages import ROUTED, ContactRequest, Profile
from tests.inputs.builders import document
from tests.servers.topics import Entry
from tests.servers.workers import MakeSite, Sent, Site, wait_until

SEED = 7
CUSTOMERS = [f"c{number}" for number in range(60)]
HOUSEHOLDS = [f"h{number}" for number in range(15)]
CAP = {"id": "two", "kind": "cap", "per": ["party"], "limit": 2, "window": "rolling 7d"}


def life(random: Random, count: int, named: dict[str, str | None]) -> Iterator[Sent]:
    """Requests and, one in four, a profile that names another household or none; ``named`` keeps the last of each."""
    for number in range(count):
        customer = random.choice(CUSTOMERS)
        if random.random() < 0.25:
            named[customer] = random.choice([*HOUSEHOLDS, None, None, None])
            yield Profile(customer_id=customer, household_id=named[customer])
        else:
            yield ContactRequest(
                request_id=f"r{number}",
                customer_id=customer,
                department="cards",
                campaign="gold",
                channel="email",
                category="service",
            )


def settle(site: Site) -> list[Entry]:
    """Wait until nothing is left on the routed topic either, and all is told."""
    consumer = Consumer({**site.client_config, "group.id": f"{site.name}-ends"})
    topic = site.settings.topic(ROUTED)

    def is_drained() -> bool:
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, p))[1] for p in range(site.partitions)]
        positions = site.positions()
        return all(positions.get((ROUTED, p), 0) == end for p, end in enumerate(ends)) and not site.unconfirmed()

    try:
        site.settle()
        # A partition that has read all may still be about to send: it must stay so.
        wait_until(is_drained, "nothing is on its way")
        time.sleep(1)
        wait_until(is_drained, "nothing is on its way")
        return site.entries()
    finally:
        consumer.close()


def test_a_household_changes_while_its_members_are_asked_for(
    make_site: MakeSite, kafka_bootstrap: str, valkey_url: str
) -> None:
    """Each request has one history, each contact is in one place, and each customer where the last profile says."""
    site = make_site(kafka_bootstrap, valkey_url, clock="wall")
    site.publish(document(CAP))
    doomed, _ = site.start(2)
    named: dict[str, str | None] = dict.fromkeys(CUSTOMERS)
    sent = list(life(Random(SEED), 3_000, named))
    for number in site.paced(sent):
        if number == 1_000:
            doomed.kill()
        if number == 2_000:
            site.start_one()
    entries = settle(site)

    books = site.books(site.check(entries))
    approved: Counter[str] = Counter()
    for decision in books.decisions.values():
        approved[decision.key[1]] += decision.outcome == "approved"
    assert sum(isinstance(message, ContactRequest) for message in sent) == len(books.by_key)
    assert {} == books.letters
    check_places(site.ledgers(), named, approved)


def check_places(ledgers: dict[str, Ledger], named: dict[str, str | None], approved: Counter[str]) -> None:
    """The customers' contacts are all there, each with its customer, and the customer where the profile says."""
    contacts = Counter(contact.kind.customer for ledger in ledgers.values() for contact in ledger.contacts)
    assert +approved == contacts
    for customer, household in named.items():
        party = household_party(household) if household else customer_party(customer)
        asked = [name for name, ledger in ledgers.items() if customer in ledger.members]
        assert asked in ([party], [])
        home = ledgers.get(customer_party(customer))
        assert home is None or home.stub is None or not home.stub.is_leaving
