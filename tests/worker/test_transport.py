"""The transport: one event carries what was fetched for each partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka.partitioner import murmur2 as kafka_murmur2
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from arbiter.settings import Settings
from arbiter.worker.kafka.app import make_app
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.partitioner import murmur2, partition_of
from arbiter.worker.kafka.transport import Consumer, forwarding_to

P = TP("contact.requests.v1", 3)
OTHER = TP("contact.consents.v1", 5)


def bare(**attributes: Any) -> Any:
    """A consumer without what its constructor would start."""
    made: Any = object.__new__(Consumer)
    made.__dict__.update(attributes)
    return made


async def test_one_event_brings_what_was_fetched_for_each_partition() -> None:
    """Faust's cost is per event."""
    fetched = {P: FetchedRecords([], 12, 1), OTHER: FetchedRecords([], 3, 2)}
    events: list[Any] = []
    ending = SimpleNamespace(should_stop=False)

    async def fetch() -> Any:
        return fetched

    async def callback(message: Any) -> None:
        events.append(message)
        ending.should_stop = True

    feed = TP(P.topic, 0)
    stopped = SimpleNamespace(is_set=lambda: False)
    consumer = bare(
        fetcher=SimpleNamespace(fetch=fetch), callback=callback, _feed=feed, _stopped=stopped, _crashed=stopped
    )
    await consumer._drain_messages(ending)  # noqa: SLF001 - what Faust's fetcher runs
    (event,) = events
    handed: list[Any] = []

    class Stream:
        def noack(self) -> Stream:
            return self

        async def events(self) -> AsyncIterator[Any]:
            yield SimpleNamespace(message=event)

    await forwarding_to(lambda *one: handed.append(one))(Stream())

    assert event.tp == feed
    assert handed == [(P, fetched[P]), (OTHER, fetched[OTHER])]


@given(st.binary(max_size=64))
def test_murmur2_is_kafkas(data: bytes) -> None:
    """The same hash as that of Kafka's own producers, whatever the key."""
    assert murmur2(data) == kafka_murmur2(data) & 0xFFFFFFFF


def test_homes_are_spread_over_all_partitions() -> None:
    """A thousand customers reach each of 32 partitions."""
    assert {partition_of(f"customer-{number}", 32) for number in range(1_000)} == set(range(32))


def test_a_worker_makes_no_directories(tmp_path: Path, monkeypatch: Any) -> None:
    """Faust would make one named after the group in the current one, for tables that there are not."""
    monkeypatch.chdir(tmp_path)

    async def start() -> None:
        await make_app(Settings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1", group="who")).on_first_start()

    asyncio.run(start())

    assert list(tmp_path.iterdir()) == []
