"""The two halves of a client for an event loop: records out, and decisions in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Final, ParamSpec, TypeVar

from arbiter.client.connection import Connection
from arbiter.client.core.errors import ClientError, NotDelivered, QueueFull, Undelivered
from arbiter.client.core.following import ReadDecision
from arbiter.client.core.records import Place, Record
from arbiter.client.producing import DELIVERY_SECONDS, FULL_SECONDS, QUEUE_MAX, Fate, Outbox, Told, tell
from arbiter.client.reading import DecisionReader
from arbiter.messages import DECISIONS

READ_SECONDS: Final = 0.5

P = ParamSpec("P")
Result = TypeVar("Result")


class AsyncProducer:
    """Hands records to Kafka; made within the loop that uses it.

    With ``waits`` a full queue makes :meth:`put` wait, and otherwise raise :class:`QueueFull`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        queue_max: int = QUEUE_MAX,
        delivery_seconds: float = DELIVERY_SECONDS,
        waits: bool = True,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._waits = waits
        self._queue_max = queue_max
        self._outbox = Outbox(connection, self._told, queue_max=queue_max, delivery_seconds=delivery_seconds)

    async def send(self, record: Record) -> Place:
        """Return once Kafka has the record; :class:`NotDelivered`, :class:`QueueFull`."""
        return self.confirmed(await (await self.put(record)))

    async def put(self, record: Record) -> asyncio.Future[Fate]:
        """Return once the record is in the queue, with the future of its fate; :meth:`confirmed` reads that."""
        slot: asyncio.Future[Fate] = self._loop.create_future()
        while not self._outbox.offer(record, slot):
            if not self._waits:
                raise QueueFull(f"{self._queue_max:,} records wait for Kafka; {record.name} was not sent")
            await asyncio.sleep(FULL_SECONDS)
        return slot

    def confirmed(self, fate: Fate) -> Place:
        """The place of a record that Kafka has; :class:`NotDelivered` names it otherwise."""
        if isinstance(fate, Undelivered):
            self._outbox.seen(fate)
            raise NotDelivered([fate])
        return fate

    async def close(self, seconds: float = 30.0) -> None:
        """Wait until all is confirmed, at most so long; :class:`NotDelivered` names what nobody was told of."""
        failed = await asyncio.to_thread(self._outbox.close, seconds)
        await asyncio.sleep(0)
        if failed:
            raise NotDelivered(failed)

    def _told(self, fates: Told) -> None:
        if not self._loop.is_closed():
            # What became known together wakes the loop once.
            self._loop.call_soon_threadsafe(tell, fates)


class AsyncDecisionReader:
    """Reads decisions for an event loop, in a thread of its own; for one reading task. See :class:`DecisionReader`.

    A :meth:`read` that is cancelled loses nothing: the next one gives what it would have given.
    """

    def __init__(
        self, connection: Connection, *, department: str | None = None, group: str = "", topic: str = DECISIONS
    ) -> None:
        """Without a department it reads those of all."""
        self.positions: dict[int, int] = {}
        self._reader = DecisionReader(connection, department=department, group=group, topic=topic)
        self._thread = ThreadPoolExecutor(1, "arbiter-client-reader")
        self._reading: asyncio.Future[tuple[list[ReadDecision], dict[int, int]]] | None = None
        self._is_closed = False

    async def begins(self) -> dict[int, int]:
        """The first offset of each partition; :class:`KafkaUnreachable`."""
        return await self._in_thread(self._reader.begins)

    async def ends(self) -> dict[int, int]:
        """Where each partition ends now; :class:`KafkaUnreachable`."""
        return await self._in_thread(self._reader.ends)

    async def since(self, at: datetime) -> dict[int, int]:
        """The first offsets that were written at this time or later; :class:`KafkaUnreachable`."""
        return await self._in_thread(self._reader.since, at)

    async def start(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on."""
        await self._in_thread(self._reader.start, offsets)
        self.positions = dict(offsets)

    async def join(self) -> None:
        """Read as a member of the group."""
        await self._in_thread(self._reader.join)

    async def commit(self, positions: Mapping[int, int]) -> None:
        """Keep positions as the group's."""
        await self._in_thread(self._reader.commit, positions)

    async def read(self, seconds: float = READ_SECONDS) -> list[ReadDecision]:
        """The next decisions; nothing if none come for so long. ``positions`` is then behind them.

        :class:`ClientFailed` if none can come any more.
        """
        if self._reading is None:
            loop = asyncio.get_running_loop()
            self._reading = loop.run_in_executor(self._thread, self._read, seconds)
        try:
            batch, positions = await asyncio.shield(self._reading)
        except ClientError:
            self._reading = None
            raise
        self._reading = None
        self.positions = positions
        return batch

    async def batches(self) -> AsyncIterator[list[ReadDecision]]:
        """The next decisions, as they come, until :meth:`close`."""
        while not self._is_closed:
            if batch := await self.read():
                yield batch

    async def close(self) -> None:
        """Let go of the connection, after the read that is under way."""
        if not self._is_closed:
            self._is_closed = True
            await self._in_thread(self._reader.close)
            self._thread.shutdown(wait=False)

    def _read(self, seconds: float) -> tuple[list[ReadDecision], dict[int, int]]:
        return self._reader.read(seconds), dict(self._reader.positions)

    async def _in_thread(self, work: Callable[P, Result], *given: P.args, **named: P.kwargs) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given, **named))
