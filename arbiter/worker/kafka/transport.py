"""The transport: Kafka as Faust reaches it, over librdkafka. One event carries all that was fetched at a time.

Faust runs the app: agents, streams, supervision, start and end. Its cost is per event, so one event carries many
records. To Faust these come from one partition that is never revoked, since it would stop and empty every stream at
each rebalance; here the partition numbers that stay are not touched. Where records begin is ours to say
(``fetcher.py``), and the group's committed offset is a gauge of the lag, nothing more (``membership.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

from faust.transport import base
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage

from arbiter.messages import REQUESTS
from arbiter.settings import Settings
from arbiter.worker.kafka.fetcher import FetchedRecords, Fetcher
from arbiter.worker.kafka.log_offsets import LogOffsets
from arbiter.worker.kafka.membership import Membership

GENERATION: Final = 1
"""Faust's; it drops what comes under another one."""

NOT_OURS: Final = "records are handed over by the fetcher"


class Consumer(FaustConsumer):
    """Faust's consumer: one event per hand-over; positions are committed to the group."""

    app: Any
    transport: Transport

    on_assigned: Callable[[int, set[int]], None]
    """Set by who owns the partitions: called with the generation and the partition numbers that came."""

    on_revoked: Callable[[set[int]], Awaitable[None]]
    """Set by who owns the partitions: these numbers go when it returns."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = self.transport.settings
        self._feed = TP(settings.topic(REQUESTS), 0)
        self.membership = Membership(settings)
        self.fetcher = Fetcher(settings)
        self.log_offsets = LogOffsets(settings)

    async def on_start(self) -> None:
        """Begin to be a member, and to fetch."""
        self.membership.start(self, self._fail)
        self.fetcher.start(self._fail)

    async def on_stop(self) -> None:
        """Leave the group, and let go of the connections."""
        await asyncio.gather(asyncio.to_thread(self.membership.stop), asyncio.to_thread(self.fetcher.stop))

    def _fail(self, error: BaseException) -> None:
        self.add_future(self.crash(error))

    @property
    def heartbeat_at(self) -> float:
        """See :attr:`Membership.heartbeat_at`."""
        return self.membership.heartbeat_at

    @property
    def heard_at(self) -> float:
        """See :attr:`Membership.heard_at`."""
        return self.membership.heard_at

    @property
    def is_member(self) -> bool:
        """See :attr:`Membership.is_member`."""
        return self.membership.is_member

    @property
    def refusal(self) -> str:
        """See :attr:`Fetcher.refusal`."""
        return self.fetcher.refusal

    @property
    def assigned(self) -> frozenset[int]:
        """The partition numbers that the group gives us at this moment."""
        return self.membership.numbers

    def assignment(self) -> set[TP]:
        """What Faust has: one partition, through which everything comes."""
        return {self._feed}

    def assign(self, lease: int, positions: Mapping[TP, int], bounded_until: Mapping[TP, int]) -> None:
        """See :meth:`Fetcher.assign`."""
        self.fetcher.assign(lease, positions, bounded_until)

    def resume(self, lease: int, tps: Iterable[TP]) -> None:
        """See :meth:`Fetcher.resume`."""
        self.fetcher.resume(lease, tps)

    def pause(self, lease: int, tps: Iterable[TP]) -> None:
        """See :meth:`Fetcher.pause`."""
        self.fetcher.pause(lease, tps)

    async def offset_ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """See :meth:`LogOffsets.ranges`."""
        return await self.log_offsets.ranges(tps)

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """See :meth:`LogOffsets.ends`."""
        return await self.log_offsets.ends(tps)

    def done(self, positions: Mapping[TP, int]) -> None:
        """See :meth:`Membership.done`."""
        self.membership.done(positions)

    async def on_numbers_assigned(self, numbers: set[int], generation: int) -> None:
        """See :class:`~arbiter.worker.kafka.membership.Listener`."""
        self.on_assigned(generation, numbers & self.membership.numbers)

    async def on_numbers_revoked(self, numbers: set[int]) -> None:
        """See :class:`~arbiter.worker.kafka.membership.Listener`."""
        await self.on_revoked(numbers)
        self.fetcher.end(numbers)

    async def subscribe(self, topics: Iterable[str]) -> None:  # noqa: ARG002 - the membership knows what is shared out
        """Faust has its agents: let it start the streams, once and for all."""
        if not self.app.consumer_generation_id:
            self.app.consumer_generation_id = GENERATION
            self.app.on_rebalance_start()
            self.add_future(self.on_partitions_assigned(self.assignment(), GENERATION))

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand over one message at a time, with what was fetched for each partition that moved; nobody acks it."""
        feed = self._feed
        while not (self.should_stop or fetcher.should_stop):
            fetched: Any = await self.fetcher.fetch()
            await self.callback(
                ConsumerMessage(*feed, 0, 0.0, 0, None, None, fetched, None, tp=feed, generation_id=GENERATION)
            )

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        raise NotImplementedError(NOT_OURS)

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust would call every partition dead that waits for its claim. `/readyz` shows ours."""

    # What Faust asks of a consumer, and what others do here

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Do nothing: positions come from the claim, not from the group."""
        return {}

    perform_seek = seek_to_committed  # type: ignore[assignment]

    async def _seek(self, partition: TP, offset: int) -> None:
        raise NotImplementedError(NOT_OURS)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Do nothing: Faust restores no tables here."""

    async def position(self, tp: TP) -> int | None:  # noqa: ARG002 - Faust's
        """Unknown here."""
        return None

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:  # noqa: ARG002
        """None: Faust restores no tables here."""
        return {}

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:  # noqa: ARG002
        """None, as above."""
        return {}

    def highwater(self, tp: TP) -> int:
        """Not asked."""
        raise NotImplementedError(NOT_OURS)

    def topic_partitions(self, topic: str) -> int | None:  # noqa: ARG002
        """Unknown here: the topics are looked at before the app starts."""
        return None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Not asked: nothing is produced through Faust."""
        raise NotImplementedError(NOT_OURS)

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: topics are made by `arbiter topics create`."""

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109
        raise NotImplementedError(NOT_OURS)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        raise NotImplementedError(NOT_OURS)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


def forwarding_to(deliver: Callable[[TP, FetchedRecords], None]) -> Callable[[Any], Awaitable[None]]:
    """An agent that calls ``deliver`` with what was fetched for each partition."""

    async def forward(stream: Any) -> None:
        async for event in stream.noack().events():
            for tp, fetched in event.message.value.items():
                deliver(tp, fetched)

    return forward


class Producer(base.Producer):
    """No connection: nothing is produced through Faust."""

    async def on_start(self) -> None:
        """Do nothing."""

    async def flush(self) -> None:
        """Do nothing."""


class Transport(base.Transport):
    """Kafka as Faust reaches it."""

    Consumer = Consumer
    Producer = Producer
    driver_version = "confluent-kafka"

    def __init__(self, url: Any, app: Any, settings: Settings) -> None:
        super().__init__(url, app)
        self.settings = settings
