"""A worker joins when it can work, shares out nothing that it does not know, and says when nothing moves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from faust.types import TP

from arbiter.settings import Settings
from arbiter.worker.health import Health
from arbiter.worker.kafka.joining import Joining
from arbiter.worker.kafka.membership import Membership, TopicsUnknown
from arbiter.worker.ownership import Ownership
from arbiter.worker.partition.patience import Stopped
from tests.harness.hand_clock import Clock

INPUTS = ("requests", "consents")
BOUND = 30.0


class Coordinator:
    """aiokafka's coordinator, as far as membership governs it; its metadata know ``topics`` after ``asks`` updates."""

    group_id = "arbiter"

    def __init__(self, topics: Iterable[str], asks: int = 0) -> None:
        self.asks, self.known, self.done = asks, topics, list[str]()
        self.generation, self.coordinator_id = 3, 1
        self._performed_join_prepare = False
        self._closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._subscription = SimpleNamespace(reassignment_in_progress=False, topics=set(INPUTS))
        self._client = SimpleNamespace(cluster=self, force_metadata_update=self.update)
        self.error: Exception | None = None

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        """What the metadata say."""
        return {0, 1} if self.asks <= 0 and topic in self.known else None

    def update(self) -> asyncio.Future[bool]:
        """Ask for new metadata."""
        self.asks -= 1
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asked.set_result(True)
        return asked

    async def ensure_active_group(self, *_: Any) -> str:
        """Join."""
        self.done.append("join")
        return "assignment"

    async def _perform_assignment(self, _: Any) -> dict[str, bytes]:
        return {"me": b""}

    async def _do_heartbeat(self) -> bool:
        return True

    async def _push_error_to_user(self, error: KafkaError) -> None:
        raise AssertionError(error)

    async def _on_join_prepare(self, _: Any) -> None:
        self.done.append("revoke")

    async def _stop_heartbeat_task(self) -> None:
        self.done.append("stop heartbeats")

    async def _maybe_leave_group(self) -> None:
        self.done.append("leave")
        self.generation = -1

    def request_rejoin(self) -> None:
        """Wake up."""
        self.done.append("look again")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arbiter.worker.kafka.membership.METADATA_SECONDS", 0.0)
    monkeypatch.setattr("arbiter.worker.kafka.membership.OUTSIDE_LOOK_SECONDS", 0.0)
    monkeypatch.setattr("arbiter.worker.kafka.membership.REFUSED_SECONDS", (0.0,))


def governing(coordinator: Coordinator) -> Membership:
    """A membership that has taken the coordinator over."""
    membership = Membership()
    membership.govern(coordinator)
    return membership


async def ensured(coordinator: Coordinator, assignment: Any = None) -> Any:
    """One turn of the coordinator's loop."""
    return await coordinator.ensure_active_group(coordinator._subscription, assignment)  # noqa: SLF001


async def test_metadata_without_our_topics_are_no_metadata() -> None:
    """Kafka has only just started and knows no topic: the worker asks again, and joins when they are known."""
    coordinator = Coordinator(INPUTS, asks=2)
    membership = governing(coordinator)
    membership.allow(may_join=True)
    turns = [await ensured(coordinator) for _ in range(2)]
    refusal = membership.refusal
    before = membership.has_joined
    joined = await ensured(coordinator)

    assert (before, membership.has_joined) == (False, True)
    assert turns == [None, None]
    assert "does not know consents, requests" in refusal
    assert joined == "assignment"
    assert membership.refusal == ""


async def test_a_leader_without_metadata_shares_nothing_out() -> None:
    """Metadata that lose a topic between joining and sharing out do not become everybody's assignment."""
    coordinator = Coordinator(["requests"])
    governing(coordinator)

    with pytest.raises(TopicsUnknown, match="consents"):
        await coordinator._perform_assignment(None)  # noqa: SLF001


async def test_a_refusal_is_said_and_the_group_is_asked_again() -> None:
    """aiokafka would wait for somebody to take the error, for ever."""
    coordinator = Coordinator(INPUTS)
    membership = governing(coordinator)
    await coordinator._push_error_to_user(GroupAuthorizationFailedError("arbiter"))  # noqa: SLF001

    assert "GroupAuthorizationFailed" in membership.refusal
    assert coordinator.done == ["leave"]


async def test_who_may_not_join_lets_go_and_leaves() -> None:
    """Partitions are revoked as at a rebalance first; then the group hears that the member is gone; and only once."""
    coordinator = Coordinator(INPUTS)
    membership = governing(coordinator)
    outside = await ensured(coordinator)
    membership.allow(may_join=True)
    await ensured(coordinator)
    await asyncio.sleep(0)
    coordinator.generation, coordinator.done = 4, []
    membership.allow(may_join=False)
    await asyncio.sleep(0)
    turns = [await ensured(coordinator, "assignment") for _ in range(2)]

    assert not membership.has_joined
    assert [outside, *turns] == [None, None, None]
    assert coordinator.done == ["look again", "revoke", "stop heartbeats", "leave", "stop heartbeats"]


def test_a_worker_joins_when_it_is_fit_and_leaves_after_the_bound(clock: Clock) -> None:
    """A moment without the store ends nothing."""
    membership, fit, allowed = Membership(), [False], list[bool]()
    joining = Joining(membership, lambda: fit[0], BOUND)
    for seconds, is_fit in ((0, False), (1, True), (BOUND - 1, False), (1, False), (1, True)):
        clock.now += seconds
        fit[0] = is_fit
        joining.look()
        allowed.append(membership.may_join)

    assert allowed == [False, True, True, False, True]


async def test_a_late_assignment_leaves_no_runner_behind(health: Health) -> None:
    """Faust resumes after the next rebalance has revoked: what is held then is ended by the next assignment."""
    consumer: Any = SimpleNamespace(assigned=set)
    started: list[int] = []

    class Owner(Ownership):
        async def _own(self, partition: int, owned: Any, *_: Any) -> None:
            started.append(partition)
            with suppress(Stopped):
                await owned.patience.until(lambda: False)

    nothing: Any = None
    shared: Any = SimpleNamespace(health=health, settings=Settings(kafka="k:1", redis="redis://r:1"))
    owner = Owner(shared, consumer, nothing, nothing, nothing, "w")
    inputs = {TP(topic, 0) for topic in owner._inputs}  # noqa: SLF001
    owner.assign(1, inputs)
    await asyncio.sleep(0)
    (task,) = (owned.task for owned in owner._owned.values() if owned.task)  # noqa: SLF001
    owner.assign(2, set())
    await asyncio.wait([task], timeout=5)

    assert started == [0]
    assert task.done()
    assert owner.claimed == 0
