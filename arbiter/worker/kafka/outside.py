"""Kafka as a worker sees it that waits at its start: it is in no group, has no partition, and only asks.

It cannot decide yet (Redis is away, or has another installation's state). How long records wait is told all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from faust.types import TP

from arbiter.settings import Settings
from arbiter.worker.kafka.log_offsets import LogOffsets
from arbiter.worker.kafka.membership import Membership


class Outside:
    """What the lag asks of a consumer, and of the ownership of partitions."""

    assigned: Final[Collection[int]] = ()

    def __init__(self, settings: Settings) -> None:
        self.membership: Final = Membership(settings)
        self.membership.open()
        self._offsets = LogOffsets(settings)

    async def offset_ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """See :meth:`LogOffsets.ranges`."""
        return await self._offsets.ranges(tps)

    def positions(self, partition: int) -> Mapping[str, int] | None:  # noqa: ARG002 - none was ever claimed here
        """Where a partition stands is what the group knows."""
        return None

    def oldest(self, partition: int) -> Mapping[str, int]:  # noqa: ARG002 - as above
        """Nothing is here."""
        return {}

    async def close(self) -> None:
        """Let go of the client."""
        await asyncio.to_thread(self.membership.close)
