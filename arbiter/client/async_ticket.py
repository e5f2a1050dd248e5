"""For an event loop: a record on its way, and a request that waits for its decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from functools import partial
from typing import Any, TypeVar

from arbiter.client.async_halves import AsyncProducer
from arbiter.client.choices import DECISION_SECONDS
from arbiter.client.core.decisions import Decision
from arbiter.client.core.histories import History
from arbiter.client.core.permits import Clock
from arbiter.client.core.records import Place, Record
from arbiter.client.core.sender import Asked
from arbiter.client.core.tickets import BaseTicket, Link
from arbiter.client.core.waiting import next_wait, timed_out
from arbiter.client.producing import Fate

Found = TypeVar("Found")


class AsyncDelivery:
    """A record on its way to Kafka: awaited, it gives the place, or raises :class:`NotDelivered`."""

    def __init__(self, record: Record, slot: asyncio.Future[Fate], producer: AsyncProducer) -> None:
        self.record = record
        self.slot = slot
        self._producer = producer

    def __await__(self) -> Generator[Any, None, Place]:
        fate = yield from asyncio.shield(self.slot).__await__()
        return self._producer.confirmed(fate)

    @property
    def place(self) -> Place | None:
        """Where the record stands; ``None`` while that is not known. :class:`NotDelivered`."""
        return self._producer.confirmed(self.slot.result()) if self.slot.done() else None


async def wait_on(history: History, look: Callable[[], Found | None], seconds: float | None) -> Found | None:
    """What ``look`` finds, as soon as it does; ``None`` if that is not within so many seconds."""
    changed = asyncio.Event()
    history.watchers.append(changed.set)
    try:
        async with asyncio.timeout(seconds):
            while (found := look()) is None:
                await changed.wait()
                changed.clear()
            return found
    except TimeoutError:
        return look()
    finally:
        history.watchers.remove(changed.set)


class AsyncTicket(BaseTicket):
    """A request that was asked, and what is decided on it."""

    delivery: AsyncDelivery

    def __init__(self, asked: Asked, history: History, delivery: AsyncDelivery, link: Link, clock: Clock) -> None:
        super().__init__(asked, history, link, clock)
        self.sent(delivery)

    def sent(self, delivery: AsyncDelivery) -> None:
        """Its record is on its way, the first time or once more."""
        self.delivery = delivery
        self._follow(delivery)

    async def decision(self, timeout: float = DECISION_SECONDS) -> Decision:  # noqa: ASYNC109 - the same as in Ticket
        """The newest decision; waits for the first one.

        :class:`DecisionTimeout` says what to check; :class:`NotDelivered`; :class:`ClientFailed`.
        """
        found = await wait_on(self._history, self._newest, timeout)
        if found is None:
            raise timed_out(self.record, self.delivery.place, self._history, timeout)
        return found

    async def decisions(self, timeout: float | None = None) -> AsyncIterator[Decision]:  # noqa: ASYNC109
        """Every decision in its order, as it comes; see :meth:`Ticket.decisions`."""
        last: Decision | None = None
        while last is None or not last.is_last:
            ends_in = next_wait(last, self._clock)
            seconds = min((wait for wait in (ends_in, timeout) if wait is not None), default=None)
            last = await wait_on(self._history, partial(self._after, last), seconds)
            if last is not None:
                yield last
            elif seconds is None or seconds == ends_in:
                return
            else:
                raise timed_out(self.record, self.delivery.place, self._history, seconds)
