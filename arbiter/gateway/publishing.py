"""Records to Kafka. A call is answered with 2xx only once Kafka has confirmed all of its records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from arbiter.client.async_halves import AsyncProducer
from arbiter.client.connection import Connection
from arbiter.client.core.errors import ClientError, ClientFailed, NotDelivered, QueueFull, Undelivered
from arbiter.client.core.records import Record
from arbiter.gateway.core.problems import Refused

QUEUE_MAX: Final = 50_000
CLOSE_SECONDS: Final = 10.0
NAMED_MAX: Final = 5


class Publisher:
    """One producer, made within the loop that uses it; a new one if it can no longer go on."""

    def __init__(self, connection: Connection, confirm_seconds: float) -> None:
        self._connection = connection
        self._seconds = confirm_seconds
        self._producer: AsyncProducer | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def send(self, records: Sequence[Record]) -> None:
        """Return once Kafka has all; :class:`Refused` names those that it did not confirm in time."""
        producer = self._now()
        try:
            slots = [await producer.put(record) for record in records]
            fates = await asyncio.gather(*slots)
        except QueueFull as error:
            raise Refused("too-busy", f"{error}; send it again, with the same ids") from None
        except ClientFailed as error:
            self._replace(producer)
            raise Refused("kafka-away", f"{error}; send it again, with the same ids") from None
        lost = [fate for fate in fates if isinstance(fate, Undelivered)]
        for fate in lost:
            with suppress(NotDelivered):
                producer.confirmed(fate)
        if lost:
            raise Refused("kafka-away", _named(lost, len(records)))

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._producer is not None:
            with suppress(ClientError):
                await self._producer.close(CLOSE_SECONDS)
        await asyncio.gather(*self._ending)

    def _now(self) -> AsyncProducer:
        if self._producer is None:
            self._producer = AsyncProducer(
                self._connection, queue_max=QUEUE_MAX, delivery_seconds=self._seconds, waits=False
            )
        return self._producer

    def _replace(self, failed: AsyncProducer) -> None:
        if self._producer is failed:
            self._producer = None
            task = asyncio.create_task(_closed(failed))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


async def _closed(producer: AsyncProducer) -> None:
    with suppress(ClientError):
        await producer.close(0)


def _named(lost: Sequence[Undelivered], count: int) -> str:
    more = f" and {len(lost) - NAMED_MAX} more" if len(lost) > NAMED_MAX else ""
    names = ", ".join(one.record.name for one in lost[:NAMED_MAX])
    return (
        f"Kafka did not confirm {len(lost)} of {count}: {names}{more} ({lost[0].why}). They may have arrived "
        "nevertheless. Send the whole call again with the same ids or Idempotency-Key: nothing counts twice"
    )
