"""When a worker is in the group: from the moment on at which it can work, until it could not for too long.

A worker that cannot reach the store, or has no policy, would keep its partitions from those that can. Where the store
is away for all, all leave, nothing is lost by it, and all come back when it answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from arbiter import log_events

UPDATE_SECONDS = 0.25


class Group(Protocol):
    """What is needed of the membership."""

    @property
    def has_joined(self) -> bool:
        """Whether the group has given us partitions, or none, since we last came to it."""

    def allow(self, *, may_join: bool) -> None:
        """Join the group, or leave it. May be called repeatedly."""


class Joining:
    """Decides whether the worker may be in the group."""

    def __init__(self, group: Group, is_fit: Callable[[], bool], seconds_max: float) -> None:
        """``is_fit`` says whether the worker can decide; it may fail to for ``seconds_max`` before it leaves."""
        self._group = group
        self._is_fit = is_fit
        self._seconds_max = seconds_max
        self._fit_at = -1e9
        self.is_allowed = False

    @property
    def has_joined(self) -> bool:
        """Whether the worker may be in the group, and is."""
        return self.is_allowed and self._group.has_joined

    async def keep_watching(self) -> None:
        """Update the membership four times a second, for ever."""
        while True:
            self.update()
            await asyncio.sleep(UPDATE_SECONDS)

    def update(self) -> None:
        """Join or leave, if it is time to."""
        now = monotonic()
        if self._is_fit():
            self._fit_at = now
        is_allowed = now - self._fit_at < self._seconds_max
        if self.is_allowed and not is_allowed:
            log_events.GROUP_LEFT(seconds=self._seconds_max)
        self.is_allowed = is_allowed
        self._group.allow(may_join=is_allowed)
