"""The header ``traceparent``: from a request to its decisions and its dead letter; malformed ones harm none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from aiokafka import ConsumerRecord

from arbiter.engine.input_record import InputRecord, from_stored, to_stored
from arbiter.ledger.keys import customer_party
from arbiter.messages import DECISIONS, REQUESTS, Profile
from arbiter.messages.traces import HEADER, TRACE_BYTES, header_of, parsed, trace_in
from arbiter.state.codec import OutRecord, pack_ledger
from arbiter.timing.instants import DAY_MS
from arbiter.worker.kafka.reader import Reader
from arbiter.worker.partition.dead_letter_record import shortened
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request

FIRST = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECOND = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
MALFORMED = [
    b"",
    b"rubbish",
    FIRST[:-1],
    FIRST + b"\n",
    FIRST + b"-more",
    FIRST.upper(),
    b"ff" + FIRST[2:],
    b"00-" + b"0" * 32 + FIRST[35:],
    FIRST[:36] + b"0" * 16 + FIRST[52:],
    FIRST.replace(b"a", b"\xff"),
]


def site_of(*rules: dict[str, Any], partitions: int = 1) -> SteppedCluster:
    """An installation in which c1 and c2 consented."""
    site = SteppedCluster(policy(*rules), partitions, MONDAY)
    site.send(grant("c1"))
    site.send(grant("c2"))
    return site


def ask(site: SteppedCluster, name: str, *traces: bytes, **fields: Any) -> None:
    """A request on its topic, with these headers ``traceparent``."""
    asked = request(name, **fields)
    headers = [(HEADER, trace) for trace in traces]
    home = site.home(asked.customer_id)
    site.append(REQUESTS, home, asked.customer_id.encode(), msgspec.json.encode(asked), headers)


def traces_of(records: Sequence[OutRecord]) -> list[bytes | None]:
    """The traces that decisions name, in their order."""
    return [dict(record.headers).get(HEADER) for record in records if record.topic == DECISIONS]


@pytest.mark.parametrize("value", MALFORMED)
def test_what_is_no_traceparent_is_not_taken(value: bytes) -> None:
    """Forms that the standard forbids are nothing, not even in part."""
    assert parsed(value) is None


def test_a_traceparent_comes_back_as_it_was() -> None:
    """Of 55 bytes 25 are kept; a newer version is read as far as it is known, and written as version 00."""
    kept = parsed(FIRST)

    assert kept is not None
    assert TRACE_BYTES == len(kept)
    assert (HEADER, FIRST) == header_of(kept)
    assert kept == parsed(b"cc" + FIRST[2:] + b"-what-the-future-will-be-like")


def test_two_headers_name_no_trace() -> None:
    """The standard says that such a record belongs to none; the name counts in any case."""
    assert trace_in([("TraceParent", FIRST), ("other", b"x")]) == parsed(FIRST)
    assert trace_in([(HEADER, FIRST), (HEADER, SECOND)]) is None
    assert trace_in([("other", None)]) == b""


async def test_a_decision_names_the_trace_of_its_request() -> None:
    """Also one that is made days later, by another process, of a request that waited; others name none."""
    site = site_of(ONE)
    ask(site, "a", FIRST, customer_id="c1")
    ask(site, "b", SECOND, customer_id="c1")
    ask(site, "c", customer_id="c2")
    await site.run()
    site.wait(8 * DAY_MS)
    await site.run()

    assert [("a", "approved"), ("b", "deferred"), ("c", "approved"), ("b", "approved")] == [
        (decision["request_id"], decision["outcome"]) for decision in site.decisions
    ]
    assert [FIRST, SECOND, None, SECOND] == traces_of(site.published)


async def test_a_repeat_is_answered_in_its_own_trace() -> None:
    """The value is the same, byte for byte; the trace is that of whoever waits for this answer."""
    site = site_of()
    ask(site, "a", FIRST)
    ask(site, "a", SECOND)
    ask(site, "a")
    await site.run()
    values = {record.value for record in site.published if record.topic == DECISIONS}

    assert [FIRST, SECOND, None] == traces_of(site.published)
    assert 1 == len(values)


async def test_a_dry_run_is_answered_in_its_trace() -> None:
    """Though nothing is kept of it."""
    site = site_of()
    ask(site, "a", FIRST, dry_run=True)
    await site.run()

    assert [FIRST] == traces_of(site.published)


async def test_a_household_answers_in_the_trace_of_the_member_who_asked() -> None:
    """The trace goes along to the household's partition with the record, and back home with what waits."""
    site = site_of(ONE, partitions=3)
    for customer in ("c1", "c2"):
        site.send(Profile(customer_id=customer, household_id="h0"))
    await site.run()
    ask(site, "a", FIRST, customer_id="c1")
    await site.run()
    ask(site, "b", SECOND, customer_id="c2")
    await site.run()
    before = traces_of(site.published)
    site.send(Profile(customer_id="c2"))
    await site.run()

    assert [FIRST, SECOND] == before
    assert [FIRST, SECOND, SECOND] == traces_of(site.published)


@pytest.mark.parametrize("value", MALFORMED[1:])
async def test_a_malformed_header_is_counted_and_nothing_else(value: bytes) -> None:
    """The request is decided as if it had none."""
    site = site_of()
    ask(site, "a", value)
    await site.run()

    assert [None] == traces_of(site.published)
    assert [] == site.dead
    assert 1 == site.metrics.registry.get_sample_value("arbiter_malformed_traceparents_total")


async def test_a_dead_letter_keeps_the_header() -> None:
    """As it came, like all headers; what is too long for Kafka loses the others first."""
    site = site_of()
    site.append(REQUESTS, 0, b"c1", b"{", [(HEADER, FIRST), ("other", b"x")])
    await site.run()
    (letter,) = site.dead
    short = shortened(letter)
    shorter = None if short is None else shortened(short)

    assert FIRST == dict(letter.headers)[HEADER]
    assert shorter is not None
    assert (FIRST, None) == (dict(shorter.headers)[HEADER], dict(shorter.headers).get("other"))


async def test_only_a_request_with_a_header_takes_room() -> None:
    """Of what waits, one with a trace is stored with 25 bytes and its length; one without as before."""
    sizes = []
    for traces in ((), (FIRST,)):
        site = site_of(ONE)
        ask(site, "a")
        ask(site, "b", *traces)
        await site.run()
        ledgers = await site.ledgers([customer_party("c1")])
        sizes.append(sum(len(pack_ledger(ledger)) for ledger in ledgers.values()))

    assert TRACE_BYTES <= sizes[1] - sizes[0] <= TRACE_BYTES + 6


def test_a_record_that_was_held_names_its_trace_again() -> None:
    """It is kept with its headers, so the trace is read from these."""
    value = msgspec.json.encode(request("a"))
    row = ConsumerRecord(REQUESTS, 0, 7, MONDAY, 0, b"c1", value, None, 1, 1, ((HEADER, FIRST),))
    read = Reader(REQUESTS, 10_000, is_wall_clock=False).read(row, MONDAY)

    assert isinstance(read, InputRecord)
    assert parsed(FIRST) == read.trace == from_stored(to_stored(read)).trace
