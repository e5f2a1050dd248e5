"""The worker's turn: who begins when, what goes out together, and who holds up whom."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from arbiter.state.codec import OutRecord
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Commit, CommitResult, Ended, StoreUnavailable
from arbiter.worker import turn as turns
from arbiter.worker.turn import Turn
from tests.state.commits import FIRST

RECORD = OutRecord("t", 1, b"k", b"v")


class Store(MemoryStore):
    """A store that notes what it is asked together, and fails for some partitions."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[int]] = []
        self.reads: list[list[int]] = []
        self.failing: set[int] = set()
        self.is_away = False
        self.impossible = 0
        self.answers = asyncio.Event()
        self.answers.set()

    async def load_all(self, wanted: Sequence[tuple[int, list[str]]]) -> list[list[bytes | None]]:
        """See ``Store.load_all``."""
        self.reads.append([partition for partition, _ in wanted])
        return await super().load_all(wanted)

    async def commit_all(self, commits: Sequence[tuple[int, Commit]]) -> list[Ended]:
        """See ``Store.commit_all``."""
        self.writes.append([partition for partition, _ in commits])
        await self.answers.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        if self.impossible in self.writes[-1]:
            raise ValueError("no words for it")
        return await super().commit_all(commits)

    async def commit(self, partition: int, commit: Commit) -> tuple[CommitResult, int]:
        """See ``Store.commit``."""
        if partition in self.failing:
            raise StoreUnavailable("away")
        return await super().commit(partition, commit)


class Topics:
    """A publisher whose deliveries are confirmed when a test says so."""

    def __init__(self) -> None:
        self.published = 0
        self.confirms = asyncio.Event()
        self.confirms.set()

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        self.published += len(records)
        await self.confirms.wait()


class Rig:
    """A turn with its store and topics, and partitions that note how far they come."""

    def __init__(self) -> None:
        self.store, self.topics = Store(), Topics()
        self.turn = Turn(self.store, self.topics)
        self.log: list[tuple[int, str]] = []

    async def work(self, partition: int, records: int = 1, *, pause: asyncio.Event | None = None) -> None:
        """One batch, from the beginning of a turn to the delivery."""
        await self.turn.begin(partition, records, is_ready=True)
        self.log.append((partition, "begins"))
        await self.turn.load(partition, ["C1"] if partition % 2 else [])
        if pause is not None:
            await pause.wait()
        await self.store.claim(partition, "a", 1)
        await self.turn.commit(partition, FIRST)
        self.log.append((partition, "is committed"))
        await self.turn.publish([RECORD])
        self.log.append((partition, "is delivered"))

    def start(self, *partitions: int, **how: Any) -> list[asyncio.Task[None]]:
        """Let these partitions work."""
        return [asyncio.create_task(self.work(partition, **how)) for partition in partitions]

    def those(self, what: str) -> list[int]:
        """The partitions that came so far."""
        return sorted(partition for partition, how_far in self.log if how_far == what)


@pytest.fixture
async def rig() -> Rig:
    """Nobody works yet."""
    return Rig()


async def passes(count: int = 30) -> None:
    """Let the event loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_partitions_with_news_go_together(rig: Rig) -> None:
    """One read, one write and one burst for all, also where one of them has nothing to read."""
    await asyncio.gather(*rig.start(1, 2, 3))

    assert ([[1, 2, 3]], [[1, 2, 3]]) == (rig.store.reads, rig.store.writes)
    assert 3 == rig.topics.published


async def test_one_that_waits_holds_up_nobody(rig: Rig) -> None:
    """Its commit goes out later, with whoever is there then."""
    pause = asyncio.Event()
    (slow,) = rig.start(1, pause=pause)
    others = rig.start(2, 3)
    await asyncio.gather(*others)
    pause.set()
    await slow

    assert [[2, 3], [1]] == rig.store.writes


async def test_a_commit_that_is_not_answered_is_its_partitions_alone(rig: Rig) -> None:
    """The others of the write are delivered."""
    rig.store.failing = {2}
    ended = await asyncio.gather(*rig.start(1, 2, 3), return_exceptions=True)

    assert [None, StoreUnavailable, None] == [None if one is None else type(one) for one in ended]
    assert [1, 3] == rig.those("is delivered")


async def test_what_fails_as_a_whole_is_told_to_all(rig: Rig) -> None:
    """No partition waits for ever."""
    rig.store.is_away = True
    ended = await asyncio.gather(*rig.start(1, 2), return_exceptions=True)

    assert [StoreUnavailable] * 2 == [type(one) for one in ended]


async def test_what_cannot_be_asked_fails_alone(rig: Rig) -> None:
    """A commit that cannot even be written to the line is its partition's fault: the others are asked again."""
    rig.store.impossible = 2
    ended = await asyncio.gather(*rig.start(1, 2, 3), return_exceptions=True)

    assert [None, ValueError, None] == [None if one is None else type(one) for one in ended]
    assert [[1, 2, 3], [1], [2], [3]] == rig.store.writes


async def test_the_next_turn_begins_when_the_last_one_is_delivered(rig: Rig) -> None:
    """What comes meanwhile is one turn."""
    rig.store.answers.clear()
    first = rig.start(1)
    await passes()
    others = rig.start(2)
    await passes()
    rig.topics.confirms.clear()
    rig.store.answers.set()
    await passes()
    others += rig.start(3)
    await passes()
    assert ([1], [1]) == (rig.those("begins"), rig.those("is committed"))
    rig.topics.confirms.set()
    await asyncio.gather(*first, *others)

    assert [[1], [2, 3]] == rig.store.writes


@pytest.mark.parametrize("what", ["commits", "deliveries"])
async def test_where_much_waits_the_next_turn_is_decided_meanwhile(rig: Rig, what: str) -> None:
    """Other partitions are decided while commits are answered and records delivered."""
    answers = rig.store.answers if what == "commits" else rig.topics.confirms
    answers.clear()
    first = rig.start(1)
    await passes()
    others = rig.start(2, records=turns.BACKLOG)
    await passes()

    assert ([1, 2], []) == (rig.those("begins"), rig.those("is delivered"))
    answers.set()
    await asyncio.gather(*first, *others)


async def test_what_is_not_delivered_for_long_holds_up_nobody(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some records may be for a broker that is away."""
    monkeypatch.setattr(turns, "DELIVERY_SECONDS", 0.0)
    rig.topics.confirms.clear()
    first = rig.start(1)
    await passes()
    others = rig.start(2)
    await passes()

    assert [1, 2] == rig.those("is committed")
    rig.topics.confirms.set()
    await asyncio.gather(*first, *others)


async def test_a_turn_is_bounded_by_records(rig: Rig) -> None:
    """Not by partitions: the rest is the next turn, and one alone is never too large."""
    await asyncio.gather(*rig.start(1, 2, 3, records=turns.RECORDS_MAX // 2 + 1))

    assert [[1], [2], [3]] == rig.store.writes


async def test_who_is_not_ready_begins_when_it_is_called(rig: Rig) -> None:
    """Not before."""
    begun = rig.turn.begin(1, 0, is_ready=False)
    await passes()
    assert not begun.done()
    rig.turn.notify(1, 5)

    assert await begun


@pytest.mark.parametrize("is_ready", [False, True])
async def test_who_leaves_waits_no_more(rig: Rig, is_ready: bool) -> None:
    """Also while no turn may begin."""
    rig.topics.confirms.clear()
    tasks = rig.start(2)
    await passes()
    begun = rig.turn.begin(1, 0, is_ready=is_ready)
    await passes()
    rig.turn.leave(1)

    assert not await begun
    rig.topics.confirms.set()
    await asyncio.gather(*tasks)


async def test_who_is_not_called_is_told_so(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """After two rounds; also when others are called all the time."""
    monkeypatch.setattr(turns, "IDLE_SECONDS", 0.0)

    assert not await rig.turn.begin(1, 0, is_ready=False)
    assert await rig.turn.begin(2, 0, is_ready=True)
