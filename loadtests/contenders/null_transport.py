"""Null: the arbiter's transport and producer with nothing between them. What no decision-maker on them can exceed.

Every record is answered with as many bytes as the arbiter's decisions have, under the same headers, and acked after
delivery; nothing is decoded, decided or kept.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Collection, Iterator
from typing import Any

import faust
from faust.types import TP
from msgspec import Struct

from arbiter import settings
from arbiter.messages import DECISIONS, REQUESTS
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord
from arbiter.worker.kafka.app import consumer_of, make_app
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.producer import KafkaPublisher
from arbiter.worker.kafka.topics import client_config
from arbiter.worker.kafka.transport import forwarding_to
from loadtests.contenders.base import DECISION_BYTES, Site
from loadtests.traffic import Traffic

HEADERS = [
    ("ce_specversion", b"1.0"),
    ("ce_type", b"contact.decision.v1"),
    ("ce_source", b"arbiter"),
    ("ce_id", b"0123456789abcdef0123456789abcdef:1"),
    ("ce_time", b"2026-03-02T09:00:00.000Z"),
    ("content-type", b"application/json"),
]
LEASE = 1


class NullTransport(Struct, frozen=True):
    """See :class:`loadtests.contenders.base.Contender`."""

    name: str = "null"
    about: str = "the same transport and producer, decoding and deciding nothing, the same number of bytes out"
    share: float = 4.0
    rates: tuple[float, ...] = (300.0, 1_000.0)

    def prepare(self, site: Site, traffic: Traffic) -> None:
        """Nothing: it knows nobody."""

    def command(self) -> list[str]:
        """This module as a program."""
        return [sys.executable, "-m", "loadtests.contenders.null_transport"]


class Echo:
    """One task per partition, as the arbiter has processors: takes a batch, publishes as many records, acks."""

    def __init__(self, config: Settings, app: faust.App, publisher: KafkaPublisher, decision_bytes: int) -> None:
        self._topic = config.topic(DECISIONS)
        self._requests = config.topic(REQUESTS)
        self._consumer = consumer_of(app)
        self._publisher = publisher
        self._bytes = decision_bytes
        self._padding = b" " * decision_bytes
        self._queues: dict[int, asyncio.Queue[FetchedRecords]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def assign(self, _: int, numbers: Collection[int]) -> None:
        """Read every partition from its beginning; a test has one worker, so there is one assignment."""
        if self._queues or not numbers:
            return
        self._queues = {number: asyncio.Queue() for number in numbers}
        self._start(self._read({TP(self._requests, number) for number in numbers}))
        for partition, queue in self._queues.items():
            self._start(self._answer(partition, queue))

    async def revoke(self, numbers: Collection[int]) -> None:
        """Nothing: a test has one worker."""

    def deliver(self, tp: TP, fetched: FetchedRecords) -> None:
        """Hand records to their partition's task."""
        self._queues[tp.partition].put_nowait(fetched)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(_fail_loudly)

    async def _read(self, assignment: set[TP]) -> None:
        ranges = await self._consumer.offset_ranges(assignment)
        self._consumer.assign(LEASE, {tp: first for tp, (first, _) in ranges.items()}, {})
        self._consumer.resume(LEASE, assignment)

    async def _answer(self, partition: int, queue: asyncio.Queue[FetchedRecords]) -> None:
        while True:
            # All that came during the last round trip, as a processor takes it: one publish, not one after the other.
            taken = [await queue.get()]
            while not queue.empty():
                taken.append(queue.get_nowait())
            await self._publisher.publish([record for fetched in taken for record in self._echo(partition, fetched)])
            self._consumer.done({TP(self._requests, partition): taken[-1].position})

    def _echo(self, partition: int, fetched: FetchedRecords) -> Iterator[OutRecord]:
        for record in fetched.records:
            # Begins with the request, by which the harness knows what is answered.
            value = ((record.value or b"") + self._padding)[: self._bytes]
            yield OutRecord(self._topic, partition, record.key, value, HEADERS)


def _fail_loudly(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        print(f"null failed: {error!r}", file=sys.stderr, flush=True)
        os._exit(1)


async def run(config: Settings, decision_bytes: int) -> None:
    """Echo until SIGTERM."""
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    app = make_app(config)
    app.finalize()
    echo = Echo(config, app, KafkaPublisher(client_config(config), sys.exit), decision_bytes)
    topic = app.topic(config.topic(REQUESTS), key_type=bytes, value_type=bytes)
    app.agent(topic, name="null")(forwarding_to(echo.deliver))
    consumer = consumer_of(app)
    consumer.on_assigned, consumer.on_revoked = echo.assign, echo.revoke
    consumer.membership.allow(may_join=True)
    await app.start()
    await ending.wait()
    await app.stop()


def main() -> None:
    """This module as a program."""
    asyncio.run(run(settings.load(), int(os.environ[DECISION_BYTES])))


if __name__ == "__main__":
    main()
