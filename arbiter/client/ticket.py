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


class Link(Protocol):
    """What a ticket needs of its client."""

    def send(self, record: Record) -> Delivery:
        """Send a record; raises once the client is closed or has failed."""

    def check(self) -> None:
        """Raise once the client is closed or has failed: no decision comes then."""

    def refusal(self, place: Place) -> Decision | None:
        """The answer to the record at this place, if it could not be taken."""


class Ticket:
    """A request that was asked, and what is decided on it. Its methods block."""

    def __init__(self, asked: Asked, history: History, link: Link, clock: Clock) -> None:
        self.request = asked.request
        self._record = asked.record
        self._history = history
        self._link = link
        self._clock = clock
        self.delivery = self._sent()

    @property
    def request_id(self) -> str:
        """The id under which it was asked."""
        return self.request.request_id

    @property
    def customer_id(self) -> str:
        """Whom it is about."""
        return self.request.customer_id

    @property
    def department(self) -> str:
        """Who asked."""
        return self.request.department

    def decision(self, timeout: float = DECISION_SECONDS) -> Decision:
        """The newest decision; waits for the first one.

        :class:`DecisionTimeout` says what to check; :class:`NotDelivered`; :class:`ClientFailed`.
        """
        found = wait_on(self._history, self._newest, timeout)
        if found is None:
            raise timed_out(self._record, self.delivery.place, self._history, timeout)
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
                raise timed_out(self._record, self.delivery.place, self._history, seconds)

    def ask_again(self) -> None:
        """Send the same request once more: what was decided is told again, and nothing is decided twice."""
        self.delivery = self._sent()

    def _sent(self) -> Delivery:
        delivery = self._link.send(self._record)
        delivery.slot.add_done_callback(lambda _: self._history.wake())
        return delivery

    def _newest(self) -> Decision | None:
        return self._looked(self._history.latest)

    def _after(self, last: Decision | None) -> Decision | None:
        return self._looked(self._history.after(-1 if last is None else last.number))

    def _looked(self, known: Decision | None) -> Decision | None:
        """What is known, or that this very record could not be taken; raises if no decision can come."""
        fate = self.delivery.slot.result() if self.delivery.slot.done() else None
        refusal = self._link.refusal(fate) if isinstance(fate, Place) else None
        if refusal is None and known is None:
            self._link.check()
            self.delivery.place  # noqa: B018 - raises if Kafka did not take the request
        return refusal or known
