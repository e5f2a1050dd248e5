"""What a partition looks at without a record: timers are due, the policy is another one, or capacity is free."""

from __future__ import annotations

import asyncio

from arbiter.timing.instants import FAR_MS
from arbiter.worker.partition.retry import LOOK_SECONDS
from arbiter.worker.partition.sweep import Sweep
from arbiter.worker.partition.timers import DUE_MAX, PASSED_MAX, Timers
from arbiter.worker.partition.tokens import Tokens
from arbiter.worker.partition.work import Work
from arbiter.worker.policy_watcher import Active


class Wakeups:
    """One partition's timers, its sweep, and its queue for capacity."""

    def __init__(self, timers: Timers, sweep: Sweep, tokens: Tokens, *, is_wall_clock: bool) -> None:
        self._timers = timers
        self._sweep = sweep
        self._tokens = tokens
        self._is_wall_clock = is_wall_clock

    async def are_due(self, active: Active, now_ms: int, *, is_idle: bool) -> bool:
        """Whether there is something to review now. ``is_idle`` says that no record came for so long that the event
        clock may move on by itself.
        """
        if await self._sweep.is_due(active) or await self._tokens.can_wake(active.policy, now_ms):
            return True
        if self._is_wall_clock:
            return bool(await self._tokens.due_first(active.policy, await self._timers.due(now_ms), now_ms))
        return is_idle and bool(await self._timers.due(FAR_MS))

    async def add(self, active: Active, work: Work, *, is_idle: bool) -> None:
        """Add to the work what is reviewed together with its records. Those who wait come before requests: if there are
        more of them than one commit takes, or some are woken, requests are left for the next commit.
        """
        work.woken = await self._tokens.woken(active.policy, work.now_ms)
        if await self._sweep.is_due(active):
            work.swept, work.recalls = self._sweep.take(), self._sweep.recalls
        work.is_closed = bool(work.woken)
        if self._is_wall_clock:
            due = await self._timers.due(work.now_ms, DUE_MAX)
            going_on = await self._tokens.due_first(active.policy, due, work.now_ms)
            work.due = [party for _, _, party in going_on]
            if due and not going_on:
                await asyncio.sleep(LOOK_SECONDS)  # so that requests are not tried in vain all the time
            work.is_closed |= len(going_on) < len(due) or (len(due) == DUE_MAX and active.policy.is_shared)
        elif not work.is_closed:
            # Only when it was idle for long the event clock moves on by itself, to the next timers.
            horizon_ms = FAR_MS if is_idle and not work.records else work.horizon_ms
            due = await self._timers.due(horizon_ms, PASSED_MAX)
            work.due, work.is_due_cut = [party for _, _, party in due], len(due) == PASSED_MAX
            work.until_ms = due[-1][0] if due and not work.records else work.now_ms
