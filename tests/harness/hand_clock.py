"""A monotonic clock that is moved by hand, for the watches of a worker."""

from __future__ import annotations

import pytest


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """What time it is."""
        return self.now


def moved_by_hand(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the watches take for the time."""
    clock = Clock()
    for module in ("health", "kafka.joining", "kafka.membership", "kafka.progress", "store_watch"):
        monkeypatch.setattr(f"arbiter.worker.{module}.monotonic", clock)
    return clock
