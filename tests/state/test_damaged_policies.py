"""A registry that is damaged, on real servers: an order to stop is taken all the same, and the rest is named."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from arbiter.state.policy_store import Activation, KillOrder, Order, PolicyStore, WorkerReport
from arbiter.state.redis_store import connect
from arbiter.state.store import StateDamaged

STOP = KillOrder(target="campaign", name="gold", by="ops", reason="r", for_ms=60_000)
REGISTRY = "damaged:{policy}:registry"


@pytest.fixture
async def policies(server_url: str, admin: Redis) -> AsyncIterator[PolicyStore]:  # noqa: ARG001 - it is emptied before
    """Policies of which one is in force, as number 1, and one worker has told so."""
    store = connect(server_url, "damaged")
    await store.policies.publish("p", "d", "ana", b"x")
    await store.policies.activate(1, Order(by="rui", is_alone=True))
    await store.policies.report(WorkerReport(name="a", number=1, highest_seen=1), {})
    yield store.policies
    await store.close()


async def damage(admin: Redis, name: str, value: str | None) -> None:
    """A key of another type (``None``), or another text."""
    key = f"damaged:{{policy}}:{name}"
    await admin.delete(key)
    await (admin.hset(key, "x", "y") if value is None else admin.set(key, value))


@pytest.mark.parametrize(("name", "value"), [("met", "x1"), ("met", None), ("audit", "x"), ("audit", None)])
async def test_a_stop_waits_for_nothing_that_is_damaged_beside_it(
    policies: PolicyStore, admin: Redis, name: str, value: str | None
) -> None:
    """It is ordered, in force and in the audit; what workers met is written anew."""
    await damage(admin, name, value)
    kill, active = await policies.kill(STOP)

    assert active == await policies.active()
    assert active is not None
    assert (2, (kill,)) == (active.number, active.kills)
    assert "killed" == (await policies.history(1))[0].action
    assert 2 == await policies.report(WorkerReport(name="a", number=2, highest_seen=2), {})
    assert (await admin.exists("damaged:{policy}:audit:damaged")) == (name == "audit")


@pytest.mark.parametrize("field", ["x", "", "12", "12 {"])
async def test_a_report_that_is_none_hides_no_other(policies: PolicyStore, admin: Redis, field: str) -> None:
    """It is forgotten."""
    await admin.hset("damaged:{policy}:workers", "b", field)

    assert ["a"] == [one.name for one in await policies.workers()]


async def test_a_new_report_that_cannot_be_read_is_no_consent(policies: PolicyStore, admin: Redis) -> None:
    """Perhaps a worker of another build wrote it."""
    seconds, _ = await admin.time()
    await admin.hset("damaged:{policy}:workers", "b", f'{seconds}000 {{"name": 1')
    _, other = await policies.workers()

    assert ("b", 0, "its report cannot be read") == (other.name, other.number, other.trouble)


async def test_reports_begin_anew_where_there_is_something_else(policies: PolicyStore, admin: Redis) -> None:
    """Each worker writes its own twice a second."""
    await damage(admin, "workers", "x")
    await policies.report(WorkerReport(name="a", number=1, highest_seen=1), {})
    assert ["a"] == [one.name for one in await policies.workers()]
    await damage(admin, "workers", "x")

    assert [] == await policies.workers()


@pytest.mark.parametrize(
    "fields",
    [
        {"kills": "77"},
        {"kills": "7", "kill:7": "{"},
        {"number": "x"},
        {"active": "x"},
        {"recalls": "x"},
        {"shadow": "x"},
    ],
)
async def test_what_is_in_force_is_not_guessed(policies: PolicyStore, admin: Redis, fields: dict[Any, Any]) -> None:
    """One error for all that may be wrong."""
    await admin.hset(REGISTRY, mapping=fields)
    with pytest.raises(StateDamaged):
        await policies.active()


@pytest.mark.parametrize(("field", "value"), [("1:published_at_ms", "x"), ("1:digest", None), ("1:author", b"\xff")])
async def test_a_version_that_cannot_be_read_is_named(
    policies: PolicyStore, admin: Redis, field: str, value: Any
) -> None:
    """Whichever of its fields is missing or no text."""
    await (admin.hdel(REGISTRY, field) if value is None else admin.hset(REGISTRY, field, value))
    with pytest.raises(StateDamaged, match="version 1 cannot be read"):
        await policies.fetch(1)


async def test_what_is_left_of_the_view_is_in_force(policies: PolicyStore) -> None:
    """Nothing was damaged: all is as it was."""
    assert Activation(1, 1, "d") == await policies.active()
