"""What a worker reports: by which activation it decides, and what kill switches stopped.

These reports confirm an order, not the fact that it was stored. The command waits until no worker uses anything older.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from msgspec import Struct

from arbiter import log_events
from arbiter.metrics import Metrics
from arbiter.state.policy_store import PolicyStore, WorkerReport
from arbiter.state.store import StateDamaged, StoreUnavailable
from arbiter.worker.policy_watcher import Policies

POLL_SECONDS = 0.5


class Using(Struct, frozen=True):
    """What one partition uses: the activation by which it decides this moment (``None``: it does not), the one up to
    which it has looked at all that waits or is unsent, and the highest that it has seen.
    """

    number: int | None
    swept: int
    highest_seen: int


class Reporter:
    """Reports for one worker; ``using`` gives what its processors use now."""

    def __init__(
        self,
        store: PolicyStore,
        policies: Policies,
        metrics: Metrics,
        worker: str,
        using: Callable[[], Iterable[Using]],
        held_by: Callable[[], str] = str,
    ) -> None:
        """``worker`` names this process, unlike any other. ``held_by`` says why it decides nothing, if so."""
        self._store = store
        self._policies = policies
        self._metrics = metrics
        self._worker = worker
        self._using = using
        self._held_by = held_by
        self._has_left = False

    async def report(self) -> None:
        """Report to the store, and learn the highest activation that others have seen; :class:`StoreUnavailable`."""
        if self._has_left:
            return
        policies, using = self._policies, list(self._using())
        policies.highest_seen = max([policies.highest_seen, *(one.highest_seen for one in using)])
        current = policies.current
        newest = 0 if current is None else current.number
        stopped, self._metrics.stopped = self._metrics.stopped, {}
        report = WorkerReport(
            name=self._worker,
            number=min([newest, *(one.number for one in using if one.number is not None)]),
            swept=min([newest, *(one.swept for one in using)]),
            highest_seen=policies.highest_seen,
            partitions=len(using),
            trouble=policies.trouble or self._held_by(),
        )
        try:
            seen = await self._store.report(report, stopped)
        except BaseException:
            for key, count in stopped.items():
                self._metrics.stopped[key] = self._metrics.stopped.get(key, 0) + count
            raise
        policies.highest_seen = max(policies.highest_seen, seen)

    async def leave(self) -> None:
        """This worker ends: nobody need wait for it."""
        self._has_left = True
        await self._store.leave(self._worker)


async def keep_watching(policies: Policies, reporter: Reporter) -> None:
    """Read what is in force, and report, twice a second, for ever. Others report that the store is away."""
    while True:
        try:
            await _report(reporter)
            before = policies.current
            await policies.refresh()
            if policies.current is not before:
                await _report(reporter)
        except StoreUnavailable as error:
            log_events.POLICIES_UNREAD(why=error)
        await asyncio.sleep(POLL_SECONDS)


async def _report(reporter: Reporter) -> None:
    """Report; a damaged entry stops neither this worker nor its look at what is in force."""
    try:
        await reporter.report()
    except StateDamaged as error:
        log_events.REPORT_UNSTORED(why=error)
