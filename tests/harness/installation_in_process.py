"""An installation whose workers live on, under a clock that is moved by hand, and end or stumble at any step.

Every commit is shown to a watcher, once, in the order in which they were made: that order is the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaError
from msgspec import Struct

from arbiter.policy.ruleset import Policy
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord, unpack_outbox
from arbiter.state.store import Commit, Ended, Store, StoreUnavailable, Verdict
from arbiter.worker.health import Health
from arbiter.worker.kafka.producer import PublishFailed
from arbiter.worker.kafka.reader import FACTS, INPUTS
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.work import Placed
from arbiter.worker.policy_watcher import Active
from arbiter.worker.turn import Turn
from tests.harness.worker_installation import Crash, Flow, Installation

FAULTS = (
    "before load", "after load", "away load", "before commit", "after commit", "away commit", "lost commit",
    "before publish", "within publish", "after publish", "refused publish",
)  # fmt: skip
"""``before`` and ``after`` a step the process ends, ``away`` there is no answer, ``lost`` only the answer is."""

CACHE_BYTES = 1_000_000
ROUNDS_MAX = 50
COMMITS_MAX = 500
"""More in one go means that it would never end."""


class Watcher(Protocol):
    """Who is shown the history."""

    def made(self, partition: int, commit: Commit, *, is_reading: bool) -> None:
        """A commit was written, while facts were being read or not."""


class HandClock:
    """What workers take for the store's clock."""

    is_settled = True

    def __init__(self, now_ms: int) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        """The time."""
        return self.time_ms

    def observe(self, *_: float) -> None:
        """The time is told, not read."""


class OpenFlow(Flow):
    """A gate that knows what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.topics: set[str] = set()

    def open(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.topics.update(topics)

    def shut(self, topics: Iterable[str]) -> None:
        """See ``FlowControl``."""
        self.topics.difference_update(topics)


class Quiet(Processor):
    """A processor that says when it has nothing to do, and is idle until it is told to look up."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.quiet = asyncio.Event()
        self.go = asyncio.Event()
        self.rests = False

    def wake(self) -> None:
        """See ``Processor.wake``."""
        super().wake()
        self.go.set()

    async def _begin(self, *, is_ready: bool) -> bool:
        if is_ready:
            return await super()._begin(is_ready=True)
        self.go.clear()
        self.quiet.set()
        await self.go.wait()
        rests, self.rests = self.rests, False
        return not rests


class Process(Struct):
    """One worker's hold on one partition; ``given`` is how far each topic was handed to it."""

    processor: Quiet
    flow: OpenFlow
    retry: RetryPolicy
    given: dict[str, int]
    facts_end: dict[str, int]
    task: asyncio.Task[None]


class View:
    """The store and the topics as one partition's worker sees them: it stumbles where the site says so."""

    def __init__(self, site: Site, partition: int) -> None:
        self._site = site
        self._partition = partition

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site.store, name)

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """See ``Store.load``."""
        self._stumble("before load", "away load")
        found = await self._site.store.load(partition, parties)
        self._stumble("after load")
        return found

    async def commit(self, partition: int, commit: Commit) -> tuple[Verdict, int]:
        """See ``Store.commit``."""
        self._stumble("before commit", "away commit")
        answer = await self._site.store.commit(partition, commit)
        if answer[0] is Verdict.OK:
            self._site.committed(partition, commit)
        self._stumble("after commit", "lost commit")
        return answer

    async def load_all(self, wanted: Sequence[tuple[int, list[str]]]) -> list[list[bytes | None]]:
        """See ``Store.load_all``."""
        return [await self.load(partition, parties) for partition, parties in wanted]

    async def commit_all(self, commits: Sequence[tuple[int, Commit]]) -> list[Ended]:
        """See ``Store.commit_all``."""
        return [await self.commit(partition, commit) for partition, commit in commits]

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        self._stumble("before publish")
        if self._site.stumbles(self._partition, "refused publish") and records:
            await self._site.publish(records[:-1])
            raise PublishFailed([(records[-1], KafkaError(KafkaError.POLICY_VIOLATION))])
        if self._site.stumbles(self._partition, "within publish"):
            await self._site.publish(records[: len(records) // 2])
            raise Crash
        await self._site.publish(records)
        self._stumble("after publish")

    def _stumble(self, *faults: str) -> None:
        if fault := self._site.stumbles(self._partition, *faults):
            raise Crash(fault) if fault.startswith(("before", "after")) else StoreUnavailable(fault)


class Site(Installation):
    """``policies`` are those that were ever active, by activation; ``recalls`` has the activations that recall what is
    approved and unsent; ``fatal`` is why a worker ended itself.
    """

    def __init__(
        self, policy: Policy, partitions: int, now_ms: int, store: Store, watcher: Watcher, **settings: Any
    ) -> None:
        """Nothing runs yet; ``settings`` are the workers'."""
        super().__init__(policy, partitions, now_ms, store)
        self.store = store
        self.policies = {1: policy}
        self.recalls = [0]
        self.positions: dict[int, dict[str, int]] = {partition: {} for partition in range(partitions)}
        self.fatal: list[str] = []
        self.settings = settings
        self._clock = HandClock(now_ms)
        self._watcher = watcher
        self._processes: dict[int, Process] = {}
        self._faults: dict[int, str] = {}
        self._seqs: dict[int, int] = {}
        self._commits = 0

    def wait(self, span_ms: int) -> None:
        """Time passes."""
        self.now_ms += span_ms
        self._clock.time_ms = self.now_ms

    def activate(self, policy: Policy, *, recalls: bool = False) -> None:
        """Another policy is in force from now on; with ``recalls`` also for what is approved and unsent."""
        number = max(self.policies) + 1
        self.policies[number] = policy
        if recalls:
            self.recalls.append(number)
        self._policies.current = Active(number, policy, self.recalls[-1])

    def fault(self, partition: int, fault: str) -> None:
        """The next time that the partition's worker comes to such a step, it ends or stumbles there."""
        self._faults[partition] = fault

    def stumbles(self, partition: int, *faults: str) -> str | None:
        """Which of these is due, once."""
        return self._faults.pop(partition) if self._faults.get(partition) in faults else None

    def committed(self, partition: int, commit: Commit) -> None:
        """A commit is written; the same one again is no news."""
        if self._seqs.get(partition) == commit.seq:
            return
        self._seqs[partition] = commit.seq
        self._commits += 1
        assert self._commits < COMMITS_MAX, "the worker commits on and on"
        positions, process = self.positions[partition], self._processes[partition]
        is_reading = any(positions.get(topic, 0) < end for topic, end in process.facts_end.items())
        self._watcher.made(partition, commit, is_reading=is_reading)
        positions |= {topic: position for topic, position in commit.positions.items() if topic in INPUTS}

    async def work(self, partition: int, *, rests: bool = False) -> bool:
        """Let the partition's worker (a new one, if there is none) take all that is there; gives whether there was.

        ``rests``: before that it is idle for a second.
        """
        before, self._commits = self._seqs.get(partition), 0
        try:
            process = self._processes.get(partition) or await self._start(partition)
            process.processor.rests = rests
            while True:
                self._hand_over(partition, process)
                await _until_quiet(process)
                if not self._has_more(partition, process):
                    break
        except Crash:
            self._processes.pop(partition, None)
            return True
        except BaseException:
            self._processes.pop(partition, None)  # it said what was wrong
            raise
        ends = self._ends(partition, INPUTS)
        assert ends == {topic: process.flow.acked.get(topic, process.given[topic]) for topic in INPUTS}
        assert ends == {topic: self.positions[partition].get(topic, 0) for topic in INPUTS}
        return before != self._seqs.get(partition)

    async def end(self, partition: int) -> None:
        """Stop the partition's worker in good order, if it has one."""
        process = self._processes.pop(partition, None)
        if process is None:
            return
        process.retry.stop()
        process.processor.wake()
        try:
            await process.task
        except Crash:
            return

    async def steal(self, partition: int) -> None:
        """Another worker claims the partition; the first lives on, wakes up later, and must not be able to do harm."""
        old = self._processes.pop(partition, None)
        await self.work(partition)
        if old is None:
            return
        commits, published, dead = self._seqs.get(partition), len(self.decisions), len(self.dead)
        self._hand_over(partition, old)
        await _until_quiet(old, may_end=True)
        old.retry.stop()
        old.processor.wake()
        await old.task
        # It was fenced, and said so. What it set aside before, it had read too late to know better; a worker that
        # the group has forgotten does not even do that.
        self.fatal.clear()
        del self.dead[dead:]
        assert (commits, published) == (self._seqs.get(partition), len(self.decisions))

    async def settle(self) -> None:
        """Let all partitions work until nothing is left to do anywhere."""
        self._faults.clear()
        for _ in range(ROUNDS_MAX):
            if not any([await self.work(partition) for partition in range(self.partitions)]):
                return
        raise AssertionError(f"still not quiet after {ROUNDS_MAX} rounds")

    async def _start(self, partition: int) -> Process:
        self._owners += 1
        claim = await self.store.claim(partition, f"worker-{self._owners}", self._owners)
        assert claim is not None
        view = View(self, partition)
        positions = {topic: claim.head.positions.get(topic, 0) for topic in INPUTS}
        assert positions == {topic: self.positions[partition].get(topic, 0) for topic in INPUTS}
        shared = Shared(
            Settings(kafka="k:1", redis="redis://r", **self.settings),
            self.partitions,
            view,
            self._policies,  # type: ignore[arg-type]
            self._clock,  # type: ignore[arg-type]
            Health(self.metrics),
            self.metrics,
            self.fatal.append,
            Turn(view, view),
        )
        retry = RetryPolicy(shared)
        await retry.deliver(unpack_outbox(claim.outbox))
        facts_end, flow = self._ends(partition, FACTS), OpenFlow()
        processor = Quiet(shared, partition, Placed(claim.head, positions, facts_end, CACHE_BYTES), flow, retry)
        task = asyncio.create_task(processor.run())
        process = self._processes[partition] = Process(processor, flow, retry, dict(positions), facts_end, task)
        await _until_quiet(process)
        return process

    def _ends(self, partition: int, topics: Iterable[str]) -> dict[str, int]:
        return {topic: len(self.log[topic, partition]) for topic in topics}

    def _hand_over(self, partition: int, process: Process) -> None:
        for topic, begin in process.given.items():
            end = len(self.log[topic, partition])
            if topic in process.flow.topics and end > begin:
                process.given[topic] = end
                self._offer(process.processor, partition, topic, begin, end)

    def _has_more(self, partition: int, process: Process) -> bool:
        return any(
            process.given[topic] < len(self.log[topic, partition])
            for topic in process.given
            if topic in process.flow.topics
        )


async def _until_quiet(process: Process, *, may_end: bool = False) -> None:
    """Wait until the worker has nothing to do; raises what it ended with."""
    process.processor.quiet.clear()
    process.processor.wake()
    quiet = asyncio.ensure_future(process.processor.quiet.wait())
    await asyncio.wait((quiet, process.task), return_when=asyncio.FIRST_COMPLETED)
    if process.task.done():
        quiet.cancel()
        process.task.result()
        if may_end:
            return
        raise AssertionError("the worker ended")


class Unwatched:
    """Nobody looks."""

    def made(self, partition: int, commit: Any, *, is_reading: bool) -> None:
        """See ``Watcher``."""


def told(site: Site) -> list[tuple[str, str]]:
    """Request and outcome of every decision."""
    return [(decision["request_id"], decision["outcome"]) for decision in site.decisions]
