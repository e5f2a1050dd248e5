"""Households over several partitions' processors: through outboxes and the routed topic, with crashes in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.engine.routed import Forward
from arbiter.ledger.keys import customer_party, household_party
from arbiter.ledger.model import StoredRecord
from arbiter.messages import DLQ_SUFFIX, REQUESTS, ROUTED, Outcome, Profile
from arbiter.state.codec import CodecError, NewerFormat
from arbiter.state.envelopes import pack_envelope, unpack_envelope
from arbiter.timing.instants import to_datetime
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request
from tests.inputs.examples import times

PARTITIONS = 3
CUSTOMERS = ("c0", "c1", "c2", "c3")
HOUSEHOLDS = ("h0", "h1")
ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
TWO = {**ONE, "id": "two", "limit": 2}


def test_the_names_are_spread() -> None:
    """The customers and households of these tests live on all partitions."""
    assert len({SteppedCluster(policy(), PARTITIONS, MONDAY).home(name) for name in CUSTOMERS}) == PARTITIONS


async def installed(*rules: dict[str, Any], household: str | None = "h0") -> SteppedCluster:
    """An installation whose customers consented, and belong to a household."""
    site = SteppedCluster(policy(*rules), PARTITIONS, MONDAY)
    for customer in CUSTOMERS:
        site.send(grant(customer))
        if household is not None:
            site.send(Profile(customer_id=customer, household_id=household))
    await site.run()
    return site


async def test_members_on_all_partitions_share_one_budget() -> None:
    """Of four members asked at once one is approved; the decisions come from the household's partition."""
    site = await installed(ONE)
    for customer in CUSTOMERS:
        site.send(request("a", customer_id=customer))
    await site.run()

    assert {"approved": 1, "deferred": 3} == Counter(decision["outcome"] for decision in site.decisions)
    assert {REQUESTS} == {decision["source"]["topic"] for decision in site.decisions}
    assert {site.home(customer) for customer in CUSTOMERS} == {d["source"]["partition"] for d in site.decisions}
    assert [] == site.dead


async def test_a_dead_letter_of_a_forwarded_record_is_the_record() -> None:
    """It goes to the topic's own dead letters, with its own bytes and place, though another partition refused it."""
    site = await installed()
    site.send(request("a", customer_id="c0"))
    site.send(request("a", customer_id="c0", channel="sms"))
    await site.run()
    (letter,) = site.dead

    headers = dict(letter.headers)
    assert (REQUESTS + DLQ_SUFFIX, b"c0", b"1") == (letter.topic, letter.key, headers["arbiter-offset"])
    assert letter.value == site.log[REQUESTS, site.home("c0")][1].value
    assert b"request_id_reused" == headers["arbiter-error-code"]


async def test_a_repeated_parcel_is_taken_once() -> None:
    """The same records again, as after a crash, change nothing; they are counted as replays."""
    site = await installed(TWO)
    for customer in CUSTOMERS[:2]:
        site.send(request("a", customer_id=customer))
    await site.run()
    before = (list(site.decisions), await site.ledgers([household_party("h0")]))
    parcels = sum(len(log) for (topic, _), log in site.log.items() if topic == ROUTED)
    for (topic, partition), log in list(site.log.items()):
        if topic == ROUTED:
            for record in list(log):
                site.append(topic, partition, record.key, record.value)
    await site.run()

    assert before == (site.decisions, await site.ledgers([household_party("h0")]))
    assert parcels == site.metrics.registry.get_sample_value("arbiter_replayed_records_total")


async def test_a_parcel_that_comes_before_another_is_a_dead_letter() -> None:
    """It is not taken, so that the one before it, when it comes, is no repeat; then it comes again too."""
    site = await installed(TWO)
    at = (ROUTED, site.home("h0"))
    site.send(request("a", customer_id="c0"))
    site.send(request("b", customer_id="c0"))
    taken = len(site.log[at])
    await site.turn(site.home("c0"))
    first, second = site.log[at][taken:]
    site.log[at][taken:] = []
    for record in (second, first, second):
        site.append(*at, record.key, record.value)
    await site.run()

    assert ["a", "b"] == [decision["request_id"] for decision in site.decisions]
    assert [ROUTED + DLQ_SUFFIX] == [letter.topic for letter in site.dead]


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x02rest", b"\x01\x94\x00\x00\x01\x91\xa7unknown"])
async def test_what_is_no_parcel_is_a_dead_letter(value: bytes) -> None:
    """Its neighbours are taken."""
    with pytest.raises(CodecError):
        unpack_envelope(value)
    site = await installed()
    site.append(ROUTED, site.home("h0"), b"h0", value)
    site.send(request("a", customer_id="c0"))
    await site.run()

    assert [value] == [letter.value for letter in site.dead]
    assert ["approved"] == [decision["outcome"] for decision in site.decisions]


async def test_a_parcel_in_a_newer_format_stops_the_partition() -> None:
    """Nothing is wrong with it: it is no dead letter, and a worker that can read it takes it."""
    site = await installed()
    site.append(ROUTED, site.home("h0"), b"h0", b"\x02\x90")
    with pytest.raises(NewerFormat):
        await site.run()

    assert [] == site.dead


async def test_a_parcel_that_is_unreadable_does_not_hold_up_those_behind_it() -> None:
    """The next one of its sender comes without its predecessor, which is a dead letter; only that gap is allowed."""
    site = await installed()
    site.is_whole = False
    partition, sender = site.home("h0"), 7
    asked = [msgspec.json.encode(request(f"p{number}", customer_id="c0")) for number in range(5)]
    stored = [StoredRecord("request", (REQUESTS, 0, number), MONDAY, raw) for number, raw in enumerate(asked)]
    parcels = [pack_envelope(sender, n, n + 1, Forward("h:h0", stored)) for n, stored in enumerate(stored)]
    for value in (parcels[0], parcels[1][:-9], parcels[2], parcels[4]):
        site.append(ROUTED, partition, b"h0", value)
    await site.run()

    assert [parcels[1][:-9], parcels[4]] == [letter.value for letter in site.dead]
    assert ["p0", "p2"] == [decision["request_id"] for decision in site.decisions]


steps = st.one_of(
    st.tuples(st.just("profile"), st.sampled_from(CUSTOMERS), st.sampled_from([*HOUSEHOLDS, *HOUSEHOLDS, None])),
    st.tuples(st.just("ask"), st.sampled_from(CUSTOMERS), st.integers(0, 3)),
    st.tuples(st.just("cancel"), st.sampled_from(CUSTOMERS), st.integers(0, 3)),
    st.tuples(st.just("turn"), st.integers(0, PARTITIONS - 1), st.just(0)),
    st.tuples(st.just("turn"), st.integers(0, PARTITIONS - 1), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 3), st.integers(0, PARTITIONS - 1)),
)


@settings(max_examples=times(120), deadline=None)
@given(st.lists(steps, min_size=5, max_size=50))
def test_crashes_lose_and_double_nothing(history: list[tuple[str, Any, Any]]) -> None:
    """Processes end before, while and after they publish; each contact is in one place, each request decided once."""
    asyncio.run(_live(history))


async def _live(history: list[tuple[str, Any, Any]]) -> None:
    site = await installed(TWO, household=None)
    named: dict[str, str | None] = dict.fromkeys(CUSTOMERS)
    asked: set[str] = set()
    for what, first, second in history:
        if what == "profile":
            named[first] = second
            site.send(Profile(customer_id=first, household_id=second))
        elif what == "ask":
            asked.add(f"{first}/{second}")
            site.send(request(str(second), customer_id=first))
        elif what == "cancel":
            fields: dict[str, Any] = {"department": "cards", "kind": "cancelled", "at": to_datetime(MONDAY)}
            site.send(Outcome(customer_id=first, request_id=str(second), **fields))
        elif what == "crash":
            site.fault(second, "within publish", through=first)
            await site.turn(second)
        else:
            await site.turn(first)
    await site.run()
    await _check(site, named, asked)


async def _check(site: SteppedCluster, named: dict[str, str | None], asked: set[str]) -> None:
    numbers: dict[str, set[int]] = {}
    approved: Counter[str] = Counter()
    for decision in {decision["decision_id"]: decision for decision in site.decisions}.values():
        name = f"{decision['customer_id']}/{decision['request_id']}"
        numbers.setdefault(name, set()).add(int(decision["decision_id"].rpartition(":")[2]))
        approved[decision["customer_id"]] += decision["outcome"] == "approved"
    assert asked == numbers.keys()
    assert all(found == set(range(1, len(found) + 1)) for found in numbers.values())
    assert [] == site.dead
    parties = [customer_party(customer) for customer in CUSTOMERS] + [household_party(name) for name in HOUSEHOLDS]
    ledgers = await site.ledgers(parties)
    contacts = Counter(contact.kind.customer for ledger in ledgers.values() for contact in ledger.contacts)
    assert +approved == contacts
    for customer in CUSTOMERS:
        household = named[customer]
        name, party = (household, household_party(household)) if household else (customer, customer_party(customer))
        assert [(site.home(name), party)] == [place for place, ledger in ledgers.items() if customer in ledger.members]
