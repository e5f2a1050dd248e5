"""The client for an event loop: ask, wait, use the permit, tell what became of it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

from arbiter.client.async_halves import AsyncDecisionReader, AsyncProducer
from arbiter.client.async_stream import AsyncDecisionStream, offsets_of
from arbiter.client.async_ticket import AsyncDelivery, AsyncTicket, wait_on
from arbiter.client.choices import CLOSE_SECONDS, Choices, Chosen, Start
from arbiter.client.core.decisions import Decision
from arbiter.client.core.errors import ClientClosed, ClientError
from arbiter.client.core.fields import (
    ConsentFields,
    OutcomeFields,
    PreferenceFields,
    ProfileFields,
    RequestFields,
    SuppressionFields,
)
from arbiter.client.core.histories import Histories, History, is_told_unsent
from arbiter.client.core.permits import Permit
from arbiter.client.core.records import Place, Record
from arbiter.client.core.sender import About
from arbiter.client.core.waiting import opening_wait
from arbiter.messages import ConsentChange, OutcomeKind, PreferenceChange, Profile, SuppressionChange


class AsyncClient:
    """A department's connection to Arbiter, for the event loop in which it is made; see :class:`Client`.

    What sends returns once the record is in the queue; await the delivery that it gives for Kafka's confirmation.
    """

    def __init__(self, kafka: str, department: str, **choices: Unpack[Choices]) -> None:
        """``kafka`` are the brokers, ``host:port,host:port``."""
        self._chosen = Chosen(kafka, department, choices)
        self._sender = self._chosen.sender
        self._histories = Histories(self._chosen.clock)
        self._lock = asyncio.Lock()
        self._live: AsyncDecisionReader | None = None
        self._listening: asyncio.Task[None] | None = None
        self._trouble: ClientError | None = None
        self._producer = AsyncProducer(
            self._chosen.connection,
            queue_max=self._chosen.queue_max,
            delivery_seconds=self._chosen.delivery_seconds,
            waits=self._chosen.waits,
        )

    # Ask

    async def request(self, *, traceparent: str = "", **fields: Unpack[RequestFields]) -> AsyncTicket:
        """Ask whether the customer may be contacted; see :meth:`Client.request`."""
        asked = self._sender.ask({"request_id": uuid4().hex, **fields}, self._trace(traceparent))
        await self._listen()
        history = self._histories.of(asked.request)
        delivery = await self.send(asked.record)
        history.sent(asked.request)
        return AsyncTicket(asked, history, delivery, self, self._chosen.clock)

    async def ask_again(self, ticket: AsyncTicket) -> None:
        """Send the same request once more: what was decided is told again, and nothing is decided twice."""
        ticket.sent(await self.send(ticket.record))

    async def decisions(self, start: Start = "end", *, group: str = "") -> AsyncDecisionStream:
        """The department's decisions; see :meth:`Client.decisions`."""
        await self._listen()
        reader = self._reader(group)
        try:
            if group:
                await reader.join()
            else:
                await reader.start(await offsets_of(reader, start))
        except ClientError:
            await reader.close()
            raise
        return AsyncDecisionStream(reader, self._histories.decision, in_group=bool(group))

    # Use

    async def use(self, permit: Permit) -> None:
        """Wait until the permit opens, and take it; see :meth:`Client.use`. Make the contact now."""
        history = permit.request
        assert isinstance(history, History)  # noqa: S101 - the client made it
        while wait := opening_wait(permit):
            await wait_on(history, lambda: self._void(permit), wait)
        self.check()  # who hears of no recall must not use a permit
        permit.use()

    # Tell

    async def confirm(self, about: About, at: datetime | str | None = None) -> AsyncDelivery:
        """The contact was made: now, or ``at``."""
        return await self.outcome("sent", about, at)

    async def bounce(self, about: About, at: datetime | str | None = None) -> AsyncDelivery:
        """The contact did not reach the customer; its place is free again."""
        return await self.outcome("bounced", about, at)

    async def cancel(self, about: About, at: datetime | str | None = None) -> AsyncDelivery:
        """The contact is no longer wanted, or its permit is given back; a request that waits is withdrawn."""
        return await self.outcome("cancelled", about, at)

    async def not_sent(self, about: Permit | Decision) -> AsyncDelivery | None:
        """The contact of this permit, expired or recalled, was not made; see :meth:`Client.not_sent`."""
        return await self.cancel(about) if is_told_unsent(about) else None

    async def outcome(
        self,
        kind: OutcomeKind,
        about: About | None = None,
        at: datetime | str | None = None,
        *,
        traceparent: str = "",
        **fields: Unpack[OutcomeFields],
    ) -> AsyncDelivery:
        """Tell any outcome: of a ticket, decision or permit, or of a contact that the fields name."""
        return await self.send(self._sender.outcome(kind, about, at, fields, self._trace(traceparent)))

    async def consent(self, *, traceparent: str = "", **fields: Unpack[ConsentFields]) -> AsyncDelivery:
        """A customer granted or withdrew consent."""
        return await self._fact(ConsentChange, fields, traceparent)

    async def preference(self, *, traceparent: str = "", **fields: Unpack[PreferenceFields]) -> AsyncDelivery:
        """A customer's own rules; they replace the earlier ones."""
        return await self._fact(PreferenceChange, fields, traceparent)

    async def suppression(self, *, traceparent: str = "", **fields: Unpack[SuppressionFields]) -> AsyncDelivery:
        """A customer enters or leaves a suppression list."""
        return await self._fact(SuppressionChange, fields, traceparent)

    async def profile(self, *, traceparent: str = "", **fields: Unpack[ProfileFields]) -> AsyncDelivery:
        """What is known of a customer; it replaces what was known."""
        return await self._fact(Profile, fields, traceparent)

    # The way out

    async def send(self, record: Record) -> AsyncDelivery:
        """Hand over a record that was built; waits while the queue is full, or raises :class:`QueueFull`."""
        return AsyncDelivery(record, await self._producer.put(record), self._producer)

    def check(self) -> None:
        """Raise if the client was closed, or has failed."""
        if self._trouble is not None:
            raise self._trouble

    def refusal(self, place: Place) -> Decision | None:
        """The answer to the record at this place, if it could not be taken."""
        return self._histories.refusal(place)

    async def close(self, timeout: float = CLOSE_SECONDS) -> None:  # noqa: ASYNC109 - the same as in Client
        """Wait until Kafka has everything, at most so long; :class:`NotDelivered` names what was not confirmed."""
        self._failed(ClientClosed("the client is closed"))
        try:
            await self._producer.close(timeout)
        finally:
            if self._listening is not None:
                self._listening.cancel()
                await asyncio.gather(self._listening, return_exceptions=True)
            if self._live is not None:
                await self._live.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _trace(self, given: str) -> str:
        return given or self._chosen.trace()

    async def _fact(self, kind: Any, fields: Any, traceparent: str) -> AsyncDelivery:
        return await self.send(self._sender.record(kind, fields, self._trace(traceparent))[1])

    def _reader(self, group: str = "") -> AsyncDecisionReader:
        chosen, department = self._chosen, self._sender.department
        return AsyncDecisionReader(chosen.connection, department=department, group=group, topic=chosen.topic)

    async def _listen(self) -> None:
        """Begin to read what is decided from now on."""
        self.check()
        async with self._lock:
            if self._live is None:
                live = self._reader()
                try:
                    await live.start(await live.ends())
                except ClientError:
                    await live.close()
                    raise
                self._live = live
                self._listening = asyncio.create_task(self._hear(live))

    async def _hear(self, live: AsyncDecisionReader) -> None:
        try:
            while True:
                for read in await live.read():
                    self._histories.decision(read.message)
        except ClientError as error:
            self._failed(error)

    def _failed(self, error: ClientError) -> None:
        self._trouble = self._trouble or error
        for history in self._histories:
            history.wake()

    def _void(self, permit: Permit) -> bool | None:
        self.check()
        return True if permit.revoked_by is not None else None
