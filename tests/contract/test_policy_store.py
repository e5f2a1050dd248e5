"""What every ``PolicyStore`` promises: versions and activations that only grow, and nothing half published."""

from __future__ import annotations

import asyncio

import pytest

from arbiter.state.store import Activation, PolicyStore
from tests.contract.conftest import Backend


async def test_nothing_is_active_at_first(policies: PolicyStore) -> None:
    """An empty store says so, and knows no version."""
    assert await policies.active() is None
    assert await policies.fetch(1) is None
    with pytest.raises(KeyError):
        await policies.activate(1)
    assert await policies.active() is None


async def test_published_policy_is_fetched_whole(policies: PolicyStore) -> None:
    """Name, digest, author, document and the store's time come back; any bytes are a document."""
    document = bytes(range(256)) * 100
    record = await policies.publish("retail-bänk", "sha256:1", "a. person <a@bank.example>", document)

    assert (1, "retail-bänk", "sha256:1", "a. person <a@bank.example>", document) == (
        record.version, record.name, record.digest, record.author, record.document
    )  # fmt: skip
    assert 1_700_000_000_000 < record.published_at_ms < 10_000_000_000_000
    assert record == await policies.fetch(1)


async def test_publishing_does_not_activate(policies: PolicyStore) -> None:
    """Putting a policy in force is a step of its own."""
    await policies.publish("p", "d1", "me", b"one")

    assert await policies.active() is None


async def test_repeated_publish_keeps_the_version(policies: PolicyStore) -> None:
    """The newest digest again gives the same record; a version is never changed."""
    first = await policies.publish("p", "d1", "me", b"one")
    again = await policies.publish("p", "d1", "someone else", b"one")

    assert first == again
    assert await policies.fetch(2) is None


async def test_versions_grow_by_one(policies: PolicyStore) -> None:
    """Another digest, an older one too, is the next version, and the earlier ones stay."""
    records = [await policies.publish("p", digest, "me", digest.encode()) for digest in ("d1", "d2", "d1")]

    assert [1, 2, 3] == [record.version for record in records]
    assert records == [await policies.fetch(version) for version in (1, 2, 3)]


async def test_activation_numbers_only_grow(policies: PolicyStore) -> None:
    """Going back to an older version is a new activation; the one in force again is not."""
    for digest in ("d1", "d2"):
        await policies.publish("p", digest, "me", b"x")
    steps = [await policies.activate(version) for version in (1, 2, 2, 1)]

    expected = [Activation(1, 1, "d1"), Activation(2, 2, "d2"), Activation(2, 2, "d2"), Activation(3, 1, "d1")]
    assert expected == steps
    assert expected[-1] == await policies.active()


@pytest.mark.parametrize("version", [-1, 0, 3, 2**40])
async def test_unknown_version_changes_nothing(policies: PolicyStore, version: int) -> None:
    """A version that was not published cannot be activated or fetched."""
    await policies.publish("p", "d1", "me", b"x")
    active = await policies.activate(1)

    with pytest.raises(KeyError):
        await policies.activate(version)
    assert await policies.fetch(version) is None
    assert active == await policies.active()


async def test_concurrent_publishing_gives_each_a_version(policies: PolicyStore) -> None:
    """Thirty at once get thirty versions, each with its own document."""
    documents = [f"document {number}".encode() for number in range(30)]
    records = await asyncio.gather(*(policies.publish("p", d.decode(), "me", d) for d in documents))

    assert list(range(1, 31)) == sorted(record.version for record in records)
    assert documents == [record.document for record in records]
    assert set(records) == {await policies.fetch(version) for version in range(1, 31)}


async def test_forgotten_scripts_are_sent_again(backend: Backend) -> None:
    """SCRIPT FLUSH between the calls goes unnoticed."""
    await backend.forget_scripts()
    await backend.policies.publish("p", "d1", "me", b"x")
    await backend.forget_scripts()

    assert Activation(1, 1, "d1") == await backend.policies.activate(1)
