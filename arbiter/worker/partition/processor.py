"""The processor: the one writer of a partition's state. Read → load → decide → commit → publish → ack → next.

Commit n + 1 never begins before publish n is confirmed, and a commit that was not answered is repeated, the same, until
it is. So a crash at any point repeats identical records at worst; see ``docs/architecture.md``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

from msgspec.structs import replace

from arbiter import log_events
from arbiter.ledger.identity import ANSWERS_KEPT_MS
from arbiter.messages import REQUESTS, ROUTED
from arbiter.state.codec import OutRecord, pack_outbox
from arbiter.state.stock import Spent
from arbiter.state.store import Commit, CommitResult
from arbiter.worker.kafka.fetcher import FetchedRecords
from arbiter.worker.kafka.reader import Record
from arbiter.worker.partition.batch_driver import BatchDriver
from arbiter.worker.partition.batch_reader import BatchReader
from arbiter.worker.partition.commit_alarm import CommitAlarm
from arbiter.worker.partition.dead_letters import DeadLetters
from arbiter.worker.partition.deciding import Batch
from arbiter.worker.partition.party_loader import PartyLoader
from arbiter.worker.partition.poison import PoisonGuard
from arbiter.worker.partition.record_queue import LogWentBack, RecordQueue
from arbiter.worker.partition.retry import BACKOFF_SECONDS, RetryPolicy, Shared, Stopped
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.sweep import Sweep
from arbiter.worker.partition.tally import count_batch
from arbiter.worker.partition.timers import Timers
from arbiter.worker.partition.tokens import Tokens
from arbiter.worker.partition.wakeups import Wakeups
from arbiter.worker.partition.work import FlowControl, PartitionStart, Work
from arbiter.worker.policy_watcher import LOST, Active
from arbiter.worker.reporting import Using


class Processor:
    """Decides for one partition, under one claim."""

    def __init__(
        self, shared: Shared, partition: int, placed: PartitionStart, flow: FlowControl, retry: RetryPolicy
    ) -> None:
        """``retry`` is what ends it: :meth:`RetryPolicy.stop`, then :meth:`wake`."""
        self.partition = partition
        self._shared = shared
        self._turn = shared.turn
        self._flow = flow
        self._head = placed.head
        self._facts_end = placed.facts_end
        self._is_reading_facts = True
        self._queue = RecordQueue(placed.positions)
        self.reached = self._queue.done
        settings = shared.settings
        self._is_wall_clock = settings.clock == "wall"
        self._topics = tuple(placed.positions)
        self._routed_topic, self._requests = settings.topic(ROUTED), settings.topic(REQUESTS)
        self._is_paused = False
        self.halted_by = ""
        """Why it decides no more, as metrics call it; empty if it does."""
        # The claim's outbox was published again. It is cleared when idle: else the next claim publishes it again.
        self._has_outbox = True
        self._number: int | None = None
        self._retry = retry
        self._heard_at = monotonic()
        self._tokens = Tokens(shared, partition, placed.head.epoch, retry)
        self._loader = PartyLoader(shared, partition, placed.cache_bytes, retry, self._tokens.quarantined)
        self._driver = BatchDriver(shared, partition, retry, self._tokens)
        self._timers = Timers(shared.store, partition, retry)
        self._sweep = Sweep(shared.store, partition, retry, placed.head.swept)
        self._wakeups = Wakeups(self._timers, self._sweep, self._tokens, is_wall_clock=self._is_wall_clock)
        self._poison = PoisonGuard(shared, partition, retry, placed.head)
        self._reader = BatchReader(shared, placed.positions, self._poison)
        self._dead = DeadLetters(shared, retry)
        self._alarm = CommitAlarm(shared.health, partition)

    def offer(self, topic: str, fetched: FetchedRecords) -> None:
        """Take what was fetched under this processor's lease. Never blocks."""
        try:
            self._queue.put(topic, fetched)
        except LogWentBack as error:
            self._halt(
                "log_went_back",
                f"{error}: the topic was made anew or lost records. Restore it; or restart the worker, which says what "
                "to set to go on without them",
            )
            return
        self._heard_at = monotonic()
        self._turn.notify(self.partition, self._queue.records)
        if self._queue.is_full and not self._is_paused:
            self._is_paused = True
            self._flow.pause(self._topics)

    @property
    def using(self) -> Using:
        """By which activation it decides now, and with which it is done; for the worker's report."""
        is_done = self._number is None
        return Using(self._number, (self._sweep if is_done else self._head).swept, self._head.activation)

    @property
    def state(self) -> str:
        """What it does now, as metrics call it."""
        if self._is_reading_facts:
            return "catching_up"
        return "rebuilding" if self._tokens.is_rebuilding else "claimed"

    def oldest(self) -> dict[str, int]:
        """See :meth:`RecordQueue.oldest`."""
        return self._queue.oldest()

    @property
    def cache_bytes(self) -> int:
        """What its cached ledgers take."""
        return self._loader.cache_bytes

    def wake(self) -> None:
        """End the wait for records, since :meth:`run` is to end."""
        self._turn.leave(self.partition)

    async def run(self) -> None:
        """Work until stopped."""
        self._open()
        try:
            await self._tokens.reclaim(self._head.now_ms)
            while not self._retry.is_stopping:
                is_ready = self._queue.has_news or await self._has_reviews()
                if not await self._begin(is_ready=is_ready):
                    await self._rest()
                elif self._queue.has_news and not (self._reviews_alone and await self._has_reviews()):
                    await self._work()
                elif await self._has_reviews():
                    await self._work(has_reviews=True)
        except Stopped:
            log_events.PARTITION_STOPPED(partition=self.partition)
            self._tokens.forget()  # also what was asked for at this moment goes back
        # Also if the next batch was begun already: what was delivered must not be published again.
        with suppress(Stopped):
            self._retry.check(is_begun=True)
            await self._clear_outbox()
            await self._tokens.give_back(self._head.now_ms, is_begun=True)
            await self._poison.end()

    async def clear_suspects(self) -> None:
        """Clear the notes of what was tried last: its stored state ended it, and no record is to blame."""
        with suppress(Exception):
            await self._poison.end()

    async def _begin(self, *, is_ready: bool) -> bool:
        """Wait for the next turn, with something to do or until something comes; false if nothing did."""
        is_ready = is_ready or self._queue.has_news  # which may have come while the question was asked
        return await self._turn.begin(self.partition, self._queue.records, is_ready=is_ready)

    async def _rest(self) -> None:
        """Nothing comes: give spare tokens back, and clear the outbox."""
        if not self._retry.is_stopping:
            await self._tokens.give_back(self._head.now_ms)
            await self._clear_outbox()

    async def _has_reviews(self) -> bool:
        """Whether parties are to be reviewed: a timer is due, the policy is new, or capacity is free."""
        active = self._shared.in_force()
        if self._is_reading_facts or active is None:
            return False
        now_ms = self._now_ms() if self._is_wall_clock else self._head.now_ms
        return await self._wakeups.are_due(active, now_ms, is_idle=self._is_idle)

    def _now_ms(self) -> int:
        """The store's time; it does not go back within a partition."""
        return max(self._head.now_ms, self._shared.clock.now_ms())

    @property
    def _is_idle(self) -> bool:
        """Whether no record came for so long that the event clock may move on by itself."""
        idle_ms = self._shared.settings.event_idle_ms
        return bool(idle_ms) and (monotonic() - self._heard_at) * 1_000 >= idle_ms

    async def _clear_outbox(self, *, checks: bool = False) -> None:
        """Everything was delivered: the next claim need not publish it again. ``checks`` that the commits are there."""
        head = self._head
        if self._has_outbox or checks:
            clear = partial(self._shared.store.clear_outbox, self.partition, head.epoch, head.owner, head.seq)
            verdict = await self._retry.ask(clear, is_begun=not checks)
            self._has_outbox = False
            if checks and verdict is not CommitResult.OK:
                raise self._lost(verdict, head.seq)

    def _halt(self, code: str, reason: str) -> None:
        """Decide no more for this partition, but keep it: no other worker could do better before a person helps."""
        self.halted_by = code
        self._shared.health.trouble(f"partition {self.partition}", f"partition {self.partition}: {reason}", alarm=True)
        self._retry.abandon()
        self.wake()

    # One batch

    async def _work(self, *, has_reviews: bool = False) -> None:
        records = [] if has_reviews and self._reviews_alone else self._without_replays(self._take())
        while records or has_reviews:
            active = await self._ready()
            try:
                verdict = await self._attempt(active, records)
            finally:
                self._poison.release()
            if verdict is CommitResult.OK:
                break
            if verdict is CommitResult.STALE_POLICY:
                await self._new_policy()
            self._tokens.forget()
        self._number = None
        self._flow.done(self._queue.finish())
        self._open()

    @property
    def _reviews_alone(self) -> bool:
        """Whether parties are reviewed in batches without records. In event time records say what is due."""
        return self._poison.is_on and self._is_wall_clock

    def _take(self) -> list[Record]:
        """The next records; few, and of one topic, where care is taken."""
        first = self._queue.first() if self._poison.is_on else None
        return self._queue.take(None if first is None else self._poison.records_max(first))

    def _open(self) -> None:
        """Resume what may be read now: facts at once, requests after the facts that were there at the claim."""
        if self._is_reading_facts:
            positions = self._queue.positions()
            self._is_reading_facts = any(positions[topic] < end for topic, end in self._facts_end.items())
            if self._is_paused and not self._queue.has_room:
                return
            self._is_paused = False
            self._flow.resume(self._facts_end if self._is_reading_facts else self._topics)
        elif self._is_paused and self._queue.has_room:
            self._is_paused = False
            self._flow.resume(self._topics)

    def _without_replays(self, records: list[Record]) -> list[Record]:
        positions = self._head.positions
        fresh = [record for record in records if record.offset >= positions.get(record.topic, 0)]
        if len(fresh) < len(records):
            self._shared.metrics.replays.inc(len(records) - len(fresh))
        return fresh

    async def _ready(self) -> Active:
        """Wait until there is a policy and a time to decide by."""
        if self._shared.health.has(LOST):  # then it may have lost more
            await self._clear_outbox(checks=True)
        active = self._shared.in_force()
        if active is None:
            active = await self._retry.until(self._shared.in_force)
        self._number = active.number
        return active

    async def _new_policy(self) -> None:
        """A commit was refused because a newer policy has decided here: read the policy again."""
        before = self._shared.policies.current
        await self._retry.ask(self._shared.policies.refresh)
        if self._shared.policies.current is before:
            await self._retry.pause(len(BACKOFF_SECONDS))

    async def _attempt(self, active: Active, records: list[Record]) -> CommitResult:
        """Decide, commit and publish. If policy or capacity were out of date, nothing happened."""
        started = monotonic()
        work, routing = await self._read(active, records)
        batch, spent = await self._decide(active, work, routing)
        self._shared.metrics.decide_seconds.observe(monotonic() - started)
        # From here on it is finished, if there is time: what follows may be seen by others.
        await self._member()
        if work.dead:
            await self._dead.publish(work.dead)
        self._poison.passed(work)
        commit = self._commit_of(active, batch, spent)
        verdict = await self._commit(commit)
        self._poison.release()
        if verdict is CommitResult.OK:
            await self._publish(batch.output.outbox)
            self._adopt(commit)
            await self._finish(active, work, batch, commit)
        else:
            self._sweep.give_back(work.swept)
        return verdict

    async def _read(self, active: Active, records: list[Record]) -> tuple[Work, Routing]:
        """The work of these records, with what is reviewed beside them; and the numbering of routed records."""
        if self._poison.is_on:
            await self._poison.begin(records)
        now_ms, partitions, positions = self._now_ms(), self._shared.partitions, self._head.positions
        routing = Routing(self._routed_topic, self.partition, partitions, positions, now_ms)
        work = self._reader.read(records, self._head, routing, now_ms)
        if not self._is_reading_facts and not (self._reviews_alone and records):
            await self._wakeups.add(active, work, is_idle=self._is_idle)
            if self._poison.is_on and not records:
                self._sweep.give_back(await self._poison.begin_reviews(work))
        return work, routing

    async def _decide(self, active: Active, work: Work, routing: Routing) -> tuple[Batch, dict[str, Spent]]:
        """The batch, decided, and the capacity that its commit books."""
        parties, quarantine = await self._loader.load(work)
        batch = await self._driver.decide(
            active.policy, work, self._head, parties, quarantine, routing, is_reading_facts=self._is_reading_facts
        )
        self._queue.give_back(batch.late)
        work.dead += batch.output.dead
        if work.dead:
            batch.output.answer(work.dead, self._requests, active.policy, self._head.seq + 1, batch.now_ms)
        self._loader.note(parties, quarantine)
        taken = batch.changes_of_capacity
        return batch, await self._tokens.spent(taken, work.now_ms) if taken else {}

    async def _finish(self, active: Active, work: Work, batch: Batch, commit: Commit) -> None:
        """Settle the capacity and count the batch, which is committed and delivered."""
        await self._tokens.settle(commit.now_ms)
        if (batch.is_closed and not work.is_closed) or work.has_left_queue(commit):
            self._tokens.look_now()
        metrics = self._shared.metrics
        metrics.batch_records.observe(len(work.records))
        metrics.misrouted.inc(len(work.home))
        count_batch(metrics, batch, active.policy, is_wall_clock=self._is_wall_clock)

    # Commit and publish

    async def _member(self, *, is_begun: bool = False) -> None:
        """Wait until the group counts on this worker."""
        if not self._flow.is_member():
            await self._retry.until(self._flow.is_member, is_begun=is_begun)

    def _commit_of(self, active: Active, batch: Batch, spent: dict[str, Spent]) -> Commit:
        head, changes = self._head, batch.changes()
        return Commit(
            head.epoch,
            head.owner,
            head.seq + 1,
            active.number,
            batch.now_ms,
            self._queue.positions_after(head.positions) | batch.routed,
            changes.ledgers,
            changes.answers,
            ANSWERS_KEPT_MS,
            changes.timers,
            pack_outbox(batch.output.outbox),
            spent,
            changes.waits,
            changes.opened,
            self._sweep.swept,
            self._poison.kept(head.seq + 1),
            self._poison.is_calm,
            changes.queue_keys,
        )

    async def _commit(self, commit: Commit) -> CommitResult:
        started = asked_at = monotonic()

        def send() -> Awaitable[tuple[CommitResult, int]]:
            nonlocal asked_at
            asked_at = monotonic()
            return self._turn.commit(self.partition, commit)

        verdict, time_ms = await self._retry.ask(send, is_begun=True)
        answered_at = monotonic()
        self._shared.clock.observe(time_ms, asked_at, answered_at)
        self._shared.metrics.commit_seconds.observe(answered_at - started)
        self._alarm.note(verdict)
        if verdict in (CommitResult.OK, CommitResult.STALE_POLICY, CommitResult.STALE_STOCK):
            return verdict
        raise self._lost(verdict, commit.seq - 1)

    def _lost(self, verdict: CommitResult, seq: int) -> Stopped:
        """Another worker owns the partition, or the store has lost commits."""
        if verdict is CommitResult.FENCED:
            self._shared.metrics.fenced.inc()
            self._shared.fatal(f"partition {self.partition} was claimed by another worker while this one held it")
        else:
            self._halt(
                "lost_commits",
                f"the store has lost commits (it does not know commit {seq} of this claim). Restore its data, "
                "then restart the worker",
            )
        return Stopped()

    def _adopt(self, commit: Commit) -> None:
        head = self._head
        self._head = replace(
            head,
            seq=commit.seq,
            activation=commit.activation,
            now_ms=commit.now_ms,
            positions=head.positions | commit.positions,
            claims=0 if commit.is_calm else head.claims,
            swept=commit.swept,
        )
        self._has_outbox = bool(commit.outbox)
        self._poison.adopt(commit.seq)
        self._dead.committed()
        self._loader.adopt()
        self._timers.moved(commit.timers)
        self._tokens.adopt(commit)

    async def _publish(self, records: Sequence[OutRecord]) -> None:
        started = monotonic()
        await self._member(is_begun=True)
        await self._retry.deliver(records, is_begun=True)
        self._shared.metrics.publish_seconds.observe(monotonic() - started)
