"""Many partitions with processors of several workers, in this process: they share a store, interleave, and are killed.

A killed worker ends between any two steps, as by SIGKILL: what it had sent to the store may have happened. Calls to
the store are interleaved at random, and some lose their reply after they ran.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import wraps
from random import Random
from time import monotonic
from types import SimpleNamespace
from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from arbiter.messages import CONSENTS, DECISIONS, OUTCOMES, PROFILES, REQUESTS, ROUTED
from arbiter.metrics import Metrics
from arbiter.policy.ruleset import Policy
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord, unpack_outbox
from arbiter.state.store import Commit, Store, StoreUnavailable
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import Health
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import Placed
from arbiter.worker.policy_watcher import Active
from arbiter.worker.turn import Turn

TOPICS = (CONSENTS, PROFILES, ROUTED, OUTCOMES, REQUESTS)
PARTITIONS = 8
LEASE = 1
LOST_REPLIES = 0.02
PAUSE_SECONDS = 0.002


class Shaky:
    """A store, or a part of one, whose calls take their time, and whose replies are lost now and then."""

    def __init__(self, inner: Any, random: Random, watch: Callable[[str], Awaitable[None]]) -> None:
        self._inner = inner
        self._random = random
        self._watch = watch

    @property
    def stocks(self) -> Shaky:
        """The central entries, as shaky."""
        return Shaky(self._inner.stocks, self._random, self._watch)

    async def load_all(self, wanted: Sequence[tuple[int, list[str]]]) -> list[list[bytes | None]]:
        """See ``Store.load_all``: each takes its time."""
        return [await self.load(partition, parties) for partition, parties in wanted]

    async def commit_all(self, commits: Sequence[tuple[int, Commit]]) -> list[Any]:
        """See ``Store.commit_all``: some arrive before others, and the replies to some are lost."""
        made = [self.commit(partition, commit) for partition, commit in commits]
        return await asyncio.gather(*made, return_exceptions=True)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        @wraps(call)
        async def shaky(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(self._random.random() * PAUSE_SECONDS)
            result = await call(*arguments, **options)
            await self._watch(name)
            await asyncio.sleep(self._random.random() * PAUSE_SECONDS)
            if name != "claim" and self._random.random() < LOST_REPLIES:
                raise StoreUnavailable(f"the reply to {name} is lost")
            return result

        return shaky


class Flow:
    """A gate of a member of the group."""

    def is_member(self) -> bool:
        """See ``FlowControl``."""
        return True

    def open(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""

    def shut(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""

    def ack(self, message: Any) -> None:
        """See ``FlowControl``."""


class Crowd:
    """An installation. ``decisions`` are the published ones by id; ``most`` the most that was ever in use at once."""

    def __init__(self, store: Store, policy: Policy, seed: int, in_use: Callable[[], Awaitable[int]]) -> None:
        """``in_use`` counts the places taken, over all partitions at one instant."""
        self.random = Random(seed)
        self.store = Shaky(store, self.random, self._watch)
        self.decisions: dict[str, Any] = {}
        self.dead: list[OutRecord] = []
        self.commits = 0
        self.most = 0
        self._inner = store
        self._in_use = in_use
        self._policy = policy
        self._logs: dict[tuple[str, int], list[Any]] = defaultdict(list)
        self._processors: dict[int, tuple[int, Processor, asyncio.Task[None], dict[str, int]]] = {}
        self._owners = 0
        self.fatal: list[str] = []

    async def _watch(self, name: str) -> None:
        if name == "commit":
            self.commits += 1
            self.most = max(self.most, await self._in_use())

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        await asyncio.sleep(self.random.random() * PAUSE_SECONDS)
        self._take_note(records)

    def _take_note(self, records: Iterable[OutRecord]) -> None:
        for record in records:
            if record.topic == DECISIONS:
                decision = msgspec.json.decode(record.value or b"")
                assert self.decisions.setdefault(decision["decision_id"], decision) == decision
            elif record.topic == ROUTED:
                self._append(ROUTED, record.partition, record.value or b"")
            else:
                self.dead.append(record)

    def put(self, topic: str, value: dict[str, Any]) -> None:
        """Append a record to a topic, at its customer's home, and hand it to whoever owns that."""
        self._append(topic, partition_of(value["customer_id"], PARTITIONS), msgspec.json.encode(value))

    def _append(self, topic: str, partition: int, data: bytes) -> None:
        log = self._logs[topic, partition]
        log.append(ConsumerRecord(topic, partition, len(log), -1, 0, b"k", data, None, 1, 1, ()))
        if partition in self._processors:
            self._offer(partition)

    async def start(self, worker: int, partitions: Iterable[int], **settings: Any) -> None:
        """Let a worker claim these partitions and work on them."""
        shared = self._shared(settings)
        for partition in partitions:
            self._owners += 1
            claim = await self.store.claim(partition, f"worker-{worker}-{self._owners}", self._owners)
            now = monotonic()
            shared.clock.observe(claim.time_ms, now, now)
            self._take_note(unpack_outbox(claim.outbox))
            positions = {topic: claim.head.positions.get(topic, 0) for topic in TOPICS}
            placed = Placed(claim.head, positions, {}, 1_000_000)
            processor = Processor(shared, partition, placed, Flow(), RetryPolicy(shared))
            self._processors[partition] = (worker, processor, asyncio.create_task(processor.run()), dict(positions))
            self._offer(partition)

    async def kill(self, worker: int) -> list[int]:
        """End a worker at once; gives the partitions that nobody owns now."""
        gone = [partition for partition, entry in self._processors.items() if entry[0] == worker]
        tasks = [self._processors.pop(partition)[2] for partition in gone]
        going = set(tasks)
        while going:  # a cancellation may be lost where something else ends at the same moment
            for task in going:
                task.cancel()
            _, going = await asyncio.wait(going, timeout=0.05)
        return gone

    async def stop(self) -> None:
        """Kill them all; what went wrong before is raised."""
        failed = [entry[2] for entry in self._processors.values() if entry[2].done()]
        for worker in {entry[0] for entry in self._processors.values()}:
            await self.kill(worker)
        for task in failed:
            task.result()
        assert [] == self.fatal

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Let them work until this is true."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - nothing tells when the others are done
                await asyncio.sleep(0.02)

    @property
    def latest(self) -> dict[str, Any]:
        """The latest decision on each request."""
        found: dict[str, Any] = {}
        for decision in self.decisions.values():
            key, number = decision["request_id"], int(decision["decision_id"].rpartition(":")[2])
            if key not in found or number > found[key][0]:
                found[key] = (number, decision)
        return {key: decision for key, (_, decision) in found.items()}

    def outcomes(self) -> Counter[str]:
        """How many requests stand where."""
        return Counter(decision["outcome"] for decision in self.latest.values())

    def _offer(self, partition: int) -> None:
        _, processor, _, offered = self._processors[partition]
        for topic in TOPICS:
            log = self._logs[topic, partition]
            if len(log) > offered[topic]:
                batch = FetchedRecords(log[offered[topic] :], len(log), LEASE)
                offered[topic] = len(log)
                processor.offer(SimpleNamespace(topic=topic, partition=partition, value=batch))  # type: ignore[arg-type]

    def _shared(self, settings: dict[str, Any]) -> Shared:
        metrics = Metrics()
        health = Health(metrics)
        current = Active(1, self._policy)

        async def refresh() -> None:
            """The policy stays."""

        return Shared(
            Settings(kafka="k:1", redis="redis://r", **settings),
            PARTITIONS,
            self.store,
            SimpleNamespace(current=current, refresh=refresh),  # type: ignore[arg-type]
            StoreClock(health),
            health,
            metrics,
            self.fatal.append,
            Turn(self.store, self),
        )
