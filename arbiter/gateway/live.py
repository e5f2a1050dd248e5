"""Reads what is decided from now on, for all departments, and tells who waits for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from arbiter.client.async_halves import AsyncDecisionReader
from arbiter.client.connection import Connection
from arbiter.client.core.errors import ClientError
from arbiter.client.core.following import ReadDecision
from arbiter.messages import DECISIONS, ContactRequest, DecisionMessage

AGAIN_SECONDS: Final = 2.0

About = tuple[str, str, str, bool]
"""Department, customer, request id, whether it is a dry run."""

Slot = asyncio.Future[ReadDecision]


def about(message: ContactRequest | DecisionMessage) -> About:
    """Which request a message is about."""
    return message.department, message.customer_id, message.request_id, message.dry_run


class Live:
    """``trouble`` says why nothing can be read now; empty if it is."""

    def __init__(self, connection: Connection, told: Callable[[str], None]) -> None:
        """``told`` is called with each new trouble."""
        self.trouble = "decisions are not read yet"
        self._connection = connection
        self._told = told
        self._slots: defaultdict[About, list[Slot]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many requests somebody waits for."""
        return len(self._slots)

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @contextmanager
    def watching(self, keys: Sequence[About]) -> Iterator[list[Slot]]:
        """The next decision on each of these requests. Watch first, and send then."""
        loop = asyncio.get_running_loop()
        slots: list[Slot] = [loop.create_future() for _ in keys]
        for key, slot in zip(keys, slots, strict=True):
            self._slots[key].append(slot)
        try:
            yield slots
        finally:
            for key, slot in zip(keys, slots, strict=True):
                slot.cancel()
                self._slots[key].remove(slot)
                if not self._slots[key]:
                    del self._slots[key]

    async def _run(self) -> None:
        while True:
            try:
                await self._read()
            except ClientError as error:
                if not self.trouble:
                    self._told(str(error))
                self.trouble = str(error)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self) -> None:
        reader = AsyncDecisionReader(self._connection, topic=DECISIONS)
        try:
            await reader.start(await reader.ends())
            self.trouble = ""
            async for batch in reader.batches():
                self._tell(batch)
        finally:
            await reader.close()

    def _tell(self, batch: Sequence[ReadDecision]) -> None:
        if not self._slots:
            return
        for read in batch:
            for slot in self._slots.get(about(read.message), ()):
                if not slot.done():
                    slot.set_result(read)
