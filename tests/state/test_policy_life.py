"""What every ``PolicyStore`` promises of what is in force and when: plans, rollback, kill switches, the audit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from arbiter.policy.kill_switches import Kill
from arbiter.state.policy_store import KILL_MAX_MS, KILLS_MAX, Activation, KillOrder, Order, PolicyRefused, PolicyStore
from tests.state.conftest import Backend

ALONE = Order(by="me", is_alone=True)
SOON_MS = 250
HOUR_MS = 3_600_000


async def published(policies: PolicyStore, count: int = 3) -> None:
    """Versions 1 to ``count``, with the digests d1, d2 …"""
    for number in range(1, count + 1):
        await policies.publish("p", f"d{number}", "ana", b"x", reason=f"reason {number}")


async def activate(policies: PolicyStore, version: int, **order: Any) -> Activation | None:
    """Put a version in force alone."""
    return await policies.activate(version, Order(by="rui", is_alone=True, **order))


async def version_of(policies: PolicyStore) -> int | None:
    """The version in force now."""
    active = await policies.active()
    return active.version if active else None


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.02)


async def actions(policies: PolicyStore) -> list[tuple[str, int | None]]:
    """What the audit has, without publications: action and version."""
    return [(entry.action, entry.version) for entry in await policies.history(100) if entry.action != "published"]


# Plans


async def test_a_planned_activation_begins_by_itself(backend: Backend) -> None:
    """At its time the next look at the store puts it in force, under one number for everybody."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    await activate(policies, 1)
    unchanged = await activate(policies, 2, from_ms=now_ms + SOON_MS)

    async def has_begun() -> bool:
        return await version_of(policies) == 2

    await until(has_begun)
    looks = await asyncio.gather(*(policies.active() for _ in range(10)))
    assert Activation(1, 1, "d1") == unchanged
    assert {Activation(2, 2, "d2")} == set(looks)
    assert [("activated", 1), ("scheduled", 2), ("began", 2)] == await actions(policies)


async def test_what_ends_gives_way_to_what_was_in_force_before(backend: Backend) -> None:
    """A new number too: numbers never go back, versions may."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    await activate(policies, 1)
    during = await activate(policies, 2, until_ms=now_ms + SOON_MS)

    async def is_over() -> bool:
        return await version_of(policies) == 1

    await until(is_over)
    assert Activation(2, 2, "d2") == during
    assert Activation(3, 1, "d1") == await policies.active()
    assert [("activated", 1), ("activated", 2), ("ended", 2), ("resumed", 1)] == await actions(policies)


async def test_what_began_last_is_in_force(backend: Backend) -> None:
    """A later activation outlives one that ends; and one that was planned earlier still takes over at its time."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies, 4)
    await activate(policies, 1)
    await activate(policies, 2, until_ms=now_ms + SOON_MS)
    await activate(policies, 4, from_ms=now_ms + 2 * SOON_MS)
    await activate(policies, 3)

    async def is_last() -> bool:
        return await version_of(policies) == 4

    await until(is_last)
    assert [("activated", 3), ("began", 4)] == (await actions(policies))[-2:]


@pytest.mark.parametrize(
    ("order", "code"),
    [({"from_ms": -HOUR_MS}, "past"), ({"until_ms": -1}, "empty_span"),
     ({"from_ms": HOUR_MS, "until_ms": HOUR_MS}, "empty_span"), ({"until_ms": HOUR_MS}, "nothing_after")],
)  # fmt: skip
async def test_a_plan_that_cannot_be_is_refused(backend: Backend, order: dict[str, int], code: str) -> None:
    """A beginning in the past, an end before the beginning, and an end after which nothing would be in force."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)

    with pytest.raises(PolicyRefused) as refused:
        await activate(policies, 1, **{name: now_ms + offset for name, offset in order.items()})
    assert code == refused.value.code
    assert ([], None) == (await policies.plan(), await policies.active())


async def test_the_very_first_may_be_planned(backend: Backend) -> None:
    """Nothing is in force until then."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)

    assert await activate(policies, 1, from_ms=now_ms + HOUR_MS) is None
    (planned,) = await policies.plan()
    assert (1, now_ms + HOUR_MS, None) == (planned.version, planned.from_ms, planned.until_ms)


async def test_an_order_may_be_repeated(backend: Backend) -> None:
    """A second order of the same changes nothing, now and planned."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    for _ in range(2):
        await activate(policies, 1)
        await activate(policies, 2, from_ms=now_ms + HOUR_MS, until_ms=now_ms + 2 * HOUR_MS)

    assert [("activated", 1), ("scheduled", 2)] == await actions(policies)
    assert 2 == len(await policies.plan())


async def test_a_plan_can_be_cancelled(backend: Backend) -> None:
    """Only what has not begun, and not what another plan ends into."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    await activate(policies, 1, from_ms=now_ms + HOUR_MS)
    await activate(policies, 2, from_ms=now_ms + 2 * HOUR_MS, until_ms=now_ms + 3 * HOUR_MS)
    with pytest.raises(PolicyRefused, match="nothing would be in force"):
        await policies.cancel(1, "rui", "")
    await policies.cancel(2, "rui", "not yet")
    with pytest.raises(PolicyRefused, match="no activation"):
        await policies.cancel(2, "rui", "")

    assert [1] == [planned.version for planned in await policies.plan()]
    assert ("cancelled", 2) == (await actions(policies))[-1]


async def test_the_plan_is_bounded(policies: PolicyStore) -> None:
    """The oldest to come back to is forgotten; what is in force stays."""
    await published(policies, 2)
    for number in range(130):
        await activate(policies, 1 + number % 2)

    assert 100 == len(await policies.plan())
    assert 2 == await version_of(policies)


async def test_a_full_plan_of_what_is_to_come_takes_no_more(backend: Backend) -> None:
    """Nothing that somebody counts on is forgotten."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies, 1)
    for number in range(100):
        await activate(policies, 1, from_ms=now_ms + HOUR_MS + number)

    with pytest.raises(PolicyRefused, match="too many"):
        await activate(policies, 1)
    assert 100 == len(await policies.plan())


async def test_recall_is_remembered_by_number(backend: Backend) -> None:
    """Also of a version that is in force already, and of one that begins later."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    steps = [await activate(policies, 1), await activate(policies, 1, recalls=True), await activate(policies, 2)]
    await activate(policies, 3, from_ms=now_ms + SOON_MS, recalls=True)

    async def has_begun() -> bool:
        return await version_of(policies) == 3

    await until(has_begun)
    assert [(1, 0), (2, 2), (3, 2)] == [(step.number, step.recalls) for step in steps if step]
    assert Activation(4, 3, "d3", recalls=4) == await policies.active()


# Rollback


async def test_rollback_goes_back_step_by_step(policies: PolicyStore) -> None:
    """Each ends what is in force; what is no longer approved by anybody never comes back."""
    await published(policies)
    for version in (1, 2, 3):
        await activate(policies, version)
    steps = [await policies.rollback("eva", "too many", number) for number in (3, 4)]

    assert [Activation(4, 2, "d2"), Activation(5, 1, "d1")] == steps
    with pytest.raises(PolicyRefused, match="no other version"):
        await policies.rollback("eva", "", 5)
    assert [("rolled_back", 2), ("rolled_back", 1)] == (await actions(policies))[-2:]


async def test_rollback_needs_something_in_force(policies: PolicyStore) -> None:
    """Nothing to go back from, nothing to go back to."""
    await published(policies)
    with pytest.raises(PolicyRefused, match="no other version"):
        await policies.rollback("eva", "", 0)
    await activate(policies, 1)
    with pytest.raises(PolicyRefused, match="no other version"):
        await policies.rollback("eva", "", 1)
    assert Activation(1, 1, "d1") == await policies.active()


async def test_two_rollbacks_at_once_are_one(policies: PolicyStore) -> None:
    """Whoever comes second had not seen what the first one did."""
    await published(policies)
    for version in (1, 2, 3):
        await activate(policies, version)
    await policies.rollback("eva", "", 3)

    with pytest.raises(PolicyRefused, match="a moment ago"):
        await policies.rollback("rui", "", 3)
    assert 2 == await version_of(policies)


async def test_rollback_ends_a_temporary_version_before_its_time(backend: Backend) -> None:
    """And its end changes nothing any more."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    await activate(policies, 1)
    await activate(policies, 2, until_ms=now_ms + HOUR_MS)

    assert Activation(3, 1, "d1") == await policies.rollback("eva", "", 2)
    assert [1] == [planned.version for planned in await policies.plan()]


# Kill switches


def stop(name: str = "spring", **order: Any) -> KillOrder:
    """An order to stop a campaign for an hour."""
    given = {"target": "campaign", "name": name, "by": "ops", "reason": "wrong rate", "for_ms": HOUR_MS, **order}
    return KillOrder(**given)


async def test_a_switch_is_a_new_activation(backend: Backend) -> None:
    """Version and switches are one view with one number."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies)
    await activate(policies, 1)
    kill, active = await policies.kill(stop("frühling", until_ms=now_ms + HOUR_MS, for_ms=None, includes_legal=True))
    lifted = await policies.lift(kill.id, "ops", "corrected")

    assert Kill(1, "campaign", "frühling", now_ms + HOUR_MS, True, "ops", "wrong rate") == kill
    assert Activation(2, 1, "d1", (kill,)) == active
    assert Activation(3, 1, "d1") == lifted == await policies.active()
    assert [2, 3] == [entry.number for entry in (await policies.history(2))]


async def test_a_switch_needs_no_policy(policies: PolicyStore) -> None:
    """What is ordered first holds when the first policy comes."""
    kill, active = await policies.kill(stop())
    await published(policies)

    assert active is None
    assert [kill] == await policies.kills()
    assert Activation(2, 1, "d1", (kill,)) == await activate(policies, 1)


async def test_a_second_order_for_the_same_replaces_the_first(policies: PolicyStore) -> None:
    """A longer end, another reason: one switch per target; and told the same twice it is one order."""
    first, _ = await policies.kill(stop())
    second, _ = await policies.kill(stop(until_ms=first.until_ms + HOUR_MS, reason="worse than we thought"))
    again, _ = await policies.kill(stop(until_ms=first.until_ms + HOUR_MS, reason="worse than we thought"))
    other, _ = await policies.kill(stop("summer"))

    assert (1, 1, 1, 2) == (first.id, second.id, again.id, other.id)
    assert [second, other] == await policies.kills()
    assert 3 == len(await policies.history(10))


async def test_a_switch_ends_by_itself(policies: PolicyStore) -> None:
    """Then it is forgotten, and the audit says so; the number stays, since decisions had known its end all along."""
    await published(policies)
    await activate(policies, 1)
    kill, active = await policies.kill(stop(for_ms=SOON_MS))

    async def is_over() -> bool:
        there = await policies.active()
        return there is not None and not there.kills

    await until(is_over)
    last = (await policies.history(1))[0]
    assert active is not None
    assert Activation(2, 1, "d1") == await policies.active()
    assert ("kill_ended", kill.id, kill.until_ms, "arbiter") == (last.action, last.kill, last.at_ms, last.by)
    with pytest.raises(PolicyRefused, match="no such kill"):
        await policies.lift(kill.id, "ops", "")


@pytest.mark.parametrize(
    ("order", "code"),
    [({"for_ms": 0}, "empty_span"), ({"until_ms": 5}, "empty_span"), ({"for_ms": KILL_MAX_MS + 1}, "too_long")],
)
async def test_a_switch_must_end_in_time(policies: PolicyStore, order: dict[str, Any], code: str) -> None:
    """In the future, and within thirty days."""
    with pytest.raises(PolicyRefused) as refused:
        await policies.kill(stop(**order))
    assert code == refused.value.code
    assert [] == await policies.kills()


async def test_switches_are_bounded(policies: PolicyStore) -> None:
    """Beyond that one for everything is the answer."""
    for number in range(KILLS_MAX):
        await policies.kill(stop(f"campaign-{number}"))

    with pytest.raises(PolicyRefused, match="too many"):
        await policies.kill(stop("one-more"))
    await policies.kill(stop("campaign-7", for_ms=2 * HOUR_MS))


# The audit


async def test_the_audit_says_who_did_what_and_why(policies: PolicyStore) -> None:
    """Every step with its version, digest and activation number, numbered without a gap."""
    await published(policies, 1)
    await policies.approve(1, "d1", "rui", "looks right")
    await policies.activate(1, Order(by="eva", reason="monday"))
    await policies.kill(stop())
    entries = await policies.history(10)

    assert [1, 2, 3, 4] == [entry.seq for entry in entries]
    assert [
        ("published", "ana", "reason 1", 1, "d1", None), ("approved", "rui", "looks right", 1, "d1", None),
        ("activated", "eva", "monday", 1, "d1", 1), ("killed", "ops", "wrong rate", None, "", 2),
    ] == [(e.action, e.by, e.reason, e.version, e.digest, e.number) for e in entries]  # fmt: skip
    assert not any(entry.is_alone for entry in entries)
    assert entries[-2:] == await policies.history(2)


async def test_the_audit_says_what_was_done_alone(policies: PolicyStore) -> None:
    """A version that nobody else approved."""
    await published(policies, 1)
    await activate(policies, 1)

    assert (await policies.history(1))[0].is_alone


async def test_entries_are_published_once(policies: PolicyStore) -> None:
    """Oldest first, by one worker at a time; what was published is not given again."""
    await published(policies)
    first = await policies.unpublished_audit("a", 60_000, 2)
    others = await policies.unpublished_audit("b", 60_000, 2)
    again = await policies.unpublished_audit("a", 60_000, 2)
    await policies.mark_audit_published("a", first[-1].seq)
    rest = await policies.unpublished_audit("b", 60_000, 2)
    await policies.mark_audit_published("b", rest[-1].seq)

    assert [1, 2] == [entry.seq for entry in first]
    assert ([], first, [3]) == (others, again, [entry.seq for entry in rest])
    assert [] == await policies.unpublished_audit("a", 60_000, 2)
    assert 3 == len(await policies.history(10))


async def test_a_dead_publisher_is_succeeded(policies: PolicyStore) -> None:
    """Its lease ends; what it may have published is published again."""
    await published(policies, 1)
    first = await policies.unpublished_audit("a", 50, 10)

    async def is_given() -> bool:
        return first == await policies.unpublished_audit("b", 60_000, 10)

    await until(is_given)


async def test_published_entries_are_bounded_and_others_are_not(
    policies: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the topic has may be forgotten here; what it has not stays as long as it takes."""
    for module in ("memory_policies", "redis_policies"):
        monkeypatch.setattr(f"arbiter.state.{module}.AUDIT_KEPT", 2)
    await published(policies, 5)
    await policies.mark_audit_published("a", 2)
    unpublished = [entry.seq for entry in await policies.history(10)]
    await policies.mark_audit_published("a", 5)

    assert [3, 4, 5] == unpublished
    assert [4, 5] == [entry.seq for entry in await policies.history(10)]
