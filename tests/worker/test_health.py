"""What a worker's log says of a trouble that is over."""

from __future__ import annotations

import logging

import pytest

from arbiter.metrics import Metrics
from arbiter.worker.health import Health


def test_what_never_worked_does_not_work_again(caplog: pytest.LogCaptureFixture) -> None:
    """A partition that was never served works now; one that was served before works again."""
    caplog.set_level(logging.INFO, logger="arbiter")
    health = Health(Metrics())
    for _ in range(2):
        health.trouble("partition 1", "partition 1 is not decided for")
        health.over("partition 1")

    assert ["partition 1: works now", "partition 1: works again"] == caplog.messages[1::2]


def test_what_is_let_go_is_not_said_to_work(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has it next tells of it; without a trouble nothing is said."""
    caplog.set_level(logging.INFO, logger="arbiter")
    health = Health(Metrics())
    health.drop("partition 0", "let go")
    health.over("partition 1")
    health.trouble("partition 1", "partition 1 is not decided for")
    health.drop("partition 1", "let go")
    health.trouble("partition 1", "partition 1 is not decided for")
    health.over("partition 1")

    assert "partition 1: let go" == caplog.messages[1]
    assert "partition 1: works now" == caplog.messages[-1]
    assert len(caplog.messages) == 4
    assert health.reasons == []
