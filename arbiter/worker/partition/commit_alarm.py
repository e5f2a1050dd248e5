"""Says in ``/readyz`` and the log why records wait if the commits of a partition are refused again and again."""

from __future__ import annotations

from arbiter.state.store import CommitResult
from arbiter.worker.health import Health

TOLD_FROM = 2
"""How many in a row: one void stock is usual where a central entry is made anew."""

WHY = (
    "its batch waits for its part of what all customers share, which cannot be counted while a partition has no worker "
    "yet or has lost its state"
)


class CommitAlarm:
    """Counts the commits whose stock was void since the last one that was made."""

    def __init__(self, health: Health, partition: int) -> None:
        self._health = health
        self._key = f"partition {partition}"
        self._voids = 0

    def note(self, verdict: CommitResult) -> None:
        """Take note of the answer to a commit."""
        if verdict is CommitResult.STALE_STOCK:
            self._voids += 1
            if self._voids == TOLD_FROM:
                self._health.trouble(self._key, f"{self._key}: {WHY}")
        elif verdict is CommitResult.OK:
            if self._voids >= TOLD_FROM:
                self._health.over(self._key)
            self._voids = 0
