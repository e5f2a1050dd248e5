"""From a message to its record: topic, key, value, and the headers of a CloudEvent.

The key is the customer's id, so that Kafka's murmur2 partitioner finds the customer's home. The id of the event is a
hash of what it says: a message that is sent again is the same event.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from arbiter.client.core.building import Message
from arbiter.messages import (
    CONSENTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ConsentChange,
    ContactRequest,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
    encoder,
)
from arbiter.messages.traces import HEADER, parsed

TOPICS: Final[dict[type[Struct], tuple[str, str, str]]] = {
    ContactRequest: (REQUESTS, "contact.request.v1", "request"),
    Outcome: (OUTCOMES, "contact.outcome.v1", "outcome"),
    ConsentChange: (CONSENTS, "contact.consent.v1", "consent"),
    PreferenceChange: (CONSENTS, "contact.preference.v1", "preference"),
    SuppressionChange: (CONSENTS, "contact.suppression.v1", "suppression"),
    Profile: (PROFILES, "contact.profile.v1", "profile"),
}
"""Each message's topic, the type of its event, and what a sentence calls it."""

_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_encode = encoder().encode


class Record(Struct, frozen=True):
    """What is produced. ``name`` says for people what it is."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    name: str


class Place(Struct, frozen=True):
    """Where a record stands in Kafka."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class Envelope(Struct, frozen=True):
    """What the records of one sender have in common: the topics' prefix, and the ``source`` of their events."""

    topic_prefix: str
    source: str


def envelope(department: str, topic_prefix: str = "", source: str = "") -> Envelope:
    """The envelope of a department; ``source`` is a URI reference, by default made from the department's name."""
    return Envelope(topic_prefix, source or f"/departments/{_quoted(department)}")


def _quoted(text: str) -> str:
    """A text as one segment of a URI's path."""
    return "".join(chr(byte) if chr(byte) in _UNRESERVED else f"%{byte:02X}" for byte in text.encode())


def record_of(message: Message, envelope: Envelope, now: datetime, traceparent: str = "") -> Record:
    """The record of a message that was built; ``ValueError`` if ``traceparent`` is none."""
    topic, event, called = TOPICS[type(message)]
    value = _encode(message)
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", blake2b(value, digest_size=16).hexdigest().encode()),
        ("ce_source", envelope.source.encode()),
        ("ce_type", event.encode()),
        ("ce_time", msgspec.to_builtins(now).encode()),
        ("content-type", b"application/json"),
    ]
    if traceparent:
        if not parsed(traceparent.encode()):
            raise ValueError(f"`traceparent` is no W3C trace context: `{traceparent[:64]}`")
        headers.append((HEADER, traceparent.encode()))
    return Record(
        envelope.topic_prefix + topic, message.customer_id.encode(), value, tuple(headers), _name(called, message)
    )


def _name(called: str, message: Message) -> str:
    if isinstance(message, Outcome):
        return f"outcome `{message.kind}` of request `{message.request_id}` of customer `{message.customer_id}`"
    asked = f" `{message.request_id}`" if isinstance(message, ContactRequest) else ""
    return f"{called}{asked} of customer `{message.customer_id}`"
