"""What a client may choose, the same for threads and for an event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypedDict

from arbiter.client.connection import Connection
from arbiter.client.core.permits import Clock
from arbiter.client.core.records import envelope
from arbiter.client.core.sender import Sender
from arbiter.client.producing import DELIVERY_SECONDS, QUEUE_MAX
from arbiter.client.tracing import current_traceparent
from arbiter.messages import DECISIONS
from arbiter.messages.forms import name_in_one_form

CLOSE_SECONDS: Final = 30.0
DECISION_SECONDS: Final = 30.0

Start = Literal["end", "begin"] | datetime | Mapping[int, int]
"""Where a stream begins: at what comes from now on, at all there is, at a time, or at these offsets by partition."""


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


class Choices(TypedDict, total=False):
    """Everything but the brokers and the department; all have defaults."""

    topic_prefix: str
    """What stands before every topic's name in this installation."""
    options: Mapping[str, Any]
    """librdkafka's own settings: TLS, login."""
    source: str
    """The ``source`` of the records' events, a URI reference; by default made from the department."""
    when_full: Literal["wait", "raise"]
    """What to do while ``queue_max`` records wait for Kafka; ``wait`` by default."""
    queue_max: int
    delivery_seconds: float
    """How long Kafka may take to confirm a record before it counts as not delivered; 120 by default."""
    decisions_topic: str
    """Where the decisions are read, without the prefix."""
    clock: Clock
    traceparent: Callable[[], str]
    """Gives the trace of each record; by default OpenTelemetry's current span, if there is one."""


class Chosen:
    """The choices of one client, with their defaults."""

    def __init__(self, kafka: str, department: str, choices: Choices) -> None:
        prefix = choices.get("topic_prefix", "")
        self.connection = Connection(kafka, prefix, choices.get("options", {}))
        self.clock = choices.get("clock", utc_now)
        own = name_in_one_form(department)
        self.sender = Sender(own, envelope(own, prefix, choices.get("source", "")), self.clock)
        self.waits = choices.get("when_full", "wait") == "wait"
        self.queue_max = choices.get("queue_max", QUEUE_MAX)
        self.delivery_seconds = choices.get("delivery_seconds", DELIVERY_SECONDS)
        self.topic = choices.get("decisions_topic", DECISIONS)
        self.trace = choices.get("traceparent", current_traceparent)
