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
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.arbitrate import (
    Decided,
    Noted,
    Refused,
    Result,
    come_back,
    permit_ends,
)
from arbiter.engine.decide import asked_at
from arbiter.engine.giving_up import give_up, put_off
from arbiter.engine.household import Forward, Join, Leave, Return, Routed, Taker
from arbiter.ledger.capacity import Draw, Purse
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import OutRecord
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.aside import NEVER_MS, left_out
from arbiter.worker.partition.changes import Changes
from arbiter.worker.partition.drawing import BatchStock, Unsettled
from arbiter.worker.partition.items import Item, needed_answers
from arbiter.worker.partition.letters import original
from arbiter.worker.partition.line import Line
from arbiter.worker.partition.publishing import Worded, record_of, worded
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.steps import Loaded, Party, Place, Step, Way, fresh

UNDECIDABLE = "undecidable"

OUTBOX_BYTES_MAX = 4 * 1024 * 1024
"""Where more than that is to be told, the rest is for the next commit."""

log = logging.getLogger("arbiter")


Said = Worded | Noted | Refused | Routed
"""What comes of a step."""


class Told(Struct, gc=False):
    """An answer to be published. ``item`` is the record that it answers; ``None`` if the arbiter came back to it."""

    item: Item | None
    decided: Decided


class Batch(Changes):
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
        is_closed: bool = False,
        cut_line: Sequence[str] = (),
    ) -> None:
        """``seq`` is the number of the commit to be; ``ledgers`` has every party that will come; ``routing``
        numbers what goes to other partitions. While facts are being read nothing that waits is heard. One that
        ``is_closed`` takes no request. ``cut_line`` are the parties with a timer, where there are more than these that
        come back before the last record; under the event clock time goes on up to the last of them.
        """
        self._policy = policy
        self._partition = partition
        self._seq = seq
        self._topic = decisions_topic
        self._is_event_clock = is_event_clock
        self._is_reading_facts = is_reading_facts
        super().__init__(ledgers)
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
        self.is_closed = is_closed
        """Whether requests are for the next commit: others come first."""
        self._questions: dict[Draw, int] = {}
        self._stock: BatchStock | None = None
        self._awaited_here: set[str] = set()
        self._line = Line(self._parties, cut_line) if is_event_clock else None

    def draw_on(self, stock: BatchStock) -> None:
        """The capacity that this batch may use; without one, what needs it is deferred."""
        self.changes, self._questions = stock.changes, stock.questions
        if self._policy.is_shared or any(party.ledger.draws for party in self._parties.values()):
            self._stock = stock
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

    def moment_of(self, item: Item) -> int | None:
        """The instant at which a request is decided: in event time no earlier than it was asked. ``None`` for all else,
        which is taken at any time.
        """
        if item.arrival is None or not isinstance(message := item.message, ContactRequest):
            return None
        return max(self.now_ms, asked_at(message, item.arrival.received_ms)) if self._is_event_clock else self.now_ms

    def is_due(self, to_ms: int) -> bool:
        """Under the event clock: whether somebody comes back on the way to that instant, in this commit."""
        if self._line is None or self._line.first_by(to_ms) is None:
            return False
        return not (self.is_closed or self._is_reading_facts or self.outbox_bytes > OUTBOX_BYTES_MAX)

    def pass_timer(self) -> None:
        """Let time go on to the next timer, which ``is_due``. Raises :class:`Unsettled`; to be called again then."""
        assert self._line is not None  # noqa: S101 - or nothing is due
        due_ms, _, name = place = self._line.pop()
        self.now_ms = max(self.now_ms, due_ms)
        try:
            self._take(self._parties[name], None, due_ms)
        except Unsettled:
            self._line.put_back(place)
            raise

    def reach(self, to_ms: int) -> bool:
        """Let time go on to that instant, if nothing and nobody comes before it that is for the next commit."""
        if self.is_closed or self.outbox_bytes > OUTBOX_BYTES_MAX:
            return False
        if self._line is not None and not self._line.is_known_to(to_ms):
            return False
        self.now_ms = max(self.now_ms, to_ms)
        return True

    def decide(self, item: Item) -> None:
        """Apply one record, after what was due before it; never raises for what the core does with it.

        Raises :class:`Unsettled`; to be called again then.
        """
        party = self._parties.get(item.party)
        letter = self._aside.letter(item, party)
        if letter is not None:
            self.dead.append(left_out(item, letter, 1))
        elif party is not None:
            if not self._is_event_clock:
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
        self._looked.add(name)
        if not self._is_event_clock:
            self._catch_up(party)
        if at_any_rate:
            self._take(party, None, self.now_ms, recalls=recalls)

    def give_up(self, name: str) -> None:
        """Let a party, which is not in the batch, not come back by itself any more."""
        self._aside.timers[name] = NEVER_MS

    def send_home(self, forward: Forward, home: int) -> None:
        """Send a record that was read on the wrong partition to that of its customer."""
        self.outbox.append(self._routing.send(forward, home))

    def finish(self) -> None:
        """Let come back what became due while the batch was decided; what no longer fits stays due.

        Raises :class:`Unsettled`; to be called again then.
        """
        if self._is_event_clock:
            return
        due = [p for p in self._parties.values() if p.due_ms is not None and p.due_ms <= self.now_ms]
        for party in sorted(due, key=lambda party: (party.timer, party.name)):
            if self.outbox_bytes > OUTBOX_BYTES_MAX:
                return
            self._catch_up(party)

    def _catch_up(self, party: Party) -> None:
        """In wall time, at now: a permit begins no earlier."""
        if self._is_reading_facts:
            return
        while (due_ms := party.due_ms) is not None and due_ms <= self.now_ms:
            if not self._take(party, None, self.now_ms):
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
        party.look_again()
        if self._line is not None:
            self._line.set(party)
        if self._stock is not None:
            self._see_who_waits(party, self._stock)
        self.alarms += step.way is not Way.USUAL
        self.facts += item is not None and item.is_fact
        self._note(party, item, results)
        return True

    def _note(self, party: Party, item: Item | None, results: Iterable[Said]) -> None:
        """What came of a step, to be published and committed."""
        if item is not None and item.parcel is not None:
            party.opened_ms = max(party.opened_ms, *permit_ends(party.ledger), 0)
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

    def _see_who_waits(self, party: Party, stock: BatchStock) -> None:
        """If the step gave back what somebody waits for, requests are for the next commit: who waits comes first."""
        for asked in party.ledger.waiting:
            self._awaited_here.update(asked.awaits)
        for draw, change in party.purse.moved().items():
            if draw.key in self._awaited_here or draw.key in stock.awaited:
                self.is_closed |= stock.opens(draw) if draw.is_cell else change < 0

    def _send_on(self, item: Item, routed: Routed) -> None:
        """Packed at once: what the party goes through from here on does not change it any more."""
        record = self._routing.send(routed, item.parcel.home if item.parcel is not None else self._partition)
        self.outbox.append(record)
        self.outbox_bytes += len(record.value or b"")
        self.sent_on.append(_WHAT[type(routed)])

    def _worked_out(self, party: Party, step: Step) -> list[Said]:
        """What comes of a step, with the messages of its decisions: one that cannot be written fails here, too."""
        results = self._apply(party, step)
        return [worded(result) if isinstance(result, Decided) else result for result in results]

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
        party.look_again()

    def _tell(self, item: Item | None, said: Worded) -> None:
        record = record_of(said, self._topic, self._partition)
        self.outbox.append(record)
        self.outbox_bytes += len(record.value or b"")
        self.told.append(Told(item, said.decided))

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


_WHAT = {Forward: "forward", Join: "join", Leave: "leave", Return: "return"}
