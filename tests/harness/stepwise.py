"""An installation whose workers live on, under a clock that is moved by hand, and end or stumble at any step.

Every commit is shown to a watcher, once, in the order in which they were made: that order is the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from arbiter.policy.ruleset import Policy
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Commit, Store
from arbiter.worker.kafka.reader import FACTS, INPUTS
from arbiter.worker.partition.processor import Processor
from arbiter.worker.policy_watcher import Active
from tests.harness.cluster import Cluster, Process
from tests.harness.faults import Crash

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


class IdlingProcessor(Processor):
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


class SteppedCluster(Cluster):
    """``policies`` are those that were ever active, by activation; ``recalls`` has the activations that recall what is
    approved and unsent; ``fatal`` is why a worker ended itself.
    """

    def __init__(
        self,
        policy: Policy,
        partitions: int,
        now_ms: int,
        store: Store | None = None,
        watcher: Watcher | None = None,
        **settings: Any,
    ) -> None:
        """Nothing runs yet; ``settings`` are the workers'. If no store is given, one in memory has the clock, too."""
        clock = HandClock(now_ms)
        super().__init__(policy, partitions, now_ms, store or MemoryStore(clock.now_ms), **settings)
        self.clock = clock
        self.policies = {1: policy}
        self.recalls = [0]
        self.positions: dict[int, dict[str, int]] = {partition: {} for partition in range(partitions)}
        self._watcher = watcher
        self._processes: dict[int, tuple[Process, IdlingProcessor]] = {}
        self._seqs: dict[int, int] = {}
        self._begun = 0

    def wait(self, span_ms: int) -> None:
        """Time passes."""
        self.now_ms += span_ms
        self.clock.time_ms = self.now_ms

    def activate(self, policy: Policy, *, recalls: bool = False) -> None:
        """Another policy is in force from now on; with ``recalls`` also for what is approved and unsent."""
        number = max(self.policies) + 1
        self.policies[number] = policy
        if recalls:
            self.recalls.append(number)
        self.in_force.current = Active(number, policy, self.recalls[-1])

    def fault(self, partition: int, fault: str, through: int | None = None) -> None:
        """The next time that the partition's worker comes to such a step, it ends or stumbles there."""
        self.faults.set(partition, fault, through)

    def committed(self, partition: int, commit: Commit) -> None:
        """A commit is written; the same one again is no news."""
        if self._seqs.get(partition) == commit.seq:
            return
        self._seqs[partition] = commit.seq
        super().committed(partition, commit)
        assert len(self.commits) - self._begun < COMMITS_MAX, "the worker commits on and on"
        positions, process = self.positions[partition], self._processes[partition][0]
        is_reading = any(positions.get(topic, 0) < end for topic, end in process.facts_end.items())
        if self._watcher is not None:
            self._watcher.made(partition, commit, is_reading=is_reading)
        positions |= {topic: position for topic, position in commit.positions.items() if topic in INPUTS}

    async def work(self, partition: int, *, rests: bool = False, once: bool = False) -> bool:
        """Let the partition's worker (a new one, if there is none) take all that is there; gives whether there was.

        ``rests``: before that it is idle for a second. ``once``: not what comes of it, too.
        """
        before, self._begun = self._seqs.get(partition), len(self.commits)
        there = self.ends(partition, INPUTS) if once else None
        try:
            process, processor = self._processes.get(partition) or await self._start(partition)
            processor.rests = rests
            while True:
                self.hand_over(process, *process.flow.open_topics, ends=there)
                await _until_quiet(process, processor)
                if not self._has_more(process, there):
                    break
        except Crash:
            self._processes.pop(partition, None)
            return True
        except BaseException:
            self._processes.pop(partition, None)  # it said what was wrong
            raise
        ends = there or self.ends(partition, INPUTS)
        assert ends == {topic: process.flow.acked.get(topic, process.given[topic]) for topic in INPUTS}
        assert there or not self._has_left(partition)
        return before != self._seqs.get(partition)

    async def turn(self, partition: int) -> bool:
        """A new process takes what is there now, and ends in good order."""
        worked = await self.work(partition, once=True)
        await self.end(partition)
        return worked

    async def run(self) -> None:
        """Let every partition decide, each time in a new process, until nothing is left to read anywhere."""
        await self.settle(self.turn)

    async def end(self, partition: int) -> None:
        """Stop the partition's worker in good order, if it has one."""
        if (held := self._processes.pop(partition, None)) is not None:
            with suppress(Crash):
                await held[0].stop()

    async def steal(self, partition: int) -> None:
        """Another worker claims the partition; the first lives on, wakes up later, and must not be able to do harm."""
        old = self._processes.pop(partition, None)
        await self.work(partition)
        if old is None:
            return
        process, processor = old
        commits, published, dead = self._seqs.get(partition), len(self.decisions), len(self.dead)
        self.hand_over(process, *process.flow.open_topics)
        await _until_quiet(process, processor, may_end=True)
        await process.stop()
        # It was fenced, and said so. What it set aside before, it had read too late to know better; a worker that
        # the group has forgotten does not even do that.
        self.fatal.clear()
        del self.dead[dead:]
        assert (commits, published) == (self._seqs.get(partition), len(self.decisions))

    async def settle(self, work: Callable[[int], Awaitable[bool]] | None = None) -> None:
        """Let all partitions work until nothing is left to do anywhere."""
        self.faults.clear()
        for _ in range(ROUNDS_MAX):
            worked = [await (work or self.work)(partition) for partition in range(self.partitions)]
            # An outbox that is published again is no work, and brings others records.
            if not any(worked) and not any(self._has_left(partition) for partition in range(self.partitions)):
                positions = self.positions.items()
                self.audit({(topic, number): end for number, ends in positions for topic, end in ends.items()})
                return
        raise AssertionError(f"still not quiet after {ROUNDS_MAX} rounds")

    async def _start(self, partition: int) -> tuple[Process, IdlingProcessor]:
        facts_end = self.ends(partition, FACTS)
        process = await self.begin(partition, kind=IdlingProcessor, facts_end=facts_end)
        assert process.given == {topic: self.positions[partition].get(topic, 0) for topic in INPUTS}
        assert isinstance(process.processor, IdlingProcessor)
        held = self._processes[partition] = process, process.processor
        await _until_quiet(*held)
        return held

    def _has_left(self, partition: int) -> bool:
        return self.ends(partition, INPUTS) != {topic: self.positions[partition].get(topic, 0) for topic in INPUTS}

    def _has_more(self, process: Process, there: Mapping[str, int] | None) -> bool:
        ends = there or self.ends(process.partition, INPUTS)
        return any(process.given[topic] < ends[topic] for topic in process.flow.open_topics)


async def _until_quiet(process: Process, processor: IdlingProcessor, *, may_end: bool = False) -> None:
    """Wait until the worker has nothing to do; raises what it ended with."""
    processor.quiet.clear()
    processor.wake()
    quiet = asyncio.ensure_future(processor.quiet.wait())
    await asyncio.wait((quiet, process.task), return_when=asyncio.FIRST_COMPLETED)
    if process.task.done():
        quiet.cancel()
        process.task.result()
        if may_end:
            return
        raise AssertionError("the worker ended")


def told(site: SteppedCluster) -> list[tuple[str, str]]:
    """Request and outcome of every decision."""
    return [(decision["request_id"], decision["outcome"]) for decision in site.decisions]
