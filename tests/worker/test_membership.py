"""The worker as a member of its group: when it joins, what it lets go of, and what counts as a sign of life."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from faust.types import TP

from arbiter.settings import Settings
from arbiter.worker.kafka import membership as module
from arbiter.worker.kafka.membership import Membership, numbers_in
from tests.harness.hand_clock import Clock

SETTINGS = Settings(kafka="k:1", redis="redis://r:1")
LEAD = "contact.requests.v1"
REFUSED = KafkaException(KafkaError(KafkaError.UNKNOWN_MEMBER_ID))


class Client:
    """librdkafka's consumer, as far as the membership uses it."""

    def __init__(self) -> None:
        self.generation, self.done = 3, list[Any]()
        self.unknown: set[str] = set()
        self.offset = -1001
        self.refuses: Exception | None = None
        self.message: Any = None
        self.on_commit: Callable[[], None] = lambda: None

    def consumer_group_metadata(self) -> bytes:
        """As librdkafka packs it."""
        return b"CGMDv2:" + struct.pack("=i", self.generation) + b"arbiter\0me\0\0\1"

    def list_topics(self, topic: str, _: float) -> Any:
        """What Kafka knows of a topic."""
        partitions = {} if topic in self.unknown else {0: None}
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions=partitions)})

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        """Join."""
        self.done.append(topics)
        self.callbacks = callbacks

    def unsubscribe(self) -> None:
        """Leave."""
        self.done.append("leave")

    def poll(self, _: float) -> Any:
        """What the group says."""
        message, self.message = self.message, None
        return message

    def incremental_assign(self, partitions: list[Any]) -> None:
        """Read these: none."""
        self.done.append(("assign", partitions))

    def incremental_unassign(self, partitions: list[Any]) -> None:
        """Read these no more: none."""
        self.done.append(("unassign", partitions))

    def committed(self, partitions: list[TopicPartition], _: float) -> list[TopicPartition]:
        """What the group knows."""
        return [TopicPartition(one.topic, one.partition, self.offset) for one in partitions]

    def commit(self, offsets: list[TopicPartition], *, asynchronous: bool) -> list[TopicPartition]:
        """Tell the group, and wait for its answer."""
        assert not asynchronous
        self.on_commit()
        if self.refuses is not None:
            raise self.refuses
        self.done.append({(one.topic, one.partition): one.offset for one in offsets})
        return offsets


class Listener:
    """Takes note of what comes and goes."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def on_numbers_assigned(self, numbers: set[int], generation: int) -> None:
        """See ``Listener``."""
        self.heard.append((sorted(numbers), generation))

    async def on_numbers_revoked(self, numbers: set[int]) -> None:
        """See ``Listener``; takes a moment."""
        await asyncio.sleep(0.01)
        self.heard.append(sorted(numbers))


class Member(Membership):
    """A membership whose threads' turns the test takes."""

    def __init__(self) -> None:
        super().__init__(SETTINGS)
        self.client, self.listener = Client(), Listener()
        self._consumer: Any = self.client
        self._listener = self.listener
        self._loop = asyncio.get_running_loop()

    async def turn(self) -> None:
        """One turn of the thread that hears what the group says."""
        await asyncio.to_thread(self._poll)

    def prove(self) -> float:
        """One turn of the thread that tells the group how far we are; gives when it was heard last."""
        self._prove_now.set()
        self._prove()
        return self.heartbeat_at


@pytest.fixture
async def member() -> Member:
    """Nobody's yet."""
    return Member()


async def given(member: Member, *numbers: int) -> None:
    """The group gives us these."""
    partitions = [TopicPartition(LEAD, number) for number in numbers]
    await asyncio.to_thread(member._on_assign, member.client, partitions)  # type: ignore[arg-type]  # noqa: SLF001
    await asyncio.sleep(0)


async def test_it_joins_when_it_may_and_when_kafka_knows_all_topics(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the requests alone: whoever has a partition of these has that number of all. It leaves when it may not."""
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0)
    await member.turn()
    member.client.unknown = {"contact.consents.v1"}
    member.allow(may_join=True)
    await member.turn()
    refusal, before = member.refusal, list(member.client.done)
    member.client.unknown = set()
    await member.turn()
    await given(member)
    joined = member.has_joined
    member.allow(may_join=False)
    await member.turn()
    await member.turn()

    assert "does not know contact.consents.v1" in refusal
    assert before == []
    assert joined
    assert not member.has_joined
    assert [[LEAD], "leave"] == [one for one in member.client.done if not isinstance(one, tuple)]


async def test_numbers_come_and_go_by_themselves(member: Member) -> None:
    """What stays is not named. Those that go are let go of before the group hears that they are free."""
    await given(member, 1, 2, 3)
    await given(member, 4)
    member.done({TP(LEAD, 1): 10, TP(LEAD, 4): 7})
    gone = [TopicPartition(LEAD, number) for number in (1, 3)]
    await asyncio.to_thread(member._on_revoke, member.client, gone)  # type: ignore[arg-type]  # noqa: SLF001
    heard = [([1, 2, 3], 3), ([4], 3), [1, 3]]
    member.prove()

    assert member.listener.heard == heard
    assert member.numbers == {2, 4}
    assert member.client.done[-2:] == [("unassign", []), {(LEAD, 4): 7}]


async def test_what_the_group_accepts_is_a_sign_of_life(member: Member, clock: Clock) -> None:
    """From when it was sent; what is new is told once, and something old if nothing is new."""
    await given(member, 1, 2)
    sent_at = clock.now
    member.client.on_commit = lambda: setattr(clock, "now", clock.now + 60)  # the process is frozen meanwhile
    member.done({TP(LEAD, 1): 10, TP("contact.consents.v1", 2): 4})
    signs = [member.prove(), member.prove()]

    assert signs == [sent_at, sent_at + 60]
    told = [one for one in member.client.done if isinstance(one, dict)]
    assert told == [{(LEAD, 1): 10, ("contact.consents.v1", 2): 4}, {(LEAD, 1): 10}]


async def test_before_anything_is_claimed_the_group_hears_what_it_knows(member: Member) -> None:
    """Or that nothing is done, if it knows nothing."""
    await given(member, 2, 5)
    member.prove()
    member.client.offset = 70
    member.prove()

    assert [one for one in member.client.done if isinstance(one, dict)] == [{(LEAD, 2): 0}, {(LEAD, 2): 70}]


async def test_a_refusal_is_no_sign_of_life_and_is_said_again(member: Member) -> None:
    """Who was given up by the group hears so when it asks; what it wanted to tell is not forgotten."""
    await given(member, 1)
    member.done({TP(LEAD, 1): 10})
    member.client.refuses = REFUSED
    refused = member.prove()
    member.client.refuses = None
    member.client.on_commit = lambda: setattr(member.client, "generation", -1)
    rejoined = member.prove()
    outside = member.prove()
    member.client.generation, member.client.on_commit = 4, lambda: None
    member.prove()

    assert refused == rejoined == outside == -1e9
    assert member.heartbeat_at > 0
    assert member.client.done[-1] == {(LEAD, 1): 10}


async def test_who_has_nothing_says_nothing(member: Member) -> None:
    """A worker without partitions has nothing to commit or publish either."""
    await given(member)

    assert member.prove() == -1e9
    assert member.has_joined


async def test_a_refusal_of_the_group_is_said_until_it_lets_us_in(member: Member) -> None:
    """Why, and which group."""
    error = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "no")
    member.client.message = SimpleNamespace(error=lambda: error)
    await member.turn()
    refusal = member.refusal
    await given(member, 1)

    assert "group arbiter: GROUP_AUTHORIZATION_FAILED" in refusal
    assert member.refusal == ""


async def test_what_was_lost_is_no_membership(member: Member) -> None:
    """The group gave us up: nothing is ours until it gives something again."""
    await given(member, 1)
    gone = [TopicPartition(LEAD, 1)]
    await asyncio.to_thread(member._on_lost, member.client, gone)  # type: ignore[arg-type]  # noqa: SLF001

    assert not member.is_member
    assert member.listener.heard[-1] == [1]


async def test_while_the_event_loop_is_stuck_the_group_is_not_polled(
    member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it gives us up in the end: who decides nothing must not keep partitions from others."""
    monkeypatch.setattr(module, "ALIVE_SECONDS", 0.001)
    answers: list[Callable[[], None]] = []
    member._loop = SimpleNamespace(call_soon_threadsafe=answers.append)  # type: ignore[assignment]  # noqa: SLF001
    turn = asyncio.create_task(member.turn())
    await asyncio.sleep(0.05)
    is_stuck = not turn.done()
    answers[0]()
    await turn

    assert is_stuck


def test_numbers_are_read_from_a_packed_assignment() -> None:
    """Of the topic that is shared out; another build may share out others."""
    topics = [(b"other", [9]), (LEAD.encode(), [1, 30])]
    packed = struct.pack(">hi", 0, len(topics))
    for name, numbers in topics:
        packed += struct.pack(">h", len(name)) + name + struct.pack(f">i{len(numbers)}i", len(numbers), *numbers)

    assert numbers_in(packed + struct.pack(">i", -1), LEAD) == {1, 30}
    assert numbers_in(b"", LEAD) == set()


async def test_who_leaves_tells_the_group_nothing_more(member: Member) -> None:
    """A commit that meets a rebalance is answered after it: it would keep the worker from leaving in time."""
    await given(member, 1)
    member.done({TP(LEAD, 1): 10})
    member._stopping.set()  # noqa: SLF001
    before = member.prove()

    assert before < 0
    assert [] == [one for one in member.client.done if isinstance(one, dict)]
