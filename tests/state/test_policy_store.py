"""What every ``PolicyStore`` promises: versions and activations that only grow, and nothing half published."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from arbiter.state.policy_store import Activation, Approval, Order, PolicyRefused, PolicyStore
from tests.state.conftest import Backend

ALONE = Order(by="me", is_alone=True)


async def test_nothing_is_active_at_first(policies: PolicyStore) -> None:
    """An empty store says so, and knows no version."""
    assert await policies.active() is None
    assert await policies.fetch(1) is None
    with pytest.raises(PolicyRefused, match="no such version"):
        await policies.activate(1, ALONE)
    assert await policies.active() is None
    assert ([], [], []) == (await policies.plan(), await policies.kills(), await policies.history(10))


async def test_published_policy_is_fetched_whole(policies: PolicyStore) -> None:
    """Name, digest, author, reason, document, tests and the store's time come back; any bytes are a document."""
    document, author = bytes(range(256)) * 100, "a. person <a@bank.example>"
    told = {"reason": "fewer läetters", "tests": b"\0tests"}
    record = await policies.publish("retail-bänk", "sha256:1", author, document, **told)  # type: ignore[arg-type]

    assert (1, "retail-bänk", "sha256:1", author, document, "fewer läetters", b"\0tests", None) == (
        record.version, record.name, record.digest, record.author, record.document, record.reason, record.tests,
        record.approval,
    )  # fmt: skip
    assert 1_700_000_000_000 < record.published_at_ms < 10_000_000_000_000
    assert record == await policies.fetch(1)


async def test_a_record_knows_whether_it_is_the_one_published(policies: PolicyStore) -> None:
    """The digest is the SHA-256 of the document."""
    good = await policies.publish("p", sha256(b"one").hexdigest(), "me", b"one")
    bad = await policies.publish("p", sha256(b"one").hexdigest(), "me", b"two", tests=b"other")

    assert (True, False) == (good.is_intact, bad.is_intact)


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


async def test_other_tests_are_another_version(policies: PolicyStore) -> None:
    """What was approved was approved with its tests."""
    first = await policies.publish("p", "d1", "me", b"one", tests=b"strict")
    again = await policies.publish("p", "d1", "me", b"one", tests=b"lax")

    assert (1, 2) == (first.version, again.version)


async def test_versions_grow_by_one(policies: PolicyStore) -> None:
    """Another digest, an older one too, is the next version, and the earlier ones stay."""
    records = [await policies.publish("p", digest, "me", digest.encode()) for digest in ("d1", "d2", "d1")]

    assert [1, 2, 3] == [record.version for record in records]
    assert records == [await policies.fetch(version) for version in (1, 2, 3)]


async def test_activation_numbers_only_grow(policies: PolicyStore) -> None:
    """Going back to an older version is a new activation; the one in force again is not."""
    for digest in ("d1", "d2"):
        await policies.publish("p", digest, "me", b"x")
    steps = [await policies.activate(version, ALONE) for version in (1, 2, 2, 1)]

    expected = [Activation(1, 1, "d1"), Activation(2, 2, "d2"), Activation(2, 2, "d2"), Activation(3, 1, "d1")]
    assert expected == steps
    assert expected[-1] == await policies.active()


@pytest.mark.parametrize("version", [-1, 0, 3, 2**40])
async def test_unknown_version_changes_nothing(policies: PolicyStore, version: int) -> None:
    """A version that was not published cannot be approved, activated or fetched."""
    await policies.publish("p", "d1", "me", b"x")
    active = await policies.activate(1, ALONE)

    with pytest.raises(PolicyRefused, match="no such version"):
        await policies.activate(version, ALONE)
    with pytest.raises(PolicyRefused, match="no such version"):
        await policies.approve(version, "d1", "somebody")
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

    assert Activation(1, 1, "d1") == await backend.policies.activate(1, ALONE)


# Four eyes


async def test_an_approved_version_may_be_activated(policies: PolicyStore) -> None:
    """By its author, too: the second pair of eyes has looked."""
    await policies.publish("p", "d1", "ana", b"x")
    with pytest.raises(PolicyRefused, match="not approved"):
        await policies.activate(1, Order(by="ana"))
    record = await policies.approve(1, "d1", "rui", "caps are right")

    approval = record.approval
    assert approval is not None
    assert Approval("rui", "caps are right", approval.at_ms) == approval
    assert record == await policies.fetch(1)
    assert Activation(1, 1, "d1") == await policies.activate(1, Order(by="ana"))


@pytest.mark.parametrize("approver", ["Ana Ma", " ANA MA ", "ana  ma", "\uff21\uff4e\uff41 ma", "\tana ma\n"])
async def test_the_author_cannot_approve(policies: PolicyStore, approver: str) -> None:
    """However the name is spelt."""
    await policies.publish("p", "d1", "Ana Ma", b"x")

    with pytest.raises(PolicyRefused, match="author"):
        await policies.approve(1, "d1", approver)
    with pytest.raises(PolicyRefused, match="not approved"):
        await policies.activate(1, Order(by=approver))


async def test_the_first_approval_stands(policies: PolicyStore) -> None:
    """A second one changes nothing, so a command whose reply was lost may be repeated."""
    await policies.publish("p", "d1", "ana", b"x")
    first = await policies.approve(1, "d1", "rui", "one")

    assert first == await policies.approve(1, "d1", "eva", "two")
    assert ["published", "approved"] == [entry.action for entry in await policies.history(10)]


async def test_an_approval_is_of_one_digest(policies: PolicyStore) -> None:
    """Of what the approver looked at, and of no other version."""
    for digest in ("d1", "d2"):
        await policies.publish("p", digest, "ana", b"x")
    with pytest.raises(PolicyRefused, match="not the one that was looked at"):
        await policies.approve(2, "d1", "rui")
    await policies.approve(1, "d1", "rui")

    with pytest.raises(PolicyRefused, match="not approved"):
        await policies.activate(2, Order(by="ana"))
