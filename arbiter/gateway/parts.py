"""What the handlers of a gateway share."""

from __future__ import annotations

from dataclasses import dataclass

from arbiter.client.connection import Connection
from arbiter.gateway.core.limits import Rates
from arbiter.gateway.following import Feeds
from arbiter.gateway.history import Histories
from arbiter.gateway.keys_file import Keys
from arbiter.gateway.live import Live
from arbiter.gateway.once import Once
from arbiter.gateway.publishing import Publisher
from arbiter.metrics import GatewayMetrics
from arbiter.settings import Settings
from arbiter.state.redis_store import RedisStore


@dataclass(frozen=True)
class Parts:
    """Made once, by the process."""

    settings: Settings
    connection: Connection
    keys: Keys
    rates: Rates
    store: RedisStore
    once: Once
    publisher: Publisher
    live: Live
    histories: Histories
    feeds: Feeds
    metrics: GatewayMetrics
