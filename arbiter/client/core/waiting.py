"""What a ticket waits for, and what it says when that does not come."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from arbiter.client.core.decisions import Decision
from arbiter.client.core.errors import DecisionTimeout
from arbiter.client.core.histories import History
from arbiter.client.core.permits import Clock, Permit
from arbiter.client.core.records import Place, Record

AFTER_END: Final = timedelta(minutes=1)
"""How long after a permit's end a decision on its request may still be on its way."""

LOOK_SECONDS: Final = 60.0
"""How often the clock is looked at while a permit is not open: it may be set meanwhile."""


def next_wait(last: Decision | None, clock: Clock) -> float | None:
    """For how many seconds another decision that matters can come after this one; ``None`` if there is no end to it."""
    if last is None or last.permit is None:
        return 0.0 if last is not None and last.is_last else None
    if last.permit.state == "used":
        return 0.0
    return max((last.permit.ends_at + AFTER_END - clock()).total_seconds(), 0.0)


def opening_wait(permit: Permit) -> float:
    """For how many seconds to wait before looking again; 0 if the permit is open. Raises if it never will be."""
    if permit.state == "not_open":
        return min(max(permit.opens_in.total_seconds(), 0.001), LOOK_SECONDS)
    permit.check()
    return 0.0


def timed_out(record: Record, place: Place | None, history: History, seconds: float) -> DecisionTimeout:
    """The error that says what to check."""
    new = "no decision" if history.latest is None else "no further decision"
    if place is None:
        return DecisionTimeout(
            f"{new} on {record.name} within {seconds:g} s, and Kafka has not confirmed the request yet: "
            "check that the brokers answer"
        )
    return DecisionTimeout(
        f"{new} on {record.name} within {seconds:g} s. Kafka has the request at {place}. Check that workers decide "
        "(`arbiter doctor`), that they use the same prefix of topics, and the dead letters (`arbiter dlq list`). "
        "To ask again with the same request id is safe"
    )
