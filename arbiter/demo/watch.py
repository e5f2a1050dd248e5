"""Reads the topics into an account as records come."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from arbiter.demo.account import DEAD_LETTERS, Account

MESSAGES_MAX = 10_000


class Watch:
    """A consumer of all partitions of some topics from their beginning, without a group. A context manager."""

    def __init__(self, bootstrap: str, topics: Iterable[str], partitions: int, account: Account) -> None:
        self._account = account
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                # The client wants a name, but partitions that are assigned by hand need no group.
                "group.id": "arbiter-demo-account",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                # The embedded broker lets an empty fetch wait to its end, even if records come meanwhile.
                "fetch.wait.max.ms": 50,
                "log_level": 0,
            }
        )
        self._consumer.assign(
            [TopicPartition(topic, p, OFFSET_BEGINNING) for topic in topics for p in range(partitions)]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def read(self, seconds: float) -> int:
        """Read what is there, after waiting up to ``seconds`` for it; return the number of records."""
        messages = self._consumer.consume(MESSAGES_MAX, seconds)
        for message in messages:
            if (error := message.error()) is not None:
                raise KafkaException(error)
            topic = message.topic() or ""
            headers = _headers(message) if topic.endswith(DEAD_LETTERS) else None
            self._account.take(topic, message.partition() or 0, message.offset() or 0, message.value(), headers)
        return len(messages)


def _headers(message: Message) -> dict[str, bytes]:
    pairs: list[tuple[str, bytes]] = message.headers() or []  # type: ignore[assignment]
    return dict(pairs)
