"""One batch of one partition, decided: synchronous, without I/O, one record after another.

The records meet copies of their parties' ledgers, so a batch that is not committed leaves no trace. A record that the
core fails on is tried once more, alone, on a fresh copy that has seen only what came before it; if it fails again it is
left out as a dead letter, and its party goes on as if it had never come.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from arbiter.core.arbitrate import (
    Arrival,
    Decided,
    Refused,
    arbitrate,
    identity,
    next_due_ms,
    party_of,
    was_answered,
)
from arbiter.core.instants import to_ms
from arbiter.core.model import Answered, Ledger
from arbiter.core.policy import Policy
from arbiter.core.render import decision_of
from arbiter.messages import ContactRequest, Decision, Profile, SuppressionChange, encoder
from arbiter.state.codec import OutRecord, pack_answered, pack_ledger, unpack_answered, unpack_ledger
from arbiter.stream.records import DeadLetter, Record

EVENT_TYPE = b"contact.decision.v1"
EVENT_SOURCE = b"arbiter"
UNDECIDABLE = "undecidable"

log = logging.getLogger("arbiter")
_encode = encoder().encode


class Item(Struct, frozen=True):
    """A record that was read, with its arrival."""

    record: Record
    arrival: Arrival

    @property
    def party(self) -> str:
        """Whose ledger it belongs to."""
        return party_of(self.arrival.message)

    @property
    def rank(self) -> int:
        """Its place among what came together: suppressions, consents and preferences, profiles, requests."""
        message = self.arrival.message
        if isinstance(message, ContactRequest):
            return 3
        if isinstance(message, Profile):
            return 2
        return 0 if isinstance(message, SuppressionChange) else 1


class Outcome(Struct):
    """What came of one decided record."""

    item: Item
    decided: Decided
    decision: Decision


class _Party(Struct):
    """A party in this batch: its ledger as loaded (bytes) and as it is now, and what it went through so far."""

    packed: bytes | None
    ledger: Ledger
    due_ms: int | None
    done: list[tuple[Item, int]] = []

    @classmethod
    def of(cls, packed: bytes | None) -> _Party:
        """The party as it was loaded."""
        ledger = _fresh(packed)
        return cls(packed, ledger, next_due_ms(ledger))


class Batch:
    """Decides records in the order given. Afterwards its attributes say what is to be published and committed."""

    def __init__(
        self,
        policy: Policy,
        seq: int,
        now_ms: int,
        decisions_topic: str,
        ledgers: Mapping[str, bytes | None],
        *,
        is_event_clock: bool = False,
    ) -> None:
        """``seq`` is the number of the commit to be; ``ledgers`` has every party that will come, packed."""
        self._policy = policy
        self._seq = seq
        self._topic = decisions_topic
        self._is_event_clock = is_event_clock
        self._parties = {name: _Party.of(packed) for name, packed in ledgers.items()}
        self._loaded: dict[bytes, Answered] = {}
        self._answers: dict[bytes, Answered] = {}
        self.now_ms = now_ms
        self.outcomes: list[Outcome] = []
        self.outbox: list[OutRecord] = []
        self.outbox_bytes = 0
        self.facts = 0
        self.dead: list[tuple[Item, DeadLetter, int]] = []

    def answered_before(self, items: Iterable[Item]) -> list[bytes]:
        """The identities among these requests that were answered: their answers must be loaded, and given here."""
        known: dict[bytes, None] = {}
        for item in items:
            message = item.arrival.message
            ledger = self._parties[item.party].ledger
            if ledger.answered and isinstance(message, ContactRequest):
                key = identity(message)
                if was_answered(ledger, key):
                    known[key] = None
        return list(known)

    def give_answers(self, identities: Iterable[bytes], packed: Iterable[bytes | None]) -> None:
        """What was answered to these requests; ``None`` for one that the store no longer has."""
        for key, data in zip(identities, packed, strict=True):
            if data is not None:
                self._loaded[key] = self._answers[key] = unpack_answered(data)

    def decide(self, item: Item) -> None:
        """Apply one record; never raises for what the core does with it."""
        message = item.arrival.message
        if self._is_event_clock and isinstance(message, ContactRequest):
            asked = message.requested_at
            self.now_ms = max(self.now_ms, item.arrival.received_ms if asked is None else to_ms(asked))
        party = self._parties[item.party]
        results: list[Decided | Refused] | None
        try:
            results = self._apply(party, item, self.now_ms)
        except Exception:  # noqa: BLE001 - whatever fails on a record must not take its neighbours along
            results = self._again(party, item)
        if results is None:
            return
        party.done.append((item, self.now_ms))
        self.facts += not isinstance(message, ContactRequest)
        for result in results:
            if isinstance(result, Refused):
                self.dead.append((item, DeadLetter(result.code, result.message), 1))
            else:
                self._tell(item, result)

    def _apply(self, party: _Party, item: Item, now_ms: int) -> list[Decided | Refused]:
        return arbitrate(self._policy, party.ledger, self._answers, item.arrival, now_ms, self._seq)

    def _again(self, party: _Party, item: Item) -> list[Decided | Refused] | None:
        self._rewind(party, item)
        try:
            return self._apply(party, item, self.now_ms)
        except Exception as error:
            place = "/".join(map(str, item.arrival.source))
            log.exception("record %s cannot be decided; it becomes a dead letter", place)
            self._rewind(party, item)
            self.dead.append((item, DeadLetter(UNDECIDABLE, f"deciding failed twice: {type(error).__name__}"), 2))
            return None

    def _rewind(self, party: _Party, failing: Item) -> None:
        """The party as it was before the failing record: loaded anew, and led through what it had gone through."""
        party.ledger = _fresh(party.packed)
        for item in [failing, *(item for item, _ in party.done)]:
            if isinstance(item.arrival.message, ContactRequest):
                key = identity(item.arrival.message)
                self._answers.pop(key, None)
                if key in self._loaded:
                    self._answers[key] = self._loaded[key]
        for item, now_ms in party.done:
            self._apply(party, item, now_ms)

    def _tell(self, item: Item, decided: Decided) -> None:
        decision = decision_of(decided)
        value = _encode(decision)
        headers = [
            ("ce_specversion", b"1.0"),
            ("ce_type", EVENT_TYPE),
            ("ce_source", EVENT_SOURCE),
            ("ce_id", decision.decision_id.encode()),
            ("ce_time", msgspec.to_builtins(decision.decided_at).encode()),
            ("content-type", b"application/json"),
        ]
        _, partition, _ = item.arrival.source
        self.outbox.append(OutRecord(self._topic, partition, decision.customer_id.encode(), value, headers))
        self.outbox_bytes += len(value)
        self.outcomes.append(Outcome(item, decided, decision))

    def changed_ledgers(self) -> dict[str, bytes]:
        """The ledgers that are not as they were loaded, packed."""
        changed = {}
        for name, party in self._parties.items():
            if party.done:
                packed = pack_ledger(party.ledger)
                if packed != party.packed:
                    changed[name] = packed
        return changed

    def changed_answers(self) -> dict[bytes, bytes]:
        """The answers that are new or not as they were loaded, packed."""
        loaded = self._loaded
        return {key: pack_answered(new) for key, new in self._answers.items() if loaded.get(key) is not new}

    def changed_timers(self) -> dict[str, int | None]:
        """When the arbiter must come back to a party, for those where that moved."""
        due = {name: (party.due_ms, next_due_ms(party.ledger)) for name, party in self._parties.items() if party.done}
        return {name: new for name, (old, new) in due.items() if old != new}


def _fresh(packed: bytes | None) -> Ledger:
    return Ledger() if packed is None else unpack_ledger(packed)
