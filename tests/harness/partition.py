"""One partition, decided in this process: the in-memory store, fake topics, and faults at any step of either."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from arbiter.messages import CONSENTS, PROFILES, REQUESTS
from arbiter.state.codec import OutRecord
from arbiter.state.memory import MemoryStore, wall_clock_ms
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.partition.retry import RetryPolicy
from arbiter.worker.policy_watcher import Active
from tests.harness.cluster import Cluster, Flow, Process
from tests.inputs.builders import policy

PARTITIONS = 4
P = 1
CUSTOMERS = [name for name in (f"c{number}" for number in range(100)) if partition_of(name, PARTITIONS) == P]
STRANGER = next(name for name in (f"c{number}" for number in range(100)) if partition_of(name, PARTITIONS) == P + 1)
CAP = {"id": "two", "kind": "cap", "owner": "o", "why": "w", "per": ["party"], "limit": 2, "window": "rolling 1d"}


class PartitionCluster(Cluster):
    """One partition: a store and topics that outlive processors; the test starts them, feeds them and stops them."""

    store: MemoryStore

    def __init__(self) -> None:
        super().__init__(policy(CAP), PARTITIONS, wall_clock_ms(), MemoryStore())
        self.flow = Flow()
        self.next_policy: Active | None = None
        self.process: Process

    async def refresh(self) -> None:
        """See ``PolicyWatcher.refresh``: ``next_policy`` is in force, if there is one."""
        self.in_force.current = self.next_policy or self.in_force.current

    def of(self, topic: str) -> list[OutRecord]:
        """What was published on a topic."""
        return [record for record in self.published if record.topic == topic]

    @property
    def outcomes(self) -> dict[str, str]:
        """The latest outcome by request id; answers to dead letters are none."""
        decided = [decision for decision in self.decisions if not decision["decision_id"].endswith(":0")]
        return {decision["request_id"]: decision["outcome"] for decision in decided}

    @property
    def answers(self) -> dict[str, list[str]]:
        """The codes of the answers to dead letters, by request id."""
        found: dict[str, list[str]] = {}
        for decision in self.decisions:
            if decision["decision_id"].endswith(":0"):
                found.setdefault(decision["request_id"], []).append(decision["findings"][0]["code"])
        return found

    @property
    def letters(self) -> list[tuple[str, int]]:
        """Code and offset of every dead letter."""
        headers = [dict(record.headers) for record in self.dead]
        return [(h["arbiter-error-code"].decode(), int(h["arbiter-offset"])) for h in headers]

    async def deliver(self, retry: RetryPolicy, outbox: Sequence[OutRecord]) -> None:  # noqa: ARG002 - see ``Cluster``
        """The outbox gets out, whatever the faults are."""
        await self.publish(outbox)

    def put(self, value: bytes | dict[str, Any] | None, topic: str = REQUESTS) -> int:
        """Append a record to an input; gives its offset."""
        self.now_ms = wall_clock_ms()
        return self.append(topic, P, b"k", msgspec.json.encode(value) if isinstance(value, dict) else value)

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

    async def start(self, **settings: Any) -> Process:
        """Claim as a new process, publish the outbox again, give the processor all records from its positions."""
        self.settings = settings
        facts_end = self.ends(P, (CONSENTS, PROFILES))
        self.process = await self.begin(P, flow=self.flow, facts_end=facts_end)
        self.flow.acked = {topic: position for topic, position in self.process.given.items() if position}
        self.hand_over(self.process, *INPUTS)
        return self.process

    def feed(self, topic: str, begin: int) -> None:
        """Give the processor one batch with everything from there on."""
        self.offer(self.process.processor, topic, P, begin)

    async def run(self, **settings: Any) -> None:
        """A whole process: start, decide everything, stop."""
        process = await self.start(**settings)
        await self.settled(lambda: process.task.done() or self.is_done())
        await process.stop()
        self.audit({(topic, P): end for topic, end in self.flow.acked.items()})

    async def settled(self, condition: Callable[[], object]) -> None:
        """Let the others run until this is true."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - nothing tells when the others are done
                await asyncio.sleep(0)

    def is_done(self) -> bool:
        """Whether every record was acked, or committed by a process before."""
        return all(self.flow.acked.get(topic, 0) == end for topic, end in self.ends(P, INPUTS).items())
