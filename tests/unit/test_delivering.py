"""What is published again when Kafka refuses some of a commit's records."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from arbiter.messages import DECISIONS, ROUTED
from arbiter.metrics import Metrics
from arbiter.state.codec import OutRecord
from arbiter.stream.health import Health
from arbiter.stream.patience import Patience
from arbiter.stream.publisher import PublishFailed


class Picky:
    """A publisher that refuses one record once."""

    def __init__(self, refused: OutRecord) -> None:
        self.published: list[OutRecord] = []
        self._refused: OutRecord | None = refused

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        refused, self._refused = self._refused, None
        self.published += [record for record in records if record is not refused]
        if refused is not None:
            raise PublishFailed([(refused, KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))])


async def test_routed_records_come_again_from_the_refused_one_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of its partition, since a receiver takes them in their order only; decisions come once."""
    monkeypatch.setattr("arbiter.stream.patience.BACKOFF_SECONDS", (0.0,))
    one, two, three = (OutRecord(f"bank.{ROUTED}", 1, b"k", b"%d" % number) for number in range(3))
    elsewhere, decision = OutRecord(f"bank.{ROUTED}", 2, b"k", b"e"), OutRecord(f"bank.{DECISIONS}", 1, b"k", b"d")
    publisher = Picky(two)
    shared = SimpleNamespace(health=Health(Metrics()), publisher=publisher)
    await Patience(shared).deliver([one, two, elsewhere, decision, three])  # type: ignore[arg-type]

    assert [one, elsewhere, decision, three, two, three] == publisher.published
