"""Reading for an event loop and streams, over a reader that gives what a test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from arbiter.client import (
    AsyncDecisionReader,
    AsyncDecisionStream,
    ClientFailed,
    Connection,
    DecisionStream,
    ReadDecision,
)
from arbiter.client.core.histories import Histories
from arbiter.client.core.records import Place
from tests.client.inputs import Clock, message


class Scripted:
    """A reader of batches that a test gave; each read waits for ``go``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.batches: list[list[ReadDecision] | ClientFailed] = []
        self.positions: dict[int, int] = {}
        self.committed: list[dict[int, int]] = []
        self.go = threading.Event()
        self.go.set()

    def read(self, _: float) -> list[ReadDecision]:
        """As a reader: the next batch, or nothing."""
        self.go.wait()
        batch = self.batches.pop(0) if self.batches else []
        if isinstance(batch, ClientFailed):
            raise batch
        self.positions |= {read.place.partition: read.place.offset + 1 for read in batch}
        return batch

    def commit(self, positions: Mapping[int, int]) -> None:
        """As a reader."""
        self.committed.append(dict(positions))

    def close(self) -> None:
        """As a reader."""


def read(number: int, offset: int) -> ReadDecision:
    """A decision at its place on partition 0."""
    return ReadDecision(message(number, "deferred"), Place("decisions", 0, offset), b"")


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    """The reader below an AsyncDecisionReader."""
    reader = Scripted()
    monkeypatch.setattr("arbiter.client.async_halves.DecisionReader", lambda *_, **__: reader)
    return reader


async def test_a_read_that_is_cancelled_loses_nothing(scripted: Scripted) -> None:
    """The next read gives what it would have given, and positions move only then."""
    scripted.batches = [[read(1, 7)]]
    scripted.go.clear()
    reader = AsyncDecisionReader(Connection("nowhere"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.05)
    scripted.go.set()
    await asyncio.sleep(0.05)
    before = dict(reader.positions)

    assert [one.place.offset for one in await reader.read()] == [7]
    assert (before, reader.positions) == ({}, {0: 8})
    await reader.close()


async def test_a_reader_that_fails_says_so_each_time(scripted: Scripted) -> None:
    """And one that is closed ends its iteration."""
    scripted.batches = [ClientFailed("no"), [read(1, 1)]]
    reader = AsyncDecisionReader(Connection("nowhere"))
    with pytest.raises(ClientFailed):
        await reader.read()
    async for batch in reader.batches():
        assert len(batch) == 1
        await reader.close()


BATCHES = [[read(1, 1), read(1, 2)], [], [read(3, 3), read(2, 4)]]


def test_a_group_keeps_what_was_dealt_with() -> None:
    """Positions are committed behind what the next was asked for after; the end of a block counts, a crash does not."""
    scripted: Any = Scripted()
    scripted.batches = list(BATCHES)
    histories = Histories(Clock())
    with DecisionStream(scripted, histories.decision, in_group=True) as stream:
        numbers = [one.number for one in (stream.next(), stream.next()) if one is not None]
        before = scripted.committed[-1]
        assert stream.next(timeout=0.01) is None

    assert numbers == [1, 3]
    assert (before, scripted.committed[-1]) == ({0: 3}, {0: 5})
    assert stream.next() is None

    scripted.batches = [[read(4, 9)]]
    crashing = DecisionStream(scripted, histories.decision, in_group=True)
    crashing.next()
    crashing.__exit__(RuntimeError, RuntimeError(), None)
    assert scripted.committed[-1].get(0, 0) < 9


async def test_the_same_stream_for_an_event_loop(scripted: Scripted) -> None:
    """Each decision once, in order; a time-out gives none; positions are behind all at the end."""
    scripted.batches = list(BATCHES)
    decide = Histories(Clock()).decision
    async with AsyncDecisionStream(AsyncDecisionReader(Connection("nowhere")), decide, in_group=True) as stream:
        numbers = [one.number for one in (await stream.next(), await stream.next()) if one is not None]
        assert await stream.next(timeout=0.05) is None

    assert numbers == [1, 3]
    assert scripted.committed[-1] == stream.positions == {0: 5}
