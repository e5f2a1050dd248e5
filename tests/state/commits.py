"""Commits for the store's suite, and what it does with them."""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.state.store import Commit, CommitResult, Store

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
        assert (await store.commit(P, commit))[0] is CommitResult.OK


async def verdict(store: Store, commit: Commit) -> CommitResult:
    """How the commit ends, without the time."""
    return (await store.commit(P, commit))[0]
