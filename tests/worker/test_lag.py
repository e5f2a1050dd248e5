"""The lag is right whatever a partition does: it decides, stands still, was never claimed, or is nobody's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from arbiter.worker.kafka.topics import KafkaAway
from arbiter.worker.lag import Lag

NOW_S = 1_800_000_000.0
LABELS = {"contact.requests": "requests", "contact.consents": "consents"}
REQUESTS = TP("contact.requests", 0)


class World:
    """Kafka, the group and the ownership, as the lag sees them. Every record is as old (s) as ``ages`` says."""

    def __init__(self) -> None:
        self.is_member = True
        self.assigned: set[int] = {0}
        self.others: set[int] | None = set()
        self.ends: dict[TP, int] = {}
        self.first: dict[TP, int] = {}
        self.offsets: dict[TP, int] = {}
        self.claimed: dict[int, dict[str, int]] = {}
        self.here: dict[int, dict[str, int]] = {}
        self.ages: dict[int, float] = {}
        self.reads = 0
        self.is_away = False

    @property
    def membership(self) -> World:
        """How it is a member."""
        return self

    async def shared_out(self) -> set[int] | None:
        """What all have."""
        return self.others

    async def committed(self, tps: Collection[TP]) -> dict[TP, int]:
        """What the group knows."""
        return {tp: self.offsets.get(tp, 0) for tp in tps}

    async def offset_ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """Where logs begin and end."""
        if self.is_away:
            raise KafkaAway("no broker")
        return {tp: (self.first.get(tp, 0), self.ends.get(tp, 0)) for tp in tps}

    def positions(self, partition: int) -> Mapping[str, int] | None:
        """What is done with."""
        return self.claimed.get(partition)

    def oldest(self, partition: int) -> Mapping[str, int]:
        """What is here."""
        return self.here.get(partition, {})

    async def read(self, tp: TP, position: int, *, bytes_max: int) -> tuple[list[Any], int]:
        """One record."""
        assert (tp.topic, bytes_max) == (REQUESTS.topic, 1)
        self.reads += 1
        at_ms = int((NOW_S - self.ages[position]) * 1_000)
        return [SimpleNamespace(offset=position, timestamp=at_ms)], position + 1


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """One partition that is ours."""
    monkeypatch.setattr("arbiter.worker.lag.time", SimpleNamespace(time=lambda: NOW_S))
    return World()


@pytest.fixture
def lag(world: World) -> Lag:
    """What is tested; two partitions there are."""
    ends = lambda: {tp: world.ends.get(tp, 0) for tp in both() if tp.partition in world.assigned}  # noqa: E731
    return Lag(world, world, world, LABELS, 2, ends)


def both() -> list[TP]:
    """All partitions of all topics."""
    return [TP(topic, number) for topic in LABELS for number in (0, 1)]


def told(lag: Lag, label: str = "requests") -> tuple[float, float]:
    """Records and seconds."""
    return lag.records()[label,], round(lag.seconds()[label,], 3)


async def test_nothing_waits(world: World, lag: Lag) -> None:
    """Both are 0 for each topic, before the first look and after it."""
    world.claimed[0] = {"contact.requests": 7}
    world.ends[REQUESTS] = 7
    before = lag.records(), lag.seconds()
    await lag.measure()

    assert (lag.records(), lag.seconds()) == before == ({("requests",): 0, ("consents",): 0},) * 2


async def test_what_is_here_tells_its_own_time(world: World, lag: Lag) -> None:
    """A record in a queue or a batch; nothing is read for it, and it is done with when the partition says so."""
    world.claimed[0], world.ends[REQUESTS] = {"contact.requests": 7}, 10
    world.here[0] = {"contact.requests": int((NOW_S - 4) * 1_000)}
    await lag.measure()
    await lag.measure()
    waiting = told(lag)
    world.claimed[0]["contact.requests"] = 10
    world.here.clear()

    assert [(3, 4.0), (0, 0.0)] == [waiting, told(lag)]
    assert 0 == world.reads


async def test_each_partition_tells_what_it_has_left(world: World, lag: Lag) -> None:
    """Of all its topics together the records, and the age of the oldest; so the worst one is known by its number."""
    world.assigned, world.claimed = {0, 1}, {number: dict.fromkeys(LABELS, 0) for number in (0, 1)}
    world.ends = {REQUESTS: 3, TP("contact.consents", 0): 2}
    world.here[0] = {topic: int((NOW_S - age) * 1_000) for topic, age in zip(LABELS, (4, 9), strict=True)}
    before = lag.records_of_partitions(), lag.seconds_of_partitions()
    await lag.measure()

    assert ({}, {}) == before
    assert {("0",): 5, ("1",): 0} == lag.records_of_partitions()
    assert {("0",): 9, ("1",): 0} == {label: round(age, 3) for label, age in lag.seconds_of_partitions().items()}


async def test_a_partition_that_stands_still_is_read_from_once(world: World, lag: Lag) -> None:
    """Paused, stopped, or not yet reading: claimed or not, its oldest record tells how long it waits."""
    world.claimed[0], world.ends[REQUESTS], world.ages = {"contact.requests": 7}, 10, {7: 600.0}
    for _ in range(4):
        await lag.measure()

    stopped = told(lag)
    world.claimed[0]["contact.requests"] = 9

    assert [(3, 600.0), (1, 0.0)] == [stopped, told(lag)]
    assert 1 == world.reads


async def test_what_was_never_claimed_stands_where_the_group_says(world: World, lag: Lag) -> None:
    """And no further back than the log begins."""
    world.ends[REQUESTS], world.first[REQUESTS], world.offsets[REQUESTS] = 10, 2, 4
    world.ages = {4: 50.0, 2: 90.0}
    await lag.measure()
    await lag.measure()
    of_the_group = told(lag)
    del world.offsets[REQUESTS]
    await lag.measure()
    await lag.measure()

    assert [(6, 50.0), (8, 90.0)] == [of_the_group, told(lag)]


async def test_what_no_worker_has_is_told_by_who_is_out_of_the_group(world: World, lag: Lag) -> None:
    """In an outage of Redis all leave; what another worker has is that one's."""
    world.assigned, world.is_member, world.others = set(), False, {1}
    world.ends, world.ages = dict.fromkeys(both(), 5), {0: 30.0}
    world.ends[TP("contact.consents", 0)] = 0
    await lag.measure()
    await lag.measure()
    nobodys = told(lag)
    world.others = {0, 1}
    await lag.measure()

    assert [(5, 30.0), (0, 0.0)] == [nobodys, told(lag)]


async def test_while_kafka_is_away_what_waits_grows_older(
    world: World, lag: Lag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is forgotten then."""
    world.ends[REQUESTS], world.ages = 10, {0: 5.0}
    await lag.measure()
    await lag.measure()
    world.is_away = True
    with pytest.raises(KafkaAway):
        await lag.measure()
    monkeypatch.setattr("arbiter.worker.lag.time", SimpleNamespace(time=lambda: NOW_S + 100))

    assert (10, 105.0) == told(lag)
