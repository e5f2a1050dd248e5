"""Kafka that does not answer is told once, however its silence shows."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from arbiter.worker import silence
from arbiter.worker.health import Health
from arbiter.worker.silence import GROUP, keep_watching
from tests.harness.hand_clock import Clock

BOUND = 6.0


async def test_the_silence_of_kafka_is_one_trouble_until_the_group_is_heard(
    health: Health, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins when nothing is answered, lasts while the partitions are lost by it, and ends when some are given."""
    monkeypatch.setattr(silence, "LOOK_SECONDS", 0)
    monkeypatch.setattr(silence, "monotonic", clock)
    member = SimpleNamespace(heard_at=clock.now, is_member=True, assigned={0}, refusal="")
    watching = asyncio.create_task(keep_watching(member, health, BOUND, lambda: "refused"))

    async def told(seconds: float, **changed: object) -> bool:
        clock.now += seconds
        vars(member).update(changed)
        for _ in range(3):
            await asyncio.sleep(0)
        return health.has(GROUP)

    seen = [await told(BOUND - 1), await told(1)]
    reasons = list(health.reasons)
    seen += [
        await told(1, assigned=set(), is_member=False),  # the session has ended
        await told(60),
        await told(1, assigned={0}, is_member=True, heard_at=clock.now + 1),
        await told(60, assigned=set()),  # others have all
    ]
    watching.cancel()

    assert seen == [False, True, True, True, False, False]
    assert reasons == ["Kafka has not answered a heartbeat for 6 s; nothing is committed or published (refused)"]


@pytest.mark.parametrize(("cause", "is_told"), [("refused", True), ("", False)])
async def test_partitions_that_are_lost_before_the_bound_are_lost_by_the_silence(
    health: Health, clock: Clock, monkeypatch: pytest.MonkeyPatch, cause: str, is_told: bool
) -> None:
    """It is told although none are assigned any more; not of a worker that left by itself, which knows no cause."""
    monkeypatch.setattr(silence, "LOOK_SECONDS", 0)
    monkeypatch.setattr(silence, "monotonic", clock)
    member = SimpleNamespace(heard_at=clock.now, is_member=True, assigned={0}, refusal="")
    watching = asyncio.create_task(keep_watching(member, health, BOUND, lambda: cause))
    await asyncio.sleep(0)
    clock.now += BOUND - 1
    await asyncio.sleep(0)
    vars(member).update(assigned=set(), is_member=False)
    clock.now += 2
    for _ in range(3):
        await asyncio.sleep(0)
    watching.cancel()

    assert health.has(GROUP) == is_told
