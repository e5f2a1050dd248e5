"""Whose state it is: an installation enters once, and a partition is claimed for the topics that it was read from."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from arbiter.state.policy_store import PolicyStore
from arbiter.state.store import Acceptance, Installation, Store, TopicsDiffer
from tests.state.commits import FIRST, P, after, claimed
from tests.state.conftest import Backend

OURS = Installation("Zq3n-cluster", "", "arbiter", 4)
TOPICS = {"requests": "id-of-requests", "consents": "id-of-consents"}


async def test_the_first_to_enter_owns_the_state(store: Store) -> None:
    """Who comes first is told that it was nobody's; all others, whatever differs, whose it is."""
    first = await store.enter(OURS)
    others = [
        await store.enter(other)
        for other in (
            OURS,
            replace(OURS, cluster="another"),
            replace(OURS, topic_prefix="test."),
            replace(OURS, group="another"),
            replace(OURS, partitions=8),
        )
    ]

    assert first == (OURS, True)
    assert others == [(OURS, False)] * 5


async def test_a_store_that_lost_everything_is_nobodys(backend: Backend) -> None:
    """After a loss whoever enters first owns the state that begins."""
    await backend.store.enter(OURS)
    await backend.flush()

    assert await backend.store.enter(replace(OURS, partitions=8)) == (replace(OURS, partitions=8), True)


async def test_topic_ids_are_kept_with_the_first_claim(store: Store) -> None:
    """They are in the head of every claim from then on, through commits and through claims that name none."""
    first = await store.claim(P, "a", 1, TOPICS)
    await store.commit(P, FIRST)
    second = await store.claim(P, "b", 1, TOPICS)
    third = await store.claim(P, "c", 1)

    claims = [claim for claim in (first, second, third) if claim is not None]
    assert [claim.head.topics for claim in claims] == [TOPICS] * 3
    assert [claim.adopted for claim in claims] == [False] * 3
    assert claims[-1].head.positions == FIRST.positions


async def test_a_state_without_ids_adopts_them_once(store: Store) -> None:
    """A head that an older build wrote takes the ids of today, and says so; also those of a topic that is new."""
    await claimed(store, FIRST)
    adopting = await store.claim(P, "b", 1, TOPICS)
    again = await store.claim(P, "c", 1, TOPICS)
    more = await store.claim(P, "d", 1, TOPICS | {"outcomes": "id-of-outcomes"})

    claims = [claim for claim in (adopting, again, more) if claim is not None]
    assert [claim.adopted for claim in claims] == [True, False, True]
    assert claims[-1].head.topics == TOPICS | {"outcomes": "id-of-outcomes"}


async def test_another_topic_of_the_same_name_is_not_claimed(store: Store) -> None:
    """One differing id is enough: nothing is done, the owner stays and goes on, and the recorded ids are told."""
    await store.claim(P, "a", 1, TOPICS)
    await store.commit(P, FIRST)
    with pytest.raises(TopicsDiffer) as told:
        await store.claim(P, "b", 2, TOPICS | {"requests": "made anew"})
    verdict, _ = await store.commit(P, after(FIRST))
    claim = await store.claim(P, "c", 1, TOPICS)

    assert told.value.recorded == TOPICS
    assert verdict.value == "ok"
    assert claim is not None
    assert (claim.head.epoch, claim.head.claims) == (2, 1)


NONE: frozenset[str] = frozenset()


async def test_losses_of_one_time_share_an_id(store: Store) -> None:
    """The same loss keeps its id, and another partition's joins it; what is lost anew of a partition is told anew."""
    first = await store.report_loss(0, "no state, 11", "aaaa", NONE)
    again = await store.report_loss(0, "no state, 11", "bbbb", NONE)
    other = await store.report_loss(1, "no state, 23", "cccc", NONE)

    assert [first, again, other] == ["aaaa"] * 3


async def test_an_id_that_is_named_is_not_shared_any_more(store: Store) -> None:
    """Who runs with an id accepts what was told under it, and nothing that is told later."""
    await store.report_loss(0, "no state, 11", "aaaa", NONE)
    later = await store.report_loss(1, "no state, 23", "bbbb", frozenset({"aaaa"}))
    changed = await store.report_loss(0, "no state, 12", "cccc", frozenset({"aaaa"}))

    assert await store.report_loss(1, "no state, 23", "dddd", NONE) == later == "bbbb"
    assert changed == "bbbb"


async def test_an_accepted_loss_is_closed(store: Store) -> None:
    """The head goes on from what is given; the same loss once more, or another, has another id from then on."""
    await claimed(store, FIRST)
    await store.report_loss(P, "lost", "aaaa", NONE)
    await store.report_loss(P + 1, "lost, too", "bbbb", NONE)
    acceptance = Acceptance(10**15, {"requests": 0}, {"requests": "new"})
    verdicts = [await store.accept_loss(P, 1, owner, acceptance) for owner in ("a", "b", "a")]
    claim = await store.claim(P, "b", 2, {"requests": "new"})
    ids = [
        await store.report_loss(P, "lost", "cccc", NONE),
        await store.report_loss(P + 1, "lost, too", "dddd", NONE),
        await store.report_loss(P + 2, "lost as well", "eeee", NONE),
    ]

    assert [verdict.value for verdict in verdicts] == ["ok", "fenced", "ok"]
    assert claim is not None
    assert not claim.fresh
    assert (claim.head.seq, claim.head.positions) == (10**15, FIRST.positions | {"requests": 0})
    assert claim.head.topics == {"requests": "new"}
    assert ids == ["cccc", "aaaa", "cccc"]


async def test_commits_go_on_from_an_accepted_loss(store: Store) -> None:
    """Numbers in microseconds count exactly."""
    await store.claim(P, "a", 1)
    seq = 1_796_021_411_097_001
    await store.accept_loss(P, 1, "a", Acceptance(seq, {}, {}))
    verdicts = [
        (await store.commit(P, replace(FIRST, seq=number)))[0].value for number in (seq + 1, seq + 1, seq + 2, seq + 4)
    ]
    cleared = [(await store.clear_outbox(P, 1, "a", number)).value for number in (seq + 2, seq + 3)]

    assert verdicts == ["ok", "ok", "ok", "regressed"]
    assert cleared == ["ok", "regressed"]


async def test_a_note_is_an_audit_entry(policies: PolicyStore) -> None:
    """It is published on the audit topic as every other one."""
    await policies.note("loss_accepted", "worker-1", "partition 3: no state")
    (entry,) = await policies.history(10)

    assert (entry.seq, entry.action, entry.by, entry.reason) == (
        1,
        "loss_accepted",
        "worker-1",
        "partition 3: no state",
    )
    assert [entry] == await policies.unpublished_audit("worker", 1_000, 10)


async def test_a_note_may_be_about_dead_letters(policies: PolicyStore) -> None:
    """How they were selected, and how many they are; none is a number, too."""
    await policies.note("replay_ended", "ana", "mended", selection="code empty", letters=0)
    (entry,) = await policies.history(10)

    assert (entry.action, entry.selection, entry.letters) == ("replay_ended", "code empty", 0)
