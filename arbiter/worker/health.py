"""What is wrong now: logged when it begins and when it is over, and shown by ``/readyz`` in between."""

from __future__ import annotations

from time import monotonic

from msgspec import Struct

from arbiter import log_events
from arbiter.metrics import Metrics

STORE = "store"
"""The store cannot be written to. Any caller reports it; only :mod:`arbiter.worker.store_watch` ends it."""

EVICTION = "eviction"
"""The store throws keys away, or may: nothing is decided."""

TOPICS = "topics"
"""Topics that are read are gone, or were made anew: nothing is decided, since a withdrawal may be lost with them."""


class _Trouble(Struct):
    text: str
    began_at: float


class Health:
    """The troubles of one process, by key: ``store``, ``kafka``, ``policy``, ``partition 7`` …"""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._troubles: dict[str, _Trouble] = {}
        self._worked: set[str] = set()

    @property
    def reasons(self) -> list[str]:
        """Why the worker is not ready, one sentence each."""
        return [trouble.text for trouble in self._troubles.values()]

    def has(self, key: str) -> bool:
        """Whether this trouble lasts."""
        return key in self._troubles

    def why(self, *keys: str) -> str:
        """The text of the first of these troubles that lasts; empty if none does."""
        return next((self._troubles[key].text for key in keys if key in self._troubles), "")

    def began_at(self, key: str) -> float | None:
        """Since when this trouble lasts (``time.monotonic()``); ``None`` if it does not."""
        trouble = self._troubles.get(key)
        return None if trouble is None else trouble.began_at

    def trouble(self, key: str, text: str, *, alarm: bool = False) -> None:
        """Something does not work. With ``alarm`` a person must look at it, and it is counted as an alarm."""
        if (known := self._troubles.get(key)) is not None:
            known.text = text
            return
        self._troubles[key] = _Trouble(text, monotonic())
        log_events.TROUBLE_BEGAN(trouble=key, why=text)
        if alarm:
            self._metrics.alarms.labels(key.partition(" ")[0]).inc()

    def over(self, key: str) -> None:
        """It works (again)."""
        if self._troubles.pop(key, None) is not None:
            log_events.TROUBLE_OVER(trouble=key, how="again" if key in self._worked else "now")
        self._worked.add(key)

    def drop(self, key: str, why: str) -> None:
        """Report it no longer, whether it works or not."""
        self._worked.discard(key)
        if self._troubles.pop(key, None) is not None:
            log_events.TROUBLE_DROPPED(trouble=key, why=why)
