"""What is wrong now: logged once when it begins and once when it is over, and told by ``/readyz`` in between."""

from __future__ import annotations

import logging

from arbiter.metrics import Metrics

log = logging.getLogger("arbiter")


class Health:
    """The troubles of one process, by key: ``store``, ``kafka``, ``policy``, ``partition 7`` …"""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._troubles: dict[str, str] = {}
        self._worked: set[str] = set()

    @property
    def reasons(self) -> list[str]:
        """Why the worker is not ready, one sentence each."""
        return list(self._troubles.values())

    def has(self, key: str) -> bool:
        """Whether this trouble lasts."""
        return key in self._troubles

    def trouble(self, key: str, text: str, *, alarm: bool = False) -> None:
        """Something does not work (any more). With ``alarm`` a person must look at it, so it is counted as one."""
        if key not in self._troubles:
            log.error("%s", text)
            if alarm:
                self._metrics.alarms.labels(key.partition(" ")[0]).inc()
        self._troubles[key] = text

    def over(self, key: str) -> None:
        """It works (again)."""
        if self._troubles.pop(key, None) is not None:
            log.info("%s: works %s", key, "again" if key in self._worked else "now")
        self._worked.add(key)

    def drop(self, key: str, why: str) -> None:
        """It is not ours to tell of any more, whether it works or not."""
        self._worked.discard(key)
        if self._troubles.pop(key, None) is not None:
            log.info("%s: %s", key, why)
