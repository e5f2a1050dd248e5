"""Finds what belongs to a request: its decisions and itself on Kafka, its policies and the party's ledger in Redis."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.ledger.keys import customer_party, household_party
from arbiter.ledger.model import Ledger
from arbiter.messages import DECISIONS, REQUESTS, ContactRequest, DecisionMessage, PolicyRef, Source
from arbiter.policy.ruleset import Policy, PolicyError, load
from arbiter.settings import Settings
from arbiter.state.codec import unpack_ledger
from arbiter.state.redis_store import RedisStore, connect
from arbiter.timing.instants import to_ms
from arbiter.worker.kafka.partitioner import partition_of
from arbiter.worker.kafka.reader import Reader
from arbiter.worker.kafka.scan import Bounds, Progress, TopicReader

Key = tuple[str, str]
"""Department and customer."""

Place = tuple[str, int, int]
"""Topic, partition, offset."""

_decision = msgspec.json.Decoder(DecisionMessage).decode
_quoted = msgspec.json.encode


class Wanted(Struct, frozen=True):
    """Which request is meant. ``None`` means any department or any customer."""

    request_id: str
    department: str | None = None
    customer: str | None = None

    def is_meant(self, decision: DecisionMessage) -> bool:
        """Whether a decision is about it."""
        return (
            decision.request_id == self.request_id
            and (self.department is None or decision.department in (self.department, ""))
            and (self.customer is None or decision.customer_id in (self.customer, ""))
        )


class OnKafka(Struct, frozen=True):
    """The decisions, grouped by request (``histories``), and how many were read to find them (``read``)."""

    histories: dict[Key, list[DecisionMessage]]
    read: int
    partitions: int


class Asked(Struct, frozen=True):
    """The request itself, and when it was received (ms)."""

    request: ContactRequest
    received_ms: int


class InRedis(Struct, frozen=True):
    """The policies that decided, by digest; why one is missing, if it is; and the party's ledger."""

    policies: dict[str, Policy]
    missing: dict[str, str]
    ledger: Ledger


def find(kafka: TopicReader, wanted: Wanted, bounds: Bounds, progress: Progress | None) -> OnKafka:
    """Find every decision on requests that may be meant: each once, in order, by request."""
    histories = Histories(wanted)
    for message in kafka.records(DECISIONS, bounds, progress):
        histories.add(message.value() or b"")
    return OnKafka(histories.in_order(), histories.read, kafka.partitions(DECISIONS))


class Histories:
    """Picks the decisions that may be meant. ``read`` counts all that it was given."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._needle = b'"request_id":' + _quoted(wanted.request_id)
        self._found: dict[Key, dict[str, DecisionMessage]] = {}
        self.read = 0

    def add(self, value: bytes) -> None:
        """Keep a published decision that may be meant. Anything else is skipped."""
        self.read += 1
        if self._needle not in value:
            return
        decision = _read(value)
        if decision is not None and self._wanted.is_meant(decision):
            history = self._found.setdefault((decision.department, decision.customer_id), {})
            history.setdefault(decision.decision_id, decision)

    def in_order(self) -> dict[Key, list[DecisionMessage]]:
        """The decisions on each request, oldest first."""
        found = {key: dict(history) for key, history in self._found.items()}
        for key in [key for key in found if "" in key]:
            # Part of whose it was could not be read: it belongs to the one request that it may be about.
            whole = [one for one in found if "" not in one and all(a in (b, "") for a, b in zip(key, one, strict=True))]
            if len(whole) == 1:
                found[whole[0]] |= found.pop(key)
        return {key: sorted(history.values(), key=_order) for key, history in found.items()}


def _read(value: bytes) -> DecisionMessage | None:
    """The decision; ``None`` if the record is not one of the worker's own decisions."""
    try:
        return _decision(value)
    except msgspec.DecodeError:
        return None


def number_of(decision: DecisionMessage) -> int:
    """The n of a decision; 0 for a dry run."""
    _, _, n = decision.decision_id.rpartition(":")
    return int(n) if n.isdecimal() else 0


def _order(decision: DecisionMessage) -> tuple[object, int]:
    return decision.decided_at, number_of(decision)


def fetch_requests(kafka: TopicReader, settings: Settings, history: Iterable[DecisionMessage]) -> dict[Place, Asked]:
    """Fetch the requests that these decisions answer, by place, as far as Kafka still has them."""
    found: dict[Place, Asked] = {}
    reader = Reader(REQUESTS, settings.record_bytes, is_wall_clock=False)
    for place, decision in {place_of(decision.source): decision for decision in history}.items():
        record = kafka.record(*place)
        # A record without a time stamp was received when it was first decided, as near as can be known.
        read = None if record is None else reader.read(record, to_ms(decision.decided_at))
        if isinstance(read, InputRecord) and isinstance(read.message, ContactRequest):
            found[place] = Asked(read.message, read.received_ms)
    return found


def place_of(source: Source) -> Place:
    """Topic, partition, offset."""
    return source.topic, source.partition, source.offset


async def fetch_state(
    settings: Settings, history: Iterable[DecisionMessage], customer: str, partitions: int
) -> InRedis:
    """Fetch the policies that made these decisions, and the current ledger of the customer's party."""
    store = connect(settings.redis, settings.redis_prefix)
    try:
        state = InRedis({}, {}, await _ledger_of(store, customer, partitions))
        for ref in {decision.policy.digest: decision.policy for decision in history}.values():
            await _policy(store, ref, state)
        return state
    finally:
        await store.close()


async def _policy(store: RedisStore, ref: PolicyRef, state: InRedis) -> None:
    record = await store.policies.fetch(ref.version)
    if record is None or record.digest != ref.digest:
        state.missing[ref.digest] = f"the policy that decided it, version {ref.version}, is not in Redis"
        return
    try:
        state.policies[ref.digest] = load(record.document, record.version, record.digest)
    except PolicyError as error:
        state.missing[ref.digest] = f"this build cannot read version {ref.version} of the policy: {error}"


async def _ledger_of(store: RedisStore, customer: str, partitions: int) -> Ledger:
    """The ledger with the customer's budget: at home or at the household's partition; empty if there is none."""
    ledger = await _load(store, customer_party(customer), partition_of(customer, partitions))
    if ledger.stub is None or ledger.stub.household is None:
        return ledger
    household = ledger.stub.household
    return await _load(store, household_party(household), partition_of(household, partitions))


async def _load(store: RedisStore, party: str, partition: int) -> Ledger:
    (packed,) = await store.load(partition, [party])
    return Ledger() if packed is None else unpack_ledger(packed)
