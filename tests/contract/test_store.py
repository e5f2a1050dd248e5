"""What every ``Store`` promises: claims, fenced commits that may be repeated, positions, answers, timers."""

from __future__ import annotations

import asyncio
import time

import pytest
from msgspec.structs import replace

from arbiter.state.store import Commit, Store, Verdict
from tests.contract.conftest import Backend

P = 7
TTL_MS = 60_000
FIRST = Commit(
    epoch=1,
    owner="a",
    seq=1,
    activation=3,
    now_ms=1_795_000_000_123,
    positions={"requests": 10, "consents": 4},
    ledgers={"C1": b"ledger of C1"},
    answers={b"identity-of-one!": b"answer"},
    answers_ttl_ms=TTL_MS,
    timers={"C1": 1_795_000_060_000},
    outbox=b"records",
)


def after(commit: Commit, **changes: object) -> Commit:
    """The next commit of the same owner, changing nothing but what is given."""
    empty: dict[str, object] = {"positions": {}, "ledgers": {}, "answers": {}, "timers": {}, "outbox": b""}
    return replace(commit, seq=commit.seq + 1, **(empty | changes))


async def claimed(store: Store, *commits: Commit) -> None:
    """Claim the partition for ``a`` and apply these commits."""
    assert await store.claim(P, "a", 1) is not None
    for commit in commits:
        assert (await store.commit(P, commit))[0] is Verdict.OK


async def verdict(store: Store, commit: Commit) -> Verdict:
    """How the commit ends, without the time."""
    return (await store.commit(P, commit))[0]


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


async def test_claims_count_until_a_commit(store: Store) -> None:
    """Claims without a commit add up, and a commit sets them to 0."""
    await claimed(store)
    await store.claim(P, "b", 1)
    third = await store.claim(P, "c", 1)
    assert third is not None
    await store.commit(P, replace(FIRST, epoch=3, owner="c"))
    fourth = await store.claim(P, "d", 1)

    assert fourth is not None
    assert (3, 1) == (third.head.claims, fourth.head.claims)


async def test_claim_of_a_lower_generation_is_refused(store: Store) -> None:
    """A worker from before the last rebalance gets nothing and changes nothing, even the former owner."""
    await store.claim(P, "a", 4)
    await store.claim(P, "b", 5)

    assert await store.claim(P, "c", 4) is None
    assert await store.claim(P, "b", 4) is None
    assert Verdict.OK is await verdict(store, replace(FIRST, epoch=2, owner="b"))


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
    assert [("C1", 1_795_000_060_000)] == await store.due(P, 1_795_000_060_000, 10)


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
    assert Verdict.OK is await verdict(store, replace(FIRST, ledgers={"C1": b"must not be written"}))
    claim = await store.claim(P, "b", 1)

    assert claim is not None
    assert (1, FIRST.positions) == (claim.head.seq, claim.head.positions)
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


@pytest.mark.parametrize("seq", [3, 4, 1_000])
async def test_commit_from_the_future_is_regressed(store: Store, seq: int) -> None:
    """A gap means that the store lost commits."""
    await claimed(store, FIRST)

    assert Verdict.REGRESSED is await verdict(store, replace(FIRST, seq=seq, ledgers={"C1": b"x"}))
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


async def test_commit_from_the_past_is_regressed(store: Store) -> None:
    """A sequence number below the last one is never applied."""
    await claimed(store, FIRST, after(FIRST))

    assert Verdict.REGRESSED is await verdict(store, replace(FIRST, ledgers={"C1": b"x"}))
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


async def test_zombie_is_fenced(store: Store) -> None:
    """The former owner can neither commit, nor repeat its last commit, nor clear the outbox."""
    await claimed(store, FIRST)
    await store.claim(P, "b", 2)

    assert Verdict.FENCED is await verdict(store, after(FIRST, ledgers={"C1": b"x"}, outbox=b"x"))
    assert Verdict.FENCED is await verdict(store, FIRST)
    assert Verdict.FENCED is await store.clear_outbox(P, 1, "a", 1)
    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    claim = await store.claim(P, "b", 2)
    assert claim is not None
    assert b"records" == claim.outbox


async def test_another_owner_of_the_same_epoch_is_fenced(store: Store) -> None:
    """Epochs can coincide after a loss; the owner's name decides then."""
    await claimed(store)

    assert Verdict.FENCED is await verdict(store, replace(FIRST, owner="b"))
    assert Verdict.FENCED is await store.clear_outbox(P, 1, "b", 0)


async def test_commit_above_the_head_epoch_is_regressed(store: Store) -> None:
    """An epoch that the store does not know of means that it lost the claim."""
    await claimed(store)

    assert Verdict.REGRESSED is await verdict(store, replace(FIRST, epoch=2))
    assert Verdict.REGRESSED is await store.clear_outbox(P, 2, "a", 0)


async def test_commit_without_a_head_is_regressed(store: Store) -> None:
    """Nobody commits to a partition that was not claimed."""
    assert Verdict.REGRESSED is await verdict(store, FIRST)
    assert Verdict.REGRESSED is await store.clear_outbox(P, 1, "a", 1)


async def test_flushed_store_is_regressed(backend: Backend) -> None:
    """After FLUSHALL the owner's next commit, its repeated one and its clearing are regressed, and nothing is there."""
    await claimed(backend.store, FIRST)
    await backend.flush()

    assert Verdict.REGRESSED is await verdict(backend.store, FIRST)
    assert Verdict.REGRESSED is await verdict(backend.store, after(FIRST))
    assert Verdict.REGRESSED is await backend.store.clear_outbox(P, 1, "a", 1)
    assert [None] == await backend.store.load(P, ["C1"])


async def test_forgotten_scripts_are_sent_again(backend: Backend) -> None:
    """SCRIPT FLUSH between any two calls goes unnoticed."""
    store = backend.store
    await backend.forget_scripts()
    assert await store.claim(P, "a", 1) is not None
    await backend.forget_scripts()
    assert Verdict.OK is await verdict(store, FIRST)
    await backend.forget_scripts()

    assert Verdict.OK is await store.clear_outbox(P, 1, "a", 1)


async def test_lower_activation_is_stale(store: Store) -> None:
    """A worker with an older policy activation writes nothing; the same or a newer one does."""
    await claimed(store, FIRST)

    assert Verdict.STALE_POLICY is await verdict(store, after(FIRST, activation=2, ledgers={"C1": b"x"}))
    assert [b"ledger of C1"] == await store.load(P, ["C1"])
    assert Verdict.OK is await verdict(store, after(FIRST))
    assert Verdict.OK is await verdict(store, after(after(FIRST), activation=9))
    claim = await store.claim(P, "b", 1)
    assert claim is not None
    assert 9 == claim.head.activation


@pytest.mark.parametrize("changes", [{"seq": 0}, {"answers_ttl_ms": 0}])
async def test_impossible_commit_is_an_error(store: Store, changes: dict[str, int]) -> None:
    """A sequence number or a lifetime of 0 is the caller's mistake and is told before anything is sent."""
    await claimed(store)

    with pytest.raises(ValueError, match="begin at 1"):
        await store.commit(P, replace(FIRST, **changes))


async def test_positions_merge(store: Store) -> None:
    """Only the topics that moved are given; the others keep their position."""
    await claimed(store, FIRST, after(FIRST, positions={"requests": 25, "profiles": 2**40}))
    claim = await store.claim(P, "b", 1)

    assert claim is not None
    assert {"requests": 25, "consents": 4, "profiles": 2**40} == claim.head.positions


async def test_outbox_is_the_last_commits(store: Store) -> None:
    """Each commit replaces the outbox, with nothing too."""
    await claimed(store, FIRST, after(FIRST, outbox=b"second"))
    second = await store.claim(P, "a", 1)
    await store.commit(P, after(after(FIRST)))
    third = await store.claim(P, "a", 1)

    assert second is not None
    assert third is not None
    assert (b"second", b"") == (second.outbox, third.outbox)


async def test_clear_outbox_forgets_the_delivered_one(store: Store) -> None:
    """Clearing by owner, epoch and seq empties the outbox, and may be repeated."""
    await claimed(store, FIRST)
    assert Verdict.OK is await store.clear_outbox(P, 1, "a", 1)
    assert Verdict.OK is await store.clear_outbox(P, 1, "a", 1)
    claim = await store.claim(P, "b", 1)

    assert claim is not None
    assert b"" == claim.outbox
    assert 1 == claim.head.seq


async def test_clear_outbox_spares_a_later_one(store: Store) -> None:
    """A late clearing of an earlier commit leaves the newer outbox; one of a later commit is regressed."""
    await claimed(store, FIRST, after(FIRST, outbox=b"second"))

    assert Verdict.OK is await store.clear_outbox(P, 1, "a", 1)
    assert Verdict.REGRESSED is await store.clear_outbox(P, 1, "a", 3)
    claim = await store.claim(P, "b", 1)
    assert claim is not None
    assert b"second" == claim.outbox


async def test_timers_are_set_moved_and_unset(store: Store) -> None:
    """A party has one timer; ``None`` takes it away, known or not."""
    moved = after(FIRST, timers={"C1": 500, "C2": 400, "C3": 400, "C4": None})
    await claimed(store, FIRST, moved, after(moved, timers={"C3": None, "C5": 499}))

    assert [("C2", 400), ("C5", 499), ("C1", 500)] == await store.due(P, 500, 10)


async def test_due_is_bounded_ordered_and_exact(store: Store) -> None:
    """What is due at the very millisecond counts, the earliest come first, equal ones by their bytes."""
    now_ms = 1_795_000_000_123
    timers: dict[str, int | None] = {"b": now_ms, "a": now_ms, "ä": now_ms, "c": now_ms - 1, "d": now_ms + 1}
    await claimed(store, replace(FIRST, timers=timers))

    assert [("c", now_ms - 1), ("a", now_ms)] == await store.due(P, now_ms, 2)
    assert [("c", now_ms - 1), ("a", now_ms), ("b", now_ms), ("ä", now_ms)] == await store.due(P, now_ms, 10)
    assert [] == await store.due(P, now_ms - 2, 10)


async def test_keys_and_values_are_binary_safe(store: Store) -> None:
    """Any name and any bytes come back as they went in."""
    every_byte = bytes(range(256))
    names = ["a b", "line\r\nbreak", "{9}", "}{", "zero\0", "ünïcode-客户", "l:", "*"]
    ledgers = {name: every_byte + name.encode() for name in names}
    answers = {every_byte[start : start + 16]: every_byte for start in range(0, 256, 16)} | {b"e" * 16: b""}
    positions = {"topic with space": 1, "p:x": 2}
    timers: dict[str, int | None] = dict.fromkeys(names, 5)
    commit = replace(FIRST, ledgers=ledgers, answers=answers, positions=positions, timers=timers, outbox=every_byte)
    await claimed(store, commit)
    claim = await store.claim(P, "b \r\n ü", 1)

    assert claim is not None
    assert (every_byte, positions, "b \r\n ü") == (claim.outbox, claim.head.positions, claim.head.owner)
    assert list(ledgers.values()) == await store.load(P, names)
    assert list(answers.values()) == await store.load_answers(P, list(answers))
    assert sorted(names, key=str.encode) == [party for party, _ in await store.due(P, 5, 100)]


async def test_answers_expire_and_ledgers_do_not(store: Store) -> None:
    """An answer is gone after its time; one of a longer time, and the ledger, are there."""
    longer = after(FIRST, answers={b"longer-lived-one": b"kept"})
    await claimed(store, replace(FIRST, answers_ttl_ms=50), longer)
    end = time.monotonic() + 10
    while (found := await store.load_answers(P, [b"identity-of-one!", b"longer-lived-one"]))[0] is not None:
        assert time.monotonic() < end, "the answer never expired"
        await asyncio.sleep(0.01)

    assert [None, b"kept"] == found
    assert [b"ledger of C1"] == await store.load(P, ["C1"])


async def test_an_answer_is_replaced_with_a_new_lifetime(store: Store) -> None:
    """The latest answer to a request stands, for its own time."""
    identity = b"identity-of-one!"
    short = replace(FIRST, answers_ttl_ms=1)
    await claimed(store, short, after(short, answers_ttl_ms=TTL_MS, answers={identity: b"newer"}))

    assert [b"newer"] == await store.load_answers(P, [identity])


async def test_two_thousand_parties_in_one_commit(store: Store) -> None:
    """The largest batch goes in at once: ledgers, answers and timers of 2,000 parties and a 2 MB outbox."""
    names = [f"C{number:08}" for number in range(2_000)]
    commit = replace(
        FIRST,
        ledgers={name: name.encode() * 20 for name in names},
        answers={name.encode() + b"identity": name.encode() for name in names},
        timers={name: number for number, name in enumerate(names)},
        outbox=b"o" * 2_000_000,
    )
    await claimed(store, commit, after(commit, timers=dict.fromkeys(names[1:])))

    assert list(commit.ledgers.values()) == await store.load(P, names)
    assert list(commit.answers.values()) == await store.load_answers(P, list(commit.answers))
    assert [(names[0], 0)] == await store.due(P, 5_000, 3_000)


async def test_more_keys_than_lua_can_unpack(store: Store) -> None:
    """Nine thousand ledgers, answers and timers are not cut off by the limits of Lua's stack."""
    names = [f"C{number:08}" for number in range(9_000)]
    commit = replace(
        FIRST,
        ledgers={name: name.encode() for name in names},
        answers={name.encode(): b"a" for name in names},
        timers=dict.fromkeys(names, 1),
    )
    await claimed(store, commit)

    assert [name.encode() for name in names] == await store.load(P, names)
    assert names == [party for party, _ in await store.due(P, 1, 10_000)]


async def test_every_reply_tells_the_same_clock(store: Store) -> None:
    """Claim, commit (also a refused one) and ``time_ms`` read one clock that does not step back."""
    claim = await store.claim(P, "a", 1)
    assert claim is not None
    instants = [claim.time_ms, (await store.commit(P, FIRST))[1], await store.time_ms()]
    instants += [(await store.commit(P, replace(FIRST, owner="b")))[1], await store.time_ms()]

    assert sorted(instants) == instants
    assert 1_700_000_000_000 < instants[0] < 10_000_000_000_000


async def test_concurrent_claims_leave_one_owner(store: Store) -> None:
    """Of twenty that claim and commit at once, exactly one commits under the last epoch."""

    async def contend(name: str) -> Verdict:
        claim = await store.claim(P, name, 1)
        assert claim is not None
        await asyncio.sleep(0)
        return await verdict(store, replace(FIRST, owner=name, epoch=claim.head.epoch, seq=claim.head.seq + 1))

    verdicts = await asyncio.gather(*(contend(f"w{number}") for number in range(20)))
    claim = await store.claim(P, "last", 1)

    assert claim is not None
    assert 21 == claim.head.epoch
    assert verdicts.count(Verdict.OK) == claim.head.seq
    assert set(verdicts) <= {Verdict.OK, Verdict.FENCED}
