"""A processor whose batches and their stages are spans. Without tracing it is not used, and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arbiter.state.codec import OutRecord
from arbiter.state.stock import Spent
from arbiter.state.store import Commit, CommitResult
from arbiter.worker.kafka.reader import Record
from arbiter.worker.partition.deciding import Batch
from arbiter.worker.partition.inputs import input_record_of
from arbiter.worker.partition.processor import Processor
from arbiter.worker.partition.retry import RetryPolicy, Shared
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.work import FlowControl, PartitionStart, Work
from arbiter.worker.policy_watcher import Active
from arbiter.worker.tracing import Tracing


class TracedProcessor(Processor):
    """See :class:`~arbiter.worker.partition.processor.Processor`."""

    def __init__(
        self,
        tracing: Tracing,
        shared: Shared,
        partition: int,
        placed: PartitionStart,
        flow: FlowControl,
        retry: RetryPolicy,
    ) -> None:
        super().__init__(shared, partition, placed, flow, retry)
        self._tracing = tracing

    async def _attempt(self, active: Active, records: list[Record]) -> CommitResult:
        with self._tracing.batch(self.partition, len(records)) as span:
            verdict = await super()._attempt(active, records)
            span.set_attributes(
                {
                    "arbiter.verdict": verdict.name.lower(),
                    "arbiter.commit": self._head.seq,
                    "arbiter.policy.version": active.policy.ref[1],
                }
            )
            return verdict

    async def _read(self, active: Active, records: list[Record]) -> tuple[Work, Routing]:
        with self._tracing.stage("read"):
            return await super()._read(active, records)

    async def _decide(self, active: Active, work: Work, routing: Routing) -> tuple[Batch, dict[str, Spent]]:
        with self._tracing.stage("decide") as span:
            batch, spent = await super()._decide(active, work, routing)
            span.set_attribute("arbiter.decisions", len(batch.output.decisions))
        self._tracing.link(_traces(work, batch))
        return batch, spent

    async def _commit(self, commit: Commit) -> CommitResult:
        with self._tracing.stage("commit"):
            return await super()._commit(commit)

    async def _publish(self, records: Sequence[OutRecord]) -> None:
        with self._tracing.stage("publish") as span:
            span.set_attribute("messaging.batch.message_count", len(records))
            await super()._publish(records)


def processor_for(
    shared: Shared, partition: int, placed: PartitionStart, flow: FlowControl, retry: RetryPolicy
) -> Processor:
    """The processor of a partition, with spans if the worker has tracing."""
    if shared.tracing is None:
        return Processor(shared, partition, placed, flow, retry)
    return TracedProcessor(shared.tracing, shared, partition, placed, flow, retry)


def _traces(work: Work, batch: Batch) -> Iterator[bytes]:
    """The traces of the records that were read, and of what is answered after a wait."""
    for one in work.inputs:
        if (record := input_record_of(one)) is not None:
            yield record.trace
    for decision in batch.output.decisions:
        yield decision.trace
