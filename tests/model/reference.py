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

from arbiter.engine.arbitrate import (
    ANSWERS_KEPT_MS,
    Arrival,
    Decided,
    Message,
    Noted,
    Refused,
    arbitrate,
    come_back,
    identity,
    next_due_ms,
    party_of,
    turn_of,
    was_answered,
)
from arbiter.engine.render import decision_of
from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.identity import answer_key
from arbiter.ledger.model import Answered, Ledger
from arbiter.messages import ContactRequest, CustomerChange, Profile, encoder
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import pack_answered, pack_ledger, unpack_answered, unpack_ledger
from arbiter.state.memory import MemoryStore
from arbiter.state.store import Commit, Head, Verdict
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
        party = party_of(message)
        partition = entry.partition
        (packed,) = await self._store.load(partition, [party])
        if packed is None:
            partition = home_of(message.customer_id, self._partitions)
            (packed,) = await self._store.load(partition, [party])
        ledger = Ledger() if packed is None else unpack_ledger(packed)
        await self._decide(entry, partition, message, ledger, await self._answers(partition, message, ledger))

    async def _answers(self, partition: int, message: Message, ledger: Ledger) -> dict[bytes, Answered]:
        if not isinstance(message, ContactRequest) or not was_answered(ledger, message.customer_id, identity(message)):
            return {}
        key = answer_key(message.customer_id, identity(message))
        (packed,) = await self._store.load_answers(partition, [key])
        return {} if packed is None else {key: unpack_answered(packed)}

    async def _decide(
        self, entry: Entry, partition: int, message: Message, ledger: Ledger, answers: dict[bytes, Answered]
    ) -> None:
        now_ms = (await self._head(partition)).now_ms
        if isinstance(message, ContactRequest) and message.requested_at is not None:
            now_ms = max(now_ms, to_ms(message.requested_at))
            await self._pass(entry, partition, now_ms)
            (packed,) = await self._store.load(partition, [party_of(message)])
            ledger = Ledger() if packed is None else unpack_ledger(packed)
            answers = await self._answers(partition, message, ledger)
        head, known = await self._head(partition), dict(answers)
        arrival = Arrival(message, entry.place, entry.timestamp_ms, entry.value or b"")
        policy, seq = self._policy_for(entry.place), head.seq + 1
        results = arbitrate(policy, ledger, answers, arrival, now_ms, seq, self._stock)
        results += self._catch_up(policy, ledger, answers, now_ms, seq)
        for result in results:
            if isinstance(result, Decided):
                self._tell(result)
            elif isinstance(result, Refused):
                self.refused.add(entry.place)
        changed = {key: pack_answered(new) for key, new in answers.items() if known.get(key) is not new}
        await self._commit(partition, head, now_ms, {party_of(message): ledger}, changed)

    def _catch_up(
        self, policy: Policy, ledger: Ledger, answers: dict[bytes, Answered], now_ms: int, seq: int
    ) -> list[Decided | Refused | Noted]:
        """What was due by ``now_ms``, each at its own instant."""
        results: list[Decided | Refused | Noted] = []
        while (due_ms := next_due_ms(ledger)) is not None and due_ms <= now_ms:
            results += come_back(policy, ledger, answers, due_ms, seq, self._stock)
        return results

    def _tell(self, decided: Decided) -> None:
        decision = decision_of(decided)
        self.decisions[decision.decision_id] = _encode(decision)

    async def _pass(self, entry: Entry, partition: int, now_ms: int) -> None:
        """The timers of the partition on the way to an instant, one after another, each at its own."""
        while due := await self._store.due(partition, now_ms, 1):
            (due_ms, _, party), head = due[0], await self._head(partition)
            (packed,) = await self._store.load(partition, [party])
            assert packed is not None
            ledger, answers, seq = unpack_ledger(packed), dict[bytes, Answered](), head.seq + 1
            for result in come_back(self._policy_for(entry.place), ledger, answers, due_ms, seq, self._stock):
                assert isinstance(result, Decided)
                self._tell(result)
            changed = {key: pack_answered(new) for key, new in answers.items()}
            await self._commit(partition, head, max(head.now_ms, due_ms), {party: ledger}, changed)

    async def _head(self, partition: int) -> Head:
        if partition not in self._heads:
            claim = await self._store.claim(partition, OWNER, 1)
            assert claim is not None
            self._heads[partition] = claim.head
        return self._heads[partition]

    async def _commit(
        self, partition: int, head: Head, now_ms: int, ledgers: dict[str, Ledger], answers: dict[bytes, bytes]
    ) -> None:
        seq = head.seq + 1
        packed = {party: pack_ledger(ledger) for party, ledger in ledgers.items()}
        timers = {party: next_due_ms(ledger) for party, ledger in ledgers.items()}
        turns = {party: turn_of(ledgers[party], due_ms) for party, due_ms in timers.items() if due_ms is not None}
        commit = Commit(
            head.epoch, OWNER, seq, 0, now_ms, {}, packed, answers, ANSWERS_KEPT_MS, timers, outbox=b"", turns=turns
        )
        verdict, _ = await self._store.commit(partition, commit)
        assert verdict is Verdict.OK
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
