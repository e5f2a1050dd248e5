"""The review of all that a new activation may concern: what waits, and approvals that may have to be recalled.

A sweep goes through the partition some parties per commit, between the records, and never holds more than a page of
them. That it is done is written into the head by the commit that does the last of it; so after a crash the next owner
sweeps again from the beginning, which changes nothing where it was done. What is decided
meanwhile is decided under the new activation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from arbiter.state.store import Store
from arbiter.worker.partition.retry import RetryPolicy
from arbiter.worker.policy_watcher import Active

SWEPT_MAX = 50
"""How many parties one commit reviews."""

PAGE = 500
"""How many parties are asked for at a time; the store gives about as many."""

_Scan = Callable[[int, str, int], Awaitable[tuple[list[str], str]]]


class Sweep:
    """One partition's sweep. ``swept`` is the activation up to which it is done, for the head."""

    def __init__(self, store: Store, partition: int, retry: RetryPolicy, swept: int) -> None:
        """``swept`` is what the head says."""
        self._store = store
        self._partition = partition
        self._retry = retry
        self._done = swept
        self._number = swept
        self._recalls = False
        self._scans: list[tuple[_Scan, str]] = []
        self._parties: list[str] = []

    @property
    def swept(self) -> int:
        """The activation up to which it is done once the parties handed out are committed."""
        return self._done if self._scans or self._parties else self._number

    @property
    def recalls(self) -> bool:
        """Whether approvals that the policy no longer allows are to be recalled, too."""
        return self._recalls

    async def is_due(self, active: Active) -> bool:
        """Whether there are parties to review because of this activation."""
        if active.deciding_number > self._number:
            self._begin(active)
        while self._scans and not self._parties:
            (scan, cursor), *rest = self._scans
            page, after = await self._retry.ask(partial(scan, self._partition, cursor, PAGE))
            self._parties = list(dict.fromkeys(page))
            self._scans = [(scan, after), *rest] if after else rest
        return bool(self._parties)

    def take(self) -> list[str]:
        """The next parties to review; none if the sweep is done."""
        now, self._parties = self._parties[:SWEPT_MAX], self._parties[SWEPT_MAX:]
        return now

    def give_back(self, parties: list[str]) -> None:
        """These were not reviewed after all."""
        self._parties = parties + self._parties

    def _begin(self, active: Active) -> None:
        self._done = self.swept
        self._number = active.deciding_number
        self._recalls = active.recalls > self._done
        self._parties = []
        self._scans = [(self._store.timed, "")]
        if active.policy.has_kills or self._recalls:
            self._scans.append((self._store.opened, ""))
