"""Reads what is decided from now on, for all departments, and tells who waits for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from msgspec import Struct

from arbiter.client.async_halves import AsyncDecisionReader
from arbiter.client.connection import Connection
from arbiter.client.core.errors import ClientError
from arbiter.client.core.following import ReadDecision
from arbiter.client.core.histories import content_of
from arbiter.gateway.core.problems import Refused
from arbiter.messages import DECISIONS, ContactRequest, DecisionMessage

AGAIN_SECONDS: Final = 2.0

About = tuple[str, str, str, bool]
"""Department, customer, request id, whether it is a dry run."""

Slot = asyncio.Future[ReadDecision]


class Waiter(Struct, eq=False):
    """Somebody who waits, and the request that was sent; ``None`` if any decision under that id will do."""

    slot: Slot
    request: ContactRequest | None = None

    def is_meant(self, decision: DecisionMessage) -> bool:
        """Whether the decision is on this request, and not on another one under its id."""
        one = self.request
        return one is None or (
            (one.campaign, one.channel, one.category) == (decision.campaign, decision.channel, decision.category)
        )


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
        self._waiters: defaultdict[About, list[Waiter]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many requests somebody waits for."""
        return len(self._waiters)

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
    def asking(self, requests: Sequence[ContactRequest]) -> Iterator[list[Slot]]:
        """The next decision on each of these requests. Watch first, and send then.

        :class:`Refused` if another request under the same id is waited for here: nobody could tell whose the answer is.
        """
        for request in requests:
            for other in self._waiters.get(about(request), ()):
                if other.request is not None and content_of(other.request) != content_of(request):
                    text = f"another request under request_id {request.request_id} is being decided; use a new id"
                    raise Refused("request-id-reused", text)
        with self._watching([(about(request), request) for request in requests]) as slots:
            yield slots

    @contextmanager
    def watching(self, keys: Sequence[About]) -> Iterator[list[Slot]]:
        """The next decision about each of these, whatever the request says beside its id."""
        with self._watching([(key, None) for key in keys]) as slots:
            yield slots

    @contextmanager
    def _watching(self, wanted: Sequence[tuple[About, ContactRequest | None]]) -> Iterator[list[Slot]]:
        loop = asyncio.get_running_loop()
        waiters = [(key, Waiter(loop.create_future(), request)) for key, request in wanted]
        for key, waiter in waiters:
            self._waiters[key].append(waiter)
        try:
            yield [waiter.slot for _, waiter in waiters]
        finally:
            for key, waiter in waiters:
                waiter.slot.cancel()
                self._waiters[key].remove(waiter)
                if not self._waiters[key]:
                    del self._waiters[key]

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
                self.tell(batch)
        finally:
            await reader.close()

    def tell(self, batch: Sequence[ReadDecision]) -> None:
        """Give these decisions to those who wait for them."""
        if not self._waiters:
            return
        for read in batch:
            for waiter in self._waiters.get(about(read.message), ()):
                if not waiter.slot.done() and waiter.is_meant(read.message):
                    waiter.slot.set_result(read)
