"""One batch of one partition, decided: synchronous, without I/O, one record after another.

The records meet copies of their parties' ledgers, so a batch that is not committed leaves no trace. A record that the
core fails on is tried once more, alone, on a fresh copy that has seen only what came before it; if it fails again it is
left out as a dead letter, and its party goes on as if it had never come. Before that it is taken without hearing what
waits, lest a request that cannot be decided stands in the way of a withdrawal; and what waits and cannot be decided
when it is due is ended with a no, as a rule that fails ends it.

A step that drew on what is not known of the capacity, or not granted, is undone (:class:`Unsettled`), and taken again
once it was asked for. The steps before it stand.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from arbiter.core.arbitrate import (
    Decided,
    Noted,
    Refused,
    Result,
    come_back,
    next_due_ms,
    permit_ends,
)
from arbiter.core.decide import asked_at
from arbiter.core.giving_up import give_up, put_off
from arbiter.core.household import Forward, Join, Leave, Return, Routed, Taker
from arbiter.core.instants import to_datetime
from arbiter.core.model import Ledger
from arbiter.core.policy import Policy
from arbiter.core.render import message_of
from arbiter.core.stock import Draw, Purse, Stock
from arbiter.messages import ContactRequest, Decision
from arbiter.state.codec import OutRecord, pack_answered, pack_ledger
from arbiter.state.store import Wait
from arbiter.stream.aside import NEVER_MS, Aside, left_out
from arbiter.stream.items import Item, needed_answers
from arbiter.stream.letters import original
from arbiter.stream.records import DeadLetter, Record
from arbiter.stream.routing import Routing
from arbiter.stream.steps import Loaded, Party, Place, Step, Way, fresh, waits_of

CONSTANT_HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_type", b"contact.decision.v1"),
    ("ce_source", b"arbiter"),
    ("content-type", b"application/json"),
)
UNDECIDABLE = "undecidable"

log = logging.getLogger("arbiter")


class Worded(Struct, frozen=True, gc=False):
    """An answer, and the message that it is told in."""

    decided: Decided
    decision: Decision
    value: bytes


Said = Worded | Noted | Refused | Routed
"""What comes of a step."""


class BatchStock(Stock, Protocol):
    """A stock that counts what is taken: by window, how many more (or less, if given back).

    ``questions`` are the windows that the step must have asked about before it can stand, each with how many places
    the batch would have taken of it.
    """

    changes: Counter[Draw]
    questions: dict[Draw, int]


class Unsettled(Exception):
    """A step must be taken again, once its ``questions`` are answered; it is undone. ``step`` tells steps apart."""

    def __init__(self, questions: dict[Draw, int], step: tuple[str, int]) -> None:
        super().__init__("what all customers share must be asked for")
        self.questions = questions
        self.step = step


class Told(Struct, gc=False):
    """An answer to be published. ``item`` is the record that it answers; ``None`` if the arbiter came back to it."""

    item: Item | None
    decided: Decided


class Batch:
    """Decides records in the order given. Afterwards its attributes say what is to be published and committed."""

    def __init__(
        self,
        policy: Policy,
        partition: int,
        seq: int,
        now_ms: int,
        decisions_topic: str,
        ledgers: Mapping[str, Loaded],
        routing: Routing,
        *,
        is_event_clock: bool = False,
        is_reading_facts: bool = False,
    ) -> None:
        """``seq`` is the number of the commit to be; ``ledgers`` has every party that will come; ``routing``
        numbers what goes to other partitions. While facts are being read nothing that waits is heard.
        """
        self._policy = policy
        self._partition = partition
        self._seq = seq
        self._topic = decisions_topic
        self._is_event_clock = is_event_clock
        self._is_reading_facts = is_reading_facts
        self._aside = Aside()
        read = {name: self._aside.party(name, loaded) for name, loaded in ledgers.items()}
        self._parties = {name: party for name, party in read.items() if party is not None}
        self._routing = routing
        self.now_ms = now_ms
        self.told: list[Told] = []
        self.notes: list[tuple[Noted, Place | None]] = []
        self.outbox: list[OutRecord] = []
        self.outbox_bytes = 0
        self.dead: list[tuple[Record, DeadLetter, int]] = []
        self.facts = 0
        self.alarms = 0
        self.sent_on: list[str] = []
        self.changes: Mapping[Draw, int] = {}
        self._questions: dict[Draw, int] = {}

    def draw_on(self, stock: BatchStock) -> None:
        """The capacity that this batch may use; without one, what needs it is deferred."""
        self.changes, self._questions = stock.changes, stock.questions
        if self._policy.is_shared or any(party.ledger.draws for party in self._parties.values()):
            for party in self._parties.values():
                party.purse = Purse(stock)

    def answered_before(self, items: Iterable[Item]) -> list[tuple[str, bytes]]:
        """(party, key) of the answers that must be loaded, and given here.

        These are the answers to requests that come again, and all of a customer whose ledger will move.
        """
        known: dict[tuple[str, bytes], None] = {}
        for item in items:
            party = self._parties.get(item.party)
            if party is not None and party.ledger.members:
                known.update(((item.party, key), None) for key in needed_answers(item, party.ledger))
        return list(known)

    def give_answers(self, known: Iterable[tuple[str, bytes]], packed: Iterable[bytes | None]) -> None:
        """What is kept under these keys; ``None`` for what the store no longer has."""
        for (name, key), data in zip(known, packed, strict=True):
            if data is not None and (answered := self._aside.answer(name, key, data)) is not None:
                party = self._parties[name]
                party.loaded[key] = party.answers[key] = answered

    def decide(self, item: Item) -> None:
        """Apply one record, after what was due before it; never raises for what the core does with it.

        Raises :class:`Unsettled`; to be called again then.
        """
        message = item.message
        if item.arrival is not None and isinstance(message, ContactRequest):
            self.now_ms = self._time_of(message, item.arrival.received_ms, self.now_ms)
        party = self._parties.get(item.party)
        letter = self._aside.letter(item, party)
        if letter is not None:
            self.dead.append(left_out(item, letter, 1))
        elif party is not None:
            self._catch_up(party)
            self._take(party, item, self.now_ms)
        if item.parcel is not None:
            self._routing.take(item.parcel)

    def come_back(self, name: str, *, at_any_rate: bool = False, recalls: bool = False) -> None:
        """Look at a party again if its timer is due, or ``at_any_rate`` because the policy is another one.

        With ``recalls`` what is approved, unsent, and not allowed by the policy any more is recalled. Raises
        :class:`Unsettled`; to be called again then.
        """
        party = self._parties.get(name)
        if party is None:
            self._aside.put_off(name, self.now_ms, is_event_clock=self._is_event_clock)
            return
        self._catch_up(party)
        if at_any_rate:
            self._take(party, None, self.now_ms, recalls=recalls)

    def give_up(self, name: str) -> None:
        """Let a party, which is not in the batch, not come back by itself any more."""
        self._aside.timers[name] = NEVER_MS

    def send_home(self, forward: Forward, home: int) -> None:
        """Send a record that was read on the wrong partition to that of its customer."""
        self.outbox.append(self._routing.send(forward, home))

    def finish(self, outbox_bytes_max: int) -> None:
        """Let come back what became due while the batch was decided; what no longer fits stays due.

        Raises :class:`Unsettled`; to be called again then.
        """
        for party in self._parties.values():
            if self.outbox_bytes > outbox_bytes_max:
                return
            self._catch_up(party)

    def _time_of(self, request: ContactRequest, received_ms: int, now_ms: int) -> int:
        """The time at which a request is decided: in event time no earlier than it was asked."""
        return max(now_ms, asked_at(request, received_ms)) if self._is_event_clock else now_ms

    def _catch_up(self, party: Party) -> None:
        """Timers, each at its own instant in event time, and at now in wall time: a permit begins no earlier."""
        if self._is_reading_facts:
            return
        while (due_ms := party.due_ms) is not None and due_ms <= self.now_ms:
            if not self._take(party, None, due_ms if self._is_event_clock else self.now_ms):
                return

    def _take(self, party: Party, item: Item | None, now_ms: int, *, recalls: bool = False) -> bool:
        """One step of a party; ``False`` if it failed twice, and the party is as if it had not been."""
        party.purse.begin()
        step = Step(item, now_ms, recalls)
        try:
            results = self._worked_out(party, step)
        except Exception:  # noqa: BLE001 - whatever fails on a record must not take its neighbours along
            again = self._again(party, step)
            if again is None:
                return False
            results, step = again
        if self._questions:
            questions = dict(self._questions)
            self._rewind(party)
            raise Unsettled(questions, (party.name, len(party.steps)))
        party.steps.append(step)
        party.due_ms = next_due_ms(party.ledger)
        self.alarms += step.way is not Way.USUAL
        if item is not None and item.parcel is not None:
            party.opened_ms = max(party.opened_ms, *permit_ends(party.ledger), 0)
        self.facts += item is not None and item.is_fact
        for result in results:
            if isinstance(result, Worded):
                self._tell(item, result)
                party.opened_ms = max(party.opened_ms, result.decided.answer.valid_until_ms or 0)
            elif isinstance(result, Noted):
                self.notes.append((result, item.arrival.source if item is not None and item.arrival else None))
            elif item is not None and isinstance(result, Refused):
                record = item.record if result.post is None else original(result.post)
                self.dead.append((record, DeadLetter(result.code, result.message), 1))
            elif item is not None and isinstance(result, Routed):
                self._send_on(item, result)
        return True

    def _send_on(self, item: Item, routed: Routed) -> None:
        """Packed at once: what the party goes through from here on does not change it any more."""
        record = self._routing.send(routed, item.parcel.home if item.parcel is not None else self._partition)
        self.outbox.append(record)
        self.outbox_bytes += len(record.value or b"")
        self.sent_on.append(_WHAT[type(routed)])

    def _worked_out(self, party: Party, step: Step) -> list[Said]:
        """What comes of a step, with the messages of its decisions: one that cannot be written fails here, too."""
        results = self._apply(party, step)
        return [Worded(result, *message_of(result)) if isinstance(result, Decided) else result for result in results]

    def _apply(self, party: Party, step: Step) -> list[Result | Routed]:
        item, now_ms = step.item, step.now_ms
        if item is None:
            return [*self._look(party, step)]
        how = {"hears": not self._is_reading_facts, "books_only": step.way is Way.BOOKED}
        taker = Taker(self._policy, party.ledger, party.answers, now_ms, self._seq, party.purse, **how)
        if item.parcel is not None:
            taker.receive(item.parcel.open())
        elif item.arrival is not None:
            taker.arrive(item.arrival)
        return taker.out

    def _look(self, party: Party, step: Step) -> list[Result]:
        what = (self._policy, party.ledger, party.answers, step.now_ms, self._seq, party.purse)
        if step.way is Way.PUT_OFF:
            put_off(self._policy, party.ledger, step.now_ms)
            return []
        if step.way is Way.USUAL:
            return come_back(*what, recalls=step.recalls)
        return give_up(*what, is_all=step.way is Way.ALL_GIVEN_UP)

    def _again(self, party: Party, step: Step) -> tuple[list[Said], Step] | None:
        """Once more, then in the ways that are left; ``None`` if there is none, and the record is a dead letter."""
        item = step.item
        if item is None:
            ways: tuple[Way, ...] = (Way.USUAL, Way.SOME_GIVEN_UP, Way.ALL_GIVEN_UP, Way.PUT_OFF)
            place = "what waits"
        else:
            ways = (Way.USUAL, Way.BOOKED)
            place = f"{item.record.topic}/{item.record.partition}/{item.record.offset}"
        failure = ""
        for way in ways:
            self._rewind(party)
            party.purse.begin()
            tried = replace(step, way=way)
            try:
                results = self._worked_out(party, tried)
            except Exception as error:
                log.exception("%s cannot be decided (%s)", place, way.value)
                failure = type(error).__name__
            else:
                return results, tried
        self._rewind(party)
        if item is not None:
            self.dead.append(left_out(item, DeadLetter(UNDECIDABLE, f"deciding failed twice: {failure}"), 2))
        return None

    def _rewind(self, party: Party) -> None:
        """The party as it was before the step under way: loaded anew, and led through what it had gone through."""
        party.purse.rewind()
        self._questions.clear()
        party.ledger = fresh(party.packed)
        party.answers = dict(party.loaded)
        for step in party.steps:
            self._apply(party, step)
        party.due_ms = next_due_ms(party.ledger)

    def _tell(self, item: Item | None, worded: Worded) -> None:
        decided, decision, value = worded.decided, worded.decision, worded.value
        headers = [
            *CONSTANT_HEADERS,
            ("ce_id", decision.decision_id.encode()),
            ("ce_time", _time_header(decided.answer.decided_at_ms)),
        ]
        self.outbox.append(OutRecord(self._topic, self._partition, decision.customer_id.encode(), value, headers))
        self.outbox_bytes += len(value)
        self.told.append(Told(item, decided))

    @property
    def set_aside(self) -> Mapping[str, str]:
        """The parties that could not be read, and why."""
        return self._aside.parties

    @property
    def parties(self) -> Iterable[str]:
        """The parties that could be read."""
        return self._parties

    @property
    def routed(self) -> dict[str, int]:
        """The numbers of what went to and came from other partitions, for the head."""
        return self._routing.positions

    def changed_ledgers(self) -> dict[str, bytes]:
        """The ledgers that are not as they were loaded, packed."""
        changed = {}
        for name, party in self._parties.items():
            if party.steps:
                packed = pack_ledger(party.ledger)
                if packed != party.packed:
                    changed[name] = packed
                    party.packed = packed
        return changed

    def unpacked(self) -> Iterable[tuple[str, bytes, Ledger]]:
        """Every party with its ledger, packed and not, as :meth:`changed_ledgers` left it, for the next batch."""
        for name, party in self._parties.items():
            if party.packed is not None:
                yield name, party.packed, party.ledger

    def changed_answers(self) -> dict[bytes, bytes]:
        """The answers that are new or not as they were loaded, packed."""
        return {
            key: pack_answered(new)
            for party in self._parties.values()
            for key, new in party.answers.items()
            if party.loaded.get(key) is not new
        }

    def changed_timers(self) -> dict[str, int | None]:
        """When the arbiter must come back to a party, for those where that moved."""
        moved = {name: party.due_ms for name, party in self._parties.items() if party.due_ms != party.was_due_ms}
        return moved | self._aside.timers

    def opened(self) -> dict[str, int]:
        """The parties that got permits, or brought them along, and when the last of them ends."""
        return {name: party.opened_ms for name, party in self._parties.items() if party.opened_ms}

    def changed_waits(self) -> dict[Wait, bool]:
        """Who waits for which capacity now and did not before (true), or does no longer (false)."""
        changed: dict[Wait, bool] = {}
        for name, party in self._parties.items():
            now = waits_of(party.ledger) if party.steps else party.waits
            if now != party.waits:
                changed |= {Wait(what, since_ms, name): False for what, since_ms in party.waits - now}
                changed |= {Wait(what, since_ms, name): True for what, since_ms in now - party.waits}
        return changed


@lru_cache(maxsize=1_024)
def _time_header(at_ms: int) -> bytes:
    """Decisions of one batch in wall time are of one instant."""
    return msgspec.to_builtins(to_datetime(at_ms)).encode()  # type: ignore[no-any-return]


_WHAT = {Forward: "forward", Join: "join", Leave: "leave", Return: "return"}
