"""The one harness in this process: topics that are lists, a store, and the worker's own processors on both.

:class:`Cluster` has what all ways of driving it share, and audits each run. Three subclasses drive it:

- :mod:`tests.harness.stepwise`: one partition works at a time, under a clock that is moved by hand.
- :mod:`tests.harness.concurrent`: all partitions work at once, for several workers that are killed.
- :mod:`tests.harness.partition`: one partition, whose processor a test starts, feeds and stops itself.

:mod:`tests.harness.faults` plans where a worker of the first and the third ends, or gets no answer.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Struct

from arbiter.ledger.model import Ledger
from arbiter.messages import CONSENTS, DECISIONS, DLQ_SUFFIX, OUTCOMES, PROFILES, REQUESTS, ROUTED, ContactRequest
from arbiter.messages import Outcome as OutcomeMessage
from arbiter.messages import Profile as ProfileMessage
from arbiter.metrics import Metrics
from arbiter.policy.ruleset import Policy
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord, unpack_ledger, unpack_outbox
from arbiter.state.store import Commit, Store
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import Health
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import PartitionStart
from arbiter.worker.policy_watcher import Active
from arbiter.worker.turn import Turn
from tests.harness.faults import FaultPlan, FaultView
from tests.oracle.invariants import Books, broken
from tests.servers.topics import Entry

KINDS: dict[type, str] = {ContactRequest: REQUESTS, ProfileMessage: PROFILES, OutcomeMessage: OUTCOMES}
CACHE_BYTES = 1_000_000
LEASE = 1


class Flow:
    """Flow control that keeps what was asked of it: which topics are open, and how far each was acked."""

    def __init__(self) -> None:
        self.open_topics: set[str] = set()
        self.acked: dict[str, int] = {}
        self.member = True

    def is_member(self) -> bool:
        """See ``FlowControl``."""
        return self.member

    def resume(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.open_topics.update(topics)

    def pause(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.open_topics.difference_update(topics)

    def done(self, positions: Mapping[str, int]) -> None:
        """See ``FlowControl``."""
        self.acked.update(positions)


class Process(Struct):
    """One worker's hold on one partition; ``given`` is how far each topic was handed to it."""

    partition: int
    processor: Processor
    flow: Flow
    retry: RetryPolicy
    given: dict[str, int]
    facts_end: dict[str, int]
    task: asyncio.Task[None]

    async def stop(self) -> None:
        """End it in good order; raises what it ended with."""
        self.retry.stop()
        self.processor.wake()
        await self.task


class Cluster:
    """``log`` has the topics, ``published`` all that was published, ``decisions`` and ``dead`` what is among it.
    ``faults`` is the plan of faults, ``commits`` all that were made.

    ``is_whole`` says that all records stand on its topics and all partitions work, so that it can be audited.
    """

    def __init__(self, policy: Policy, partitions: int, now_ms: int, store: Store, **settings: Any) -> None:
        """Nothing runs yet. Records are stamped with ``now_ms``; ``settings`` are the workers'."""
        self.partitions = partitions
        self.now_ms = now_ms
        self.store = store
        self.log: dict[tuple[str, int], list[Any]] = defaultdict(list)
        self.published: list[OutRecord] = []
        self.decisions: list[dict[str, Any]] = []
        self.dead: list[OutRecord] = []
        self.metrics = Metrics()
        self.health = Health(self.metrics)
        self.clock: Any = StoreClock(self.health)
        self.fatal: list[str] = []
        self.is_whole = True
        self.faults = FaultPlan()
        self.commits: list[Commit] = []
        self.settings = settings
        self.in_force = SimpleNamespace(current=Active(1, policy), refresh=self.refresh)
        self._owners = 0

    async def refresh(self) -> None:
        """See ``PolicyWatcher.refresh``: the policy stays."""

    def home(self, name: str) -> int:
        """The partition of a customer or a household."""
        return partition_of(name, self.partitions)

    def send(self, message: Any) -> None:
        """Put a record on its topic, at its customer's home."""
        topic = next((topic for kind, topic in KINDS.items() if isinstance(message, kind)), CONSENTS)
        key = message.customer_id.encode()
        self.append(topic, self.home(message.customer_id), key, msgspec.json.encode(message))

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> int:
        """Put a record on a topic, as it is; gives its offset."""
        log = self.log[topic, partition]
        log.append(ConsumerRecord(topic, partition, len(log), self.now_ms, 0, key, value, None, 1, 1, tuple(headers)))
        return len(log) - 1

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        for record in records:
            self.published.append(record)
            if record.topic == DECISIONS:
                self.decisions.append(msgspec.json.decode(record.value or b""))
            elif record.topic.endswith(DLQ_SUFFIX):
                self.dead.append(record)
            else:
                self.append(record.topic, record.partition, record.key, record.value, record.headers)

    def committed(self, partition: int, commit: Commit) -> None:  # noqa: ARG002 - for subclasses
        """A commit is written, or was written before and its reply was lost."""
        self.commits.append(commit)

    async def begin(
        self,
        partition: int,
        *,
        flow: Flow | None = None,
        kind: type[Processor] = Processor,
        facts_end: Mapping[str, int] | None = None,
        turn: Turn | None = None,
    ) -> Process:
        """A new worker claims a partition and publishes its outbox again; nothing is handed to it yet.

        ``facts_end`` is how far facts are to be read first. ``turn`` is shared with the other partitions of its worker;
        without one it meets the faults of the plan.
        """
        self._owners += 1
        view = FaultView(self, partition)
        store: Any = view if turn is None else self.store
        claim = await store.claim(partition, f"worker-{self._owners}", self._owners)
        assert claim is not None
        now = monotonic()
        self.clock.observe(claim.time_ms, now, now)
        shared = Shared(
            Settings(kafka="k:1", redis="redis://r", **self.settings),
            self.partitions,
            store,
            self.in_force,  # type: ignore[arg-type]
            self.clock,
            self.health,
            self.metrics,
            self.fatal.append,
            turn or Turn(store, view),
        )
        retry, flow, ends = RetryPolicy(shared), flow or Flow(), dict(facts_end or {})
        await self.deliver(retry, unpack_outbox(claim.outbox))
        positions = {topic: claim.head.positions.get(topic, 0) for topic in INPUTS}
        processor = kind(shared, partition, PartitionStart(claim.head, positions, ends, CACHE_BYTES), flow, retry)
        task = asyncio.create_task(processor.run())
        return Process(partition, processor, flow, retry, dict(positions), ends, task)

    async def deliver(self, retry: RetryPolicy, outbox: Sequence[OutRecord]) -> None:
        """Publish the outbox of the last commit again."""
        await retry.deliver(outbox)

    def ends(self, partition: int, topics: Iterable[str]) -> dict[str, int]:
        """How many records each of these topics has there."""
        return {topic: len(self.log[topic, partition]) for topic in topics}

    def hand_over(self, process: Process, *topics: str, ends: Mapping[str, int] | None = None) -> None:
        """Give a worker all records of these topics that it was not given before; up to ``ends``, where given."""
        for topic in topics:
            begin, end = process.given[topic], (ends or self.ends(process.partition, topics))[topic]
            if end > begin:
                process.given[topic] = end
                self.offer(process.processor, topic, process.partition, begin, end)

    def offer(self, processor: Processor, topic: str, partition: int, begin: int, end: int | None = None) -> None:
        """Give a processor one batch with everything from ``begin`` on, up to ``end`` if given."""
        records = self.log[topic, partition][begin:end]
        processor.offer(topic, FetchedRecords(records, begin + len(records), LEASE))

    def books(self) -> Books:
        """What stands on the topics, as the invariants read it."""
        offsets: Counter[tuple[str, int]] = Counter()
        entries = [
            Entry(topic, partition, record.offset, record.key, record.value, {}, record.timestamp)
            for (topic, partition), log in self.log.items()
            for record in log
        ]
        for record in (record for record in self.published if record.topic != ROUTED):
            place = record.topic, record.partition
            entries.append(Entry(*place, offsets[place], record.key, record.value, dict(record.headers)))
            offsets[place] += 1
        return Books(entries, self.partitions)

    def audit(self, positions: Mapping[tuple[str, int], int]) -> None:
        """When all is quiet: check the histories of all requests."""
        found = broken(self.books(), positions) if self.is_whole else []
        assert not found, "\n".join(found[:20])

    async def ledgers(self, parties: Sequence[str]) -> dict[tuple[int, str], Ledger]:
        """The ledgers of these parties, wherever there is one."""
        found = {}
        for partition in range(self.partitions):
            packed = await self.store.load(partition, list(parties))
            found.update(
                {(partition, party): unpack_ledger(data) for party, data in zip(parties, packed, strict=True) if data}
            )
        return found
