"""One partition, decided in this process: the in-memory store, fake topics, and faults at any step of either."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from arbiter.messages import CONSENTS, DECISIONS, DLQ_SUFFIX, PROFILES, REQUESTS
from arbiter.metrics import Metrics
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord, unpack_outbox
from arbiter.state.memory import MemoryStore, wall_clock_ms
from arbiter.state.store import Commit, Verdict
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import Health
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import Placed
from arbiter.worker.policy_watcher import Active
from arbiter.worker.turn import Turn
from tests.inputs.builders import policy

PARTITIONS = 4
P = 1
CUSTOMERS = [name for name in (f"c{number}" for number in range(100)) if partition_of(name, PARTITIONS) == P]
STRANGER = next(name for name in (f"c{number}" for number in range(100)) if partition_of(name, PARTITIONS) == P + 1)
CAP = {"id": "two", "kind": "cap", "owner": "o", "why": "w", "per": ["party"], "limit": 2, "window": "rolling 1d"}
LEASE = 1


class Crash(Exception):
    """The process ends here."""


class Faulty(MemoryStore):
    """A store that fails at a chosen step: ``before`` it, or after it (so that only the reply is lost)."""

    def __init__(self) -> None:
        super().__init__()
        self.before: dict[str, list[Exception]] = {}
        self.after: dict[str, list[Exception]] = {}
        self.commits: list[Commit] = []

    async def _faulty(self, step: str, call: Callable[[], Awaitable[Any]]) -> Any:
        if self.before.get(step):
            raise self.before[step].pop(0)
        result = await call()
        if self.after.get(step):
            raise self.after[step].pop(0)
        return result

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """See ``Store.load``."""
        return await self._faulty("load", lambda: MemoryStore.load(self, partition, parties))  # type: ignore[no-any-return]

    async def commit(self, partition: int, commit: Commit) -> tuple[Verdict, int]:
        """See ``Store.commit``."""
        self.commits.append(commit)
        return await self._faulty("commit", lambda: MemoryStore.commit(self, partition, commit))  # type: ignore[no-any-return]


class Topics:
    """A publisher that keeps what it is given; ``faults`` are raised first, ``lost`` after publishing."""

    def __init__(self) -> None:
        self.records: list[OutRecord] = []
        self.faults: list[Exception] = []
        self.lost: list[Exception] = []

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        if self.faults:
            raise self.faults.pop(0)
        self.records += records
        if self.lost and any(record.topic == DECISIONS for record in records):
            raise self.lost.pop(0)

    def of(self, topic: str) -> list[OutRecord]:
        """What was published on a topic."""
        return [record for record in self.records if record.topic == topic]

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome by request id; every repeat must be the same."""
        told: dict[str, bytes] = {}
        for record in self.of(DECISIONS):
            decision = msgspec.json.decode(record.value or b"")
            assert told.setdefault(decision["request_id"], record.value or b"") == record.value
        return {key: msgspec.json.decode(value)["outcome"] for key, value in told.items()}

    @property
    def dead(self) -> list[tuple[str, int]]:
        """Code and offset of every dead letter."""
        headers = [dict(record.headers) for record in self.records if record.topic.endswith(DLQ_SUFFIX)]
        return [(h["arbiter-error-code"].decode(), int(h["arbiter-offset"])) for h in headers]


class Flow:
    """A gate that keeps what was asked of it."""

    def __init__(self) -> None:
        self.open_topics: set[str] = set()
        self.acked: list[tuple[str, int]] = []
        self.member = True

    def is_member(self) -> bool:
        """See ``FlowControl``."""
        return self.member

    def open(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.open_topics.update(topics)

    def shut(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.open_topics.difference_update(topics)

    def ack(self, message: Any) -> None:
        """See ``FlowControl``."""
        self.acked.append((message.topic, message.value.position))


class World:
    """One partition of an installation: a store and topics that outlive processors, and the log of each input."""

    def __init__(self) -> None:
        self.store = Faulty()
        self.topics = Topics()
        self.metrics = Metrics()
        self.health = Health(self.metrics)
        self.clock = StoreClock(self.health)
        self.fatal: list[str] = []
        self.log: dict[str, list[Any]] = {CONSENTS: [], PROFILES: [], REQUESTS: []}
        self.policies = SimpleNamespace(current=Active(1, policy(CAP)), refresh=self._refresh)
        self.next_policy: Active | None = None
        self.flow = Flow()
        self._owners = 0

    async def _refresh(self) -> None:
        self.policies.current = self.next_policy or self.policies.current

    def put(self, value: bytes | dict[str, Any] | None, topic: str = REQUESTS) -> int:
        """Append a record to an input; gives its offset."""
        data = msgspec.json.encode(value) if isinstance(value, dict) else value
        offset = len(self.log[topic])
        self.log[topic].append(ConsumerRecord(topic, P, offset, wall_clock_ms(), 0, b"k", data, None, 1, 1, ()))
        return offset

    def request(self, name: str, customer: str = CUSTOMERS[0], **fields: Any) -> int:
        """Append a request."""
        return self.put(
            {
                "request_id": name,
                "customer_id": customer,
                "department": "cards",
                "campaign": "spring",
                "channel": "email",
                "category": "service",
                **fields,
            }
        )

    async def start(self, **settings: Any) -> tuple[Processor, asyncio.Task[None]]:
        """Claim as a new process, publish the outbox again, give the processor all records from its positions."""
        self._owners += 1
        claim = await MemoryStore.claim(self.store, P, f"worker-{self._owners}", self._owners)
        assert claim is not None
        now = monotonic()
        self.clock.observe(claim.time_ms, now, now)
        shared = Shared(
            Settings(kafka="k:1", redis="redis://r", **settings),
            PARTITIONS,
            self.store,
            self.policies,  # type: ignore[arg-type]
            self.clock,
            self.health,
            self.metrics,
            self.fatal.append,
            Turn(self.store, self.topics),
        )
        self.topics.records += unpack_outbox(claim.outbox)
        positions = {topic: claim.head.positions.get(topic, 0) for topic in self.log}
        self.placed = positions
        facts_end = {topic: len(self.log[topic]) for topic in (CONSENTS, PROFILES)}
        self.retry = RetryPolicy(shared)
        processor = Processor(shared, P, Placed(claim.head, positions, facts_end, 1_000_000), self.flow, self.retry)
        for topic, position in positions.items():
            self.offer(processor, topic, position)
        return processor, asyncio.create_task(processor.run())

    def offer(self, processor: Processor, topic: str, position: int) -> None:
        """Give the processor one batch with everything from ``position`` on."""
        records = self.log[topic][position:]
        if records:
            batch = FetchedRecords(records, len(self.log[topic]), LEASE)
            processor.offer(SimpleNamespace(topic=topic, partition=P, value=batch))  # type: ignore[arg-type]

    async def run(self, **settings: Any) -> None:
        """A whole process: start, decide everything, stop."""
        processor, task = await self.start(**settings)
        await self.settled(lambda: task.done() or self.is_done())
        await self.stopped(processor, task)

    async def settled(self, condition: Callable[[], object]) -> None:
        """Let the others run until this is true."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing tells when the others are done
                await asyncio.sleep(0)

    async def stopped(self, processor: Processor, task: asyncio.Task[None]) -> None:
        """Tell the processor to stop, and wait for it."""
        self.retry.stop()
        processor.wake()
        await task

    def is_done(self) -> bool:
        """Whether every record was acked, or committed by a process before."""
        acked = {**self.placed, **dict(self.flow.acked)}
        return all(acked.get(topic, 0) == len(records) for topic, records in self.log.items())
