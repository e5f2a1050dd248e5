"""For threads: a record on its way, and a request that waits for its decisions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from time import monotonic
from typing import Protocol, TypeVar

from arbiter.client.choices import DECISION_SECONDS
from arbiter.client.core.decisions import Decision
from arbiter.client.core.errors import NotDelivered, Undelivered
from arbiter.client.core.histories import History
from arbiter.client.core.permits import Clock
from arbiter.client.core.records import Place, Record
from arbiter.client.core.sender import Asked
from arbiter.client.core.tickets import BaseTicket, Link
from arbiter.client.core.waiting import next_wait, timed_out
from arbiter.client.producing import Fate, Outbox

Found = TypeVar("Found")


class Delivery:
    """A record on its way to Kafka."""

    def __init__(self, record: Record, outbox: Outbox) -> None:
        self.record = record
        self.slot: Future[Fate] = Future()
        self._outbox = outbox

    def result(self, timeout: float | None = None) -> Place:
        """Where the record stands, once Kafka has it; :class:`NotDelivered`, ``TimeoutError``."""
        fate = self.slot.result(timeout)
        if isinstance(fate, Undelivered):
            self._outbox.seen(fate)
            raise NotDelivered([fate])
        return fate

    @property
    def place(self) -> Place | None:
        """Where the record stands; ``None`` while that is not known. :class:`NotDelivered`."""
        return self.result() if self.slot.done() else None


def wait_on(history: History, look: Callable[[], Found | None], seconds: float | None) -> Found | None:
    """What ``look`` finds, as soon as it does; ``None`` if that is not within so many seconds."""
    changed = threading.Event()
    history.watchers.append(changed.set)
    end = None if seconds is None else monotonic() + seconds
    try:
        while (found := look()) is None:
            left = None if end is None else end - monotonic()
            if (left is not None and left <= 0) or not changed.wait(left):
                return look()
            changed.clear()
        return found
    finally:
        history.watchers.remove(changed.set)


class SendingLink(Link, Protocol):
    """What this ticket needs of its client."""

    def send(self, record: Record) -> Delivery:
        """Send a record; raises once the client is closed or has failed."""


class Ticket(BaseTicket):
    """A request that was asked, and what is decided on it. Its methods block."""

    delivery: Delivery
    _link: SendingLink

    def __init__(self, asked: Asked, history: History, link: SendingLink, clock: Clock) -> None:
        super().__init__(asked, history, link, clock)
        self.delivery = self._sent()

    def decision(self, timeout: float = DECISION_SECONDS) -> Decision:
        """The newest decision; waits for the first one.

        :class:`DecisionTimeout` says what to check; :class:`NotDelivered`; :class:`ClientFailed`.
        """
        found = wait_on(self._history, self._newest, timeout)
        if found is None:
            raise timed_out(self.record, self.delivery.place, self._history, timeout)
        return found

    def decisions(self, timeout: float | None = None) -> Iterator[Decision]:
        """Every decision in its order, as it comes: deferred, approved, recalled …, until no other can follow.

        It ends after a rejection, and when a permit was used or has ended. :class:`DecisionTimeout` if the next takes
        longer than ``timeout``.
        """
        last: Decision | None = None
        while last is None or not last.is_last:
            ends_in = next_wait(last, self._clock)
            seconds = min((wait for wait in (ends_in, timeout) if wait is not None), default=None)
            last = wait_on(self._history, partial(self._after, last), seconds)
            if last is not None:
                yield last
            elif seconds is None or seconds == ends_in:
                return
            else:
                raise timed_out(self.record, self.delivery.place, self._history, seconds)

    def ask_again(self) -> None:
        """Send the same request once more: what was decided is told again, and nothing is decided twice."""
        self.delivery = self._sent()

    def _sent(self) -> Delivery:
        delivery = self._link.send(self.record)
        self._follow(delivery)
        return delivery
