"""The client for threads: ask, wait, use the permit, tell what became of it."""

from __future__ import annotations

import threading
from datetime import datetime
from time import sleep
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

from arbiter.client.choices import CLOSE_SECONDS, Choices, Chosen, Start
from arbiter.client.core.decisions import Decision
from arbiter.client.core.errors import ClientClosed, ClientError, NotDelivered, QueueFull
from arbiter.client.core.fields import (
    ConsentFields,
    OutcomeFields,
    PreferenceFields,
    ProfileFields,
    RequestFields,
    SuppressionFields,
)
from arbiter.client.core.following import ReadDecision
from arbiter.client.core.histories import Histories, History, is_told_unsent
from arbiter.client.core.permits import Permit
from arbiter.client.core.records import Place, Record
from arbiter.client.core.sender import About
from arbiter.client.core.waiting import opening_wait
from arbiter.client.live import Live
from arbiter.client.producing import FULL_SECONDS, Outbox
from arbiter.client.reading import DecisionReader
from arbiter.client.stream import DecisionStream, offsets_of
from arbiter.client.ticket import Delivery, Ticket, wait_on
from arbiter.messages import (
    ConsentChange,
    DecisionMessage,
    OutcomeKind,
    PreferenceChange,
    Profile,
    SuppressionChange,
)


class Client:
    """A department's connection to Arbiter; a context manager, for any number of threads.

    What is sent is handed over at once and confirmed by Kafka later: a ticket raises if it was not, and :meth:`close`
    names whatever was not confirmed and nobody was told of.
    """

    def __init__(self, kafka: str, department: str, **choices: Unpack[Choices]) -> None:
        """``kafka`` are the brokers, ``host:port,host:port``."""
        self._chosen = Chosen(kafka, department, choices)
        self._sender = self._chosen.sender
        self._histories = Histories(self._chosen.clock)
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._trouble: ClientError | None = None
        self._outbox = Outbox(
            self._chosen.connection, queue_max=self._chosen.queue_max, delivery_seconds=self._chosen.delivery_seconds
        )

    # Ask

    def request(self, *, traceparent: str = "", **fields: Unpack[RequestFields]) -> Ticket:
        """Ask whether the customer may be contacted. With the same ``request_id`` it is the same question.

        :class:`InvalidMessage` names every field at fault, and nothing is sent; :class:`QueueFull`;
        :class:`KafkaUnreachable`.
        """
        asked = self._sender.ask({"request_id": uuid4().hex, **fields}, self._trace(traceparent))
        self._listen()
        with self._lock:
            history = self._histories.of(asked.request)
        ticket = Ticket(asked, history, self, self._chosen.clock)
        history.sent(asked.request)
        return ticket

    def decisions(self, start: Start = "end", *, group: str = "") -> DecisionStream:
        """The department's decisions, on all its requests, also later ones and recalls.

        Members of a ``group`` share them, and it goes on where it ended; a new group begins at the first that is kept.
        """
        self._listen()
        reader = self._reader(group)
        try:
            if group:
                reader.join()
            else:
                reader.start(offsets_of(reader, start))
        except ClientError:
            reader.close()
            raise
        return DecisionStream(reader, self._decided, in_group=bool(group))

    # Use

    def use(self, permit: Permit) -> None:
        """Wait until the permit opens, and take it. Make the contact now.

        :class:`PermitVoid` as soon as it is taken back, :class:`PermitExpired`, :class:`PermitUsed`;
        :class:`ClientClosed` and :class:`ClientFailed`, since no recall would be heard of.
        """
        history = permit.request
        assert isinstance(history, History)  # noqa: S101 - the client made it
        while wait := opening_wait(permit):
            wait_on(history, lambda: self._void(permit), wait)
        self.check()  # who hears of no recall must not use a permit
        permit.use()

    # Tell

    def confirm(self, about: About, at: datetime | str | None = None) -> Delivery:
        """The contact was made: now, or ``at``."""
        return self.outcome("sent", about, at)

    def bounce(self, about: About, at: datetime | str | None = None) -> Delivery:
        """The contact did not reach the customer; its place is free again."""
        return self.outcome("bounced", about, at)

    def cancel(self, about: About, at: datetime | str | None = None) -> Delivery:
        """The contact is no longer wanted, or its permit is given back; a request that waits is withdrawn."""
        return self.outcome("cancelled", about, at)

    def not_sent(self, about: Permit | Decision) -> Delivery | None:
        """The contact of this permit, expired or recalled, was not made: tell it where that is waited for.

        After a recall for a better request nothing is told (``None``): the request waits again, and stays.
        """
        return self.cancel(about) if is_told_unsent(about) else None

    def outcome(
        self,
        kind: OutcomeKind,
        about: About | None = None,
        at: datetime | str | None = None,
        *,
        traceparent: str = "",
        **fields: Unpack[OutcomeFields],
    ) -> Delivery:
        """Tell any outcome: of a ticket, decision or permit, or of a contact that the fields name."""
        return self.send(self._sender.outcome(kind, about, at, fields, self._trace(traceparent)))

    def consent(self, *, traceparent: str = "", **fields: Unpack[ConsentFields]) -> Delivery:
        """A customer granted or withdrew consent."""
        return self._fact(ConsentChange, fields, traceparent)

    def preference(self, *, traceparent: str = "", **fields: Unpack[PreferenceFields]) -> Delivery:
        """A customer's own rules; they replace the earlier ones."""
        return self._fact(PreferenceChange, fields, traceparent)

    def suppression(self, *, traceparent: str = "", **fields: Unpack[SuppressionFields]) -> Delivery:
        """A customer enters or leaves a suppression list."""
        return self._fact(SuppressionChange, fields, traceparent)

    def profile(self, *, traceparent: str = "", **fields: Unpack[ProfileFields]) -> Delivery:
        """What is known of a customer; it replaces what was known."""
        return self._fact(Profile, fields, traceparent)

    # The way out

    def send(self, record: Record) -> Delivery:
        """Hand over a record that was built; waits while the queue is full, or raises :class:`QueueFull`."""
        delivery = Delivery(record, self._outbox)
        while not self._outbox.offer(record, delivery.slot):
            if not self._chosen.waits:
                raise QueueFull(f"{self._chosen.queue_max:,} records wait for Kafka; {record.name} was not sent")
            sleep(FULL_SECONDS)
        return delivery

    def check(self) -> None:
        """Raise if the client was closed, or has failed."""
        if self._trouble is not None:
            raise self._trouble

    def refusal(self, place: Place) -> Decision | None:
        """The answer to the record at this place, if it could not be taken."""
        return self._histories.refusal(place)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Wait until Kafka has everything, at most so long, and let go of the connections.

        :class:`NotDelivered` names every record that Kafka did not confirm, unless its sender was told before.
        """
        self._failed(ClientClosed("the client is closed"))
        failed = self._outbox.close(timeout)
        with self._lock:
            live, self._live = self._live, None
        if live is not None:
            live.close()
        if failed:
            raise NotDelivered(failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _trace(self, given: str) -> str:
        return given or self._chosen.trace()

    def _fact(self, kind: Any, fields: Any, traceparent: str) -> Delivery:
        return self.send(self._sender.record(kind, fields, self._trace(traceparent))[1])

    def _reader(self, group: str = "") -> DecisionReader:
        chosen = self._chosen
        return DecisionReader(chosen.connection, department=self._sender.department, group=group, topic=chosen.topic)

    def _listen(self) -> None:
        """Begin to read what is decided from now on."""
        self.check()
        with self._lock:
            if self._live is None:
                live = Live(self._reader(), self._took, self._failed)
                live.start()
                self._live = live

    def _took(self, batch: list[ReadDecision]) -> None:
        for read in batch:
            self._decided(read.message)

    def _decided(self, message: DecisionMessage) -> Decision:
        with self._lock:
            return self._histories.decision(message)

    def _failed(self, error: ClientError) -> None:
        self._trouble = self._trouble or error
        with self._lock:
            histories = list(self._histories)
        for history in histories:
            history.wake()

    def _void(self, permit: Permit) -> bool | None:
        self.check()
        return True if permit.revoked_by is not None else None
