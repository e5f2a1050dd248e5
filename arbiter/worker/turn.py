"""The worker's turn: partitions with news are decided together, and go to Redis and to Kafka together.

Each partition has a task of its own, written as if it were alone. It waits here four times in a batch: for the next
turn, for its ledgers, for the answer to its commit, and for the delivery of its records. What all partitions ask in one
pass of the event loop goes out together: one round trip, one burst of records, one wake-up.

A turn begins when the one before is decided, committed and delivered. There are two exceptions. If delivery takes
long, the next turn begins without it. If many records wait, the next turn is decided while the one before is committed
and delivered. A partition that waits for anything else (capacity, a pause after an error) or decides for long has left
the turn: nobody waits for it, and its commit goes out with whatever is asked next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Generic, TypeVar

from arbiter.state.codec import OutRecord
from arbiter.state.store import Commit, CommitResult, Store, StoreUnavailable
from arbiter.worker.kafka.producer import Publisher

Question = TypeVar("Question")
Answer = TypeVar("Answer")

IDLE_SECONDS = 0.5
"""How often :meth:`Turn.begin` tells partitions that nothing came since the last time."""

RECORDS_MAX = 2_000
"""How many records a turn of several partitions takes: the others wait for so many decisions."""

BACKLOG = 500
"""If more records wait, a turn is decided while the last one is committed and delivered."""

DELIVERY_SECONDS = 0.05
"""How long (s) a turn waits for the delivery of the last one's records: some may go to a broker that is away."""


class Turn:
    """What the partitions of one worker ask of Redis and of Kafka, together."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._publisher = publisher
        self._loads = _Coalescer[tuple[int, list[str]], list[bytes | None]](store.load_all, self._look)
        self._commits = _Coalescer[tuple[int, Commit], tuple[CommitResult, int]](store.commit_all, self._look)
        self._waiting: dict[int, _Waiting] = {}
        self._is_looking = False
        self._deliveries = 0
        self._handed_over_at = 0.0
        self._later: asyncio.TimerHandle | None = None
        self._rounds: asyncio.TimerHandle | None = None

    def begin(self, partition: int, records: int, *, is_ready: bool) -> asyncio.Future[bool]:
        """Wait for the next turn with so many records; gives true when it begins.

        A partition that is not ready waits for :meth:`notify`; gives false if that did not come within a second.
        """
        self.leave(partition)
        waiting = self._waiting[partition] = _Waiting(records, is_ready=is_ready)
        if is_ready:
            self._look()
        elif self._rounds is None:
            self._rounds = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._release_idle)
        return waiting.answer

    def notify(self, partition: int, records: int) -> None:
        """A partition has so many records now: it takes part in the next turn."""
        if (waiting := self._waiting.get(partition)) is not None:
            waiting.records, waiting.is_ready = records, True
            self._look()

    def leave(self, partition: int) -> None:
        """End a partition's wait, as if nothing had come."""
        if (waiting := self._waiting.pop(partition, None)) is not None:
            waiting.go(is_called=False)

    def load(self, partition: int, parties: list[str]) -> asyncio.Future[list[bytes | None]]:
        """See ``Store.load``; also with no party, to stay in the turn."""
        return self._loads.ask((partition, parties))

    def commit(self, partition: int, commit: Commit) -> asyncio.Future[tuple[CommitResult, int]]:
        """See ``Store.commit``."""
        return self._commits.ask((partition, commit))

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        if not records:
            return
        self._deliveries += 1
        self._handed_over_at = monotonic()
        try:
            await self._publisher.publish(records)
        finally:
            self._deliveries -= 1
            self._look()

    def _look(self) -> None:
        """See whether a turn begins, after the tasks that are ready now have run."""
        if not self._is_looking and self._waiting:
            self._is_looking = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_looking = False
        ready = [(partition, waiting) for partition, waiting in self._waiting.items() if waiting.is_ready]
        if not ready or not self._is_open(sum(waiting.records for _, waiting in ready)):
            return
        records = 0
        for partition, waiting in ready:
            if records and records + waiting.records > RECORDS_MAX:
                break
            records += waiting.records
            del self._waiting[partition]
            waiting.go(is_called=True)

    def _is_open(self, records: int) -> bool:
        if self._loads.is_asking:
            return False
        if records >= BACKLOG:
            return True
        if self._commits.is_asking:
            return False
        if not self._deliveries:
            return True
        left = self._handed_over_at + DELIVERY_SECONDS - monotonic()
        if left > 0 and self._later is None:
            self._later = asyncio.get_running_loop().call_later(left, self._schedule_later)
        return left <= 0

    def _schedule_later(self) -> None:
        self._later = None
        self._look()

    def _release_idle(self) -> None:
        """Twice a second: end the wait of partitions that were not called since the last time."""
        self._rounds = None
        for partition, waiting in list(self._waiting.items()):
            if waiting.is_idle and not waiting.is_ready:
                self.leave(partition)
            waiting.is_idle = True
        if self._waiting:
            self._rounds = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._release_idle)


class _Waiting:
    """A partition that waits for the next turn."""

    __slots__ = ("answer", "is_idle", "is_ready", "records")

    def __init__(self, records: int, *, is_ready: bool) -> None:
        self.records = records
        self.is_ready = is_ready
        self.is_idle = False
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def go(self, *, is_called: bool) -> None:
        if not self.answer.done():
            self.answer.set_result(is_called)


class _Coalescer(Generic[Question, Answer]):
    """Sends the questions that are asked in one pass of the event loop as one request."""

    def __init__(
        self,
        ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer | Exception]]],
        answered: Callable[[], None],
    ) -> None:
        """``answered`` is called after each answer."""
        self._ask = ask
        self._answered = answered
        self._asked: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_asking(self) -> bool:
        """Whether an answer is to come."""
        return bool(self._asked or self._tasks)

    def ask(self, question: Question) -> asyncio.Future[Answer]:
        """The answer to come."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        if not self._asked:
            task = loop.create_task(self._answer())  # which begins when this pass of the event loop is over
            self._tasks.add(task)
            task.add_done_callback(self._over)
        self._asked.append((question, answer))
        return answer

    async def _answer(self) -> None:
        asked, self._asked = self._asked, []
        answers = await self._answers([question for question, _ in asked])
        for (_, waiting), answer in zip(asked, answers, strict=True):
            if waiting.done():
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)

    async def _answers(self, questions: Sequence[Question]) -> Sequence[Answer | Exception]:
        """An answer or an error for each. What cannot be asked at all is one question's fault: it fails alone."""
        try:
            return await self._ask(questions)
        except StoreUnavailable as error:
            return [error] * len(questions)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets it
            if len(questions) == 1:
                return [error]
            return [answer for question in questions for answer in await self._answers([question])]

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._answered()
