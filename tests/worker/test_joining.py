"""A worker joins when it can work, and what it holds is ended before it is begun anew."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from arbiter.settings import Settings
from arbiter.worker.health import Health
from arbiter.worker.kafka.joining import Joining
from arbiter.worker.kafka.membership import Membership
from arbiter.worker.ownership import Ownership
from arbiter.worker.partition.retry import Stopped
from tests.harness.hand_clock import Clock

BOUND = 30.0


def test_a_worker_joins_when_it_is_fit_and_leaves_after_the_bound(clock: Clock) -> None:
    """A moment without the store ends nothing."""
    membership, fit, allowed = Membership(Settings(kafka="k:1", redis="redis://r:1")), [False], list[bool]()
    joining = Joining(membership, lambda: fit[0], BOUND)
    for seconds, is_fit in ((0, False), (1, True), (BOUND - 1, False), (1, False), (1, True)):
        clock.now += seconds
        fit[0] = is_fit
        joining.update()
        allowed.append(membership.may_join)

    assert allowed == [False, True, True, False, True]


async def test_what_is_assigned_is_begun_besides_what_is_held(health: Health) -> None:
    """A rebalance touches what it names; a number that is given twice is begun anew, when its old task has ended."""
    consumer: Any = SimpleNamespace(assigned=frozenset())
    started: list[int] = []

    class Owner(Ownership):
        async def _own(self, partition: int, owned: Any, *_: Any) -> None:
            started.append(partition)
            with suppress(Stopped):
                await owned.retry.until(lambda: False)

    nothing: Any = None
    shared: Any = SimpleNamespace(health=health, settings=Settings(kafka="k:1", redis="redis://r:1"))
    owner = Owner(shared, consumer, nothing, nothing, nothing, "w")
    owner.assign(1, {0, 1})
    await asyncio.sleep(0)
    tasks = {number: owned.task for number, owned in owner._owned.items()}  # noqa: SLF001
    owner.assign(2, {1, 2})
    await asyncio.wait([task for task in [tasks[1]] if task], timeout=5)
    await owner.release({2})

    assert started == [0, 1, 1, 2]
    assert tasks[1]
    assert tasks[1].done()
    assert tasks[0] is owner._owned[0].task  # noqa: SLF001
    assert [*owner._owned] == [0, 1]  # noqa: SLF001
    await owner.drain()
