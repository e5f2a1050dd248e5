"""The fault plan of an in-process cluster: where a partition's worker ends or stumbles next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError

from arbiter.state.codec import OutRecord
from arbiter.state.store import Commit, CommitResult, Ended, StoreUnavailable
from arbiter.worker.kafka.producer import PublishFailed

if TYPE_CHECKING:
    from tests.harness.cluster import Cluster

FAULTS = (
    "before load", "after load", "away load", "lost load",
    "before commit", "after commit", "away commit", "lost commit",
    "before publish", "within publish", "after publish", "refused publish",
)  # fmt: skip
"""``before`` and ``after`` a step the process ends, ``away`` there is no answer, ``lost`` only the answer is."""


class Crash(Exception):
    """The process ends here."""


class FaultPlan:
    """At most one kind of fault for each partition: it happens at the next steps that it names."""

    def __init__(self) -> None:
        self._faults: dict[int, tuple[str, int | None]] = {}
        self.left: Counter[int] = Counter()

    def set(self, partition: int, fault: str, through: int | None = None, times: int = 1) -> None:
        """Plan it, so many times. ``through`` is how many records get out before the end ``within publish``; half, if
        left out.
        """
        self._faults[partition] = fault, through
        self.left[partition] = times

    def take(self, partition: int, *faults: str) -> tuple[str, int | None] | None:
        """Which of these is due now."""
        if not self.left[partition] or self._faults[partition][0] not in faults:
            return None
        self.left[partition] -= 1
        return self._faults[partition]

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self.left.clear()


class FaultView:
    """The store and the topics as one partition's worker sees them: it stumbles where the plan says so."""

    def __init__(self, cluster: Cluster, partition: int) -> None:
        self._cluster = cluster
        self._partition = partition

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster.store, name)

    async def load(self, partition: int, parties: list[str]) -> list[bytes | None]:
        """See ``Store.load``."""
        self._stumble("before load", "away load")
        found = await self._cluster.store.load(partition, parties)
        self._stumble("after load", "lost load")
        return found

    async def commit(self, partition: int, commit: Commit) -> tuple[CommitResult, int]:
        """See ``Store.commit``."""
        self._stumble("before commit", "away commit")
        answer = await self._cluster.store.commit(partition, commit)
        if answer[0] is CommitResult.OK:
            self._cluster.committed(partition, commit)
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
        if records and self._cluster.faults.take(self._partition, "refused publish"):
            await self._cluster.publish(records[:-1])
            raise PublishFailed([(records[-1], KafkaError(KafkaError.POLICY_VIOLATION))])
        if fault := self._cluster.faults.take(self._partition, "within publish"):
            await self._cluster.publish(records[: len(records) // 2 if fault[1] is None else fault[1]])
            raise Crash(fault[0])
        await self._cluster.publish(records)
        self._stumble("after publish")

    def _stumble(self, *faults: str) -> None:
        if found := self._cluster.faults.take(self._partition, *faults):
            fault = found[0]
            raise Crash(fault) if fault.startswith(("before", "after")) else StoreUnavailable(fault)
