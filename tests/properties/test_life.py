"""The whole life of contacts: the running worker and the sequential reference agree on every word, whatever happens.

A few dozen histories each by default; ``ARBITER_TEST_TIMES=100 .venv/bin/python -m pytest --timeout=0
tests/properties/test_life.py`` makes a hundred times as many.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from arbiter.state.memory import MemoryStore
from arbiter.state.redis_store import connect
from arbiter.state.store import Store
from tests.harness.machine import Life
from tests.inputs.examples import times


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for in real time, and what is lost on purpose is not logged."""
    monkeypatch.setattr("arbiter.worker.partition.retry.BACKOFF_SECONDS", (0.0,))
    monkeypatch.setattr("arbiter.worker.partition.tokens.WAKE_SECONDS", 0.0)
    monkeypatch.setattr("arbiter.worker.partition.tokens.WATCH_SECONDS", 0.0)
    monkeypatch.setattr("arbiter.logs.log.disabled", True)
    # Workers die here far more often than in life: no record is to blame for it.
    monkeypatch.setattr("arbiter.worker.partition.poison.CLAIMS_MAX", 1_000)


def live(store: Callable[[], Store], partitions: int, clock: str, examples: int) -> None:
    """So many histories."""
    chosen = settings(
        max_examples=times(examples), stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(lambda: Life(store, partitions, clock), settings=chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("clock", ["wall", "event"])
@pytest.mark.parametrize("partitions", [1, 3])
def test_in_memory(partitions: int, clock: str) -> None:
    """With one partition all kinds of rules, with three what goes between them; by either clock."""
    live(MemoryStore, partitions, clock, 40)


@pytest.mark.parametrize("partitions", [1, 3])
def test_on_a_server(valkey_url: str, partitions: int) -> None:
    """The same on a real server, where a commit is a script and every ledger goes out and comes back as bytes."""
    live(lambda: connect(valkey_url, f"life-{uuid4().hex}"), partitions, "wall", 60)
