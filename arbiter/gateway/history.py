"""What was decided on one request: the department's decisions are searched from a time on."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

from arbiter.client.async_halves import AsyncDecisionReader
from arbiter.client.connection import Connection
from arbiter.client.core.decisions import number_of
from arbiter.client.core.errors import ClientError
from arbiter.client.core.following import ReadDecision
from arbiter.gateway.core.problems import Refused

AT_ONCE: Final = 4
"""How many searches run at a time; others wait."""

SECONDS_MAX: Final = 15.0


class Histories:
    """Searches the decisions topic."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def find(self, department: str, request_id: str, customer: str | None, since: datetime) -> list[ReadDecision]:
        """Each decision on the request once, in order; dry runs first, since they decide nothing.

        :class:`Refused` if it takes too long, or Kafka is away.
        """
        try:
            async with asyncio.timeout(SECONDS_MAX), self._slots:
                found = await self._search(department, request_id, customer, since)
        except TimeoutError:
            detail = f"the search took more than {SECONDS_MAX:g} s; give a later `since`, or try again"
            raise Refused("too-busy", detail) from None
        except ClientError as error:
            raise Refused("kafka-away", str(error)) from None
        once: dict[str, ReadDecision] = {}
        for read in found:
            once.setdefault(read.message.decision_id, read)
        return sorted(once.values(), key=lambda read: (not read.message.dry_run, number_of(read.message)))

    async def _search(
        self, department: str, request_id: str, customer: str | None, since: datetime
    ) -> list[ReadDecision]:
        reader = AsyncDecisionReader(self._connection, department=department)
        found: list[ReadDecision] = []
        try:
            ends = await reader.ends()
            begins = {number: at for number, at in (await reader.since(since)).items() if at < ends[number]}
            if begins:
                await reader.start(begins)
            while any(reader.positions[number] < ends[number] for number in begins):
                found += [
                    read
                    for read in await reader.read()
                    if read.message.request_id == request_id and customer in (None, read.message.customer_id)
                ]
        finally:
            await reader.close()
        return found
