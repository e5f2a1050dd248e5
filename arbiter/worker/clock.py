"""The clock that decisions go by: one for all workers, the store's, carried on by the monotonic clock in between."""

from __future__ import annotations

from time import monotonic

from arbiter.worker.health import Health

JUMP_MS = 5_000
SETTLE_READINGS = 5
TROUBLE = "clock"


class StoreClock:
    """The store's time. When it jumps against the monotonic clock, nothing is decided until it has settled."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._ahead_ms: float | None = None
        self._most_ms = 0.0
        self._unsettled = 0

    @property
    def is_settled(self) -> bool:
        """Whether the time may be decided by."""
        return self._ahead_ms is not None and not self._unsettled

    def now_ms(self) -> int:
        """The store's last reply plus the monotonic time since; ``RuntimeError`` before the first reply."""
        if self._ahead_ms is None:
            raise RuntimeError("the store's clock was never read")
        return int(self._ahead_ms + monotonic() * 1_000)

    def observe(self, time_ms: int, asked_at: float, answered_at: float) -> None:
        """Take a reading of the store's clock (ms) between two readings of the monotonic clock (s)."""
        # How far the store's clock is ahead of the monotonic one: between these two.
        least, most = time_ms - answered_at * 1_000, time_ms - asked_at * 1_000
        before = self._ahead_ms
        if before is not None and (least > self._most_ms + JUMP_MS or most < before - JUMP_MS):
            self._unsettled = SETTLE_READINGS
            self._health.trouble(
                TROUBLE,
                f"the store's clock jumped by {(least - before) / 1_000:+.1f} s; nothing is decided until it has been "
                f"steady for {SETTLE_READINGS} s (check the time synchronisation of the Redis host)",
                alarm=True,
            )
        self._ahead_ms, self._most_ms = least, most

    def settle(self) -> None:
        """A regular reading was taken without a jump."""
        if self._unsettled:
            self._unsettled -= 1
            if not self._unsettled:
                self._health.over(TROUBLE)
