"""Sends each department's decisions to its webhook: at least once, those on one request in their order.

The gateways share the work as one consumer group for each webhook. What was delivered is kept as the group's position,
so a gateway that ends is continued by another.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from arbiter import log_events
from arbiter.client.async_halves import AsyncDecisionReader
from arbiter.client.connection import Connection
from arbiter.client.core.errors import ClientError as KafkaError
from arbiter.client.core.following import ReadDecision
from arbiter.gateway.core.signing import Webhook, headers
from arbiter.metrics import GatewayMetrics

AT_ONCE: Final = 8
"""How many requests' decisions are on their way to one receiver at a time."""

ANSWER_SECONDS: Final = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
GIVE_UP_SECONDS: Final = 120.0
"""After so long a batch is begun anew: who reads nothing for longer loses its place in the group."""

OK: Final = range(200, 300)


class Unanswered(Exception):
    """The receiver took nothing for too long."""


class Deliveries:
    """The deliveries of one webhook."""

    def __init__(self, webhook: Webhook, connection: Connection, group: str, metrics: GatewayMetrics) -> None:
        self._webhook = webhook
        self._connection = connection
        self._group = f"{group}-webhook-{webhook.name}"
        self._counts = metrics.webhooks
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> None:
        """Deliver until cancelled. Whatever fails is tried again."""
        async with ClientSession(timeout=ClientTimeout(total=ANSWER_SECONDS)) as session:
            while True:
                with suppress(Unanswered, KafkaError):
                    await self._member(session)
                await asyncio.sleep(FIRST_PAUSE)

    async def _member(self, session: ClientSession) -> None:
        reader = AsyncDecisionReader(self._connection, department=self._webhook.department, group=self._group)
        try:
            await reader.join()
            while True:
                batch = await reader.read()
                await self._all(session, batch)
                await reader.commit(reader.positions)
        finally:
            await reader.close()

    async def _all(self, session: ClientSession, batch: Sequence[ReadDecision]) -> None:
        """Deliver a batch: one request after another's decisions side by side, those on one in their order."""
        lines: dict[tuple[str, str], list[ReadDecision]] = {}
        for read in batch:
            lines.setdefault((read.message.customer_id, read.message.request_id), []).append(read)
        tasks = [asyncio.create_task(self._line(session, line)) for line in lines.values()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _line(self, session: ClientSession, line: Sequence[ReadDecision]) -> None:
        async with self._slots:
            for read in line:
                await self._deliver(session, read)

    async def _deliver(self, session: ClientSession, read: ReadDecision) -> None:
        """Return once the receiver has it."""
        end = time.monotonic() + GIVE_UP_SECONDS
        for attempt in count():
            why = await self._attempt(session, read)
            self._counts.labels("failed" if why else "delivered").inc()
            if not why:
                return
            if attempt == 0:
                log_events.GATEWAY_WEBHOOK_FAILED(webhook=self._webhook.name, why=why)
            pause = min(FIRST_PAUSE * 2**attempt, LONGEST_PAUSE)
            if time.monotonic() + pause > end:
                raise Unanswered(why)
            await asyncio.sleep(pause)

    async def _attempt(self, session: ClientSession, read: ReadDecision) -> str:
        """Send it once; gives why it did not arrive."""
        given = headers(self._webhook, read.message.decision_id, int(time.time()), read.value)
        try:
            async with session.post(self._webhook.url, data=read.value, headers=given, allow_redirects=False) as reply:
                return "" if reply.status in OK else f"it answered {reply.status}"
        except (ClientError, OSError, ValueError) as error:  # a host that cannot be a name is a `UnicodeError`
            return str(error) or "it did not answer in time"
