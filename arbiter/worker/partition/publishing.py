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


class RenderedDecision(Struct, frozen=True, gc=False):
    """A decision, and the message that is published."""

    decided: Decided
    decision: Decision
    value: bytes


def rendered(decided: Decided) -> RenderedDecision:
    """The decision with its message; raises if the message cannot be written."""
    return RenderedDecision(decided, *message_of(decided))


def record_of(rendered: RenderedDecision, topic: str, partition: int) -> OutRecord:
    """Keyed by its customer, with the headers of a CloudEvent."""
    headers = [
        *CONSTANT_HEADERS,
        ("ce_id", rendered.decision.decision_id.encode()),
        ("ce_time", _time_header(rendered.decided.answer.decided_at_ms)),
    ]
    return OutRecord(topic, partition, rendered.decision.customer_id.encode(), rendered.value, headers)


@lru_cache(maxsize=1_024)
def _time_header(at_ms: int) -> bytes:
    """Decisions of one batch in wall time are of one instant."""
    return msgspec.to_builtins(to_datetime(at_ms)).encode()  # type: ignore[no-any-return]
