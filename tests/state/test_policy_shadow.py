"""What every ``PolicyStore`` promises of the shadow policy: one at a time, numbered and written down like the rest."""

from __future__ import annotations

import pytest

from arbiter.state.policy_store import Activation, Order, PolicyRefused, PolicyStore, Shadow
from tests.state.conftest import Backend
from tests.state.test_policy_life import activate, published, stop

HOUR_MS = 3_600_000


async def told(policies: PolicyStore) -> list[tuple[str, int | None, int | None, str, str]]:
    """What the audit has of shadows."""
    entries = [entry for entry in await policies.history(100) if entry.action.startswith("shadow")]
    return [(entry.action, entry.version, entry.number, entry.by, entry.reason) for entry in entries]


async def test_it_is_part_of_what_is_in_force(backend: Backend) -> None:
    """Under a number of its own, like a kill switch; each move is in the audit, with who and why."""
    policies = backend.policies
    await published(policies)
    await activate(policies, 1)
    begun = await policies.shadow(2, "ana", "the new caps")
    other = await policies.shadow(3, "ana", "no, these")
    ended = await policies.unshadow("rui", "seen enough")

    assert [
        Activation(2, 1, "d1", shadow=Shadow(2, "d2"), shadow_moves=1),
        Activation(3, 1, "d1", shadow=Shadow(3, "d3"), shadow_moves=2),
        Activation(4, 1, "d1", shadow_moves=3),
    ] == [begun, other, ended]
    assert ended == await policies.active()
    assert [
        ("shadow_began", 2, 2, "ana", "the new caps"),
        ("shadow_began", 3, 3, "ana", "no, these"),
        ("shadow_ended", 3, 4, "rui", "seen enough"),
    ] == await told(policies)


async def test_the_same_again_changes_nothing(backend: Backend) -> None:
    """A reply may be lost and the order repeated: one number, one entry."""
    policies = backend.policies
    await published(policies)
    await activate(policies, 1)
    first = await policies.shadow(2, "ana", "")

    assert first == await policies.shadow(2, "rui", "again")
    assert 1 == len(await told(policies))


async def test_it_needs_no_approval(backend: Backend) -> None:
    """It reaches nobody. That it stood beside does not make it an approved one."""
    policies = backend.policies
    await published(policies)
    await activate(policies, 1)
    await policies.shadow(2, "ana", "")

    with pytest.raises(PolicyRefused) as refused:
        await policies.activate(2, Order(by="ana"))
    assert "not_approved" == refused.value.code


@pytest.mark.parametrize(("version", "code"), [(9, "unknown"), (1, "nothing_in_force")])
async def test_what_cannot_be_is_refused(backend: Backend, version: int, code: str) -> None:
    """A version that is not there; and one beside nothing, though an activation is planned."""
    policies, now_ms = backend.policies, await backend.store.time_ms()
    await published(policies, 1)
    await activate(policies, 1, from_ms=now_ms + HOUR_MS)

    with pytest.raises(PolicyRefused) as refused:
        await policies.shadow(version, "ana", "")
    assert code == refused.value.code
    assert [] == await told(policies)


async def test_what_is_not_there_cannot_end(backend: Backend) -> None:
    """Neither before there was one nor twice."""
    policies = backend.policies
    await published(policies)
    await activate(policies, 1)
    codes = []
    for ready in (False, True):
        if ready:
            await policies.shadow(2, "ana", "")
            await policies.unshadow("ana", "")
        with pytest.raises(PolicyRefused) as refused:
            await policies.unshadow("ana", "")
        codes.append(refused.value.code)

    assert ["no_shadow", "no_shadow"] == codes


async def test_it_stays_while_other_things_change(backend: Backend) -> None:
    """Versions and switches come and go beside it; only its own moves are counted as such."""
    policies = backend.policies
    await published(policies)
    await activate(policies, 1)
    await policies.shadow(3, "ana", "")
    activated = await activate(policies, 2)
    kill, killed = await policies.kill(stop())
    lifted = await policies.lift(kill.id, "ops", "")
    moved = await policies.shadow(1, "ana", "")
    back = await policies.rollback("rui", "", 6)

    shadow = Shadow(3, "d3")
    assert [
        Activation(3, 2, "d2", shadow=shadow),
        Activation(4, 2, "d2", (kill,), shadow=shadow),
        Activation(5, 2, "d2", shadow=shadow),
        Activation(6, 2, "d2", shadow=Shadow(1, "d1"), shadow_moves=1),
        Activation(7, 1, "d1", shadow=Shadow(1, "d1")),
    ] == [activated, killed, lifted, moved, back]
    assert [] == await policies.kills()
