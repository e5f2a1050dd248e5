"""For an event loop: the stream of a department's decisions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Self

from arbiter.client.async_halves import AsyncDecisionReader
from arbiter.client.choices import Start
from arbiter.client.core.decisions import Decision
from arbiter.client.core.following import Following
from arbiter.client.stream import READ_SECONDS, Decide


async def offsets_of(reader: AsyncDecisionReader, start: Start) -> Mapping[int, int]:
    """The offsets at which a stream begins; :class:`KafkaUnreachable`."""
    if start == "end":
        return await reader.ends()
    if start == "begin":
        return await reader.begins()
    return start if isinstance(start, Mapping) else await reader.since(start)


class AsyncDecisionStream:
    """Each decision once, those on one request in their order; see :class:`DecisionStream`. For one task."""

    def __init__(self, reader: AsyncDecisionReader, decide: Decide, *, in_group: bool) -> None:
        """The reader has been started, or has joined its group."""
        self._reader = reader
        self._decide = decide
        self._in_group = in_group
        self._following = Following()
        self._is_closed = False

    @property
    def positions(self) -> Mapping[int, int]:
        """Where to start another stream so that nothing is missed."""
        return dict(self._following.positions)

    async def next(self, timeout: float | None = None) -> Decision | None:  # noqa: ASYNC109 - the same as for threads
        """The next decision; ``None`` if none comes in time, or the stream is closed."""
        try:
            async with asyncio.timeout(timeout):
                while not self._is_closed:
                    message = self._following.next()
                    if message is not None:
                        return self._decide(message)
                    await self._keep()
                    batch = await self._reader.read(READ_SECONDS)
                    self._following.took(batch, self._reader.positions)
        except TimeoutError:
            return None
        return None

    async def __aiter__(self) -> AsyncIterator[Decision]:
        while (decision := await self.next()) is not None:
            yield decision

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._following.dealt_with()
        await self.close()

    async def close(self) -> None:
        """Leave the group, if in one, and let go of the connection. What was not dealt with comes again."""
        if not self._is_closed:
            self._is_closed = True
            await self._keep()
            await self._reader.close()

    async def _keep(self) -> None:
        if self._in_group:
            await self._reader.commit(self._following.positions)
