"""A cluster whose partitions work all at once, for several workers: they share a store, interleave, and are killed.

A killed worker ends between any two steps, as by SIGKILL: what it had sent to the store may have happened. Calls to
the store are interleaved at random, and some lose their reply after they ran.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import wraps
from random import Random
from typing import Any

import msgspec

from arbiter.policy.ruleset import Policy
from arbiter.state.codec import OutRecord
from arbiter.state.store import Commit, Store, StoreUnavailable
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.turn import Turn
from tests.harness.cluster import Cluster, Process

PARTITIONS = 8
LOST_REPLIES = 0.02
PAUSE_SECONDS = 0.002


class UnreliableStore:
    """A store, or a part of one, whose calls take their time, and whose replies are lost now and then."""

    def __init__(self, inner: Any, random: Random, watch: Callable[[str], Awaitable[None]]) -> None:
        self._inner = inner
        self._random = random
        self._watch = watch

    @property
    def stocks(self) -> UnreliableStore:
        """The central entries, as unreliable."""
        return UnreliableStore(self._inner.stocks, self._random, self._watch)

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
        async def unreliable(*arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(self._random.random() * PAUSE_SECONDS)
            result = await call(*arguments, **options)
            await self._watch(name)
            await asyncio.sleep(self._random.random() * PAUSE_SECONDS)
            if name != "claim" and self._random.random() < LOST_REPLIES:
                raise StoreUnavailable(f"the reply to {name} is lost")
            return result

        return unreliable


class ConcurrentCluster(Cluster):
    """An installation. ``most`` is the most that was ever in use at once."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        seed: int,
        in_use: Callable[[], Awaitable[int]],
    ) -> None:
        """``in_use`` counts the places taken, over all partitions at one instant."""
        self.random = Random(seed)
        super().__init__(policy, PARTITIONS, -1, UnreliableStore(store, self.random, self._watch))
        self.commit_count = 0
        self.most = 0
        self._in_use = in_use
        self._processes: dict[int, tuple[int, Process]] = {}

    async def _watch(self, name: str) -> None:
        if name == "commit":
            self.commit_count += 1
            self.most = max(self.most, await self._in_use())

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``; it takes its time."""
        await asyncio.sleep(self.random.random() * PAUSE_SECONDS)
        await super().publish(records)

    def put(self, topic: str, value: dict[str, Any]) -> None:
        """Append a record to a topic, at its customer's home."""
        self.append(topic, self.home(value["customer_id"]), b"k", msgspec.json.encode(value))

    def append(self, topic: str, partition: int, *record: Any) -> int:
        """See ``Cluster.append``; whoever owns the partition is handed it at once."""
        offset = super().append(topic, partition, *record)
        if partition in self._processes:
            self.hand_over(self._processes[partition][1], topic)
        return offset

    async def start(self, worker: int, partitions: Iterable[int], **settings: Any) -> None:
        """Let a worker with these settings claim these partitions and work on them."""
        self.settings, turn = settings, Turn(self.store, self)
        for partition in partitions:
            process = await self.begin(partition, turn=turn)
            self._processes[partition] = worker, process
            self.hand_over(process, *INPUTS)

    async def kill(self, worker: int) -> list[int]:
        """End a worker at once; gives the partitions that nobody owns now."""
        gone = [partition for partition, entry in self._processes.items() if entry[0] == worker]
        tasks = [self._processes.pop(partition)[1].task for partition in gone]
        going = set(tasks)
        while going:  # a cancellation may be lost where something else ends at the same moment
            for task in going:
                task.cancel()
            _, going = await asyncio.wait(going, timeout=0.05)
        return gone

    async def stop(self) -> None:
        """Kill them all; what went wrong before is raised."""
        failed = [process.task for _, process in self._processes.values() if process.task.done()]
        for worker in {entry[0] for entry in self._processes.values()}:
            await self.kill(worker)
        for task in failed:
            task.result()
        assert [] == self.fatal
        self.audit({place: len(log) for place, log in self.log.items()})

    async def until(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Let them work until this is true."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - nothing tells when the others are done
                await asyncio.sleep(0.02)

    @property
    def decided(self) -> int:
        """How many decisions there are; one that was published again is the same."""
        return len({decision["decision_id"] for decision in self.decisions})

    @property
    def latest(self) -> dict[str, Any]:
        """The latest decision on each request."""
        numbered = sorted(self.decisions, key=lambda decision: int(decision["decision_id"].rpartition(":")[2]))
        return {decision["request_id"]: decision for decision in numbered}

    def outcomes(self) -> Counter[str]:
        """How many requests have which outcome."""
        return Counter(decision["outcome"] for decision in self.latest.values())
