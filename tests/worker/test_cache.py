"""The cache of parties is bounded in bytes: what it thinks a party takes is what it takes."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from arbiter.ledger.contacts import Contacts, Kind
from arbiter.ledger.identity import content_of, identity
from arbiter.ledger.model import Ledger, Member, PendingRequest
from arbiter.ledger.stored_request import pack_request
from arbiter.messages import CONSENTS, ContactRequest
from arbiter.state.codec import pack_ledger
from arbiter.timing.instants import DAY_MS, to_datetime
from arbiter.worker.partition.cache import PartyCache, StoredParty
from tests.inputs.builders import MONDAY

PARTIES = 300


def packed_party(number: int, pending: int) -> bytes:
    """A customer with three contacts, and so many requests that wait."""
    customer = f"C{number:08}"
    ledger = Ledger({customer: Member(answered=bytes(12 * pending))}, Contacts())
    for day in range(3):
        kind = Kind(customer, "cards", "spring", "email", "promotional", "card", None)
        ledger.contacts.append(kind, f"{number:08}".encode(), MONDAY + day * DAY_MS, MONDAY + (day + 1) * DAY_MS)
    for place in range(pending):
        request = ContactRequest(
            request_id=f"load-{number:06}-{place}", customer_id=customer, department="cards", campaign="spring",
            channel="email", category="promotional", product="card", priority=70.0, value=float(number),
            requested_at=to_datetime(MONDAY), expires_at=to_datetime(MONDAY + 9 * DAY_MS), attributes={"wave": 3},
        )  # fmt: skip
        names, row = pack_request(request, MONDAY)
        source = (CONSENTS, 0, number)
        key = identity(request), content_of(request)
        ledger.waiting.append(
            PendingRequest(*key, customer, MONDAY, source, 1, 12.5, 70.0, names, row, MONDAY + DAY_MS)
        )
    return pack_ledger(ledger)


@pytest.mark.parametrize("pending", [0, 2, 5, 9])
def test_a_party_takes_what_the_cache_thinks(pending: int) -> None:
    """Within a third, with its requests decoded."""
    stored = [packed_party(number, pending) for number in range(PARTIES)]
    cache = PartyCache(1 << 30)
    gc.collect()
    tracemalloc.start()
    try:
        parties = [StoredParty(f"c:C{number:08}", packed) for number, packed in enumerate(stored)]
        for party in parties:
            for asked in party.ledger.waiting:
                party.request_in(asked)
            cache.put(party)
        taken = tracemalloc.get_traced_memory()[0] + sum(map(len, stored))
    finally:
        tracemalloc.stop()

    assert 0.67 <= sum(party.cost for party in parties) / taken <= 1.5
    assert all(cache.take(party.name) is party for party in parties)
