"""Whose state it is: an installation enters once, and a partition is claimed for the topics that it was read from."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from arbiter.state.store import Installation, Store, TopicsDiffer
from tests.contract.commits import FIRST, P, after, claimed
from tests.contract.conftest import Backend

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
