"""Whether records get decided: compares the ends of logs with what was committed.

Finds whatever stands still without saying why. A partition that has already reported why it waits is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from time import monotonic
from typing import Protocol

from faust.types import TP

from arbiter import log_events
from arbiter.worker.health import EVICTION, STORE, Health
from arbiter.worker.kafka.topics import KafkaAway

CHECK_SECONDS = 2.0
NAMED_MAX = 5
MEMBERSHIP, COVERAGE, STALLED = "membership", "coverage", "stalled"
EXPLAINED = (
    STORE,
    EVICTION,
    "kafka",
    "group",
    "records",
    "policy",
    "clock",
    "topics",
    "installation",
    MEMBERSHIP,
)
"""Troubles that stop every partition, and say so."""


class Group(Protocol):
    """What is needed of the membership in the group."""

    @property
    def may_join(self) -> bool:
        """Whether we want to be in it."""

    @property
    def is_member(self) -> bool:
        """Whether the group has given us partitions, or none, and nothing is being shared out anew."""

    @property
    def refusal(self) -> str:
        """Why Kafka does not let us in; empty if it does."""

    async def shared_out(self) -> set[int] | None:
        """The numbers that all members have together; ``None`` if it is sharing them out. :class:`KafkaAway`."""


class Consumer(Protocol):
    """What is needed of the consumer."""

    @property
    def membership(self) -> Group:
        """How it is a member of its group."""

    @property
    def assigned(self) -> Collection[int]:
        """The partition numbers that the group gives us now."""

    async def end_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        """Where logs end. :class:`KafkaAway`."""


class Work(Protocol):
    """What is needed of the ownership of partitions."""

    def reached(self, partition: int) -> dict[str, int] | None:
        """What is done by topic; ``None`` if the partition is not claimed."""


class Progress:
    """Watches over one worker's partitions, and over those that no worker has."""

    def __init__(
        self, consumer: Consumer, work: Work, health: Health, inputs: Sequence[str], partitions: int, seconds_max: float
    ) -> None:
        """``seconds_max`` is how long records may wait without a commit."""
        self._consumer = consumer
        self._group = consumer.membership
        self._work = work
        self._health = health
        self._inputs = inputs
        self._partitions = partitions
        self._seconds_max = seconds_max
        self.ends: dict[TP, int] = {}
        """Where the logs of our partitions ended at the last check."""
        self._since: dict[str, float] = {}
        self.is_covered = False
        """Whether the group, with this worker in it, is done with sharing out: every partition had a worker when it was
        asked last.
        """
        self._waiting: dict[tuple[int, int], float] = {}

    async def keep_watching(self) -> None:
        """Check every few seconds, for ever."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except KafkaAway as error:
                log_events.ENDS_UNKNOWN(why=repr(error))

    async def check(self) -> None:
        """Report what stands still. :class:`KafkaAway`."""
        self._check_membership()
        await self._check_coverage()
        await self._check_logs()

    def _check_membership(self) -> None:
        group = self._group
        if group.refusal:
            self._health.trouble(MEMBERSHIP, group.refusal)
        elif self._lasts(MEMBERSHIP, is_so=group.may_join and not group.is_member):
            waited = monotonic() - self._since[MEMBERSHIP]
            self._health.trouble(MEMBERSHIP, f"the group has given this worker no partitions for {waited:.0f} s")
        elif group.is_member or not group.may_join:
            self._health.over(MEMBERSHIP)

    async def _check_coverage(self) -> None:
        shared = await self._group.shared_out() if self._group.is_member else None
        self.is_covered = shared is not None and shared.issuperset(range(self._partitions))
        lacking = [] if shared is None else [number for number in range(self._partitions) if number not in shared]
        if self._lasts(COVERAGE, is_so=bool(lacking)):
            text = f"no worker of the group has {_named(lacking)}: their records wait"
            self._health.trouble(COVERAGE, text, alarm=True)
        elif not lacking:
            self._health.over(COVERAGE)

    async def _check_logs(self) -> None:
        numbers = sorted(self._consumer.assigned)
        tps = [TP(topic, number) for number in numbers for topic in self._inputs]
        ends = self.ends = await self._consumer.end_offsets(tps) if tps else {}
        if any(map(self._health.has, EXPLAINED)):
            numbers = []
        now, waiting = monotonic(), dict[tuple[int, int], float]()
        stalled: dict[int, str] = {}
        for number in numbers:
            found = None if self._health.has(f"partition {number}") else self._waits(number, ends)
            if found is not None:
                stand, why = found
                # A partition that moved stands elsewhere: its time begins anew.
                since = waiting[number, stand] = self._waiting.get((number, stand), now)
                if now - since >= self._seconds_max:
                    stalled[number] = why
        self._waiting = waiting
        if stalled:
            text = f"{_named(list(stalled))}: no commit for {self._seconds_max:g} s; {next(iter(stalled.values()))}"
            self._health.trouble(STALLED, text, alarm=True)
        else:
            self._health.over(STALLED)

    def _waits(self, number: int, ends: dict[TP, int]) -> tuple[int, str] | None:
        """Where this partition stands, as a number that grows, and what waits; ``None`` if nothing does."""
        positions = self._work.reached(number)
        if positions is None:
            return -1, f"partition {number} is not claimed"
        for topic in self._inputs:
            position, end = positions.get(topic, 0), ends[TP(topic, number)]
            if position < end:
                why = f"partition {number} of {topic} ends at offset {end} and is decided up to {position}"
                return sum(positions.values()), why
        return None

    def _lasts(self, key: str, *, is_so: bool) -> bool:
        if not is_so:
            self._since.pop(key, None)
            return False
        return monotonic() - self._since.setdefault(key, monotonic()) >= self._seconds_max


def _named(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:NAMED_MAX]))
    more = f" and {len(numbers) - NAMED_MAX} more" if len(numbers) > NAMED_MAX else ""
    return f"partition{'s' if len(numbers) > 1 else ''} {named}{more}"
