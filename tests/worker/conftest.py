"""What the tests of a worker's watches share."""

from __future__ import annotations

import pytest

from arbiter.metrics import Metrics
from arbiter.worker.health import Health
from tests.harness.hand_clock import Clock, moved_by_hand


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the watches take for the time."""
    return moved_by_hand(monkeypatch)


@pytest.fixture
def health() -> Health:
    """No trouble yet."""
    return Health(Metrics())
