"""Records out: handed over without waiting, confirmed by Kafka one by one. The queue is bounded."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from arbiter.client.connection import Connection, Said
from arbiter.client.core.errors import ClientClosed, ClientFailed, Undelivered
from arbiter.client.core.records import Place, Record

QUEUE_MAX: Final = 10_000
DELIVERY_SECONDS: Final = 120.0
POLL_SECONDS: Final = 0.1
REPORT_SECONDS_MAX: Final = 10.0
"""How long the reports on what was purged may take."""

FULL_SECONDS: Final = 0.01
"""How long to wait before a full queue is tried again."""

Fate = Place | Undelivered
"""What became of a record."""


class Slot(Protocol):
    """Where the fate of a record goes: a future of a thread or of a loop."""

    def done(self) -> bool: ...  # noqa: D102
    def set_result(self, fate: Any, /) -> None: ...  # noqa: D102


Told = Sequence[tuple[Slot, Fate]]


def tell(fates: Told) -> None:
    """Put fates into their slots, unless whoever waited has gone."""
    for slot, fate in fates:
        if not slot.done():
            slot.set_result(fate)


class Outbox:
    """A producer and the thread that hears what became of its records.

    ``told`` is called in that thread, with all fates that became known together.
    """

    def __init__(
        self,
        connection: Connection,
        told: Callable[[Told], None] = tell,
        *,
        queue_max: int = QUEUE_MAX,
        delivery_seconds: float = DELIVERY_SECONDS,
    ) -> None:
        self._told = told
        self._said = Said()
        self._known: deque[tuple[Slot, Fate]] = deque()
        self._lock = threading.Lock()
        self._failed: list[Undelivered] = []
        self._is_closed = False
        self._ending = threading.Event()
        self._producer = Producer(
            {
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": queue_max,
                "message.timeout.ms": int(delivery_seconds * 1_000),
                **self._said.config(connection),
                # These are promises, and not to be changed: no loss, no repeat, the customer's own partition.
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
            }
        )
        self._thread = threading.Thread(target=self._poll, name="arbiter-client-outbox", daemon=True)
        self._thread.start()

    def offer(self, record: Record, slot: Slot) -> bool:
        """Hand a record over; ``False`` if the queue is full. Its fate goes to ``slot``.

        :class:`ClientClosed`; :class:`ClientFailed`.
        """
        with self._lock:
            if self._is_closed:
                raise ClientClosed(f"the client is closed; {record.name} was not sent")
            try:
                self._produce(record, slot)
            except BufferError:
                return False
            except KafkaException as error:
                why = self._said.fatal or error.args[0].str()
                raise ClientFailed(f"{record.name} was not sent: {why}") from error
        return True

    def _produce(self, record: Record, slot: Slot) -> None:
        report = partial(self._reported, record, slot)
        self._producer.produce(record.topic, record.value, record.key, on_delivery=report, headers=list(record.headers))

    def seen(self, failure: Undelivered) -> None:
        """Note that the sender was told of a failure, so that :meth:`close` need not name it."""
        if failure in self._failed:
            self._failed.remove(failure)

    def close(self, seconds: float) -> list[Undelivered]:
        """Wait until all is confirmed, at most so long; gives what was not, and nobody was told of. Blocks."""
        with self._lock:
            self._is_closed = True
        end = monotonic() + seconds
        while len(self._producer) and monotonic() < end:
            self._producer.flush(min(POLL_SECONDS, max(end - monotonic(), 0)))
        self._ending.set()
        self._thread.join(REPORT_SECONDS_MAX)
        self._producer.purge()
        # What was purged is reported at once, and to this thread alone, in its order. A busy machine may take longer.
        reported_by = monotonic() + REPORT_SECONDS_MAX
        while len(self._producer) and monotonic() < reported_by:
            self._producer.flush(POLL_SECONDS)
        self._tell()
        return list(self._failed)

    def _poll(self) -> None:
        while not self._ending.is_set():
            self._producer.poll(POLL_SECONDS)
            self._tell()

    def _tell(self) -> None:
        """Pass on what became known; for one thread at a time, while another may add to it."""
        if known := [self._known.popleft() for _ in range(len(self._known))]:
            self._told(known)

    def _reported(self, record: Record, slot: Slot, error: KafkaError | None, message: Message) -> None:
        if error is None:
            place = Place(record.topic, message.partition() or 0, message.offset() or 0)
            self._known.append((slot, place))
            return
        failure = Undelivered(record, self._why(error))
        self._failed.append(failure)
        self._known.append((slot, failure))

    def _why(self, error: KafkaError) -> str:
        if error.code() in (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT):  # noqa: SLF001 - their names
            return self._said.why("the client was closed before Kafka took it")
        if error.code() == KafkaError._MSG_TIMED_OUT:  # noqa: SLF001
            return f"Kafka did not take it in time ({self._said.why(error.str())})"
        return error.str()
