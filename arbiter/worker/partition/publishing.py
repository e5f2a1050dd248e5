"""A decision as a record of the decisions topic."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from arbiter.engine.render import encoded
from arbiter.ledger.model import Decision
from arbiter.messages.traces import header_of
from arbiter.state.codec import OutRecord
from arbiter.timing.instants import to_datetime

CONSTANT_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"contact.decision.v1"),
    ("ce_source", b"arbiter"),
    ("content-type", b"application/json"),
)


def record_of(decision: Decision, topic: str, partition: int) -> OutRecord:
    """Keyed by its customer, with the headers of a CloudEvent, and the trace. Raises if it cannot be written."""
    message, value = encoded(decision)
    headers = headers_of(message.decision_id, decision.decided_at_ms, decision.trace)
    return OutRecord(topic, partition, message.customer_id.encode(), value, headers)


def headers_of(decision_id: str, decided_at_ms: int, trace: bytes) -> list[tuple[str, bytes]]:
    """The headers of a decision."""
    headers = [*CONSTANT_HEADERS, ("ce_id", decision_id.encode()), ("ce_time", _time_header(decided_at_ms))]
    if trace:
        headers.append(header_of(trace))
    return headers


@lru_cache(maxsize=1_024)
def _time_header(at_ms: int) -> bytes:
    """Decisions of one batch in wall time are of one instant."""
    return msgspec.to_builtins(to_datetime(at_ms)).encode()  # type: ignore[no-any-return]
