"""How the worker is a member of its group: a client of librdkafka that takes partition numbers and reads nothing.

A partition number is owned over all input topics, or not at all. So the group shares out the partitions of one topic,
the requests, and whoever has one of these has that number of every topic. Records are read by another client
(``fetcher.py``), so a rebalance touches only the numbers that come or go. Heartbeats are librdkafka's, in a thread of
its own. An offset that the group accepted in our generation is the proof that it still counts on us.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from faust.types import TP

from arbiter import log_events
from arbiter.messages import REQUESTS
from arbiter.settings import Settings
from arbiter.worker.kafka.causes import Causes
from arbiter.worker.kafka.reader import INPUTS
from arbiter.worker.kafka.topics import KafkaAway, client_config

POLL_SECONDS: Final = 0.1
ALIVE_SECONDS: Final = 1.0
"""How often the event loop must answer: while it does not, the group is not polled, and so gives us up in the end."""

POLL_INTERVAL_SECONDS_MAX: Final = 60.0
METADATA_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.5
RELEASE_SECONDS_MAX: Final = 15.0
JOIN_SECONDS_MAX: Final = 6.0
"""How long (s) leaving may wait for what the threads ask Kafka. A commit that meets a rebalance is answered after it.
Who does not leave keeps its partitions from others until the session time-out.
"""
DESCRIBE_SECONDS: Final = 5.0
STABLE: Final = "Stable"
NOBODY: Final = ("Empty", "Dead")
"""The states of a group without a member."""

_MAGIC: Final = b"CGMDv2:"
_GENERATION: Final = struct.Struct("=i")


class Listener(Protocol):
    """Who hears of partition numbers that come and go; called in the event loop."""

    async def on_numbers_assigned(self, numbers: set[int], generation: int) -> None:
        """These are ours from now on, besides those that we have."""

    async def on_numbers_revoked(self, numbers: set[int]) -> None:
        """These are not ours any more when this returns."""


class Membership:
    """One worker's membership. The threads are its own; what is public may be used in any other."""

    def __init__(self, settings: Settings) -> None:
        """Not a member yet, of anything."""
        self._settings = settings
        self._lead = settings.topic(REQUESTS)
        self._inputs = [settings.topic(name) for name in INPUTS]
        self.causes: Final = Causes()
        self._stopping = threading.Event()
        self._prove_now = threading.Event()
        self._lock = threading.Lock()
        self._offsets: dict[TP, int] = {}
        self._news: set[TP] = set()
        self._is_subscribed = False
        self._admin: AdminClient | None = None
        self.numbers: frozenset[int] = frozenset()
        """The partition numbers that the group gives us."""
        self.may_join = False
        self.has_joined = False
        """Whether the group has given us partitions, or none, since we last came to it."""
        self.rebalances = 0
        """How often it gave us partitions or took some away."""
        self.refusal = ""
        """Why the group, or the metadata, do not let us in now; empty if they do."""
        self.heartbeat_at = -1e9
        """When we last said something to the group that it accepted from a member (``time.monotonic()``)."""
        self.heard_at = -1e9
        """The same, or when it last gave us partitions: that is no proof that it counts on us now."""

    def open(self) -> None:
        """Make the client, which can be asked from then on, and joins nothing by itself."""
        self._consumer = Consumer(self._config())

    def close(self) -> None:
        """Let go of a client that was only asked. Blocks for a moment."""
        self._consumer.close()

    def start(self, listener: Listener, failed: Callable[[BaseException], None]) -> None:
        """Begin, in the event loop; ``failed`` is called in it when only a new process can go on."""
        self._listener = listener
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self.open()
        self._threads = [
            threading.Thread(target=self._until_stopped, args=(turn,), name=f"group {turn.__name__[1:]}", daemon=True)
            for turn in (self._poll, self._prove)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Leave the group. Blocks for a moment; call it off the event loop."""
        self._stopping.set()
        self._prove_now.set()
        latest = monotonic() + JOIN_SECONDS_MAX
        for thread in self._threads:
            thread.join(max(latest - monotonic(), 0))
        if not any(thread.is_alive() for thread in self._threads):
            self._consumer.close()

    @property
    def is_member(self) -> bool:
        """Whether the group has given us partitions, or none."""
        return self.has_joined

    @property
    def generation(self) -> int:
        """The group's generation that we are a member of; not above 0 if we are not."""
        packed: Any = self._consumer.consumer_group_metadata()
        if not packed.startswith(_MAGIC):
            raise RuntimeError(f"librdkafka has another form of group metadata: {packed!r}")
        return int(_GENERATION.unpack_from(packed, len(_MAGIC))[0])

    def allow(self, *, may_join: bool) -> None:
        """Join, or let go of the partitions and leave until allowed again."""
        self.may_join = may_join

    def done(self, offsets: Mapping[TP, int]) -> None:
        """Take note of how far we are, for the group's gauge of lag."""
        with self._lock:
            self._news.update(tp for tp, offset in offsets.items() if self._offsets.get(tp) != offset)
            self._offsets.update(offsets)

    async def shared_out(self) -> set[int] | None:
        """The partition numbers that the members have together, as Kafka knows it; ``None`` unless the group is stable.

        Raises :class:`KafkaAway`.
        """
        return await asyncio.to_thread(self._shared_out)

    async def committed(self, tps: Collection[TP]) -> dict[TP, int]:
        """The offsets that the group knows; 0 where it knows none. Raises :class:`KafkaAway`."""
        asked = [TopicPartition(*tp) for tp in tps]
        try:
            known = await asyncio.to_thread(self._consumer.committed, asked, METADATA_SECONDS)
        except (KafkaException, RuntimeError) as error:
            raise KafkaAway(repr(error)) from error
        return {TP(one.topic, one.partition): max(one.offset, 0) for one in known}

    def _shared_out(self) -> set[int] | None:
        if self._admin is None:
            self._admin = AdminClient({**client_config(self._settings), **self.causes.config})
        try:
            # The plain call of this name. It is deprecated for one that may abort the process.
            groups: Any = super(AdminClient, self._admin).list_groups(self._settings.group, timeout=DESCRIBE_SECONDS)
        except KafkaException as error:
            raise KafkaAway(self.causes.why(error.args[0])) from error
        if not groups or groups[0].state in NOBODY:
            return set()
        if groups[0].state != STABLE:
            return None
        return {number for member in groups[0].members for number in numbers_in(member.assignment, self._lead)}

    # In the threads

    def _config(self) -> dict[str, Any]:
        settings = self._settings
        return {
            **client_config(settings),
            **self.causes.config,
            "group.id": settings.group,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": settings.session_timeout_ms,
            "heartbeat.interval.ms": settings.heartbeat_interval_ms,
            "max.poll.interval.ms": max(int(POLL_INTERVAL_SECONDS_MAX * 1_000), settings.session_timeout_ms),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "topic.metadata.refresh.interval.ms": 30_000,
        }

    def _until_stopped(self, turn: Callable[[], None]) -> None:
        try:
            while not self._stopping.is_set():
                turn()
        except BaseException as error:  # noqa: BLE001 - a thread that ends in silence would be an outage in silence
            self._loop.call_soon_threadsafe(self._failed, error)

    def _poll(self) -> None:
        """Join or leave if need be, and hear what the group says."""
        if self.may_join and not self._is_subscribed:
            self._subscribe()
        elif self._is_subscribed and not self.may_join:
            self._is_subscribed = self.has_joined = False
            self._consumer.unsubscribe()
        message = self._consumer.poll(POLL_SECONDS)
        if message is not None and (error := message.error()) is not None:
            self.refusal = self._refused(error)
        self._ask_loop()

    def _subscribe(self) -> None:
        try:
            missing = [topic for topic in self._inputs if not self._is_known(topic)]
        except KafkaException as error:
            self.refusal = f"Kafka does not name its topics: {self.causes.why(error.args[0])}"
            return
        if missing:
            self.refusal = (
                f"Kafka says that it does not know {', '.join(missing)}; the worker asks again and does not join before"
            )
            self._stopping.wait(AGAIN_SECONDS)
            return
        self.causes.over()
        self.refusal = ""
        self._is_subscribed = True
        self._consumer.subscribe(
            [self._lead], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _is_known(self, topic: str) -> bool:
        found = self._consumer.list_topics(topic, METADATA_SECONDS).topics.get(topic)
        return found is not None and found.error is None and bool(found.partitions)

    def _refused(self, error: KafkaError) -> str:
        return f"Kafka does not let the worker into group {self._settings.group}: {error.name()}: {error.str()}"

    def _ask_loop(self) -> None:
        """Return once the event loop has answered. Who decides nothing must not keep partitions from others."""
        answered = threading.Event()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # it is closed
            self._stopping.set()
        while not answered.wait(ALIVE_SECONDS) and not self._stopping.is_set():
            log_events.GROUP_UNPOLLED()

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        consumer.incremental_assign([])  # taken, and not to be read by this client
        numbers = {one.partition for one in partitions}
        self.numbers |= numbers
        self.rebalances += bool(numbers)
        self.refusal, self.has_joined = "", True
        self.heard_at = monotonic()
        self._prove_now.set()
        asyncio.run_coroutine_threadsafe(self._listener.on_numbers_assigned(numbers, self.generation), self._loop)

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """Release in good order. Nobody gets these partitions before that; the other partitions go on."""
        self.rebalances += 1
        self._let_go({one.partition for one in partitions})
        consumer.incremental_unassign([])

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        """The group has given us up: others may have these partitions already."""
        self.has_joined = False
        self._on_revoke(consumer, partitions)

    def _let_go(self, numbers: set[int]) -> None:
        self.numbers -= numbers
        with self._lock:
            for tp in [tp for tp in self._offsets if tp.partition in numbers]:
                del self._offsets[tp]
                self._news.discard(tp)
        released = asyncio.run_coroutine_threadsafe(self._listener.on_numbers_revoked(numbers), self._loop)
        try:
            released.result(RELEASE_SECONDS_MAX)
        except TimeoutError:
            log_events.PARTITIONS_LET_GO(count=len(numbers))

    def _prove(self) -> None:
        """Commit our positions to the group, and note that it accepted them. Only a gauge: what fails is sent again."""
        self._prove_now.wait(self._settings.heartbeat_interval_ms / 1_000)
        self._prove_now.clear()
        if self._stopping.is_set():
            return
        offsets, sent_at, generation = self._to_commit(), monotonic(), self.generation
        if not offsets or generation <= 0:
            return
        try:
            committed = self._consumer.commit(offsets=offsets, asynchronous=False)
            is_heard = all(one.error is None for one in committed or ())
        except KafkaException as error:
            log_events.OFFSETS_REFUSED(why=repr(error))
            is_heard = False
        # The client itself may have left this generation meanwhile, and one without members takes anybody's offsets.
        if is_heard and generation == self.generation:
            self.heartbeat_at, self.refusal = sent_at, ""
            self.heard_at = max(self.heard_at, sent_at)
        else:
            with self._lock:
                self._news.update(tp for one in offsets if (tp := TP(one.topic, one.partition)) in self._offsets)

    def _to_commit(self) -> list[TopicPartition]:
        """What is new; if nothing is, something old again."""
        with self._lock:
            tps, self._news = self._news or set(list(self._offsets)[:1]), set()
            offsets = [TopicPartition(*tp, self._offsets[tp]) for tp in tps if tp in self._offsets]
        if offsets or not self.numbers:
            return offsets
        # Nothing is claimed yet: what the group knows already.
        try:
            known = self._consumer.committed([TopicPartition(self._lead, min(self.numbers))], METADATA_SECONDS)
        except (KafkaException, ValueError):
            return []
        return [TopicPartition(one.topic, one.partition, max(one.offset, 0)) for one in known if one.error is None]


def numbers_in(assignment: bytes, topic: str) -> set[int]:
    """The partition numbers of a topic in a member's assignment, as the consumer protocol packs it."""
    found: set[int] = set()
    if not assignment:
        return found
    (topics,), at = struct.unpack_from(">i", assignment, 2), 6
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", assignment, at)
        name = assignment[at + 2 : at + 2 + length].decode()
        at += 2 + length
        (count,) = struct.unpack_from(">i", assignment, at)
        if name == topic:
            found.update(struct.unpack_from(f">{count}i", assignment, at + 4))
        at += 4 + 4 * count
    return found
