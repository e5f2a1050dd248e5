"""The gateway's process: what ``arbiter gateway`` runs. Its calls on one port, health and metrics on another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from arbiter import __version__, log_events
from arbiter.client.connection import Connection
from arbiter.gateway.core.limits import Rates
from arbiter.gateway.core.signing import Webhook, WebhooksError, read
from arbiter.gateway.following import Feeds
from arbiter.gateway.history import Histories
from arbiter.gateway.keys_file import Keys
from arbiter.gateway.live import Live
from arbiter.gateway.once import Once
from arbiter.gateway.parts import Parts
from arbiter.gateway.publishing import Publisher
from arbiter.gateway.server import Server
from arbiter.gateway.webhooks import Deliveries
from arbiter.metrics import GatewayMetrics
from arbiter.settings import Settings
from arbiter.state.redis_store import connect
from arbiter.worker.http import Server as Health
from arbiter.worker.kafka.topics import client_config
from arbiter.worker.signals import end_on_signals


async def run(settings: Settings) -> int:
    """Run until SIGTERM or SIGINT (gives 0), or give 1 if an address is taken.

    ``KeysError``; ``WebhooksError``.
    """
    gateway = Gateway(settings)
    end_on_signals(gateway.stop)
    return await gateway.run()


class Gateway:
    """One gateway, made within its loop."""

    def __init__(self, settings: Settings) -> None:
        self._parts = parts_of(settings)
        self._metrics = self._parts.metrics
        self._metrics.keys.set_function(lambda: len(self._parts.keys.now()))
        self._metrics.streams.set_function(lambda: self._parts.feeds.count)
        self._metrics.waiting.set_function(lambda: self._parts.live.waiting)
        self._server = Server(self._parts)
        self._health = Health(self._metrics.registry, self.readiness)
        self._stopped = asyncio.Event()
        # A gateway that is killed is followed as soon as a worker is.
        options = {**self._parts.connection.options, "session.timeout.ms": settings.session_timeout_ms}
        members = msgspec.structs.replace(self._parts.connection, options=options)
        self._deliveries = [
            Deliveries(webhook, members, settings.group, self._metrics)
            for webhook in webhooks_of(settings.gateway_webhooks_file)
        ]

    def stop(self, reason: str) -> None:
        """Begin to end."""
        log_events.GATEWAY_STOPPING(reason=reason)
        self._parts.feeds.stopping.set()
        self._stopped.set()

    def readiness(self) -> dict[str, Any]:
        """What ``/readyz`` shows: whether decisions can be read, which is whether Kafka answers."""
        reasons = [*([self._parts.live.trouble] if self._parts.live.trouble else [])]
        reasons += ["it is stopping"] if self._stopped.is_set() else []
        return {"ready": not reasons, "reasons": reasons}

    async def run(self) -> int:
        """Run from start to end."""
        parts = self._parts
        log_events.GATEWAY_STARTING(version=__version__, keys=len(parts.keys.now()))
        parts.live.start()
        deliveries = [asyncio.create_task(one.run()) for one in self._deliveries]
        try:
            log_events.HTTP_SERVING(address=await self._health.start(parts.settings.http))
            log_events.GATEWAY_SERVING(address=await self._server.start(parts.settings.gateway_http))
            await self._stopped.wait()
        except OSError as error:
            log_events.WORKER_FAILED(reason=error)
            return 1
        finally:
            await self._server.stop()
            for task in deliveries:
                task.cancel()
            await asyncio.gather(*deliveries, return_exceptions=True)
            await parts.publisher.close()
            await parts.live.close()
            await parts.once.close()
            await parts.store.close()
            await self._health.stop()
        log_events.WORKER_STOPPED()
        return 0


def webhooks_of(path: str) -> list[Webhook]:
    """The webhooks of a file, or none; :class:`WebhooksError`."""
    if not path:
        return []
    try:
        return read(Path(path).read_bytes())
    except OSError as error:
        raise WebhooksError(f"it cannot be read: {(error.strerror or 'unknown').lower()}") from None


def parts_of(settings: Settings) -> Parts:
    """Everything that calls need; ``KeysError``."""
    metrics = GatewayMetrics()

    def keys_failed(why: str) -> None:
        metrics.key_failures.inc()
        log_events.GATEWAY_KEYS_FAILED(why=why)

    options = client_config(settings)
    connection = Connection(settings.kafka, settings.topic_prefix, options)
    return Parts(
        settings,
        connection,
        Keys(Path(settings.gateway_keys_file), keys_failed),
        Rates(settings.gateway_rate, settings.gateway_batch_max),
        connect(settings.redis, settings.redis_prefix),
        Once(settings.redis, settings.redis_prefix, settings.gateway_idempotency_hours),
        Publisher(connection, settings.gateway_confirm_ms / 1_000),
        Live(connection, lambda why: log_events.GATEWAY_AWAY(why=why)),
        Histories(connection),
        Feeds(connection, settings.gateway_streams_max),
        metrics,
    )
