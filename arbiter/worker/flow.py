"""The consumer, as ownership and as one partition see it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from time import monotonic
from typing import Protocol

from faust.types import TP
from msgspec import Struct

Ranges = dict[TP, tuple[int, int]]


class Consumer(Protocol):
    """What ownership needs of the transport's consumer."""

    @property
    def heartbeat_at(self) -> float:
        """When the group last accepted something from us (``time.monotonic()``)."""

    @property
    def assigned(self) -> Collection[int]:
        """The partition numbers that the group gives us at this moment."""

    def assign(self, lease: int, positions: dict[TP, int], bounded_until: dict[TP, int]) -> None:
        """Read from these offsets, under a lease; up to the other offsets by the bounded reader."""

    def resume(self, lease: int, tps: Iterable[TP]) -> None:
        """Read these partitions."""

    def pause(self, lease: int, tps: Iterable[TP]) -> None:
        """Do not read these partitions."""

    async def offset_ranges(self, tps: Iterable[TP]) -> Ranges:
        """First and end offset."""

    def done(self, positions: Mapping[TP, int]) -> None:
        """Everything before these positions is decided and delivered."""


class ConsumerFlow(Struct, frozen=True):
    """The flow of one partition's records, under one lease."""

    consumer: Consumer
    partition: int
    lease: int
    silence_seconds_max: float

    def is_member(self) -> bool:
        """See ``FlowControl``."""
        return monotonic() - self.consumer.heartbeat_at < self.silence_seconds_max

    def resume(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.consumer.resume(self.lease, self._tps(topics))

    def pause(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.consumer.pause(self.lease, self._tps(topics))

    def done(self, positions: Mapping[str, int]) -> None:
        """See ``FlowControl``."""
        self.consumer.done({TP(topic, self.partition): position for topic, position in positions.items()})

    def _tps(self, topics: Iterable[str]) -> list[TP]:
        return [TP(topic, self.partition) for topic in topics]
