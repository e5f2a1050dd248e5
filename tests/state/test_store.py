"""What every ``Store`` promises: claims, and fenced commits that may be repeated."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from arbiter.state.store import CommitResult, Store
from tests.state.commits import FIRST, P, after, claimed, verdict
from tests.state.conftest import Backend


async def test_first_claim_is_fresh(store: Store) -> None:
    """A partition that was never claimed gives an empty head of epoch 1."""
    claim = await store.claim(P, "a", 5)

    assert claim is not None
    assert claim.fresh
    assert b"" == claim.outbox
    head = claim.head
    assert (1, "a", 0, 5, 0, 0, {}, 1) == (
        head.epoch, head.owner, head.seq, head.generation, head.activation, head.now_ms, head.positions, head.claims
    )  # fmt: skip


async def test_claim_stays_fresh_until_a_commit(store: Store) -> None:
    """An owner that died before its first commit does not hide from the next one that there was no state."""
    await store.claim(P, "a", 1)
    second = await store.claim(P, "b", 1)
    assert second is not None
    await store.commit(P, replace(FIRST, epoch=2, owner="b"))
    third = await store.claim(P, "c", 1)

    assert third is not None
    assert (True, False) == (second.fresh, third.fresh)


async def test_claim_repeats_what_the_last_commit_left(store: Store) -> None:
    """The next owner gets head and outbox of the last commit and an epoch of its own."""
    await claimed(store, FIRST)
    claim = await store.claim(P, "b", 2)

    assert claim is not None
    assert not claim.fresh
    assert b"records" == claim.outbox
    head = claim.head
    assert (2, "b", 1, 2, 3, FIRST.now_ms, FIRST.positions, 1) == (
        head.epoch, head.owner, head.seq, head.generation, head.activation, head.now_ms, head.positions, head.claims
    )  # fmt: skip


async def test_repeated_claim_is_one_claim(store: Store) -> None:
    """A claim whose reply was lost gives the same epoch again and counts once."""
    await claimed(store, FIRST)
    first = await store.claim(P, "b", 2)
    again = await store.claim(P, "b", 2)

    assert first is not None
    assert again is not None
    assert first.head == again.head
    assert first.fresh == again.fresh


async def test_claims_count_until_an_owner_is_calm_or_ends_well(store: Store) -> None:
    """Claims add up, also over commits, until one says that it is calm or the owner says that it ends."""
    await claimed(store)
    await store.claim(P, "b", 1)
    third = await store.claim(P, "c", 1)
    assert third is not None
    await store.commit(P, replace(FIRST, epoch=3, owner="c", is_calm=False))
    fourth = await store.claim(P, "d", 1)
    await store.commit(P, after(replace(FIRST, epoch=4, owner="d", is_calm=True)))
    fifth = await store.claim(P, "e", 1)
    await store.mark(P, 5, "e", b"", is_over=True)
    sixth = await store.claim(P, "f", 1)
    assert fourth is not None
    assert fifth is not None
    assert sixth is not None

    assert (3, 4, 1, 1) == (third.head.claims, fourth.head.claims, fifth.head.claims, sixth.head.claims)


async def test_notes_last_until_a_commit(store: Store) -> None:
    """What the owner noted is told to the next one; a commit brings its own; nobody else may note anything."""
    await claimed(store, FIRST)
    marked = await store.mark(P, 1, "a", b"forty")
    stranger = await store.mark(P, 1, "b", b"nine")
    second = await store.claim(P, "b", 2)
    assert second is not None
    fenced = await store.mark(P, 1, "a", b"seven")
    await store.commit(P, after(replace(FIRST, epoch=2, owner="b", notes=b"kept")))
    third = await store.claim(P, "c", 3)
    await store.commit(P, after(after(replace(FIRST, epoch=3, owner="c"))))
    fourth = await store.claim(P, "d", 4)
    assert third is not None
    assert fourth is not None

    assert (CommitResult.OK, CommitResult.FENCED, CommitResult.FENCED) == (marked, stranger, fenced)
    assert (b"forty", b"kept", b"") == (second.head.notes, third.head.notes, fourth.head.notes)


async def test_claim_of_a_lower_generation_is_refused(store: Store) -> None:
    """A worker from before the last rebalance gets nothing and changes nothing, even the former owner."""
    await store.claim(P, "a", 4)
    await store.claim(P, "b", 5)

    assert await store.claim(P, "c", 4) is None
    assert await store.claim(P, "b", 4) is None
    assert CommitResult.OK is await verdict(store, replace(FIRST, epoch=2, owner="b"))


async def test_same_owner_takes_over_a_higher_generation(store: Store) -> None:
    """Claiming again after a rebalance keeps the epoch and raises the generation."""
    await store.claim(P, "a", 4)
    claim = await store.claim(P, "a", 6)

    assert claim is not None
    assert (1, 6) == (claim.head.epoch, claim.head.generation)
    assert await store.claim(P, "b", 5) is None


async def test_commit_writes_everything(store: Store) -> None:
    """Ledgers, answers, timers, head and outbox of a commit are all there."""
    await claimed(store, FIRST)

    assert [b"ledger of C1", None] == await store.load(P, ["C1", "C2"])
    assert [None, b"answer"] == await store.load_answers(P, [b"identity-of-two!", b"identity-of-one!"])
    assert [(1_795_000_060_000, (0, 0), "C1")] == await store.due(P, 1_795_000_060_000, 10)


async def test_heads_are_read_without_a_claim(store: Store) -> None:
    """Where each partition stands, for whoever only looks; nothing of one that was never claimed."""
    await claimed(store, FIRST)
    heads = await store.heads(P + 2)

    assert [None, None] == [heads[P - 1], heads[P + 1]]
    head = heads[P]
    assert head is not None
    assert (FIRST.seq, FIRST.now_ms, FIRST.positions) == (head.seq, head.now_ms, head.positions)


async def test_partitions_are_apart(store: Store) -> None:
    """What is committed to one partition is not seen in another."""
    await claimed(store, FIRST)
    other = await store.claim(P + 1, "a", 1)

    assert other is not None
    assert other.fresh
    assert [None] == await store.load(P + 1, ["C1"])
    assert [None] == await store.load_answers(P + 1, list(FIRST.answers))
    assert [] == await store.due(P + 1, 2**52, 10)


async def test_loading_nothing_gives_nothing(store: Store) -> None:
    """An empty list of parties or identities is answered with an empty list."""
    assert [] == await store.load(P, [])
    assert [] == await store.load_answers(P, [])


async def test_lost_reply_commit_is_applied_once(store: Store) -> None:
    """The same commit sent again is OK, and what came with it is not written twice."""
    await claimed(store, FIRST)
    assert CommitResult.OK is await verdict(store, replace(FIRST, ledgers={"C1": b"must not be written"}))
    claim = await store.claim(P, "b", 1)

    assert claim is not None
    assert (1, FIRST.positions) == (claim.head.seq, claim.head.positions)
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


@pytest.mark.parametrize("seq", [3, 4, 1_000])
async def test_commit_from_the_future_is_regressed(store: Store, seq: int) -> None:
    """A gap means that the store lost commits."""
    await claimed(store, FIRST)

    assert CommitResult.REGRESSED is await verdict(store, replace(FIRST, seq=seq, ledgers={"C1": b"x"}))
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


async def test_commit_from_the_past_is_regressed(store: Store) -> None:
    """A sequence number below the last one is never applied."""
    await claimed(store, FIRST, after(FIRST))

    assert CommitResult.REGRESSED is await verdict(store, replace(FIRST, ledgers={"C1": b"x"}))
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


async def test_zombie_is_fenced(store: Store) -> None:
    """The former owner can neither commit, nor repeat its last commit, nor clear the outbox."""
    await claimed(store, FIRST)
    await store.claim(P, "b", 2)

    assert CommitResult.FENCED is await verdict(store, after(FIRST, ledgers={"C1": b"x"}, outbox=b"x"))
    assert CommitResult.FENCED is await verdict(store, FIRST)
    assert CommitResult.FENCED is await store.clear_outbox(P, 1, "a", 1)
    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    claim = await store.claim(P, "b", 2)
    assert claim is not None
    assert b"records" == claim.outbox


async def test_another_owner_of_the_same_epoch_is_fenced(store: Store) -> None:
    """Epochs can coincide after a loss; the owner's name decides then."""
    await claimed(store)

    assert CommitResult.FENCED is await verdict(store, replace(FIRST, owner="b"))
    assert CommitResult.FENCED is await store.clear_outbox(P, 1, "b", 0)


async def test_commit_above_the_head_epoch_is_regressed(store: Store) -> None:
    """An epoch that the store does not know of means that it lost the claim."""
    await claimed(store)

    assert CommitResult.REGRESSED is await verdict(store, replace(FIRST, epoch=2))
    assert CommitResult.REGRESSED is await store.clear_outbox(P, 2, "a", 0)


async def test_commit_without_a_head_is_regressed(store: Store) -> None:
    """Nobody commits to a partition that was not claimed."""
    assert CommitResult.REGRESSED is await verdict(store, FIRST)
    assert CommitResult.REGRESSED is await store.clear_outbox(P, 1, "a", 1)


async def test_flushed_store_is_regressed(backend: Backend) -> None:
    """After FLUSHALL the owner's next commit, its repeated one and its clearing are regressed, and nothing is there."""
    await claimed(backend.store, FIRST)
    await backend.flush()

    assert CommitResult.REGRESSED is await verdict(backend.store, FIRST)
    assert CommitResult.REGRESSED is await verdict(backend.store, after(FIRST))
    assert CommitResult.REGRESSED is await backend.store.clear_outbox(P, 1, "a", 1)
    assert [None] == await backend.store.load(P, ["C1"])


async def test_forgotten_scripts_are_sent_again(backend: Backend) -> None:
    """SCRIPT FLUSH between any two calls goes unnoticed."""
    store = backend.store
    await backend.forget_scripts()
    assert await store.claim(P, "a", 1) is not None
    await backend.forget_scripts()
    assert CommitResult.OK is await verdict(store, FIRST)
    await backend.forget_scripts()

    assert CommitResult.OK is await store.clear_outbox(P, 1, "a", 1)


async def test_lower_activation_is_stale(store: Store) -> None:
    """A worker with an older policy activation writes nothing; the same or a newer one does."""
    await claimed(store, FIRST)

    assert CommitResult.STALE_POLICY is await verdict(store, after(FIRST, activation=2, ledgers={"C1": b"x"}))
    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    assert CommitResult.OK is await verdict(store, after(FIRST))
    assert CommitResult.OK is await verdict(store, after(after(FIRST), activation=9))
    claim = await store.claim(P, "b", 1)
    assert claim is not None
    assert 9 == claim.head.activation


@pytest.mark.parametrize("changes", [{"seq": 0}, {"answers_ttl_ms": 0}])
async def test_impossible_commit_is_an_error(store: Store, changes: dict[str, int]) -> None:
    """A sequence number or a lifetime of 0 is the caller's mistake and is told before anything is sent."""
    await claimed(store)

    with pytest.raises(ValueError, match="begin at 1"):
        await store.commit(P, replace(FIRST, **changes))
