"""The Faust application: which settings differ from Faust's defaults, and the agent that hands batches on."""

from __future__ import annotations

import ssl
from typing import Any

import faust

from arbiter.settings import Settings
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.transport import Consumer, Transport, handing_on
from arbiter.worker.ownership import Ownership

REQUEST_SECONDS = 30.0
POLL_INTERVAL_SECONDS_MAX = 600.0


class _App(faust.App):
    """Faust makes directories for its tables in the current one. There are no tables, and that one may be read-only."""

    def _create_directories(self) -> None:
        pass


def make_app(settings: Settings) -> faust.App:
    """The application, on the batch transport, without its agent."""
    app = _App(
        settings.group,
        broker=[f"aiokafka://{address}" for address in settings.kafka.split(",")],
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.session_timeout_ms / 1_000,
        broker_heartbeat_interval=settings.heartbeat_interval_ms / 1_000,
        broker_request_timeout=max(REQUEST_SECONDS, settings.session_timeout_ms / 1_000),
        # Full runners stop the fetching for as long as they need.
        broker_max_poll_interval=POLL_INTERVAL_SECONDS_MAX,
        broker_max_poll_records=settings.max_poll_records,
        consumer_auto_offset_reset="earliest",
        # Nothing is produced through Faust, but its producer is started and stopped with the app.
        producer_request_timeout=REQUEST_SECONDS,
        producer_acks=-1,
        # With 0 and no tables Faust assigns round robin, and one partition's topics part ways.
        table_standby_replicas=1,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        # The drain is ours, and bounded.
        stream_wait_empty=False,
        key_serializer="raw",
        value_serializer="raw",
        autodiscover=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app)
    return app


def add_agent(app: faust.App, settings: Settings, ownership: Ownership) -> None:
    """Let the application hand every batch to the owner of its partition, and tell it of rebalances."""
    topic = app.topic(*(settings.topic(name) for name in INPUTS), key_type=bytes, value_type=bytes)
    app.agent(topic, name="arbiter.worker.hand_on")(handing_on(ownership.deliver))

    async def release(*_: Any, **__: Any) -> None:
        await ownership.release()

    app.on_partitions_revoked.connect(release, weak=False)
    consumer_of(app).on_flow_resumed = ownership.assign


def consumer_of(app: faust.App) -> Consumer:
    """The application's consumer."""
    consumer = app.consumer
    if not isinstance(consumer, Consumer):
        raise TypeError(f"the app is not on the batch transport: {consumer!r}")
    return consumer


def _credentials(settings: Settings) -> Any:
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return None
    context = ssl.create_default_context(cafile=settings.kafka_ca_file or None) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=settings.kafka_username,
        password=settings.kafka_password,
        ssl_context=context,
        mechanism=settings.kafka_sasl_mechanism,
    )
