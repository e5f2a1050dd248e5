"""What a worker takes over from the policy store, what it keeps, and what it tells of the audit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from unittest.mock import AsyncMock

import msgspec
import pytest
from confluent_kafka import KafkaError

from arbiter.metrics import Metrics
from arbiter.state.codec import OutRecord
from arbiter.state.memory_policies import MemoryPolicyStore
from arbiter.state.policy_store import KillOrder, Order
from arbiter.state.store import StateDamaged
from arbiter.worker.auditing import publish_pending
from arbiter.worker.health import Health
from arbiter.worker.kafka.producer import PublishFailed
from arbiter.worker.policy_watcher import Policies
from arbiter.worker.reporting import Reporter, Using
from tests.inputs.builders import document

ALONE = Order(by="rui", is_alone=True)
STOP = KillOrder(target="campaign", name="gold", by="ops", reason="wrong rate", for_ms=60_000)


class World:
    """A policy store, and a worker's view of it."""

    def __init__(self) -> None:
        self.store = MemoryPolicyStore()
        self.metrics = Metrics()
        self.health = Health(self.metrics)
        self.policies = Policies(self.store, self.health, self.metrics)

    async def put_in_force(self, **fields: Any) -> None:
        """Publish and activate a policy, good or bad."""
        content = msgspec.json.encode(document(**fields))
        record = await self.store.publish("test", sha256(content).hexdigest(), "ana", content)
        await self.store.activate(record.version, ALONE)

    def seen(self) -> tuple[int, int, bool]:
        """Activation number, version, and whether anything is stopped."""
        current = self.policies.current
        assert current is not None
        return current.number, current.policy.ref[1], current.policy.has_kills


@pytest.fixture
def world() -> World:
    """A store with a good policy in force, which the worker has taken over."""
    return World()


async def test_a_switch_is_taken_over_with_the_policy(world: World) -> None:
    """As one view with one number; lifted, it is gone."""
    await world.put_in_force()
    await world.policies.refresh()
    before = world.seen()
    kill, _ = await world.store.kill(STOP)
    await world.policies.refresh()
    during = world.seen()
    await world.store.lift(kill.id, "ops", "")
    await world.policies.refresh()

    assert [(1, 1, False), (2, 1, True), (3, 1, False)] == [before, during, world.seen()]


async def test_a_switch_works_beside_a_policy_that_cannot_be_taken(world: World) -> None:
    """The last good version stays, and what is ordered in an emergency holds all the same."""
    await world.put_in_force()
    await world.policies.refresh()
    await world.put_in_force(timezone="Nowhere/Land")
    await world.policies.refresh()
    refused = world.seen()
    await world.store.kill(STOP)
    await world.policies.refresh()
    stopped = world.seen()
    await world.put_in_force(score="value")
    await world.policies.refresh()

    assert [(1, 1, False), (3, 1, True), (4, 3, True)] == [refused, stopped, world.seen()]
    assert not world.health.has("policy-load")


async def test_a_document_that_somebody_changed_is_not_taken(world: World) -> None:
    """Its digest is not that of what was published: the last good one stays, with an alarm."""
    await world.put_in_force()
    await world.policies.refresh()
    content = msgspec.json.encode(document(score="value"))
    await world.store.publish("test", sha256(b"what was approved").hexdigest(), "ana", content)
    await world.store.activate(2, ALONE)
    await world.policies.refresh()

    assert (1, 1, False) == world.seen()
    assert "somebody has changed it" in world.health.reasons[0]


async def test_the_number_of_switches_is_a_metric(world: World) -> None:
    """As the store has them, from one look to the next."""
    await world.put_in_force()
    counts = []
    for order in (None, STOP):
        if order is not None:
            await world.store.kill(order)
        await world.policies.refresh()
        counts.append(world.metrics.registry.get_sample_value("arbiter_kill_switches"))

    assert [0.0, 1.0] == counts


class Topic:
    """A publisher that keeps what it is given, or refuses."""

    def __init__(self) -> None:
        self.records: list[OutRecord] = []
        self.refuses = False

    async def publish(self, records: Sequence[OutRecord]) -> None:
        """See ``Publisher.publish``."""
        if self.refuses:
            raise PublishFailed([(records[0], KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))])
        self.records += records


async def test_the_audit_is_published_in_order_and_once(world: World) -> None:
    """CloudEvents with an id of their own, all under one key on one partition; then nothing is left to publish."""
    await world.put_in_force()
    await world.store.kill(STOP)
    topic = Topic()
    counts = [await publish_pending(world.store, topic, "arbiter.audit.v1", "w1") for _ in range(2)]
    said = [json.loads(record.value or b"") for record in topic.records]

    assert [3, 0] == counts
    assert [(1, "published"), (2, "activated"), (3, "killed")] == [(one["seq"], one["action"]) for one in said]
    assert {("arbiter.audit.v1", 0, b"policy")} == {(r.topic, r.partition, r.key) for r in topic.records}
    assert [one["id"].encode() for one in said] == [dict(record.headers)["ce_id"] for record in topic.records]
    assert ({"id": 1, "target": "campaign", "name": "gold"}, "wrong rate") == (
        said[2]["kill_switch"],
        said[2]["reason"],
    )
    assert said[1]["policy"]["version"] == 1
    assert said[1]["without_approval"] is True


async def test_what_the_topic_refused_is_published_again_with_the_same_bytes(world: World) -> None:
    """Nothing is lost and nothing is skipped."""
    await world.put_in_force()
    topic = Topic()
    topic.refuses = True
    with pytest.raises(PublishFailed):
        await publish_pending(world.store, topic, "arbiter.audit.v1", "w1")
    topic.refuses = False
    await publish_pending(world.store, topic, "arbiter.audit.v1", "w1")
    first = topic.records
    repeated = Topic()
    again = MemoryPolicyStore()
    again.__dict__.update(world.store.__dict__, _published=0)
    await publish_pending(again, repeated, "arbiter.audit.v1", "w2")

    assert 2 == len(first)
    assert first == repeated.records


# The shadow policy


def beside(world: World) -> tuple[int, int, int | None]:
    """Activation number, version, and the version that is evaluated beside it."""
    current = world.policies.current
    assert current is not None
    shadow = current.policy.shadow
    return current.number, current.policy.ref[1], shadow.ref[1] if shadow else None


async def published(world: World, **fields: Any) -> int:
    """Publish a policy, good or bad; gives its version."""
    content = msgspec.json.encode(document(**fields))
    return (await world.store.publish("test", sha256(content).hexdigest(), "ana", content)).version


def value(world: World, name: str, **labels: str) -> float:
    """A metric."""
    return world.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_a_shadow_policy_is_taken_over_with_the_policy(world: World) -> None:
    """As one view with one number, with the switches of the moment; nothing has to be decided again for it."""
    await world.put_in_force()
    await world.store.shadow(await published(world, score="value"), "ana", "")
    await world.policies.refresh()
    during = beside(world)
    shown = value(world, "arbiter_shadow_policy_version")
    await world.store.kill(STOP)
    await world.policies.refresh()
    current = world.policies.current
    assert current is not None
    assert current.policy.shadow is not None
    stops = current.policy.shadow.has_kills, current.deciding_number
    await world.store.unshadow("ana", "")
    await world.policies.refresh()
    after = world.policies.current

    assert after is not None
    assert [(2, 1, 2), (4, 1, None)] == [during, beside(world)]
    assert (True, 3) == stops
    assert (3, 2.0, 0.0) == (after.deciding_number, shown, value(world, "arbiter_shadow_policy_version"))


async def test_a_version_is_not_judged_beside_itself(world: World) -> None:
    """Once it is in force it only says the same; rolled back, it stands beside again."""
    await world.put_in_force()
    await world.policies.refresh()
    await world.store.shadow(await published(world, score="value"), "ana", "")
    await world.store.activate(2, ALONE)
    await world.policies.refresh()
    during = beside(world)
    await world.store.rollback("ana", "", 3)
    await world.policies.refresh()

    assert [(3, 2, None), (4, 1, 2)] == [during, beside(world)]
    assert "" == world.policies.shadow_trouble


async def test_a_bad_shadow_policy_harms_nobody(world: World) -> None:
    """It is counted, alarmed once and told; the worker stays ready and takes over whatever comes."""
    await world.put_in_force()
    await world.store.shadow(await published(world, timezone="Nowhere/Land"), "ana", "")
    await world.policies.refresh()
    trouble = world.policies.shadow_trouble
    await world.put_in_force(score="priority")
    await world.policies.refresh()
    alarmed = value(world, "arbiter_alarms_total", kind="shadow-policy-load")
    await world.store.shadow(1, "ana", "")
    await world.policies.refresh()

    assert (4, 3, 1) == beside(world)
    assert "shadow policy version 2 cannot be taken" in trouble
    assert ([], "") == (world.health.reasons, world.policies.shadow_trouble)
    assert (1.0, 1.0) == (alarmed, value(world, "arbiter_shadow_policy_load_failures_total"))


async def test_a_shadow_document_that_somebody_changed_is_not_judged(world: World) -> None:
    """Its digest is not that of what was published."""
    await world.put_in_force()
    content = msgspec.json.encode(document(score="value"))
    await world.store.publish("test", sha256(b"what was looked at").hexdigest(), "ana", content)
    await world.store.shadow(2, "ana", "")
    await world.policies.refresh()

    assert (2, 1, None) == beside(world)
    assert "somebody has changed it" in world.policies.shadow_trouble


async def test_a_shadow_policy_stands_beside_the_last_good_one(world: World) -> None:
    """When the policy that should be in force cannot be taken."""
    await world.put_in_force()
    await world.policies.refresh()
    await world.put_in_force(timezone="Nowhere/Land")
    await world.policies.refresh()
    await world.store.shadow(await published(world, score="value"), "ana", "")
    await world.policies.refresh()

    assert (3, 1, 3) == beside(world)


# What is lost


def reporter(world: World, *using: Using) -> Reporter:
    """A worker's reports, whose processors use this."""
    return Reporter(world.store, world.policies, world.metrics, "w", lambda: using)


async def watched(world: World, told: Reporter) -> None:
    """One look at the store, as twice a second."""
    await told.report()
    await world.policies.refresh()
    await told.report()


async def test_a_lost_registry_stops_decisions_until_it_is_whole(world: World) -> None:
    """A kill switch may be among what was lost. Published and put in force again, it goes on above what was met."""
    told = reporter(world)
    await world.put_in_force()
    await world.put_in_force(score="value")
    await watched(world, told)
    world.store.lose()
    await watched(world, told)
    assert world.policies.current is None
    assert "are gone (activation 2 was in force); nothing is decided" in world.health.reasons[0]
    assert 1 == world.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "policy-registry"})
    await world.store.kill(STOP)
    await watched(world, told)
    assert world.policies.current is None
    await world.put_in_force()
    await watched(world, told)

    assert (4, 1, True) == world.seen()
    assert [] == world.health.reasons


async def test_a_registry_that_went_back_stops_decisions(world: World) -> None:
    """Its number is below what a partition or another worker has met: also where this worker has just begun."""
    await world.put_in_force()
    for told in (reporter(world, Using(None, 0, 5)), reporter(world)):
        world.policies = Policies(world.store, world.health, world.metrics)
        told._policies = world.policies  # noqa: SLF001 - a worker that starts
        await watched(world, told)
        assert world.policies.current is None
        assert "went back from activation 5 to 1" in world.health.reasons[0]
    await world.put_in_force(score="value")
    await watched(world, told)

    assert (6, 2, False) == world.seen()


async def test_a_registry_that_comes_back_is_gone_on_with(world: World) -> None:
    """Its data was restored: nothing need be ordered anew."""
    told = reporter(world)
    await world.put_in_force()
    await watched(world, told)
    store, world.store = world.store, MemoryPolicyStore()
    world.policies._store = world.store  # noqa: SLF001 - the store is another one for a while
    await world.policies.refresh()
    assert world.policies.current is None
    world.policies._store = store  # noqa: SLF001
    await world.policies.refresh()

    assert (1, 1, False) == world.seen()
    assert ([], "") == (world.health.reasons, world.policies.trouble)


async def test_a_registry_that_cannot_be_read_stops_decisions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with it, nothing is decided by guess, and the worker goes on looking."""

    async def damaged() -> None:
        raise ValueError("a damaged switch")

    await world.put_in_force()
    await world.policies.refresh()
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "active", damaged)
        await world.policies.refresh()
        assert world.policies.current is None
        assert "cannot be read (a damaged switch)" in world.health.reasons[0]
    await world.policies.refresh()

    assert (1, 1, False) == world.seen()


async def test_a_worker_reports_the_oldest_that_it_uses(world: World) -> None:
    """A batch that was begun under an older activation is finished under it."""
    await world.put_in_force()
    await world.put_in_force(score="value")
    await world.policies.refresh()
    told = reporter(world, Using(1, 1, 2), Using(None, 2, 2))
    await told.report()
    (report,) = await world.store.workers()

    assert (1, 1, 2, 2, "") == (report.number, report.swept, report.highest_seen, report.partitions, report.trouble)
    await told.leave()
    await told.report()
    assert [] == await world.store.workers()


async def test_a_version_that_is_damaged_is_not_taken_until_it_is_mended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good one stays meanwhile, and it is said once."""
    await world.put_in_force()
    await world.policies.refresh()
    await world.put_in_force(owner="another")
    with monkeypatch.context() as damaged:
        damaged.setattr(world.store, "fetch", AsyncMock(side_effect=StateDamaged("version 2 cannot be read")))
        for _ in range(3):
            await world.policies.refresh()
        assert (1, 1, False) == world.seen()
        (reason,) = world.health.reasons
        assert "version 2 cannot be read" in reason
        assert 1 == world.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "policy-load"})
    await world.policies.refresh()

    assert (2, 2, False) == world.seen()
    assert [] == world.health.reasons
