"""What can go wrong for a client, each with the fix."""

from __future__ import annotations

from collections.abc import Sequence

from arbiter.client.core.faults import Fault
from arbiter.client.core.records import Record

NAMED_MAX = 20
"""How many records an error names in its text; ``records`` has all."""


class ClientError(Exception):
    """The client could not do what was asked of it."""


class InvalidMessage(ClientError, ValueError):
    """A message that would be refused or misread; ``faults`` names every field at fault, and the fix."""

    def __init__(self, what: str, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join([f"this {what} was not sent:", *(f"  {fault}" for fault in faults)]))
        self.faults = tuple(faults)


class PermitError(ClientError):
    """The contact must not be made now."""


class PermitNotOpen(PermitError):
    """It is too early: the permit opens later."""


class PermitExpired(PermitError):
    """It is too late. Tell that nothing was sent (``not_sent``), and ask again with a new request id."""


class PermitVoid(PermitError):
    """The approval was taken back, or a newer decision stands."""


class PermitUsed(PermitError):
    """It was used before: a permit is for one contact."""


class KafkaUnreachable(ClientError):
    """No broker answers, or the topics are not there."""


class ClientClosed(ClientError):
    """The client is closed; open another one."""


class ClientFailed(ClientError):
    """The connection to Kafka cannot go on. Open another client and ask again with the same request ids."""


class QueueFull(ClientError):
    """More records wait for Kafka than the queue holds. Wait and send it again; nothing of it was sent."""


class DecisionTimeout(ClientError, TimeoutError):
    """No decision came in time. The request stands; to ask again with the same id is safe."""


class Undelivered:
    """A record that Kafka did not confirm, and why. It may be there nevertheless; to send it again is safe."""

    def __init__(self, record: Record, why: str) -> None:
        self.record = record
        self.why = why

    def __str__(self) -> str:
        return f"{self.record.name} ({self.record.topic}): {self.why}"


class NotDelivered(ClientError):
    """Kafka did not confirm some records; ``records`` names each with the reason."""

    def __init__(self, records: Sequence[Undelivered]) -> None:
        count = len(records)
        lines = [f"  {one}" for one in records[:NAMED_MAX]]
        more = [f"  and {count - NAMED_MAX} more"] if count > NAMED_MAX else []
        what = "1 record was" if count == 1 else f"{count} records were"
        head = f"{what} not confirmed by Kafka; send again with the same ids, which is safe:"
        super().__init__("\n".join([head, *lines, *more]))
        self.records = tuple(records)
