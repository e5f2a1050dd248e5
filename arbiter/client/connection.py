"""How a client reaches Kafka: brokers, login, and the prefix of the topics. What librdkafka reports is kept here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import KafkaError
from msgspec import Struct

LOG: Final = logging.getLogger("arbiter.client")

ASK_SECONDS: Final = 5.0
"""How long a question to the brokers may take."""

OPEN_SECONDS: Final = 30.0
"""For how long a question is asked again while brokers are away."""


class Connection(Struct, frozen=True):
    """Where Kafka is, and how its topics are called.

    ``options`` are librdkafka's own, for example ``{"security.protocol": "SASL_SSL", "sasl.username": …}``.
    """

    servers: str
    topic_prefix: str = ""
    options: Mapping[str, Any] = {}

    def topic(self, name: str) -> str:
        """The name that a topic has in this installation."""
        return f"{self.topic_prefix}{name}"


class Said:
    """What one of librdkafka's clients said last about its troubles."""

    def __init__(self) -> None:
        self.text = ""
        self.fatal = ""
        self._last: int | None = None

    def config(self, connection: Connection) -> dict[str, Any]:
        """The client's settings: where, how, and that errors come here."""
        return {
            "client.id": "arbiter-client",
            **connection.options,
            "bootstrap.servers": connection.servers,
            "error_cb": self._failed,
            "logger": self,
        }

    def log(self, _level: int, form: str, *words: Any) -> None:
        """A line of librdkafka's log: it tells every attempt to connect, many a second."""
        LOG.debug(form, *words)

    def why(self, otherwise: str) -> str:
        """The last trouble that was reported, or another reason."""
        return self.text or otherwise

    def _failed(self, error: KafkaError) -> None:
        if error.fatal():
            self.fatal = error.str()
        elif error.code() != KafkaError._ALL_BROKERS_DOWN or not self.text:  # noqa: SLF001 - its name
            if error.code() != self._last:
                LOG.warning("Kafka: %s", error.str())
            self._last, self.text = error.code(), error.str()
