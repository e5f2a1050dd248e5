"""How long records gather between two fetches: a fetch costs much, however little it brings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from time import thread_time
from typing import Any

FETCH_SHARE = 0.1
FETCH_PAUSE_SECONDS = (0.005, 0.025)
"""How long to let records gather after a fetch that brought some: long enough that the consumer's thread spends no more
than this share of its time on asking, within these limits. A fetch names every partition of every topic and so costs a
half to two milliseconds of processor time here, and more in the broker, however little it brings."""


def pause_after(used_seconds: float) -> float:
    """How long to let records gather (s) after a fetch that took so much processor time (s)."""
    shortest, longest = FETCH_PAUSE_SECONDS
    return min(max(used_seconds * (1 / FETCH_SHARE - 1), shortest), longest)


def unhurried(fetch: Callable[..., Awaitable[bool]], wake_polls: Callable[[], None]) -> Callable[..., Awaitable[bool]]:
    """aiokafka's fetch, told to be over a little later than it is, since the next one begins then.

    What it brought is handed out at once. So the next one asks for these partitions, too, which it would else leave out
    until somebody has taken their records.
    """

    async def fetched(*request: Any) -> bool:
        began_at = thread_time()
        has_records = await fetch(*request)
        if has_records:
            wake_polls()
            with suppress(asyncio.CancelledError):  # as the fetch itself: it ends the same way
                await asyncio.sleep(pause_after(thread_time() - began_at))
        return has_records

    return fetched
