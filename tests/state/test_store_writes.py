"""What a commit writes, in every ``Store``: positions, outbox, timers, ledgers, answers; and its clock."""

from __future__ import annotations

import asyncio
import time

from msgspec.structs import replace

from arbiter.state.store import CommitResult, Store
from tests.state.commits import FIRST, TTL_MS, P, after, claimed, verdict


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
    assert CommitResult.OK is await store.clear_outbox(P, 1, "a", 1)
    assert CommitResult.OK is await store.clear_outbox(P, 1, "a", 1)
    claim = await store.claim(P, "b", 1)

    assert claim is not None
    assert b"" == claim.outbox
    assert 1 == claim.head.seq


async def test_clear_outbox_spares_a_later_one(store: Store) -> None:
    """A late clearing of an earlier commit leaves the newer outbox; one of a later commit is regressed."""
    await claimed(store, FIRST, after(FIRST, outbox=b"second"))

    assert CommitResult.OK is await store.clear_outbox(P, 1, "a", 1)
    assert CommitResult.REGRESSED is await store.clear_outbox(P, 1, "a", 3)
    claim = await store.claim(P, "b", 1)
    assert claim is not None
    assert b"second" == claim.outbox


async def test_timers_are_set_moved_and_unset(store: Store) -> None:
    """A party has one timer; ``None`` takes it away, known or not."""
    moved = after(FIRST, timers={"C1": 500, "C2": 400, "C3": 400, "C4": None})
    await claimed(store, FIRST, moved, after(moved, timers={"C3": None, "C5": 499}))

    assert [(400, (0, 0), "C2"), (499, (0, 0), "C5"), (500, (0, 0), "C1")] == await store.due(P, 500, 10)


async def test_due_is_bounded_ordered_and_exact(store: Store) -> None:
    """What is due at the very millisecond counts, the earliest come first, equal ones by their bytes."""
    now_ms = 1_795_000_000_123
    timers: dict[str, int | None] = {"b": now_ms, "a": now_ms, "ä": now_ms, "c": now_ms - 1, "d": now_ms + 1}
    await claimed(store, replace(FIRST, timers=timers))

    assert [(now_ms - 1, (0, 0), "c"), (now_ms, (0, 0), "a")] == await store.due(P, now_ms, 2)
    assert ["c", "a", "b", "ä"] == [party for _, _, party in await store.due(P, now_ms, 10)]
    assert [] == await store.due(P, now_ms - 2, 10)


async def test_of_one_instant_who_asked_first_comes_first(store: Store) -> None:
    """Also where more are due than are asked for; a timer that is set anew has a turn of its own."""
    names = ["a", "b", "c", "d", "e"]
    timers: dict[str, int | None] = {**dict.fromkeys(names, 7), "late": 8, "early": 6}
    queue_keys = {"a": (50, 2), "b": (50, 10), "c": (50, 1), "d": (40, 99), "early": (60, 0)}
    await claimed(store, replace(FIRST, timers=timers, queue_keys=queue_keys))

    assert ["early", "e", "d", "c", "a", "b", "late"] == [party for _, _, party in await store.due(P, 8, 10)]
    assert [(6, (60, 0), "early"), (7, (0, 0), "e"), (7, (40, 99), "d")] == await store.due(P, 8, 3)
    again = after(FIRST, timers={"e": None, "a": 7, "d": 7, "early": 9}, queue_keys={"a": (1, 1), "early": (60, 0)})
    assert CommitResult.OK is await verdict(store, again)
    assert ["d", "a", "c", "b", "late"] == [party for _, _, party in await store.due(P, 8, 10)]


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
    assert sorted(names, key=str.encode) == [party for _, _, party in await store.due(P, 5, 100)]


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
    assert [(0, (0, 0), names[0])] == await store.due(P, 5_000, 3_000)


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
    assert names == [party for _, _, party in await store.due(P, 1, 10_000)]


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

    async def contend(name: str) -> CommitResult:
        claim = await store.claim(P, name, 1)
        assert claim is not None
        await asyncio.sleep(0)
        return await verdict(store, replace(FIRST, owner=name, epoch=claim.head.epoch, seq=claim.head.seq + 1))

    verdicts = await asyncio.gather(*(contend(f"w{number}") for number in range(20)))
    claim = await store.claim(P, "last", 1)

    assert claim is not None
    assert 21 == claim.head.epoch
    assert verdicts.count(CommitResult.OK) == claim.head.seq
    assert set(verdicts) <= {CommitResult.OK, CommitResult.FENCED}


async def every(store: Store, what: str, count: int = 3) -> list[str]:
    """All parties that a scan gives, page by page."""
    found: list[str] = []
    page, cursor = await getattr(store, what)(P, "", count)
    found += page
    while cursor:
        page, cursor = await getattr(store, what)(P, cursor, count)
        found += page
    return found


async def test_every_party_with_a_timer_is_found_page_by_page(store: Store) -> None:
    """Also those that are due in a thousand years, and of many thousands no page is much longer than asked for."""
    parties = {f"C{number}": 10**14 + number for number in range(5_000)}
    await claimed(store, replace(FIRST, timers=parties))
    page, cursor = await store.timed(P, "", 100)

    assert sorted(parties) == sorted(set(await every(store, "timed", 1_000)))
    assert 0 < len(page) < 1_000
    assert cursor != ""


async def test_nothing_to_scan(store: Store) -> None:
    """An empty page and no cursor, also of a partition that nobody has claimed."""
    assert ([], "") == await store.timed(P, "", 10)
    assert ([], "") == await store.opened(P, "", 10)


async def test_parties_are_scanned_whatever_moves_meanwhile(store: Store) -> None:
    """Whoever has a timer all the while is given, though timers are set, moved and unset between the pages."""
    parties: dict[str, int | None] = {f"C{number}": number + 1 for number in range(600)}
    commit = replace(FIRST, timers=parties)
    await claimed(store, commit)
    found, cursor = await store.timed(P, "", 50)
    for number in range(0, 600, 2):
        moved = {f"C{number}": None, f"C{number + 1}": 10_000 - number, f"D{number}": number}
        commit = after(commit, timers=moved)
        await store.commit(P, commit)
    while cursor:
        page, cursor = await store.timed(P, cursor, 50)
        found += page

    assert {f"C{number}" for number in range(1, 600, 2)} <= set(found)


async def test_permits_are_known_until_they_end(store: Store) -> None:
    """Of several the last one counts; what has ended by a later commit is forgotten."""
    now_ms = FIRST.now_ms
    first = replace(FIRST, opened={"C1": now_ms + 500, "C2": now_ms + 100, "C3": now_ms + 900})
    second = after(first, opened={"C1": now_ms + 200, "C2": now_ms + 700})
    await claimed(store, first, second)
    before = sorted(await every(store, "opened"))
    await store.commit(P, after(second, now_ms=now_ms + 600, opened={"C4": now_ms + 601}))

    assert ["C1", "C2", "C3"] == before
    assert ["C2", "C3", "C4"] == sorted(await every(store, "opened"))


async def test_the_head_knows_what_was_swept(store: Store) -> None:
    """As the last commit said."""
    await claimed(store, FIRST, after(FIRST, swept=7))
    claim = await store.claim(P, "b", 1)

    assert claim is not None
    assert 7 == claim.head.swept
