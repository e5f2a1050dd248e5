"""What several partitions ask at once, in every ``Store``: each is answered for itself."""

from __future__ import annotations

from msgspec.structs import replace

from arbiter.state.store import CommitResult, Store
from tests.state.commits import FIRST, P, after, claimed
from tests.state.conftest import Backend

OTHER = P + 1


async def test_ledgers_of_several_partitions(store: Store) -> None:
    """In the order asked; the same party is another one elsewhere, and who is unknown is told so."""
    await claimed(store, FIRST)
    await store.claim(OTHER, "a", 1)
    await store.commit(OTHER, replace(FIRST, ledgers={"C1": b"elsewhere"}))
    found = await store.load_all([(OTHER, ["C1"]), (P, ["C2", "C1"]), (P, [])])

    assert [[b"elsewhere"], [None, b"ledger of C1"], []] == found


async def test_each_commit_stands_or_falls_by_itself(store: Store) -> None:
    """One is fenced, one has lost what came before, one is repeated, and one is written."""
    await claimed(store, FIRST)
    for partition in (OTHER, OTHER + 1, OTHER + 2):
        await store.claim(partition, "a", 1)
    await store.claim(OTHER, "b", 2)
    commits = [(OTHER, FIRST), (OTHER + 1, after(FIRST)), (P, FIRST), (OTHER + 2, FIRST)]
    ended = await store.commit_all(commits)

    verdicts = [one if isinstance(one, Exception) else one[0] for one in ended]
    assert [CommitResult.FENCED, CommitResult.REGRESSED, CommitResult.OK, CommitResult.OK] == verdicts
    assert [[None], [None], [b"ledger of C1"], [b"ledger of C1"]] == await store.load_all(
        [(partition, ["C1"]) for partition, _ in commits]
    )


async def test_a_server_that_forgot_the_script_is_told_it_again(backend: Backend) -> None:
    """All commits of one write are made."""
    store = backend.store
    for partition in (P, OTHER):
        await store.claim(partition, "a", 1)
    await backend.forget_scripts()
    ended = await store.commit_all([(P, FIRST), (OTHER, FIRST)])

    assert [CommitResult.OK] * 2 == [one if isinstance(one, Exception) else one[0] for one in ended]


async def test_no_commits_are_no_question(store: Store) -> None:
    """Nothing is asked, and nothing is told."""
    assert [] == await store.commit_all([])
    assert [] == await store.load_all([])
