"""Looks at the topics' settings before a worker decides: it warns of wrong ones, and waits while they lose records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from arbiter import log_events
from arbiter.settings import Settings
from arbiter.worker.health import Health
from arbiter.worker.kafka.topic_check import Difference, differences, fetch_cluster, fixes

LOSING: Final = "topic-settings"
TOLD_MAX: Final = 3
CHECK: Final = "`arbiter topics check` lists all, each with its fix"


class TopicSettings:
    """What one worker said about the settings of the topics."""

    def __init__(self, settings: Settings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._told: list[Difference] = []

    async def are_safe(self) -> bool:
        """Whether nothing is lost by them; reported if something is.

        Raises :class:`~arbiter.worker.kafka.topics.KafkaAway`.
        """
        cluster = await asyncio.to_thread(fetch_cluster, self._settings)
        found = [] if cluster is None else differences(self._settings, cluster)
        losing = [one for one in found if one.loses]
        if rest := [one for one in found if not one.loses]:
            self._warn(rest)
        if losing:
            text = f"nothing is claimed, since topics are set so that records are lost: {_listed(losing)}"
            self._health.trouble(LOSING, f"{text}. Set: {'; '.join(fixes(losing))}", alarm=True)
            return False
        self._health.over(LOSING)
        return True

    def _warn(self, found: list[Difference]) -> None:
        if found != self._told:
            log_events.TOPICS_DIFFER(found=_listed(found), todo=CHECK)
        self._told = found


def _listed(found: Sequence[Difference]) -> str:
    more = f"; and {len(found) - TOLD_MAX} more" if len(found) > TOLD_MAX else ""
    return "; ".join(one.sentence for one in found[:TOLD_MAX]) + more
