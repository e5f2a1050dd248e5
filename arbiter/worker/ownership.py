"""Ownership: each partition that the group assigns is claimed, its outbox published again, its topics assigned.

A partition number is owned as a whole, over all input topics, or not at all. Nothing of it is read before its claim.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import TypeVar

from faust.types import TP

from arbiter import log_events
from arbiter.messages import DECISIONS
from arbiter.state.codec import CodecError, unpack_outbox
from arbiter.state.policy_store import PolicyStore
from arbiter.state.store import Claim, StateDamaged, TopicsDiffer
from arbiter.worker.flow import Consumer, ConsumerFlow, Ranges
from arbiter.worker.health import STORE
from arbiter.worker.installation import InstallationCheck
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.reader import FACTS, INPUTS
from arbiter.worker.kafka.topics import KafkaAway
from arbiter.worker.last_decision import LastPublished
from arbiter.worker.losses import Losses, Unfit, lost_records, lost_state, made_anew, other_topics
from arbiter.worker.partition.poison import CLAIMS_MAX
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared, Stopped
from arbiter.worker.partition.traced import processor_for
from arbiter.worker.partition.work import PartitionStart
from arbiter.worker.reporting import Using

DRAIN_SECONDS_MAX = 10.0
AWAY_SECONDS_MAX = 1.0
GENERATION_STEP = 1 << 20
LET_GO = "released while it failed; the worker that claims it next reports it"
RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""How long (s) a partition that failed is left alone, longer each time."""

STEADY_SECONDS = 5.0
"""How long (s) it must work before it counts as working again."""

Answer = TypeVar("Answer")


class _Owned:
    """One assigned partition: the task that claims it and then runs it, and the processor once there is one."""

    def __init__(self, lease: int, generation: int, retry: RetryPolicy) -> None:
        self.lease = lease
        self.generation = generation
        self.retry = retry
        self.processor: Processor | None = None
        self.task: asyncio.Task[None] | None = None
        self.reached: dict[str, int] | None = None
        """What its last processor is done with; changed in place by it."""
        self.failures = 0
        self.stopped_by = ""

    @property
    def state(self) -> str:
        """As metrics call it."""
        if self.processor is not None:
            return self.processor.state
        is_over = self.task is not None and self.task.done()
        return "stopped" if self.failures or is_over else "claiming"


class Ownership:
    """Claims the partitions that the group assigns, and releases them in time."""

    def __init__(
        self,
        shared: Shared,
        consumer: Consumer,
        installation: InstallationCheck,
        policies: PolicyStore,
        last_published: LastPublished,
        worker: str,
    ) -> None:
        """``worker`` names this process, unlike any other."""
        self._installation = installation
        self._losses = Losses(shared, policies, worker)
        self._last_published = last_published
        self._shared = shared
        self._consumer = consumer
        self._worker = worker
        self._leases = count(1)
        self._owned: dict[int, _Owned] = {}
        self._is_draining = self._is_refused = False
        settings = shared.settings
        self._silence_seconds_max = settings.session_timeout_ms / 1_000
        self._inputs = [settings.topic(name) for name in INPUTS]
        self._facts = [settings.topic(name) for name in FACTS]

    @property
    def assigned(self) -> int:
        """How many partitions the group gives us now."""
        return len(self._consumer.assigned)

    @property
    def claimed(self) -> int:
        """How many of them are decided for."""
        return sum(self.reached(number) is not None for number in self._consumer.assigned)

    def reached(self, partition: int) -> dict[str, int] | None:
        """The next offset of each topic that is not done with; ``None`` if the partition is not claimed."""
        owned = self._owned.get(partition)
        return None if owned is None or owned.processor is None else owned.processor.reached

    def positions(self, partition: int) -> dict[str, int] | None:
        """:meth:`reached`, also of a partition that was claimed before and is not now."""
        owned = self._owned.get(partition)
        return None if owned is None else owned.reached

    def oldest(self, partition: int) -> dict[str, int]:
        """When the oldest record that is not done with was written (ms), for each topic that has one here."""
        owned = self._owned.get(partition)
        return {} if owned is None or owned.processor is None else owned.processor.oldest()

    @property
    def using(self) -> list[Using]:
        """By which activations the processors decide."""
        return [owned.processor.using for owned in self._owned.values() if owned.processor is not None]

    def claimed_numbers(self) -> list[int]:
        """The partitions that are decided for."""
        return [number for number, owned in self._owned.items() if owned.processor is not None]

    def states(self) -> dict[int, str]:
        """How the partitions stand that the group gives us now, as metrics call it."""
        owned = self._owned
        return {number: owned[number].state if number in owned else "claiming" for number in self._consumer.assigned}

    def stop_reasons(self) -> list[str]:
        """Why each stopped partition is, as metrics call it."""
        return [one.stopped_by or "error" for one in self._owned.values() if one.state == "stopped"]

    @property
    def cache_bytes(self) -> int:
        """What the cached ledgers take."""
        return sum(owned.processor.cache_bytes for owned in self._owned.values() if owned.processor is not None)

    def assign(self, generation: int, numbers: Collection[int]) -> None:
        """Claim these partitions, beside those that are held."""
        again = self._let_go(numbers)
        if self._is_draining or self._is_refused:
            return
        log_events.PARTITIONS_ASSIGNED(count=len(numbers), generation=generation)
        total = len(self._owned.keys() | set(numbers))
        for partition in sorted(numbers):
            owned = self._owned[partition] = _Owned(next(self._leases), generation, RetryPolicy(self._shared))
            owned.task = asyncio.create_task(self._own(partition, owned, total, again))

    def _let_go(self, numbers: Collection[int]) -> list[asyncio.Task[None]]:
        """End those of them that are held already, though none should be."""
        going = self._pop(numbers)
        for owned in going.values():
            owned.retry.abandon()
            if owned.processor:
                owned.processor.wake()
        return [owned.task for owned in going.values() if owned.task]

    def _pop(self, numbers: Iterable[int]) -> dict[int, _Owned]:
        return {number: self._owned.pop(number) for number in list(numbers) if number in self._owned}

    async def release(self, numbers: Collection[int]) -> None:
        """Let processors finish what they began, at most 10 s, and stop them. None is cancelled; the others go on.

        While the store is away, nothing that was begun ends, so it waits for one second only.
        """
        going = self._pop(numbers)
        if not going:
            return
        for owned in going.values():
            owned.retry.stop()
            if owned.processor:
                owned.processor.wake()
        tasks = [owned.task for owned in going.values() if owned.task]
        seconds = AWAY_SECONDS_MAX if self._shared.health.has(STORE) else DRAIN_SECONDS_MAX
        _, late = await asyncio.wait(tasks, timeout=seconds)
        if late:
            log_events.PARTITIONS_LATE(count=len(late), seconds=seconds)
        for owned in going.values():
            owned.retry.abandon()
        for partition in going:
            self._shared.health.drop(f"partition {partition}", LET_GO)

    def refuse(self) -> None:
        """Decide and claim nothing any more: topics or state were replaced."""
        self._is_refused = True
        for owned in self._owned.values():
            owned.retry.abandon()
            if owned.processor:
                owned.processor.wake()

    async def drain(self) -> None:
        """:meth:`release` everything, and claim nothing any more."""
        self._is_draining = True
        await self.release(list(self._owned))

    def deliver(self, tp: TP, fetched: FetchedRecords) -> None:
        """Hand records to their processor; drop those that were read under another lease."""
        owned = self._owned.get(tp.partition)
        if owned is not None and owned.processor is not None and owned.lease == fetched.lease:
            owned.processor.offer(tp.topic, fetched)

    async def _own(self, partition: int, owned: _Owned, total: int, before: Sequence[asyncio.Task[None]]) -> None:
        """Claim the partition and decide for it. If it fails, only this partition waits, and tries again later.

        ``before`` are tasks that must have ended first.
        """
        if before:
            await asyncio.wait(before)
        with suppress(Stopped):
            while reason := await self._failed(partition, owned, total):
                owned.failures += 1
                self._shared.health.trouble(f"partition {partition}", reason, alarm=True)
                again_at = monotonic() + RETRY_SECONDS[min(owned.failures, len(RETRY_SECONDS)) - 1]
                await owned.retry.until(lambda: monotonic() >= again_at)  # noqa: B023 - called before it changes
                owned.lease = next(self._leases)

    async def _failed(self, partition: int, owned: _Owned, total: int) -> str:
        """Claim and run. Gives why the partition failed; empty if it was released."""
        key = f"partition {partition}"
        steady: asyncio.TimerHandle | None = None
        try:
            placed = await self._claim(partition, owned, total)
            flow = ConsumerFlow(self._consumer, partition, owned.lease, self._silence_seconds_max)
            owned.retry.check()
            owned.processor = processor_for(self._shared, partition, placed, flow, owned.retry)
            owned.reached = owned.processor.reached
            # One that failed may fail again at once: it works when it has worked for a moment.
            delay = STEADY_SECONDS if owned.failures else 0
            steady = asyncio.get_running_loop().call_later(delay, self._recovered, owned, key)
            await owned.processor.run()
            owned.stopped_by = owned.processor.halted_by
        except Stopped:
            log_events.PARTITION_DROPPED(partition=partition)
        except Unfit as unfit:
            owned.stopped_by = "loss"
            return f"{key} is not decided for: {unfit}"
        except (StateDamaged, CodecError) as error:
            if owned.processor is not None:
                await owned.processor.clear_suspects()
            owned.stopped_by = "damaged_state"
            return f"{key} is not decided for, its state cannot be used: {error}"
        except Exception as error:  # noqa: BLE001 - this partition fails, the others go on
            log_events.PARTITION_FAILED(partition=partition, exc_info=True)
            owned.stopped_by = "error"
            return f"{key} is not decided for, it failed: {error!r}"
        finally:
            owned.processor = None
            if steady is not None:
                steady.cancel()
            self._consumer.pause(owned.lease, [TP(topic, partition) for topic in self._inputs])
        return ""

    def _recovered(self, owned: _Owned, key: str) -> None:
        owned.failures = 0
        self._shared.health.over(key)

    async def _claim(self, partition: int, owned: _Owned, total: int) -> PartitionStart:
        """Claim, publish the outbox again, assign the topics. Waits for Redis and Kafka."""
        # Unlike for every claim: the store takes a repeated commit for done by owner and number.
        owner = f"{self._worker}-{owned.lease}"
        topics = await self._topic_ids(owned)
        claim = await self._claimed(partition, owner, topics, owned)
        tps = {topic: TP(topic, partition) for topic in self._inputs}
        decisions = TP(self._shared.settings.topic(DECISIONS), partition)
        ranges = await self._ranges([*tps.values(), decisions], owned)
        claim = await self._checked(claim, ranges, topics, decisions, owned)
        await self._republish(claim, owned)
        positions = {topic: self._begin(claim, ranges, tp) for topic, tp in tps.items()}
        # What stood there when workers died again and again is read with care.
        bounded_until = {tp: ranges[tp][1] for tp in tps.values() if claim.head.claims > CLAIMS_MAX}
        owned.retry.check()
        self._consumer.assign(owned.lease, {tps[topic]: at for topic, at in positions.items()}, bounded_until)
        facts_end = {topic: ranges[tps[topic]][1] for topic in self._facts}
        return PartitionStart(claim.head, positions, facts_end, self._shared.settings.cache_bytes // total)

    async def _claimed(self, partition: int, owner: str, topics: Mapping[str, str], owned: _Owned) -> Claim:
        shared = self._shared
        while True:
            asked_at = monotonic()
            try:
                claim = await self._asked(partition, owner, topics, owned)
            except TopicsDiffer as differ:
                inputs = {topic: TP(topic, partition) for topic in self._inputs}
                losses = other_topics(differ.recorded, topics, inputs)
                await self._losses.accepted(partition, losses, owned.retry)
                topics = {}  # accepted: claimed whatever the head says, which is then set right
                continue
            if claim is not None:
                shared.clock.observe(claim.time_ms, asked_at, monotonic())
                if claim.adopted:
                    log_events.TOPICS_ADOPTED(partition=partition)
                return claim
            await self._still_member(partition, owned)
            owned.generation += GENERATION_STEP

    async def _asked(self, partition: int, owner: str, topics: Mapping[str, str], owned: _Owned) -> Claim | None:
        claim = self._shared.store.claim
        return await owned.retry.ask(lambda: claim(partition, owner, owned.generation, topics))

    async def _topic_ids(self, owned: _Owned) -> dict[str, str]:
        """The ids that the topics have now, to be compared with those that the partition was read from."""
        return await self._from_kafka(owned, self._installation.ids, "describe the topics")

    async def _still_member(self, partition: int, owned: _Owned) -> None:
        """A later generation has claimed the partition: wait until the group accepts something from us.

        Then ours is the current generation, and the group has begun to count anew: Kafka forgets a group that was
        empty for a week. Otherwise a revocation is on its way, and ends this.
        """
        log_events.CLAIM_OUTRUN(partition=partition)
        refused_at = monotonic()
        await owned.retry.until(lambda: self._consumer.heartbeat_at > refused_at)

    async def _ranges(self, tps: Sequence[TP], owned: _Owned) -> Ranges:
        return await self._from_kafka(
            owned, lambda: self._consumer.offset_ranges(tps), "say where topics begin and end"
        )

    async def _from_kafka(self, owned: _Owned, ask: Callable[[], Awaitable[Answer]], what: str) -> Answer:
        """Ask Kafka until it answers; ``what`` names the question in the log. :class:`Stopped`."""
        health = self._shared.health
        for attempt in count():
            try:
                answer = await ask()
            except KafkaAway as error:
                health.trouble("kafka", f"Kafka does not {what}: {error}")
                await owned.retry.pause(attempt)
            else:
                health.over("kafka")
                return answer
        raise AssertionError

    async def _checked(
        self, claim: Claim, ranges: Ranges, topics: Mapping[str, str], decisions: TP, owned: _Owned
    ) -> Claim:
        """Check that state and logs belong together, or that a person accepted that they do not; gives the claim."""
        inputs = {topic: TP(topic, decisions.partition) for topic in self._inputs}
        first, end = ranges[decisions]
        last_seq = await self._last_seq(first, end, decisions, owned)
        losses = [
            *other_topics(claim.head.topics, topics, inputs),
            *lost_state(claim, decisions, end, last_seq),
            *lost_records(claim.head, ranges, inputs, made_anew(claim.head.topics, topics)),
        ]
        return await self._losses.settle(claim, decisions.partition, losses, topics, owned.retry)

    async def _last_seq(self, first: int, end: int, decisions: TP, owned: _Owned) -> int | None:
        """What was published was committed before: a store that does not know of it has lost writes."""
        return await self._from_kafka(
            owned, lambda: self._last_published.seq(decisions.partition, first, end), "give the last decisions"
        )

    def _begin(self, claim: Claim, ranges: Ranges, tp: TP) -> int:
        first, end = ranges[tp]
        position = claim.head.positions.get(tp.topic)
        if position is not None and position < first:
            self._shared.metrics.alarms.labels("unread").inc()
            log_events.RECORDS_DELETED(topic=tp.topic, partition=tp.partition, first=position, last=first - 1)
        return min(max(first, position or 0), end)

    async def _republish(self, claim: Claim, owned: _Owned) -> None:
        records = unpack_outbox(claim.outbox)
        if records:
            limit = self._silence_seconds_max
            await owned.retry.until(lambda: monotonic() - self._consumer.heartbeat_at < limit)
            await owned.retry.deliver(records)
