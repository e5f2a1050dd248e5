"""The sequential reference model: the pure core on the in-memory store, fed one record at a time.

It says what the decisions must be, whatever happened to the workers, where that is determined: under the event clock,
with facts and requests kept apart by barriers. It shares no code with ``arbiter.worker`` or with the Redis stores.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from arbiter.engine.input_record import InputRecord, Message
from arbiter.engine.party import Party
from arbiter.engine.render import decision_of
from arbiter.engine.state import Context
from arbiter.engine.told import Decided
from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.facts import Refused
from arbiter.ledger.identity import ANSWERS_KEPT_MS, answer_key, identity, was_answered
from arbiter.ledger.keys import customer_party
from arbiter.ledger.model import Ledger
from arbiter.messages import ContactRequest, CustomerChange, Profile, encoder
from arbiter.policy.ruleset import Policy
from arbiter.state.answers import pack_answered, unpack_answered
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Commit, CommitResult, Head
from arbiter.timing.instants import to_ms
from tests.oracle.invariants import home_of
from tests.servers.topics import CONSENTS, DECISIONS, INPUTS, PROFILES, REQUESTS, Barrier, Entry, Place

OWNER = "reference"

_decoders: dict[str, Callable[[bytes], Message]] = {
    REQUESTS: msgspec.json.Decoder(ContactRequest).decode,
    CONSENTS: msgspec.json.Decoder(CustomerChange).decode,
    PROFILES: msgspec.json.Decoder(Profile).decode,
}
_encode = encoder().encode


class Reference:
    """``decisions`` has the bytes by ``decision_id``, ``refused`` the records that must be dead letters."""

    def __init__(self, policy_for: Callable[[Place], Policy], partitions: int) -> None:
        """``policy_for`` gives the policy in force when a record is decided."""
        self.decisions: dict[str, bytes] = {}
        self.refused: set[Place] = set()
        self._policy_for = policy_for
        self._partitions = partitions
        self._store = MemoryStore()
        self._stock = WholeStock()
        self._heads: dict[int, Head] = {}

    def feed(self, entries: Iterable[Entry], barriers: Sequence[Barrier] = ()) -> None:
        """Take in the records of the input topics: the facts up to a barrier, then the requests from it on.

        Requests must have ``requested_at``, by which the clock goes; facts need a barrier after them.
        """
        asyncio.run(self._feed(in_order(entries, barriers)))

    async def _feed(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            await self._take(entry)

    async def _take(self, entry: Entry) -> None:
        try:
            message = _decoders[entry.topic](entry.value or b"")
        except msgspec.DecodeError:
            self.refused.add(entry.place)
            return
        name, partition = customer_party(message.customer_id), entry.partition
        (packed,) = await self._store.load(partition, [name])
        if packed is None:
            partition = home_of(message.customer_id, self._partitions)
        await self._decide(entry, partition, message, name)

    async def _party(self, partition: int, name: str, message: Message | None = None) -> Party:
        """The party as it is in the store, with the answer to a request that comes again."""
        (packed,) = await self._store.load(partition, [name])
        party = Party(Ledger() if packed is None else unpack_ledger(packed))
        if isinstance(message, ContactRequest) and was_answered(party.ledger, message.customer_id, identity(message)):
            key = answer_key(message.customer_id, identity(message))
            (answer,) = await self._store.load_answers(partition, [key])
            if answer is not None:
                party.answers[key] = unpack_answered(answer)
        return party

    async def _decide(self, entry: Entry, partition: int, message: Message, name: str) -> None:
        now_ms = (await self._head(partition)).now_ms
        if isinstance(message, ContactRequest) and message.requested_at is not None:
            now_ms = max(now_ms, to_ms(message.requested_at))
            await self._pass(entry, partition, now_ms)
        record = InputRecord(message, entry.place, entry.timestamp_ms, entry.value or b"")
        party = await self._party(partition, name, message)
        for event in (record, None):  # then what it made due at once
            await self._apply(entry, partition, name, party, event, now_ms)

    async def _apply(
        self, entry: Entry, partition: int, name: str, party: Party, event: InputRecord | None, now_ms: int
    ) -> None:
        head = await self._head(partition)
        context = Context(self._policy_for(entry.place), head.seq + 1, self._stock, is_event_time=True)
        for effect in party.apply(event, now_ms, context):
            if isinstance(effect, Decided):
                self._tell(effect)
            elif isinstance(effect, Refused):
                self.refused.add(entry.place)
        changed = {key: pack_answered(party.answers[key]) for key in party.changed}
        await self._commit(partition, head, max(head.now_ms, now_ms), name, party, changed)

    def _tell(self, decided: Decided) -> None:
        decision = decision_of(decided)
        self.decisions[decision.decision_id] = _encode(decision)

    async def _pass(self, entry: Entry, partition: int, now_ms: int) -> None:
        """The timers of the partition on the way to an instant, one after another, each at its own."""
        while due := await self._store.due(partition, now_ms, 1):
            due_ms, _, name = due[0]
            await self._apply(entry, partition, name, await self._party(partition, name), None, due_ms)

    async def _head(self, partition: int) -> Head:
        if partition not in self._heads:
            claim = await self._store.claim(partition, OWNER, 1)
            assert claim is not None
            self._heads[partition] = claim.head
        return self._heads[partition]

    async def _commit(
        self, partition: int, head: Head, now_ms: int, name: str, party: Party, answers: dict[bytes, bytes]
    ) -> None:
        seq, packed = head.seq + 1, {name: pack_ledger(party.ledger)}
        timers, turns = {name: party.due_ms}, {} if party.due_ms is None else {name: party.queue_key}
        commit = Commit(
            head.epoch,
            OWNER,
            seq,
            0,
            now_ms,
            {},
            packed,
            answers,
            ANSWERS_KEPT_MS,
            timers,
            outbox=b"",
            queue_keys=turns,
        )
        verdict, _ = await self._store.commit(partition, commit)
        assert verdict is CommitResult.OK
        self._heads[partition] = msgspec.structs.replace(head, seq=seq, now_ms=now_ms)

    def differences(self, entries: Iterable[Entry], prefix: str = "") -> list[str]:
        """Where the decisions on the topics are not the reference's; the commit's number, ``seq``, may differ.

        ``prefix`` is what decisions put before topics' names.
        """
        found = {said["decision_id"]: said for said in map(Entry.fields, entries_of(DECISIONS, entries))}
        for said in found.values():
            said["source"]["topic"] = said["source"]["topic"].removeprefix(prefix)
        wanted = {name: json.loads(value) for name, value in self.decisions.items()}
        sentences = [f"{name} should have been decided: {wanted[name]}" for name in wanted.keys() - found.keys()]
        sentences += [f"{name} should not have been decided: {found[name]}" for name in found.keys() - wanted.keys()]
        for name in wanted.keys() & found.keys():
            if _determined(wanted[name]) != _determined(found[name]):
                sentences.append(f"{name} should be {_determined(wanted[name])}, is {_determined(found[name])}")
        return sentences


def in_order(entries: Iterable[Entry], barriers: Sequence[Barrier]) -> list[Entry]:
    """The input records as a single reader takes them in: phase by phase, in each the facts first."""

    def rank(entry: Entry) -> tuple[int, bool, str, int, int]:
        is_request = entry.topic == REQUESTS
        phase = sum(
            (barrier.requests.get(entry.partition, 0) if is_request else barrier.facts.get(entry.place[:2], 0))
            <= entry.offset
            for barrier in barriers
        )
        # The facts before a barrier belong to the requests after it.
        return (phase if is_request else phase + 1), is_request, *entry.place

    return sorted((entry for entry in entries if entry.topic in INPUTS), key=rank)


def entries_of(topic: str, entries: Iterable[Entry]) -> list[Entry]:
    """The records of one topic, in order."""
    return [entry for entry in entries if entry.topic == topic]


def _determined(decision: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in decision.items() if name != "seq"}
