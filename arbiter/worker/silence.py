"""Reports that Kafka is silent: no heartbeat is answered, so nothing is committed or published; or no records come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from time import monotonic
from typing import Protocol

from arbiter.worker.health import Health

LOOK_SECONDS = 1.0
GROUP, RECORDS = "group", "records"


class Member(Protocol):
    """What is needed of the consumer."""

    @property
    def heard_at(self) -> float:
        """When the group last accepted something from us, or gave us partitions (``time.monotonic()``)."""

    @property
    def is_member(self) -> bool:
        """Whether the group has given us partitions, or none."""

    @property
    def refusal(self) -> str:
        """Why Kafka gives no records, if it does not."""

    @property
    def assigned(self) -> Collection[int]:
        """The partition numbers that the group gives us at this moment."""


async def keep_watching(member: Member, health: Health, seconds_max: float, why: Callable[[], str]) -> None:
    """Look once a second, for ever. ``why`` gives what is known of the cause, or nothing."""
    had_partitions = False
    while True:
        silence, known = monotonic() - member.heard_at, why()
        had_partitions = bool(member.assigned) or (had_partitions and not member.is_member)
        # The partitions may be lost before the silence is noticed here. A worker that left by itself knows no cause.
        if silence >= seconds_max and had_partitions and (member.assigned or known):
            cause = f" ({known})" if known else ""
            said = f"Kafka has not answered a heartbeat for {silence:.0f} s; nothing is committed or published{cause}"
            health.trouble(GROUP, said)
        elif member.is_member:  # and not while Kafka is silent and the partitions are lost by it
            health.over(GROUP)
        if member.refusal:
            text = f"Kafka gives no records, it is asked again and again: {member.refusal}"
            health.trouble(RECORDS, text, alarm=True)
        else:
            health.over(RECORDS)
        await asyncio.sleep(LOOK_SECONDS)
