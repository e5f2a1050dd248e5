"""What is published again when Kafka refuses some of a commit's records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError

from arbiter.engine.routed import Emptied, Forward
from arbiter.ledger.model import StoredRecord
from arbiter.messages import DECISIONS, ROUTED
from arbiter.metrics import Metrics
from arbiter.settings import Settings
from arbiter.state.codec import OutRecord
from arbiter.state.envelopes import pack_envelope, unpack_envelope
from arbiter.worker.health import Health
from arbiter.worker.kafka.producer import KafkaPublisher, PublishFailed
from arbiter.worker.partition.retry import RetryPolicy


class Picky:
    """A publisher that refuses one record once."""

    def __init__(self, refused: OutRecord, code: int = KafkaError.TOPIC_AUTHORIZATION_FAILED) -> None:
        self._code = code
        self.published: list[OutRecord] = []
        self._refused: OutRecord | None = refused

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        refused, self._refused = self._refused, None
        self.published += [record for record in records if record is not refused]
        if refused is not None:
            raise PublishFailed([(refused, KafkaError(self._code))])


async def test_routed_records_come_again_from_the_refused_one_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of its partition, since a receiver takes them in their order only; decisions come once."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    one, two, three = (OutRecord(f"bank.{ROUTED}", 1, b"k", b"%d" % number) for number in range(3))
    elsewhere, decision = OutRecord(f"bank.{ROUTED}", 2, b"k", b"e"), OutRecord(f"bank.{DECISIONS}", 1, b"k", b"d")
    publisher = Picky(two)
    shared = SimpleNamespace(health=Health(Metrics()), turn=publisher)
    await RetryPolicy(shared).deliver([one, two, elsewhere, decision, three])  # type: ignore[arg-type]

    assert [one, elsewhere, decision, three, two, three] == publisher.published


async def test_a_record_too_long_to_be_sent_home_leaves_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes a letter of its own topic, and its number still comes, so that what follows is taken."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    stored = StoredRecord("request", ("contact.requests.v1", 3, 9), 5, b"{}", b"key", None, (("h", b"v"),), 1)
    long = OutRecord(ROUTED, 1, b"c", pack_envelope(3, 4, 5, Forward("c:c1", stored)))
    after = OutRecord(ROUTED, 1, b"c", pack_envelope(3, 5, 6, Forward("c:c1", stored)))
    publisher = Picky(long, KafkaError.MSG_SIZE_TOO_LARGE)
    clock, settings = SimpleNamespace(now_ms=lambda: 0), Settings(kafka="k:1", redis="redis://r")
    shared = SimpleNamespace(health=Health(Metrics()), turn=publisher, clock=clock, settings=settings)
    await RetryPolicy(shared).deliver([long, after])  # type: ignore[arg-type]
    first, letter, empty, again = publisher.published
    parcel = unpack_envelope(empty.value or b"")

    assert (first, again) == (after, after)
    assert (letter.topic, letter.partition, letter.key, letter.value) == ("contact.requests.v1.dlq", 3, b"key", b"{}")
    assert dict(letter.headers)["arbiter-error-code"] == b"oversized"
    assert (parcel.home, parcel.after, parcel.seq, parcel.open()) == (3, 4, 5, Emptied("c:c1"))


class Refusing:
    """A producer that refuses the second record that it is given."""

    def __init__(self, _: object) -> None:
        self._reports: list[Callable[[KafkaError | None, object], None]] = []
        self._count = 0

    def produce(self, *_: object, on_delivery: Callable[[KafkaError | None, object], None], **__: object) -> None:
        """See ``confluent_kafka.Producer``."""
        self._reports.append(on_delivery)

    def poll(self, _: float) -> None:
        """See ``confluent_kafka.Producer``."""
        while self._reports:
            self._count += 1
            self._reports.pop(0)(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE) if self._count == 2 else None, None)

    def flush(self, _: float) -> None:
        """See ``confluent_kafka.Producer``."""


async def test_what_failed_is_known_among_records_that_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Letters without values, of equal keys and headers, are told apart: no letter is sent for another."""
    monkeypatch.setattr("arbiter.worker.kafka.producer.Producer", Refusing)
    alike = [OutRecord("t.dlq", 1, b"", None) for _ in range(3)]
    publisher = KafkaPublisher({}, lambda _: None)
    with pytest.raises(PublishFailed) as failure:
        await publisher.publish(alike)
    await asyncio.to_thread(publisher.stop)

    assert [record is alike[1] for record, _ in failure.value.failed] == [True]
