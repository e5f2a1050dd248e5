"""A decision as a record of the decisions topic."""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Struct

from arbiter.engine.render import message_of
from arbiter.engine.told import Decided
from arbiter.messages import Decision
from arbiter.state.codec import OutRecord
from arbiter.timing.instants import to_datetime

CONSTANT_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"contact.decision.v1"),
    ("ce_source", b"arbiter"),
    ("content-type", b"application/json"),
)


class Worded(Struct, frozen=True, gc=False):
    """An answer, and the message that it is told in."""

    decided: Decided
    decision: Decision
    value: bytes


def worded(decided: Decided) -> Worded:
    """The answer with its message; raises what the message cannot be written for."""
    return Worded(decided, *message_of(decided))


def record_of(said: Worded, topic: str, partition: int) -> OutRecord:
    """Keyed by its customer, with the headers of a CloudEvent."""
    headers = [
        *CONSTANT_HEADERS,
        ("ce_id", said.decision.decision_id.encode()),
        ("ce_time", _time_header(said.decided.answer.decided_at_ms)),
    ]
    return OutRecord(topic, partition, said.decision.customer_id.encode(), said.value, headers)


@lru_cache(maxsize=1_024)
def _time_header(at_ms: int) -> bytes:
    """Decisions of one batch in wall time are of one instant."""
    return msgspec.to_builtins(to_datetime(at_ms)).encode()  # type: ignore[no-any-return]
