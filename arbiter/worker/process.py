"""A worker process: what ``arbiter worker`` runs. Starts, claims, decides, drains, stops."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import faust
from faust.types import TP

from arbiter import __version__, log_events
from arbiter.metrics import Metrics
from arbiter.settings import Settings
from arbiter.state.redis_store import RedisStore, connect
from arbiter.state.store import StateDamaged, StoreUnavailable
from arbiter.worker import scraped, silence
from arbiter.worker.auditing import keep_publishing
from arbiter.worker.capacity_watch import CapacityWatch
from arbiter.worker.census import Census
from arbiter.worker.clock import StoreClock
from arbiter.worker.health import STORE, Health
from arbiter.worker.http import Server
from arbiter.worker.installation import InstallationCheck
from arbiter.worker.kafka import permissions, topics
from arbiter.worker.kafka.app import add_agent, consumer_of, make_app
from arbiter.worker.kafka.bounded_reader import BoundedReader
from arbiter.worker.kafka.joining import Joining
from arbiter.worker.kafka.outside import Outside
from arbiter.worker.kafka.producer import KafkaPublisher
from arbiter.worker.kafka.progress import Progress
from arbiter.worker.kafka.reader import INPUTS, topic_labels
from arbiter.worker.kafka.transport import Consumer
from arbiter.worker.lag import Consumer as LagConsumer
from arbiter.worker.lag import Lag
from arbiter.worker.lag import Work as LagWork
from arbiter.worker.last_decision import LastPublished
from arbiter.worker.ownership import Ownership
from arbiter.worker.partition.retry import HOLDS, Shared
from arbiter.worker.policy_watcher import Active, Policies
from arbiter.worker.reporting import Reporter, keep_watching
from arbiter.worker.signals import end_on_signals
from arbiter.worker.store_watch import StoreWatch
from arbiter.worker.topic_settings import TopicSettings
from arbiter.worker.tracing import Tracing, TracingMissing
from arbiter.worker.turn import Turn

APP_STOP_SECONDS_MAX = 8.0

# A batch is tens of thousands of objects that live for a moment and have no cycles. With Python's thresholds the
# collector runs through all of them again and again: measured, it took half of the time.
GC_THRESHOLDS = (200_000, 20, 50)
RETRY_SECONDS = 1.0


async def run(settings: Settings) -> int:
    """Run a worker until SIGTERM or SIGINT (gives 0), or until it cannot go on (1, and the log says why)."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        worker = Worker(settings)
    except TracingMissing as error:
        log_events.WORKER_FAILED(reason=error)
        return 1
    end_on_signals(worker.stop)
    return await worker.run()


class Worker:
    """One worker process's parts, and the order in which they start and stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._name = _worker_name()
        self._tracing = Tracing(self._name) if settings.tracing else None
        self._ending = asyncio.Event()
        self._failure: str | None = None
        self._metrics = metrics = Metrics()
        self._health = Health(self._metrics)
        self._clock = StoreClock(self._health)
        self._store: RedisStore = connect(settings.redis, settings.redis_prefix)
        self._store_watch = StoreWatch(self._store, self._clock, self._health)
        self._policies = Policies(self._store.policies, self._health, self._metrics)
        self._installation = InstallationCheck(settings, self._store, self._health)
        self._topic_settings = TopicSettings(settings, self._health)
        self._server = Server(self._metrics.registry, self.readiness)
        self._ownership: Ownership | None = None
        self._joining: Joining | None = None
        self._progress: Progress | None = None
        self._outside: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        scraped.begin(metrics, settings, self._store, self._store_watch, self._installation, self._health)

    def stop(self, reason: str) -> None:
        """Begin to end, in an orderly way."""
        log_events.WORKER_STOPPING(reason=reason)
        self._ending.set()

    def fail(self, reason: str) -> None:
        """End, since only a new process can go on. May be called in any thread, and more than once."""
        if self._failure is None:
            self._failure = reason
            log_events.WORKER_FAILED(reason=reason)
        self._loop.call_soon_threadsafe(self._ending.set)

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` shows."""
        owner, current = self._ownership, self._policies.current
        reasons = list(self._health.reasons)
        if self._joining is None or not self._joining.is_allowed:
            reasons.append("the worker is not in the group: it joins once Kafka and the store answer, with a policy")
        elif owner is None or not self._joining.has_joined or not self._has_share(owner):
            reasons.append("no partitions were assigned yet")
        elif owner.claimed < owner.assigned:
            reasons.append(f"{owner.assigned - owner.claimed} of {owner.assigned} partitions are not claimed yet")
        if current is None and not self._health.has("policy"):
            reasons.append("no policy was read yet")
        if self._ending.is_set():
            reasons.append("the worker is stopping")
        name, version, digest = current.policy.ref if current else ("", 0, "")
        number = current.number if current else 0
        return {
            "ready": not reasons,
            "partitions": {"assigned": owner.assigned if owner else 0, "claimed": owner.claimed if owner else 0},
            "policy": {"name": name, "version": version, "digest": digest, "activation": number} if current else None,
            "shadow_policy": self._shadow_shown(current),
            "store": self._store_watch.is_well,
            "reasons": reasons,
        }

    def _has_share(self, owner: Ownership) -> bool:
        """Whether the group gave it partitions. None is a share, too, once the other workers have them all."""
        return owner.assigned > 0 or (self._progress is not None and self._progress.is_covered)

    def _shadow_shown(self, current: Active | None) -> dict[str, Any] | None:
        """The shadow policy, or why the one that was ordered is not used. That makes no worker unready."""
        if self._policies.shadow_trouble:
            return {"trouble": self._policies.shadow_trouble}
        if current is None or current.policy.shadow is None:
            return None
        name, version, digest = current.policy.shadow.ref
        return {"name": name, "version": version, "digest": digest}

    async def run(self) -> int:
        """Run from start to end; see :func:`run`."""
        log_events.WORKER_STARTING(version=__version__)
        try:
            address = await self._server.start(self._settings.http)
            log_events.HTTP_SERVING(address=address)
            await self._ready()
            if not self._ending.is_set():
                await self._decide()
        except (topics.TopicsError, OSError) as error:
            self.fail(str(error))
        finally:
            for task in self._tasks:
                task.cancel()
            await self._server.stop()
            with suppress(Exception):
                await self._store.close()
        log_events.WORKER_STOPPED()
        return 1 if self._failure else 0

    async def _ready(self) -> None:
        """Return once all topics are there and keep records, and the state is this installation's; or at the end."""
        is_permitted = False
        while not self._ending.is_set():
            try:
                if not is_permitted:
                    await asyncio.to_thread(permissions.verify, self._settings)
                is_permitted = True
                await self._installation.begin()
                are_safe = await self._topic_settings.are_safe()
                self._health.over("kafka")
                is_ours = await self._installation.is_ours()
                self._health.over(STORE)
            except topics.KafkaAway as error:
                self._health.trouble("kafka", f"Kafka does not answer at {self._settings.kafka}: {error}")
            except (StoreUnavailable, StateDamaged, ValueError) as error:
                self._health.trouble(STORE, f"the store does not say whose state it has, nothing is claimed: {error}")
            else:
                if is_ours and are_safe:
                    break
            self._tell_lag_meanwhile()
            await self._pause()
        if self._outside is not None:
            self._outside.cancel()
            await asyncio.wait([self._outside])

    def _tell_lag_meanwhile(self) -> None:
        """Tell how long records wait, from when on it is known what there is to ask for."""
        if self._outside is None and self._installation.partitions:
            self._outside = self._watch("watching the lag from outside", self._watch_from_outside())

    async def _watch_from_outside(self) -> None:
        outside = Outside(self._settings)
        try:
            await self._lag(outside, outside, dict).keep_watching()
        finally:
            await outside.close()

    def _lag(self, consumer: LagConsumer, work: LagWork, ends: Callable[[], Mapping[TP, int]]) -> Lag:
        """From now on a scrape reads this one."""
        labels, reader = topic_labels(self._settings), BoundedReader(self._settings)
        found = Lag(consumer, work, reader, labels, self._installation.partitions, ends)
        scraped.read_lag(self._metrics, found)
        return found

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), RETRY_SECONDS)

    async def _decide(self) -> None:
        publisher = KafkaPublisher(topics.client_config(self._settings), self.fail)
        shared = Shared(
            self._settings,
            self._installation.partitions,
            self._store,
            self._policies,
            self._clock,
            self._health,
            self._metrics,
            self.fail,
            Turn(self._store, publisher),
            self._tracing,
        )
        app = make_app(self._settings)
        app.finalize()
        name, last_published = self._name, LastPublished(self._settings)
        consumer = consumer_of(app)
        ownership = self._ownership = Ownership(
            shared, consumer, self._installation, self._store.policies, last_published, name
        )
        add_agent(app, self._settings, ownership)
        self._let_scrape(ownership, consumer, publisher)
        held_by = partial(self._health.why, *HOLDS)
        reporter = Reporter(self._store.policies, self._policies, self._metrics, name, lambda: ownership.using, held_by)
        self._watch("watching the store", self._store_watch.keep_watching())
        self._watch("watching the policy", keep_watching(self._policies, reporter))
        self._watch("watching topics and state", self._installation.keep_watching(ownership.refuse))
        silence_max = self._settings.session_timeout_ms / 1_000
        watch = silence.keep_watching(consumer, self._health, silence_max, lambda: publisher.causes.text)
        self._watch("watching the group", watch)
        seconds_max = self._settings.stall_timeout_ms / 1_000
        joining = self._joining = Joining(consumer.membership, self._is_fit, seconds_max)
        self._watch("joining the group", joining.keep_watching())
        inputs = [self._settings.topic(topic) for topic in INPUTS]
        partitions = self._installation.partitions
        progress = Progress(consumer, ownership, self._health, inputs, partitions, seconds_max)
        self._progress = progress
        self._watch("watching for progress", progress.keep_watching())
        lag = self._lag(consumer, ownership, lambda: progress.ends)
        self._watch("watching the lag", lag.keep_watching())
        self._watch_slowly(ownership, shared)
        prefix = self._settings.topic_prefix
        self._watch("publishing the audit", keep_publishing(self._store.policies, publisher, prefix, name))
        try:
            await self._until_the_end(app)
        finally:
            await ownership.drain()
            with suppress(Exception):  # it ends anyway; then it is forgotten within a minute
                await reporter.leave()
            await _stopped_within(APP_STOP_SECONDS_MAX, app)
            await asyncio.to_thread(publisher.stop)
            await asyncio.to_thread(last_published.close)
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.stop)

    def _let_scrape(self, ownership: Ownership, consumer: Consumer, publisher: KafkaPublisher) -> None:
        """From now on a scrape also reads what becomes of partitions, and all clients of Kafka."""
        metrics, installation = self._metrics, self._installation
        scraped.read_ownership(metrics, ownership, self._settings.cache_bytes)
        metrics.rebalances.read_from(lambda: {(): consumer.membership.rebalances})
        clients = (
            consumer.membership.causes,
            consumer.fetcher.causes,
            consumer.log_offsets.causes,
            publisher.causes,
        )
        counts = [installation.errors, *(causes.counts for causes in clients)]
        scraped.read_kafka(metrics, self._settings, counts, lambda: max(installation.answered_at, consumer.heard_at))

    def _watch_slowly(self, ownership: Ownership, shared: Shared) -> None:
        """Watch, at a slower pace, what only metrics show."""
        metrics, policies = self._metrics, self._policies
        shared_by_all = metrics.capacity, metrics.floors
        capacity = CapacityWatch(self._store, policies, self._clock, shared.partitions, *shared_by_all)
        self._watch("watching capacity", capacity.keep_watching())

        def departments() -> Collection[str]:
            return policies.current.policy.document.departments if policies.current is not None else ()

        census = Census(self._store, ownership.claimed_numbers, departments)
        metrics.waiting.requests.read_from(census.requests)
        metrics.waiting.by_age.read_from(census.ages)
        metrics.waiting.oldest.read_from(census.oldest)
        metrics.waiting.census_at.read_from(census.ended)
        self._watch("counting what waits", census.keep_counting())

    def _is_fit(self) -> bool:
        """Whether this worker could decide, if it had partitions."""
        return self._store_watch.is_well and self._policies.current is not None

    async def _until_the_end(self, app: faust.App) -> None:
        starting = asyncio.create_task(app.start())
        starting.add_done_callback(self._check("starting the consumer"))
        self._watch("the consumer", _crashed(app))
        await self._ending.wait()
        if not starting.done():
            starting.cancel()

    def _watch(self, what: str, forever: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.create_task(forever)
        task.add_done_callback(self._check(what))
        self._tasks.append(task)
        return task

    def _check(self, what: str) -> Callable[[asyncio.Task[Any]], None]:
        def ended(task: asyncio.Task[Any]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.fail(f"{what} failed: {error!r}")

        return ended


async def _crashed(app: faust.App) -> None:
    """Return never; raise what crashed the app."""
    await app._crashed.wait()  # noqa: SLF001 - mode has no other way to wait for it
    raise app.crash_reason or RuntimeError("unknown")


async def _stopped_within(seconds: float, app: faust.App) -> None:
    stopping = asyncio.create_task(app.stop())
    done, _ = await asyncio.wait([stopping], timeout=seconds)
    if not done:
        log_events.CONSUMER_LATE(seconds=seconds)


def _worker_name() -> str:
    """A name that no other process ever had."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
