"""What the processors of a process share, and how long they wait for the store and for Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TypeVar

from msgspec import Struct, field

from arbiter.metrics import Metrics
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord
from arbiter.state.store import Store, StoreUnavailable
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import EVICTION, STORE, TOPICS, Health
from arbiter.worker.kafka.producer import PublishFailed
from arbiter.worker.policy_watcher import Active, Policies
from arbiter.worker.refused import still_to_send
from arbiter.worker.tracing import Tracing
from arbiter.worker.turn import Turn

Result = TypeVar("Result")

LOOK_SECONDS = 0.05
HOLDS = (EVICTION, TOPICS)
"""Troubles while which nothing is decided, by no partition."""

BACKOFF_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)


class Stopped(Exception):
    """The work ends here: nothing that it began is half done, or whoever claims next will finish it."""


class Shared(Struct, frozen=True):
    """What all processors of a process share. ``fatal`` ends the process, for the reason given."""

    settings: Settings
    partitions: int
    store: Store
    policies: Policies
    clock: StoreClock
    health: Health
    metrics: Metrics
    fatal: Callable[[str], None]
    turn: Turn
    tracing: Tracing | None = None
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the partition that tries something that may kill the process."""

    def in_force(self) -> Active | None:
        """What to decide by; ``None`` while nothing may be decided."""
        may_decide = self.clock.is_settled and not any(map(self.health.has, HOLDS))
        return self.policies.current if may_decide else None


class RetryPolicy:
    """How long one partition's work may wait. What is begun (a commit that may have happened) is waited for longer."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.is_stopping = False
        self.is_abandoned = False

    def stop(self) -> None:
        """Begin nothing any more."""
        self.is_stopping = True

    def abandon(self) -> None:
        """Wait for nothing any more: time is up, and the next claim finishes what was committed."""
        self.is_stopping = self.is_abandoned = True

    def check(self, *, is_begun: bool = False) -> None:
        """Raise :class:`Stopped` if this is the end."""
        if self.is_abandoned or (self.is_stopping and not is_begun):
            raise Stopped

    async def pause(self, attempt: int, *, is_begun: bool = False) -> None:
        """Wait before another attempt, longer each time; :class:`Stopped`."""
        self.check(is_begun=is_begun)
        await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
        self.check(is_begun=is_begun)

    async def until(self, condition: Callable[[], Result | None], *, is_begun: bool = False) -> Result:
        """Wait for something to become true, and give it; :class:`Stopped`."""
        while not (result := condition()):
            self.check(is_begun=is_begun)
            await asyncio.sleep(LOOK_SECONDS)
        return result

    async def ask(self, call: Callable[[], Awaitable[Result]], *, is_begun: bool = False) -> Result:
        """Ask the store until it answers, and report when it does not; :class:`Stopped`."""
        health = self._shared.health
        for attempt in count():
            try:
                result = await call()
            except StoreUnavailable as error:
                health.trouble(STORE, f"the store does not answer, nothing is decided: {error}")
            else:
                # The answer of a commit that was begun is wanted to the end.
                self.check(is_begun=is_begun)
                return result
            await self.pause(attempt, is_begun=is_begun)
        raise AssertionError("counting ended")

    async def deliver(self, records: Sequence[OutRecord], *, is_begun: bool = False) -> None:
        """Publish until every record is delivered; while Kafka is away, the publisher waits. :class:`Stopped`."""
        health, left, key = self._shared.health, list(records), ""
        try:
            for attempt in count():
                try:
                    await self._shared.turn.publish(left)
                except PublishFailed as error:
                    left = still_to_send(left, error, self._shared)
                    if any(refused is record for refused, _ in error.failed for record in left):
                        # A trouble of this place alone: that Kafka takes other records meanwhile does not end it.
                        key = key or f"publish {left[0].topic}/{left[0].partition}"
                        health.trouble(key, f"Kafka refuses records, so their partition waits: {error}", alarm=True)
                else:
                    health.over(key)
                    break
                await self.pause(attempt, is_begun=is_begun)
        finally:
            health.drop(key, "given up in this trouble; the partition's next claim publishes what is left")
        self.check(is_begun=is_begun)
