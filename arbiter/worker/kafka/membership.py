"""How the consumer is a member of its group: it joins when it may, knows the topics first, and outlives refusals.

aiokafka's coordinator joins as soon as it is subscribed. A leader whose metadata lack the topics then shares out
nothing, and an error of the group ends the coordination in silence. This stands between the two.
"""
# ruff: noqa: SLF001 - the coordinator has no other way to be told; pyproject pins aiokafka

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from time import monotonic
from typing import Any

from aiokafka.client import ConnectionGroup
from aiokafka.coordinator.protocol import ConsumerProtocol
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import DescribeGroupsRequest

OUTSIDE_LOOK_SECONDS = 0.2
METADATA_SECONDS = 0.5
REFUSED_SECONDS = (0.5, 1.0, 2.0, 5.0, 10.0)
STABLE = "Stable"


class TopicsUnknown(Exception):
    """Kafka's metadata lack topics that are there: it has only just started, or hides them from us."""


class Membership:
    """Governs one coordinator, which runs in a thread of its own; what is public may be used in any other."""

    def __init__(self) -> None:
        """Not a member yet, of anything."""
        self._coordinator: Any = None
        self._refusals = 0
        self.may_join = False
        self.has_joined = False
        """Whether the group has given us partitions, or none, since we last came to it."""
        self.refusal = ""
        """Why the group, or the metadata, do not let us in now; empty if they do."""
        self.heartbeat_at = -1e9
        """When the last heartbeat was sent that was answered well (``time.monotonic()``)."""

    def govern(self, coordinator: Any) -> None:
        """Take a coordinator over, in its thread, and before it is subscribed."""
        self._client = coordinator._client
        self._loop = asyncio.get_running_loop()
        self._join = coordinator.ensure_active_group
        self._assign = coordinator._perform_assignment
        self._beat: Callable[[], Awaitable[bool]] = coordinator._do_heartbeat
        coordinator.ensure_active_group = self._ensure_active_group
        coordinator._perform_assignment = self._perform_assignment
        coordinator._do_heartbeat = self._do_heartbeat
        coordinator._push_error_to_user = self._refused
        self._coordinator = coordinator

    @property
    def is_member(self) -> bool:
        """Whether the group has given us partitions, or none, and nothing is being shared out anew."""
        coordinator = self._coordinator
        if coordinator is None or coordinator.generation <= 0:
            return False
        return not coordinator._subscription.reassignment_in_progress

    def allow(self, *, may_join: bool) -> None:
        """Join, or let go of the partitions and leave until allowed again."""
        is_news = may_join != self.may_join
        self.may_join = may_join
        if is_news and self._coordinator is not None:
            self._loop.call_soon_threadsafe(self._coordinator.request_rejoin)

    async def shared_out(self) -> set[tuple[str, int]] | None:
        """What the members have together, as the group's coordinator at Kafka knows it; ``None`` unless it is stable.

        Raises ``KafkaError``.
        """
        if self._coordinator is None or self._coordinator.coordinator_id is None:
            return None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._described(), self._loop))

    async def _described(self) -> set[tuple[str, int]] | None:
        coordinator = self._coordinator
        request = DescribeGroupsRequest([coordinator.group_id])
        reply = await self._client.send(coordinator.coordinator_id, request, group=ConnectionGroup.COORDINATION)
        code, _, state, _, _, members, *_ = reply.groups[0]
        if code or state != STABLE:
            return None
        found: set[tuple[str, int]] = set()
        for _, _, _, _, packed in members:
            if packed:
                found.update(tuple(tp) for tp in ConsumerProtocol.ASSIGNMENT.decode(packed).partitions())
        return found

    async def _ensure_active_group(self, subscription: Any, assignment: Any) -> Any:
        if not self.may_join:
            await self._stay_outside(assignment)
            return None
        if missing := self._missing(subscription.topics):
            self.refusal = _unknown(missing)
            asked = self._client.force_metadata_update()
            await self._pause(METADATA_SECONDS)
            await asyncio.wait([asked], timeout=METADATA_SECONDS)
            return None
        joined = await self._join(subscription, assignment)
        if joined is not None:
            self._refusals, self.refusal, self.has_joined = 0, "", True
        return joined

    async def _stay_outside(self, assignment: Any) -> None:
        """Let go of what was assigned, as at every rebalance; then tell the group that we are gone."""
        coordinator, self.has_joined = self._coordinator, False
        if assignment is not None and not coordinator._performed_join_prepare:
            await coordinator._on_join_prepare(assignment)
            coordinator._performed_join_prepare = True
        await coordinator._stop_heartbeat_task()
        if coordinator.generation > 0:
            await coordinator._maybe_leave_group()
        await self._pause(OUTSIDE_LOOK_SECONDS)

    async def _perform_assignment(self, response: Any) -> Any:
        assignments = await self._assign(response)
        # Nothing was awaited since: these are the metadata that the partitions were shared out by.
        if missing := self._missing(self._coordinator._subscription.topics):
            raise TopicsUnknown(_unknown(missing))
        return assignments

    async def _do_heartbeat(self) -> bool:
        sent_at = monotonic()
        is_member = await self._beat()
        if is_member:
            self.heartbeat_at = sent_at
        return is_member

    async def _refused(self, error: KafkaError) -> None:
        """Instead of waiting until somebody asks: say why, wait, and begin anew."""
        unknown = error.__cause__ if isinstance(error.__cause__, TopicsUnknown) else None
        refused = f"Kafka does not let the worker into group {self._coordinator.group_id}: {error!r}"
        self.refusal = str(unknown) if unknown else refused
        await self._coordinator._maybe_leave_group()
        await self._pause(REFUSED_SECONDS[min(self._refusals, len(REFUSED_SECONDS) - 1)])
        self._refusals += 1

    async def _pause(self, seconds: float) -> None:
        await asyncio.wait([self._coordinator._closing], timeout=seconds)

    def _missing(self, topics: Iterable[str]) -> list[str]:
        cluster = self._client.cluster
        return sorted(topic for topic in topics if not cluster.partitions_for_topic(topic))


def _unknown(topics: list[str]) -> str:
    return f"Kafka says that it does not know {', '.join(topics)}; the worker asks again and does not join before"
