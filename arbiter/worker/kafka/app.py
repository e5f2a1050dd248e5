"""The Faust application: which settings differ from Faust's defaults, and the agent that hands batches on."""

from __future__ import annotations

import faust

from arbiter.settings import Settings
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.transport import Consumer, Transport, forwarding_to
from arbiter.worker.ownership import Ownership

REQUEST_SECONDS = 30.0


class _App(faust.App):
    """Faust makes directories for its tables in the current one. There are no tables, and that one may be read-only."""

    def _create_directories(self) -> None:
        pass


def make_app(settings: Settings) -> faust.App:
    """The application, on the batch transport, without its agent."""
    app = _App(
        settings.group,
        broker=[f"kafka://{address}" for address in settings.kafka.split(",")],
        broker_session_timeout=settings.session_timeout_ms / 1_000,
        # Nothing is produced through Faust, but its producer is started and stopped with the app.
        producer_request_timeout=REQUEST_SECONDS,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
        # The drain is ours, and bounded.
        stream_wait_empty=False,
        key_serializer="raw",
        value_serializer="raw",
        autodiscover=False,
    )
    app.transport = Transport(app.conf.broker_consumer, app, settings)
    return app


def add_agent(app: faust.App, settings: Settings, ownership: Ownership) -> None:
    """Let the application hand every batch to the owner of its partition, and report rebalances to it."""
    topic = app.topic(*(settings.topic(name) for name in INPUTS), key_type=bytes, value_type=bytes)
    app.agent(topic, name="arbiter.worker.forward")(forwarding_to(ownership.deliver))
    consumer = consumer_of(app)
    consumer.on_assigned, consumer.on_revoked = ownership.assign, ownership.release


def consumer_of(app: faust.App) -> Consumer:
    """The application's consumer."""
    consumer = app.consumer
    if not isinstance(consumer, Consumer):
        raise TypeError(f"the app is not on the batch transport: {consumer!r}")
    return consumer
