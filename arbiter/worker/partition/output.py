"""What a batch puts out: records to publish, dead letters, and what is counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from arbiter.engine.party import permit_ends
from arbiter.engine.routed import Forward, Join, Leave, Return, Routed
from arbiter.engine.state import Anomaly, Effect, LifecycleEvent
from arbiter.ledger.facts import Refused
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import OutRecord
from arbiter.timing.instants import DAY_MS
from arbiter.worker.kafka.reader import DeadLetter
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.dead_letter_record import Dead, first_read, original
from arbiter.worker.partition.inputs import Input, RoutedRecord, Source, input_record_of
from arbiter.worker.partition.letter_answers import Answered, AnsweringCommit, answers
from arbiter.worker.partition.publishing import record_of
from arbiter.worker.partition.routing import Routing

OUTBOX_BYTES_MAX = 4 * 1024 * 1024
"""With more than that to publish, the rest is left for the next commit."""

WEEK_MS = 7 * DAY_MS
NO_TOPICS: Final[Mapping[str, str]] = MappingProxyType({})


class Output:
    """Collects what comes of a batch's events.

    ``outbox`` is what the commit publishes, ``decisions`` the decisions in it. ``first`` has the requests that were not
    answered before, each with when it was received (ms). ``anomalies`` have the record that caused them; ``lives`` are
    lifecycle events that no decision reports. ``in_week`` has, for each approval, how many contacts the customer then
    has in a week. ``dead`` are the records that become dead letters. ``facts`` counts the inputs that are no requests.
    ``routed`` has the kind of each record for another partition. ``answered`` are the dead letters that are answered,
    ``noted`` the requests of ``first`` with fields that nobody knows.
    """

    def __init__(
        self, decisions_topic: str, partition: int, routing: Routing, department_topics: Mapping[str, str] = NO_TOPICS
    ) -> None:
        """``routing`` numbers what goes to other partitions.

        ``department_topics`` has, by department, a topic to which its decisions are written as well.
        """
        self.outbox: list[OutRecord] = []
        self.decisions: list[Decision] = []
        self.anomalies: list[tuple[Anomaly, Source | None]] = []
        self.lives: list[LifecycleEvent] = []
        self.first: list[tuple[ContactRequest, int]] = []
        self.in_week: list[int] = []
        self.dead: list[Dead] = []
        self.routed: list[str] = []
        self.noted: list[ContactRequest] = []
        self.answered: list[Answered] = []
        self.facts = 0
        self._topic = decisions_topic
        self._partition = partition
        self._routing = routing
        self._department_topics = department_topics
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """Whether the rest is for the next commit."""
        return self._bytes > OUTBOX_BYTES_MAX

    def records_of(self, effects: Sequence[Effect]) -> list[OutRecord]:
        """The records of the decisions among these effects, in order; raises if one cannot be written."""
        return [record_of(one, self._topic, self._partition) for one in effects if isinstance(one, Decision)]

    def add(
        self, party: StoredParty, cause: Input | None, effects: Sequence[Effect], records: Sequence[OutRecord]
    ) -> None:
        """Add what came of an input, or (``None``) of time going on; ``records`` are those of its decisions."""
        written = iter(records)
        if isinstance(cause, RoutedRecord):
            party.opened_ms = max(party.opened_ms, *permit_ends(party.ledger), 0)
        elif cause is not None:
            self.facts += not isinstance(cause.message, ContactRequest)
        for effect in effects:
            if isinstance(effect, Decision):
                self._add_decision(party, cause, effect, next(written))
            elif isinstance(effect, LifecycleEvent):
                self.lives.append(effect)
            elif isinstance(effect, Anomaly):
                record = None if cause is None else input_record_of(cause)
                self.anomalies.append((effect, None if record is None else record.source))
            elif cause is not None and isinstance(effect, Refused):
                refused = first_read(cause) if effect.stored is None else original(effect.stored)
                self.dead.append((refused, DeadLetter(effect.code, effect.message), 1))
            elif cause is not None and not isinstance(effect, Refused):
                self._add_routed(cause, effect)

    def reject(self, one: Input, letter: DeadLetter, attempts: int) -> None:
        """Make an input a dead letter that was tried so many times."""
        self.dead.append((first_read(one), letter, attempts))

    def answer(self, dead: Iterable[Dead], requests: str, policy: Policy, seq: int, now_ms: int) -> None:
        """Answer those of all the commit's dead letters whose requests can still be told; once, when all is decided.

        ``requests`` is the topic of requests.
        """
        commit = AnsweringCommit(policy, seq, now_ms, self._topic, self._partition)
        self.answered = [*answers(dead, requests, commit)]
        for one in self.answered:
            self._add_to_outbox(one.record, one.department)

    def _add_decision(self, party: StoredParty, cause: Input | None, decision: Decision, written: OutRecord) -> None:
        self._add_to_outbox(written, decision.request.department)
        self.decisions.append(decision)
        record = None if cause is None else input_record_of(cause)
        if record is not None and record.message is decision.request and not decision.is_repeat:
            self.first.append((record.message, record.received_ms))
            if record.notes:
                self.noted.append(record.message)
        until_ms = decision.valid_until_ms
        if until_ms is not None and decision.n:
            party.opened_ms = max(party.opened_ms, until_ms)
            if not decision.is_repeat:
                contacts, customer = party.ledger.contacts, decision.request.customer_id
                self.in_week.append(contacts.count_of(customer, until_ms - WEEK_MS, until_ms))

    def _add_to_outbox(self, decision: OutRecord, department: str) -> None:
        self.outbox.append(decision)
        self._bytes += len(decision.value or b"")
        topic = self._department_topics.get(department)
        if topic is not None:
            self.outbox.append(msgspec.structs.replace(decision, topic=topic))
            self._bytes += len(decision.value or b"")

    def _add_routed(self, cause: Input, routed: Routed) -> None:
        """Packed at once: what happens to the party after this does not change it."""
        sender = cause.envelope.home if isinstance(cause, RoutedRecord) else self._partition
        record = self._routing.send(routed, sender)
        self.outbox.append(record)
        self._bytes += len(record.value or b"")
        self.routed.append(_KINDS[type(routed)])


_KINDS: Final[dict[type[Routed], str]] = {Forward: "forward", Join: "join", Leave: "leave", Return: "return"}
ROUTED_KINDS: Final = tuple(_KINDS.values())
"""What is sent to other partitions."""
