"""How much one key may send: a bucket of messages that fills again at a steady rate."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from arbiter.gateway.core.problems import Refused

BUCKETS_MAX: Final = 10_000


class Rates:
    """The buckets of all keys. Each holds what may be sent in two seconds, and a whole batch."""

    def __init__(self, per_second: int, batch_max: int) -> None:
        """``per_second`` 0: without a limit."""
        self._rate = per_second
        self._size = float(max(per_second * 2, batch_max))
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str, count: int, now: float) -> None:
        """Take so many messages at this time (seconds, of any clock that does not go back)."""
        if not self._rate:
            return
        left, at = self._buckets.pop(key, (self._size, now))
        left = min(self._size, left + (now - at) * self._rate)
        is_enough = left >= count
        self._buckets[key] = (left - count if is_enough else left, now)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        if not is_enough:
            seconds = max(math.ceil((count - left) / self._rate), 1)
            detail = f"key {key} may send {self._rate:,} messages a second here; try again in {seconds} s"
            raise Refused("too-many", detail, headers={"Retry-After": str(seconds)})
