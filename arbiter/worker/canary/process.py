"""The canary's process: what ``arbiter canary`` runs. A round every few seconds, its own metrics, until SIGTERM."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from arbiter import __version__, log_events
from arbiter.metrics import CanaryMetrics
from arbiter.settings import Settings
from arbiter.worker.canary.round import Rounds, Seen, customers
from arbiter.worker.http import Server
from arbiter.worker.kafka.topics import KafkaAway
from arbiter.worker.signals import end_on_signals


async def run(settings: Settings) -> int:
    """Run the canary until SIGTERM or SIGINT (gives 0), or give 1 if its address is taken."""
    canary = Canary(settings)
    end_on_signals(canary.stop)
    return await canary.run()


class Canary:
    """Rounds, one after another, and what they saw."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = CanaryMetrics()
        self._server = Server(self._metrics.registry, self.readiness)
        self._ending = threading.Event()
        self._stopped = asyncio.Event()
        self._names: list[str] = []
        self._decided_at: list[float] = []
        self._troubles: dict[int, str] = {}
        self._away = "nothing was decided yet"
        self._started_at = time.time()

    def stop(self, reason: str) -> None:
        """Begin to end."""
        log_events.CANARY_STOPPING(reason=reason)
        self._ending.set()
        self._stopped.set()

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` shows: whether the last round was decided in time on every partition."""
        late = [f"partition {number}: {why}" for number, why in sorted(self._troubles.items())]
        reasons = [*([self._away] if self._away else []), *late]
        return {"ready": not reasons, "partitions": len(self._names), "reasons": reasons}

    async def run(self) -> int:
        """Run from start to end."""
        log_events.CANARY_STARTING(version=__version__)
        self._metrics.last_decided.set(self._started_at)
        try:
            address = await self._server.start(self._settings.http)
        except OSError as error:
            log_events.WORKER_FAILED(reason=error)
            return 1
        log_events.HTTP_SERVING(address=address)
        rounds = Rounds(self._settings, f"canary-{uuid.uuid4().hex[:12]}", self._ending.is_set)
        try:
            while not self._ending.is_set():
                began = time.monotonic()
                await asyncio.to_thread(self._round, rounds)
                await self._pause(began + self._settings.canary_interval_ms / 1_000 - time.monotonic())
        finally:
            await asyncio.to_thread(rounds.close)
            await self._server.stop()
        log_events.WORKER_STOPPED()
        return 0

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), max(seconds, 0.0))

    def _round(self, rounds: Rounds) -> None:
        """One round, in a thread. While Kafka is away, each of its requests is late: nobody is decided for."""
        try:
            count = rounds.partitions()
            if count != len(self._names):
                self._names = customers(count)
                self._decided_at = [self._started_at] * count
            for seen in rounds.run(self._names):
                self._away = ""
                self._note(seen)
        except KafkaAway as error:
            if not self._ending.is_set():
                self._metrics.requests.labels("late").inc(max(len(self._names), 1))
                self._tell_away(f"Kafka does not answer at {self._settings.kafka}: {error}")

    def _tell_away(self, why: str) -> None:
        if why != self._away:
            log_events.CANARY_AWAY(why=why)
        self._away = why

    def _note(self, seen: Seen) -> None:
        self._metrics.requests.labels(seen.result).inc()
        if seen.result == "decided":
            self._metrics.seconds.observe(seen.seconds)
            self._decided_at[seen.partition] = time.time()
            self._metrics.last_decided.set(min(self._decided_at))
            if self._troubles.pop(seen.partition, None) is not None:
                log_events.CANARY_WELL(partition=seen.partition)
            return
        if seen.partition not in self._troubles:
            log_events.CANARY_LATE(partition=seen.partition, why=seen.why)
        self._troubles[seen.partition] = seen.why
