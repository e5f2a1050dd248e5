"""How answers are kept: the last one stands, what is over leaves no bytes, and nothing refers to lost phrases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping

import msgspec
import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from arbiter.state.redis_answers import HEAD_BYTES
from arbiter.state.redis_store import RedisStore, connect
from arbiter.state.store import Commit, CommitResult, StateDamaged, Store
from arbiter.timing.instants import DAY_MS
from tests.state.commits import FIRST, P, after, claimed, verdict
from tests.state.conftest import Backend

ONE, TWO = b"8 bytes1C1", b"8 bytes2C1"


async def commits(store: Store, last: Commit, *all_answers: Mapping[bytes, bytes]) -> Commit:
    """Commit these answers, one commit each; the last of them."""
    for answers in all_answers:
        last = after(last, answers=dict(answers))
        assert await verdict(store, last) is CommitResult.OK
    return last


def value(*phrases: bytes) -> bytes:
    """A packed value that refers to these phrases."""
    return b"\x02" + msgspec.msgpack.encode([phrases, ["body", len(phrases)]])


async def test_the_answers_of_a_customer_are_told_apart(store: Store) -> None:
    """Several in one commit, replaced one by one; another customer has its own."""
    theirs = b"8 bytes1C2"
    await claimed(store, FIRST)
    await commits(store, FIRST, {ONE: b"a", TWO: b"b", theirs: b"c"}, {TWO: b"newer"}, {b"8 bytes1C3": b"d"})

    assert [b"a", b"newer", b"c"] == await store.load_answers(P, [ONE, TWO, theirs])


async def test_a_customer_with_many_answers(store: Store) -> None:
    """Far more than are written anew each time: each is found, also one that is replaced again and again."""
    await claimed(store, FIRST)
    keys = [b"%08dC1" % number for number in range(300)]
    last = await commits(store, FIRST, *({key: key * 10, ONE: key * 20} for key in keys))
    await commits(store, last, {keys[8]: b"new", ONE: b"end"})

    assert [b"new", b"end"] == await store.load_answers(P, [keys[8], ONE])
    assert [key * 10 for key in keys[9:]] == await store.load_answers(P, keys[9:])


async def test_values_with_phrases_come_back(store: Store) -> None:
    """Ledgers and answers, with phrases old and new, in several commits; also to a store that reads them afresh."""
    one, two = value(b"a", b"b"), value(b"b", b"c", b"b")
    await claimed(store, replace(FIRST, ledgers={"C1": one}, answers={ONE: two}))
    again = after(FIRST, ledgers={"C2": two, "C3": b"plain"}, answers={TWO: one}, now_ms=FIRST.now_ms + 40 * DAY_MS)
    assert await verdict(store, again) is CommitResult.OK

    for _ in range(2):
        assert [one, two, b"plain", None] == await store.load(P, ["C1", "C2", "C3", "C4"])
        assert [two, one] == await store.load_answers(P, [ONE, TWO])
        await store.claim(P, "b", 1)


async def test_a_refused_commit_loses_no_phrase(store: Store) -> None:
    """What it would have written is written by the next one."""
    await claimed(store, FIRST)
    stale = after(FIRST, ledgers={"C2": value(b"a")}, activation=FIRST.activation - 1)
    assert await verdict(store, stale) is CommitResult.STALE_POLICY
    good = after(FIRST, ledgers={"C2": value(b"b", b"a")}, answers={TWO: value(b"c")})

    assert [CommitResult.OK] * 2 == [await verdict(store, good), await verdict(store, good)]
    await store.claim(P, "b", 1)
    assert [value(b"b", b"a")] == await store.load(P, ["C2"])
    assert [value(b"c")] == await store.load_answers(P, [TWO])


async def test_owners_take_turns(backend: Backend) -> None:
    """Each knows the phrases of the other when it claims."""
    store, other, last = backend.store, backend.other, FIRST
    await claimed(store, last)
    for number in range(1, 4):
        for owner, who in (("b", other), ("a", store)):
            claim = await who.claim(P, owner, 1)
            assert claim is not None
            name, packed = f"{owner}{number}", value(b"shared", b"%d%s" % (number, owner.encode()))
            last = after(last, epoch=claim.head.epoch, owner=owner, ledgers={name: packed})
            assert await verdict(who, last) is CommitResult.OK
    names = [f"{owner}{number}" for number in range(1, 4) for owner in "ba"]

    expected = [value(b"shared", b"%d%s" % (number, owner)) for number in range(1, 4) for owner in (b"b", b"a")]
    assert expected == await store.load(P, names)
    assert expected == await other.load(P, names)


@pytest.fixture
async def admin(valkey_url: str) -> AsyncIterator[Redis]:
    """The server's own client."""
    async with Redis.from_url(valkey_url) as server:
        yield server


@pytest.fixture
async def kept(valkey_url: str, admin: Redis) -> AsyncIterator[tuple[RedisStore, Callable[[str], bytes]]]:
    """A store on Valkey, and its keys."""
    await admin.flushall()
    store = connect(valkey_url)
    yield store, lambda name: b"arb:{%d}:" % P + name.encode()
    await store.close()


@pytest.mark.parametrize(("name", "changes"), [("w:l", {"ledgers": {"C2": b"x"}}), ("w:9", {"answers": {TWO: b"x"}})])
async def test_a_commit_on_lost_phrases_is_refused(
    kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis, name: str, changes: dict[str, object]
) -> None:
    """Nothing is written that refers to what is not there."""
    store, key = kept
    first = replace(FIRST, ledgers={"C1": value(b"a")}, answers={ONE: value(b"b")})
    await claimed(store, first)
    assert await admin.delete(key(name)) == 1

    assert await verdict(store, after(first, **changes)) is CommitResult.REGRESSED
    assert [None] == await store.load(P, ["C2"])
    assert await verdict(store, after(first)) is CommitResult.OK


async def test_what_refers_to_lost_phrases_cannot_be_read(
    kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis
) -> None:
    """It is told from what is not there, and never taken for something else."""
    store, key = kept
    await claimed(store, replace(FIRST, ledgers={"C1": value(b"a")}, answers={ONE: value(b"b")}))
    await admin.delete(key("w:l"), key("w:9"))
    await store.claim(P, "b", 1)

    assert [b"", None] == await store.load(P, ["C1", "C2"])
    assert [b"", None] == await store.load_answers(P, [ONE, TWO])


@pytest.mark.parametrize("left", [0, 1])
async def test_an_answer_never_refers_to_what_came_after_a_loss(
    kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis, left: int
) -> None:
    """Phrases were deleted by hand, all or some. The next owners go on: no number means another phrase than before."""
    store, key = kept
    older, newer = value(b"a", b"b"), value(b"c", b"b")
    last = replace(FIRST, answers={ONE: older})
    await claimed(store, last)
    await admin.ltrim(key("w:9"), 0, left - 1) if left else await admin.delete(key("w:9"))
    for owner in "bc":
        claim = await store.claim(P, owner, 1)
        assert claim is not None
        last = after(last, epoch=claim.head.epoch, owner=owner, answers={TWO: newer})
        assert await verdict(store, last) is CommitResult.OK

        assert [b"", newer] == await store.load_answers(P, [ONE, TWO])


@pytest.mark.parametrize("left", [0, 1])
async def test_a_ledger_never_refers_to_what_came_after_a_loss(
    kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis, left: int
) -> None:
    """Phrases of ledgers were deleted by hand, all or some. What refers to them is damaged, and never says another."""
    store, key = kept
    older, newer = value(b"a", b"b"), value(b"c", b"b")
    last = replace(FIRST, ledgers={"C1": older})
    await claimed(store, last)
    await admin.ltrim(key("w:l"), 0, left - 1) if left else await admin.delete(key("w:l"))
    for owner in "bc":
        claim = await store.claim(P, owner, 1)
        assert claim is not None
        last = after(last, epoch=claim.head.epoch, owner=owner, ledgers={"C2": newer})
        assert await verdict(store, last) is CommitResult.OK

        assert [b"", newer] == await store.load(P, ["C1", "C2"])


async def test_phrases_of_answers_outlive_them(kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis) -> None:
    """Also where the last commit with an answer added none; those of ledgers stay for ever."""
    store, key = kept
    first = replace(FIRST, ledgers={"C1": value(b"a")}, answers={ONE: value(b"b")})
    await claimed(store, first)
    await admin.pexpire(key("w:9"), 1_000)
    await commits(store, first, {ONE: value(b"b")})

    assert await admin.pttl(key("w:9")) > await admin.pttl(key("a:C1")) > 0
    assert await admin.pttl(key("w:l")) == -1


async def test_what_is_over_leaves_no_bytes(kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis) -> None:
    """What was replaced is dropped with the next write, and what is too old."""
    store, key = kept
    await claimed(store, FIRST)
    last = await commits(store, FIRST, {ONE: b"answer", TWO: b"b"}, {TWO: b"newer"})
    assert 2 * (HEAD_BYTES + 1) + len(b"answernewer") == await admin.strlen(key("a:C1"))

    await admin.setrange(key("a:C1"), 0, b"\0\0\0\1")
    await commits(store, last, {TWO: b"newest"})
    assert HEAD_BYTES + 1 + len(b"newest") == await admin.strlen(key("a:C1"))
    assert [None, b"newest"] == await store.load_answers(P, [ONE, TWO])


async def test_answers_of_format_1_are_found(kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis) -> None:
    """Each under its own key; one that was decided again since stands before it."""
    store, key = kept
    await claimed(store, replace(FIRST, answers={ONE: b"answer"}))
    for name in (ONE, TWO):
        await admin.set(key("d:" + name.decode()), b"old")

    assert [b"answer", b"old"] == await store.load_answers(P, [ONE, TWO])


@pytest.mark.parametrize("damaged", [b"", b"short", b"\0\0\0\0\xff\xff\xff12345678answer", b"\0\0\0\0\0\0\x0f12345678"])
async def test_damaged_answers_are_told_from_none(
    kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis, damaged: bytes
) -> None:
    """No answer of the party is told, before and after one more was written."""
    store, key = kept
    await claimed(store, FIRST)
    await admin.set(key("a:C1"), damaged)
    assert [b"", b""] == await store.load_answers(P, [ONE, TWO])

    await commits(store, FIRST, {b"8 bytes1C2": b"a"})
    assert [b"", b"a"] == await store.load_answers(P, [ONE, b"8 bytes1C2"])


@pytest.mark.parametrize("name", ["a:C1", "w:l", "w:9"])
async def test_a_key_of_another_type_refuses_the_whole_commit(
    kept: tuple[RedisStore, Callable[[str], bytes]], admin: Redis, name: str
) -> None:
    """Before the first write."""
    store, key = kept
    await claimed(store)
    await admin.sadd(key(name), "x")
    with pytest.raises(StateDamaged):
        await store.commit(P, replace(FIRST, answers={ONE: b"answer"}))

    assert [None] == await store.load(P, ["C2"])
    assert b"0" == await admin.hget(key("head"), "seq")
