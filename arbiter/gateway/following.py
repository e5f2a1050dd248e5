"""A department's decisions and recalls from some place on, each once, for a stream or a poll."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from arbiter.client.async_halves import AsyncDecisionReader
from arbiter.client.connection import Connection
from arbiter.client.core.errors import ClientError
from arbiter.client.core.following import Following
from arbiter.gateway.core.cursor import positions_of, text_of
from arbiter.gateway.core.problems import Refused
from arbiter.messages import DecisionMessage, encoder

READ_SECONDS: Final = 0.5

_encode: Final = encoder().encode


class Feed:
    """The decisions of one department from a place on. ``cursor`` is behind all that was given."""

    def __init__(self, reader: AsyncDecisionReader) -> None:
        """The reader has been started."""
        self._reader = reader
        self._following = Following()
        self._following.took([], reader.positions)

    @property
    def cursor(self) -> str:
        """Where to go on so that nothing is missed."""
        return text_of(self._following.positions)

    def next(self) -> DecisionMessage | None:
        """The next decision that was read; it counts as given."""
        message = self._following.next()
        self._following.dealt_with()
        return message

    async def read(self, seconds: float = READ_SECONDS) -> None:
        """Read more; :class:`ClientError`."""
        self._following.took(await self._reader.read(seconds), self._reader.positions)


class Feeds:
    """Opens feeds, so many at a time: each has a connection to Kafka of its own."""

    def __init__(self, connection: Connection, most: int) -> None:
        self.stopping = asyncio.Event()
        self._connection = connection
        self._most = most
        self._count = 0

    @property
    def count(self) -> int:
        """How many are open."""
        return self._count

    @asynccontextmanager
    async def open(self, department: str, cursor: str, since: datetime | None) -> AsyncIterator[Feed]:
        """A feed from the cursor on, or from a time, or from now; :class:`Refused`."""
        if self._count >= self._most:
            raise Refused("too-busy", f"{self._most:,} readers are here already; try again, or start more gateways")
        self._count += 1
        reader = AsyncDecisionReader(self._connection, department=department)
        try:
            ends = await reader.ends()
            begins = ends if since is None else await reader.since(since)
            if cursor:
                begins = positions_of(cursor, ends)
            await reader.start(begins)
            yield Feed(reader)
        except ClientError as error:
            raise Refused("kafka-away", str(error)) from None
        finally:
            self._count -= 1
            await reader.close()


def event_of(message: DecisionMessage, cursor: str) -> bytes:
    """A decision as a server-sent event."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (cursor.encode(), message.outcome.encode(), _encode(message))
