"""A whole installation in memory: real processors, the in-memory store, topics that are lists, and crashes at will."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from time import monotonic
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from arbiter.ledger.model import Ledger
from arbiter.messages import CONSENTS, DECISIONS, DLQ_SUFFIX, OUTCOMES, PROFILES, REQUESTS, ContactRequest
from arbiter.messages import Outcome as OutcomeMessage
from arbiter.messages import Profile as ProfileMessage
from arbiter.metrics import Metrics
from arbiter.policy.ruleset import Policy
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord, unpack_ledger, unpack_outbox
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Store
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import Health
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import Placed
from arbiter.worker.policy_watcher import Active
from arbiter.worker.turn import Turn

TOPICS: dict[type, str] = {ContactRequest: REQUESTS, ProfileMessage: PROFILES, OutcomeMessage: OUTCOMES}


class Crash(Exception):
    """The process ends here."""


class Flow:
    """A gate that keeps what was acked, and always belongs to the group."""

    def __init__(self) -> None:
        self.acked: dict[str, int] = {}

    def is_member(self) -> bool:
        """See ``FlowControl``."""
        return True

    def open(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""

    def shut(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""

    def ack(self, message: Any) -> None:
        """See ``FlowControl``."""
        self.acked[message.topic] = message.value.position


class Installation:
    """``crashes`` are taken one per publishing: how many of the records get through before the process ends."""

    def __init__(self, policy: Policy, partitions: int, now_ms: int, store: Store | None = None) -> None:
        """Empty topics and an empty store; one in memory, whose clock begins at ``now_ms``, if none is given."""
        self.partitions = partitions
        self.now_ms = now_ms
        self.log: dict[tuple[str, int], list[Any]] = defaultdict(list)
        self.decisions: list[dict[str, Any]] = []
        self.dead: list[OutRecord] = []
        self.crashes: list[int | None] = []
        self.metrics = Metrics()
        self._told: dict[str, bytes] = {}
        started = monotonic()
        self._store = store or MemoryStore(lambda: now_ms + int((monotonic() - started) * 1_000))
        self._policies = SimpleNamespace(current=Active(1, policy), refresh=None)
        self._owners = 0

    def home(self, name: str) -> int:
        """The partition of a customer or a household."""
        return partition_of(name, self.partitions)

    def send(self, message: Any) -> None:
        """Put a record on its topic, at its customer's home."""
        topic = next((topic for kind, topic in TOPICS.items() if isinstance(message, kind)), CONSENTS)
        key = message.customer_id.encode()
        self.append(topic, self.home(message.customer_id), key, msgspec.json.encode(message))

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``; every decision that is told again must be the same."""
        through = self.crashes.pop(0) if self.crashes else None
        for record in records[:through]:
            if record.topic == DECISIONS:
                decision = msgspec.json.decode(record.value or b"")
                if self._told.setdefault(decision["decision_id"], record.value or b"") != record.value:
                    raise AssertionError(f"{decision['decision_id']} has two contents")
                self.decisions.append(decision)
            elif record.topic.endswith(DLQ_SUFFIX):
                self.dead.append(record)
            else:
                self.append(record.topic, record.partition, record.key, record.value, record.headers)
        if through is not None:
            raise Crash

    async def run(self) -> None:
        """Let every partition decide, again and again, until nothing is left to read anywhere."""
        is_quiet = False
        while not is_quiet:
            is_quiet = True
            for partition in range(self.partitions):
                while not await self.turn(partition):
                    is_quiet = False

    async def turn(self, partition: int) -> bool:
        """One process: claim, decide what is there, stop (or crash). Gives whether there was nothing to do."""
        self._owners += 1
        claim = await self._store.claim(partition, f"worker-{self._owners}", 1)
        assert claim is not None
        health = Health(self.metrics)
        clock = StoreClock(health)
        now = monotonic()
        clock.observe(claim.time_ms, now, now)
        shared = Shared(
            Settings(kafka="k:1", redis="redis://r"),
            self.partitions,
            self._store,
            self._policies,  # type: ignore[arg-type]
            clock,
            health,
            self.metrics,
            _fail,
            Turn(self._store, self),
        )
        positions = {topic: claim.head.positions.get(topic, 0) for topic in INPUTS}
        ends = {topic: len(self.log[topic, partition]) for topic in INPUTS}
        retry, flow = RetryPolicy(shared), Flow()
        try:
            if claim.outbox:
                await self.publish(unpack_outbox(claim.outbox))
            processor = Processor(shared, partition, Placed(claim.head, positions, positions, 1_000_000), flow, retry)
            for topic, position in positions.items():
                self._offer(processor, partition, topic, position, ends[topic])
            task = asyncio.create_task(processor.run())
            while not task.done() and any(flow.acked.get(t, positions[t]) < end for t, end in ends.items()):  # noqa: ASYNC110
                await asyncio.sleep(0)
            retry.stop()
            processor.wake()
            await task
        except Crash:
            return False
        return positions == ends and not claim.outbox

    def _offer(self, processor: Processor, partition: int, topic: str, position: int, end: int) -> None:
        records = self.log[topic, partition][position:end]
        if records:
            message = SimpleNamespace(topic=topic, partition=partition, value=FetchedRecords(records, end, 1))
            processor.offer(message)  # type: ignore[arg-type]

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:
        """Put a record on a topic, as it is."""
        log = self.log[topic, partition]
        log.append(ConsumerRecord(topic, partition, len(log), self.now_ms, 0, key, value, None, 1, 1, tuple(headers)))

    async def ledgers(self, parties: Sequence[str]) -> dict[tuple[int, str], Ledger]:
        """The ledgers of these parties, wherever there is one."""
        found = {}
        for partition in range(self.partitions):
            packed = await self._store.load(partition, list(parties))
            found.update(
                {(partition, party): unpack_ledger(data) for party, data in zip(parties, packed, strict=True) if data}
            )
        return found


def _fail(reason: str) -> None:
    raise AssertionError(reason)
