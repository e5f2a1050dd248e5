"""The batch transport: Faust's Kafka consumer, whose event is everything one poll brought, as one message a partition.

Faust's cost is per event, so one event carries many records. Where they begin is ours to say, too: a partition is
read only after it was *placed* (sought to the position that its claim remembers) under a lease, and every batch
names the lease that it was read under. What was read before a rebalance can so never be taken for what follows it,
and the group's committed offset is a gauge of the lag, nothing more.
"""
# ruff: noqa: SLF001 - a transport is made of the insides of Faust's and aiokafka's consumers; pyproject pins both

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from time import monotonic
from typing import Any, TypeVar

from aiokafka.consumer import fetcher as stock_fetcher
from aiokafka.errors import ConsumerStoppedError, KafkaConnectionError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as stock
from faust.types import TP, ConsumerMessage, Message
from mode.threads import WorkerThread
from msgspec import Struct

from arbiter.worker.kafka.membership import Membership
from arbiter.worker.kafka.pacing import unhurried
from arbiter.worker.kafka.reader import Record
from arbiter.worker.kafka.unpacking import BoundedRecords

# Each fetcher looks it up when a fetch has come.
stock_fetcher.MemoryRecords = BoundedRecords

Result = TypeVar("Result")

POLL_SECONDS = 0.25
FETCH_WAIT_MS = 250
COMMIT_SECONDS_MAX = 5.0
REFUSED_SECONDS = 1.0
JOIN_SECONDS_MAX = 2.0
CONNECT_SECONDS = 0.5


class Batch(Struct, frozen=True):
    """What one poll brought for one partition of one topic.

    ``position`` is the next offset to fetch: past the last record, and past what has no records (transaction
    markers, aborted transactions, compacted offsets), so ``records`` may be empty. ``lease`` is that of the
    :meth:`Consumer.place` under which it was read.
    """

    records: list[Record]
    position: int
    lease: int


class _Open(set[TP]):
    """The partitions to read now. Never falsy: to aiokafka an empty choice means all partitions."""

    def __bool__(self) -> bool:
        return True


class _NoReadOffsets(defaultdict[TP, Any]):
    """Faust drops what lies below the highest offset that it saw; after a seek backwards that is everything."""

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: Any) -> None:
        pass


class _Thread(WorkerThread):
    """Faust joins the consumer's thread without end, in the event loop, and a process waits for it at its exit."""

    def __init__(self, service: Any, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(JOIN_SECONDS_MAX)


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """The thread that aiokafka runs in. Leases and open partitions are touched in this thread only."""

    Worker = _Thread

    logger = stock.logger

    def __post_init__(self) -> None:
        super().__post_init__()
        self.membership = Membership()
        self._no_leases()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    async def on_start(self) -> None:
        """Start the consumer once Kafka answers, and govern its membership from the first moment on."""
        consumer = self._consumer = self._create_consumer(loop=self.thread_loop)
        self.time_started = monotonic()
        while not self.should_stop:
            try:
                await consumer.start()
                break
            except KafkaConnectionError as error:
                self.log.warning("the consumer cannot connect: %s", error)
                await asyncio.sleep(CONNECT_SECONDS)
        else:
            return
        self.membership.govern(consumer._coordinator)
        fetcher = consumer._fetcher
        fetcher._proc_fetch_request = unhurried(fetcher._proc_fetch_request, self._wake_polls)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """End every lease, then tell the application."""
        self._end_leases()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """End every lease, then tell the application. To be given partitions is a sign of life too."""
        self._end_leases()
        self.membership.heartbeat_at = monotonic()
        await super().on_partitions_assigned(assigned, generation_id)

    refusal = ""
    """Why Kafka gives no records, if it does not."""

    def _no_leases(self) -> None:
        self._leases: dict[TP, int] = {}
        self._seen: dict[TP, int] = {}
        self._open = _Open()

    def _end_leases(self) -> None:
        self._leases.clear()
        self._seen.clear()
        # The very set that a waiting poll looks at: it must not drain what is placed next.
        self._open.clear()

    async def place(self, lease: int, positions: Mapping[TP, int]) -> None:
        """Seek, and read under this lease from now on; nothing is read until :meth:`open`."""
        consumer = self._ensure_consumer()
        for tp, position in positions.items():
            consumer.seek(tp, position)
            self._leases[tp] = lease
            self._seen[tp] = position
            self._open.discard(tp)

    def open(self, lease: int, tps: Iterable[TP]) -> None:
        """Read these partitions, if the lease still holds."""
        self._open.update(tp for tp in tps if self._leases.get(tp) == lease)
        # A poll that waits looks again: what was fetched ahead for these partitions can be taken now.
        self._wake_polls()

    def _wake_polls(self) -> None:
        for waiter in list(self._ensure_consumer()._fetcher._fetch_waiters):
            if not waiter.done():
                waiter.set_result(None)

    def shut(self, lease: int, tps: Iterable[TP]) -> None:
        """Leave these partitions unread, if the lease still holds."""
        self._open.difference_update([tp for tp in tps if self._leases.get(tp) == lease])

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,  # noqa: ARG002 - Faust's own idea of what is paused; ours are the leases
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is Faust's
        max_records: int | None = None,
    ) -> Any:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        try:
            with fetcher._subscriptions.fetch_context():
                drained = await fetcher.fetched_records(self._open, timeout=timeout, max_records=max_records)
        except ConsumerStoppedError:
            raise
        except KafkaError as error:
            await self._refused(consumer, error)
            return {}
        self.refusal = ""
        # No await from the drain to here: the positions are those of these records.
        return self._batches(consumer._subscription.subscription.assignment, drained)

    async def _refused(self, consumer: Any, error: KafkaError) -> None:
        """Kafka gives no records: a permission was taken away, or data is damaged. Ask again, as while it is away.

        What was drained beside the error is fetched again, or its records would be passed over.
        """
        self.refusal = repr(error)
        for tp in self._open:
            consumer.seek(tp, self._seen[tp])
        await asyncio.sleep(REFUSED_SECONDS)

    def _batches(self, assignment: Any, drained: Mapping[TP, list[Any]]) -> dict[TP, Batch]:
        batches: dict[TP, Batch] = {}
        for tp in self._open:
            state = assignment.state_value(tp) if assignment is not None else None
            if state is None or not state.has_valid_position or state.position == self._seen[tp]:
                continue
            self._seen[tp] = state.position
            batches[tp] = Batch(drained.get(tp, []), state.position, self._leases[tp])
        return batches

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Tell the group how far we are. A gauge: what goes wrong here stops nothing, the next commit says it again."""
        consumer = self._ensure_consumer()
        ours = {
            stock.ensure_aiokafka_TP(tp): OffsetAndMetadata(offset, "")
            for tp, offset in offsets.items()
            if tp in self._leases
        }
        if not ours:
            return False
        try:
            await asyncio.wait_for(consumer.commit(ours), COMMIT_SECONDS_MAX)
        except (KafkaError, TimeoutError) as error:
            self.log.debug("the group did not take our offsets: %r", error)
            return False
        return True

    def run(self, call: Callable[[], Awaitable[Result]]) -> asyncio.Future[Result]:
        """Run a coroutine function in this thread; a future for the caller's loop."""

        async def there() -> Result:
            return await call()

        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self.thread_loop))


class Consumer(stock.Consumer):
    """Faust's consumer: one event per poll; acks in any order commit what was acked, no more."""

    logger = stock.logger

    _thread: ConsumerThread

    on_flow_resumed: Callable[[int, set[TP]], None]
    """Set by who owns the partitions: called at the end of every rebalance with generation and assignment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _NoReadOffsets()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def membership(self) -> Membership:
        """How it is a member of its group."""
        return self._thread.membership

    @property
    def heartbeat_at(self) -> float:
        """See :attr:`Membership.heartbeat_at`."""
        return self.membership.heartbeat_at

    def assigned(self) -> set[TP]:
        """What the group gives us at this moment; empty while it shares out anew."""
        return self.assignment() if self.membership.is_member else set()

    @property
    def refusal(self) -> str:
        """See :attr:`ConsumerThread.refusal`."""
        return self._thread.refusal

    async def place(self, lease: int, positions: Mapping[TP, int]) -> None:
        """See :meth:`ConsumerThread.place`."""
        await self._thread.run(lambda: self._thread.place(lease, positions))

    def open(self, lease: int, tps: Iterable[TP]) -> None:
        """See :meth:`ConsumerThread.open`; returns at once, what is opened and shut happens in this order."""
        self._thread.thread_loop.call_soon_threadsafe(self._thread.open, lease, list(tps))

    def shut(self, lease: int, tps: Iterable[TP]) -> None:
        """See :meth:`ConsumerThread.shut`; returns at once. One more poll may still arrive."""
        self._thread.thread_loop.call_soon_threadsafe(self._thread.shut, lease, list(tps))

    async def offset_ranges(self, tps: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """First and end offset of each partition; the end is that of committed transactions. ``KafkaError``."""
        consumer, wanted = self._thread._ensure_consumer(), list(tps)
        first = await self._thread.run(lambda: consumer.beginning_offsets(wanted))
        end = await self.end_offsets(wanted)
        return {tp: (first[tp], end[tp]) for tp in wanted}

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """End offset of each partition, that of committed transactions. ``KafkaError``."""
        consumer, wanted = self._thread._ensure_consumer(), list(tps)
        return dict(await self._thread.run(lambda: consumer.end_offsets(wanted)))

    def resume_flow(self) -> None:
        """Faust's last step of a rebalance. Nothing is open until it was claimed; now claiming may begin."""
        super().resume_flow()
        # Faust may come here after the next rebalance has begun: what it resumes for is nobody's any more.
        if self.membership.is_member:
            self.on_flow_resumed(self.app.consumer_generation_id, self.assignment())

    async def perform_seek(self) -> None:
        """Do nothing: positions come from the claim, not from the group."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Do nothing, see :meth:`perform_seek`."""
        return {}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ARG002, ASYNC109
        """One message for Faust, which carries one for each partition that moved: see :func:`handing_on`.

        Unlike Faust's, this neither sleeps a second while nothing may be read, nor drops what was taken from
        aiokafka when its partition is paused meanwhile: the runner has room for one more poll.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow.wait())
        if self.should_stop:
            return
        batches: Mapping[TP, Any] = await self._getmany(None, POLL_SECONDS)
        if batches and self.flow_active:
            messages = [self._message(tp, batch.position - 1, batch) for tp, batch in batches.items()]
            # To Faust it is one of the first partition. Nobody acks it: each of those that it carries is acked.
            first = messages[0]
            yield first.tp, self._message(first.tp, first.offset, messages)

    def _message(self, tp: TP, offset: int, value: Any) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            0.0,
            0,
            None,
            None,
            value,
            None,
            tp=TP(tp.topic, tp.partition),
            generation_id=self.app.consumer_generation_id,
        )

    def _new_offset(self, tp: TP) -> int | None:
        """One past the highest ack. Faust's looks for gaps, and finds some where offsets were never used."""
        acked = self._acked[tp]
        if not acked:
            return None
        highest = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return highest + 1

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: see :meth:`_new_offset`."""

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # After a crash Faust commits once more, to a thread that has ended.
        return False if self._thread.thread_loop.is_closed() else await super()._commit(offsets)

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: Faust would call every partition dead that waits for its claim. `/readyz` tells ours."""


def handing_on(deliver: Callable[[Message], None]) -> Callable[[Any], Awaitable[None]]:
    """An agent that calls ``deliver`` with each message, one a partition with its :class:`Batch`, and acks none."""

    async def hand_on(stream: Any) -> None:
        async for event in stream.noack().events():
            for message in event.message.value:
                deliver(message)

    return hand_on


class Producer(stock.Producer):
    """No connection: nothing is produced through Faust, and one would have to be there before the app starts."""

    async def on_start(self) -> None:
        """Do nothing."""

    async def flush(self) -> None:
        """Do nothing."""


class Transport(stock.Transport):
    """Kafka as Faust reaches it, with the batch consumer."""

    Consumer = Consumer
    Producer = Producer
