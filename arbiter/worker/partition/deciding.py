"""One batch of one partition, decided: without I/O, one record after another, in one call.

:meth:`Batch.decide` is a generator. It yields what it must know before it can go on (:class:`Answers`,
:class:`Capacity`), or ``None`` where others may have their turn; who drives it fetches that and sends it in.

The parties are taken out of the cache or read from the store, so a batch that is not committed leaves no trace there.

An event that fails is undone: its party is read from its bytes again and led through what came before. Then the event
is tried once more. A record that fails again is booked, and what follows from it is left for later: so a request that
cannot be decided never stands in the way of a withdrawal. If even that fails, the record becomes a dead letter, and
its party goes on as if it had never come. A waiting request that cannot be decided when it is due is rejected, as if
a rule had failed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.events import Way
from arbiter.engine.party import Review, answers_needed, permit_ends
from arbiter.engine.routed import Forward, Join, Leave, Return, Routed
from arbiter.engine.state import FREES_FIRST, Context, QueueKey
from arbiter.engine.told import Anomaly, Decided
from arbiter.ledger.capacity import CapacityJournal, Draw, Stock
from arbiter.ledger.facts import Refused
from arbiter.ledger.model import Answered
from arbiter.policy.ruleset import Policy
from arbiter.state.answers import pack_answered
from arbiter.state.codec import OutRecord, pack_ledger
from arbiter.state.store import Wait
from arbiter.worker.kafka.reader import DeadLetter, Record
from arbiter.worker.partition.aside import NEVER_MS, Aside, left_out
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.items import CONSENT_RANK_MAX, REQUEST_RANK, Item
from arbiter.worker.partition.letters import original
from arbiter.worker.partition.line import Line
from arbiter.worker.partition.publishing import Worded, record_of, worded
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.work import Work

UNDECIDABLE = "undecidable"

OUTBOX_BYTES_MAX = 4 * 1024 * 1024
"""Where more than that is to be told, the rest is for the next commit."""

PAUSE_EVERY = 200
"""How many records may keep the other partitions and the health checks waiting."""

LOOKS_EVERY = 20
"""How many parties are looked at before the others have their turn: much may wait in each."""

STEP_TRIES = 5
"""How often a step is taken when there turns out to be more or less capacity than was believed."""

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

Said = Worded | Anomaly | Refused | Routed
"""What comes of an event."""

log = logging.getLogger("arbiter")


class Answers(Struct, frozen=True):
    """The answers under these keys are needed: send a list of their bytes, ``None`` for what is not there any more."""

    keys: list[bytes]


class Capacity(Struct, frozen=True):
    """So many places of these windows are needed, or to be known: ask for them."""

    questions: dict[Draw, int]


Need = Answers | Capacity | None


class BatchStock(Stock, Protocol):
    """A stock that counts what is taken: by window, how many more (or less, if given back).

    ``questions`` are the windows that must have been asked about before the event under way can stand, each with how
    many places the batch would have taken of it. ``awaited`` are the windows, by their keys, for which others wait.
    With ``is_last_try`` there is what was granted and nothing else; one that ``is_void`` asks nothing any more.
    """

    changes: Counter[Draw]
    questions: dict[Draw, int]
    awaited: Collection[str]
    is_last_try: bool
    is_void: bool

    def opens(self, cell: Draw) -> bool:
        """Whether a cell that was not open is full now."""


class Told(Struct, gc=False):
    """An answer to be published. ``received_ms`` is when its request came, if that is what was just answered."""

    decided: Decided
    received_ms: int | None


class Changes(Struct, frozen=True):
    """What a commit writes of a batch's parties; see ``state.store.Commit``."""

    ledgers: dict[str, bytes]
    answers: dict[bytes, bytes]
    timers: dict[str, int | None]
    queue_keys: dict[str, QueueKey]
    waits: dict[Wait, bool]
    opened: dict[str, int]


class Unsettled(Exception):
    """An event must be applied again, once these questions are answered; it is undone."""

    def __init__(self, questions: dict[Draw, int], step: tuple[str, int]) -> None:
        super().__init__("what all customers share must be asked for")
        self.questions = questions
        self.step = step


class Batch:
    """Decides the records of one commit. Afterwards its attributes say what is to be published and committed.

    ``late`` are the records that did not fit in any more, and left the work.
    """

    def __init__(
        self,
        policy: Policy,
        partition: int,
        seq: int,
        decisions_topic: str,
        parties: Mapping[str, StoredParty],
        aside: Aside,
        routing: Routing,
        stock: BatchStock,
        *,
        is_event_clock: bool = False,
        is_reading_facts: bool = False,
    ) -> None:
        """``seq`` is the number of the commit to be. ``parties`` has every party of the work, but those ``aside``,
        which cannot be read; ``routing`` numbers what goes to other partitions.
        """
        self.parties = parties
        self.aside = aside
        self.now_ms = 0
        self.told: list[Told] = []
        self.notes: list[tuple[Anomaly, Place | None]] = []
        self.outbox: list[OutRecord] = []
        self.outbox_bytes = 0
        self.dead: list[tuple[Record, DeadLetter, int]] = []
        self.facts = 0
        self.alarms = 0
        self.sent_on: list[str] = []
        self.is_closed = False
        self.late: list[Record] = []
        self._partition = partition
        self._topic = decisions_topic
        self._is_event_clock = is_event_clock
        self._is_reading_facts = is_reading_facts
        self._routing = routing
        self._context = Context(policy, seq, stock, is_reading_facts, is_event_clock)
        self._stock = stock
        self._questions = stock.questions
        self._is_shared = policy.is_shared or any(party.ledger.draws for party in parties.values())
        self._awaited_here: set[str] = set()
        self._looked: dict[str, None] = {}
        self._line: Line | None = None

    @property
    def changes_of_capacity(self) -> Mapping[Draw, int]:
        """What it took of the capacity that all share, and gave back."""
        return self._stock.changes if self._is_shared else {}

    @property
    def routed(self) -> dict[str, int]:
        """The numbers of what went to and came from other partitions, for the head."""
        return self._routing.positions

    def decide(self, work: Work) -> Generator[Need, Any, None]:
        """Decide it all: first what comes back by itself, then record after record, then what became due meanwhile."""
        self.now_ms, self.is_closed = work.now_ms, work.is_closed
        if self._is_event_clock:
            self._line = Line(self.parties, work.due if work.is_line_cut else ())
        for party in self.parties.values():
            party.context = self._context
            if self._is_shared:
                party.journal = CapacityJournal(self._stock)
                party.context = replace(self._context, stock=party.journal)
        yield from self._load_answers(work.items)
        for name in work.given_up:
            self.aside.timers[name] = NEVER_MS
        yield from self._pass(self.now_ms)
        yield from self._look(work)
        yield from self._take_all(work)
        yield from self._finish(work.until_ms)
        for _, forward, home in work.home:
            self.outbox.append(self._routing.send(forward, home))

    def changes(self) -> Changes:
        """What is not as it was loaded; worked out once, when all is decided."""
        made = Changes({}, {}, {}, {}, {}, {})
        # All timers of those looked at: one that does not fit its ledger, as after a restore, would fire for ever.
        # They stand in the order of the looks, which says in which order a sweep took its parties.
        for name in self._looked:
            _note_timer(made, self.parties[name])
        for name, party in self.parties.items():
            if party.steps:
                _note_party(made, party)
                is_other = party.due_ms != party.known_due_ms or party.queue_key != party.known_queue_key
                if is_other and name not in self._looked:
                    _note_timer(made, party)
        for name, due_ms in self.aside.timers.items():
            made.timers[name] = due_ms
        return made

    # Before the records

    def _load_answers(self, items: Iterable[Item]) -> Generator[Need, Any, None]:
        """The answers to requests that come again, and all of a customer whose ledger will move."""
        known: dict[tuple[str, bytes], None] = {}
        for item in items:
            party = self.parties.get(item.party)
            if party is not None and party.ledger.members:
                for key in answers_needed(item.input_record or item.event(), item.party, party.ledger):
                    known[item.party, key] = None
        if not known:
            return
        packed = yield Answers([key for _, key in known])
        for (name, key), data in zip(known, packed, strict=True):
            if data is not None and (answered := self.aside.answer(name, key, data)) is not None:
                self._give_answer(self.parties[name], key, answered)

    @staticmethod
    def _give_answer(party: StoredParty, key: bytes, answered: Answered) -> None:
        party.loaded[key] = party.answers[key] = answered

    def _look(self, work: Work) -> Generator[Need, Any, None]:
        """Those whose time has come, those for whom there may be a place, and those of a new policy."""
        again = Review(recalls=work.recalls)
        looks: list[tuple[str, Review | None]] = [(name, None) for name in work.due]
        looks += [(name, again) for name in [*work.woken, *work.swept]]
        for index, (name, review) in enumerate(looks):
            party = self.parties.get(name)
            if party is None:
                self.aside.put_off(name, self.now_ms, is_event_clock=self._is_event_clock)
                continue
            self._looked.pop(name, None)
            self._looked[name] = None
            if review is not None or not self._is_event_clock:
                yield from self._attempt(partial(self._look_at, party, review, self.now_ms))
            if index % LOOKS_EVERY == 0:
                yield None

    # Records

    def _take_all(self, work: Work) -> Generator[Need, Any, None]:
        """Apply the records, as far as they fit; in event time all timers on the way to each of them come first."""
        for index, item in enumerate(work.items):
            at_ms = self.now_ms
            if self._line is not None:
                at_ms = max(at_ms, item.asked_ms or 0)
                if self._line.next_ms <= at_ms:
                    yield from self._pass(at_ms)
            is_full = self.is_closed or self.outbox_bytes > OUTBOX_BYTES_MAX
            if (is_full or (self._line is not None and at_ms >= self._line.known_ms)) and not self._fits(item):
                self.late = work.leave(index)
                return
            self.now_ms = at_ms
            try:
                self._take_item(item)
            except Unsettled as unsettled:
                yield from self._settle(partial(self._take_item, item), unsettled)
            if index % PAUSE_EVERY == PAUSE_EVERY - 1:
                yield None

    def _fits(self, item: Item) -> bool:
        """Whether an item is for this commit although requests are for the next."""
        if item.asked_ms is not None:
            return False
        return self.outbox_bytes <= OUTBOX_BYTES_MAX or item.rank <= CONSENT_RANK_MAX

    def _take_item(self, item: Item) -> None:
        """Apply one record, after what was due before it; never raises for what the engine does with it.

        Raises :class:`Unsettled`; to be called again then.
        """
        party = self.parties.get(item.party)
        if party is None or self.aside.answers:
            letter = self.aside.letter(item, party)
            if letter is not None:
                self.dead.append(left_out(item, letter, 1))
                party = None
        if party is not None:
            try:
                self._step(party, item, self.now_ms, Way.USUAL)
            except Unsettled:
                raise
            except Exception:  # noqa: BLE001 - whatever fails on a record must not take its neighbours along
                self._apply_otherwise(party, item, self.now_ms)
        if item.envelope is not None:
            self._routing.take(item.envelope)

    # Time

    def _pass(self, to_ms: int) -> Generator[Need, Any, None]:
        """In event time: let come back who is due on the way to an instant, each at its own, in their order."""
        line, passed = self._line, 0
        while line is not None and line.first_by(to_ms) is not None:
            if self.is_closed or self._is_reading_facts or self.outbox_bytes > OUTBOX_BYTES_MAX:
                return
            due_ms, _, name = line.pop()
            self.now_ms = max(self.now_ms, due_ms)
            yield from self._attempt(partial(self._look_at, self.parties[name], None, due_ms))
            passed += 1
            if passed % LOOKS_EVERY == 0:
                yield None

    def _finish(self, until_ms: int) -> Generator[Need, Any, None]:
        """Let come back what became due meanwhile; what no longer fits stays due."""
        if self._is_event_clock:
            yield from self._pass(max(self.now_ms, until_ms))
            return
        if self._is_reading_facts:
            return
        due = [party for party in self.parties.values() if party.due_ms is not None and party.due_ms <= self.now_ms]
        for party in sorted(due, key=lambda party: (party.due_ms, party.queue_key, party.name)):
            if self.outbox_bytes > OUTBOX_BYTES_MAX:
                return
            yield from self._attempt(partial(self._look_at, party, None, self.now_ms))

    def _attempt(self, step: Callable[[], None]) -> Generator[Need, Any, None]:
        try:
            step()
        except Unsettled as unsettled:
            yield from self._settle(step, unsettled)

    def _settle(self, step: Callable[[], None], unsettled: Unsettled) -> Generator[Need, Any, None]:
        """Ask for what a step drew on and take it again, the last time with what was granted and nothing else.

        The steps before it stand.
        """
        tries: dict[tuple[str, int], int] = {}
        while True:
            number = tries[unsettled.step] = tries.get(unsettled.step, 1) + 1
            yield Capacity(unsettled.questions)
            # If not even that is there, the tokens of this batch are void: its commit is refused, and will say why.
            self._stock.is_void |= number > STEP_TRIES
            self._stock.is_last_try = number >= STEP_TRIES
            try:
                step()
            except Unsettled as again:
                unsettled = again
            else:
                self._stock.is_last_try = False
                return

    # One event

    def _look_at(self, party: StoredParty, what: Review | None, now_ms: int) -> None:
        """Let time go on for a party, and review it; raises :class:`Unsettled`, and nothing else."""
        try:
            self._step(party, what, now_ms, Way.USUAL)
        except Unsettled:
            raise
        except Exception:  # noqa: BLE001 - whatever fails on a record must not take its neighbours along
            self._apply_otherwise(party, what, now_ms)

    def _step(self, party: StoredParty, what: Item | Review | None, now_ms: int, way: Way) -> None:
        """Apply an event and take note of what comes of it; if that fails, the party is as it was before."""
        timer = party.due_ms, party.queue_key
        if self._is_shared:
            party.journal.begin()
        try:
            effects = party.apply(what.event() if isinstance(what, Item) else what, now_ms, party.context, way)
            said: list[Any] = effects
            for place, effect in enumerate(effects):
                if isinstance(effect, Decided):
                    said[place] = worded(effect)
        except Exception:
            self._rewind(party)
            raise
        if self._questions:
            questions = dict(self._questions)
            self._rewind(party)
            raise Unsettled(questions, (party.name, len(party.steps)))
        party.steps.append((what, now_ms, way))
        self.alarms += way is not Way.USUAL
        if self._line is not None and (party.due_ms, party.queue_key) != timer:
            self._line.set(party)
        if self._is_shared and (party.ledger.waiting or party.journal.moves):
            self._see_who_waits(party)
        self._note(party, what if isinstance(what, Item) else None, said)

    def _apply_otherwise(self, party: StoredParty, what: Item | Review | None, now_ms: int) -> None:
        """What is due is taken alone, then the event, each once more and then in the ways that are left."""
        looks = (Way.USUAL, Way.SOME_GIVEN_UP, Way.ALL_GIVEN_UP, Way.PUT_OFF)
        if not self._is_reading_facts and party.due_ms is not None and party.due_ms <= now_ms:
            self._try(party, None, now_ms, looks)
        if what is None:
            return
        failure = self._try(party, what, now_ms, looks if isinstance(what, Review) else (Way.USUAL, Way.BOOKED))
        if failure is not None and isinstance(what, Item):
            letter = DeadLetter(UNDECIDABLE, f"deciding failed twice: {failure}")
            self.dead.append(left_out(what, letter, 2))

    def _try(self, party: StoredParty, what: Item | Review | None, now_ms: int, ways: Iterable[Way]) -> str | None:
        """Apply it in the first of these ways that does; gives what failed in the last one, if none does."""
        place = what.place if isinstance(what, Item) else "what waits"
        failure = None
        for way in ways:
            try:
                self._step(party, what, now_ms, way)
            except Unsettled:
                raise
            except Exception as error:
                log.exception("%s cannot be decided (%s)", place, way.value)
                failure = type(error).__name__
            else:
                return None
        return failure

    def _rewind(self, party: StoredParty) -> None:
        """The party as it was before the step under way: loaded anew, and led through what it had gone through."""
        party.journal.rewind()
        self._questions.clear()
        party.rewind()
        for what, now_ms, way in party.steps:
            party.apply(what.event() if isinstance(what, Item) else what, now_ms, party.context, way)

    def _note(self, party: StoredParty, item: Item | None, said: Iterable[Said]) -> None:
        """What came of an event, to be published and committed."""
        input_record = item.input_record if item is not None else None
        if item is not None:
            if item.envelope is None:
                self.facts += item.rank != REQUEST_RANK
            else:
                party.opened_ms = max(party.opened_ms, *permit_ends(party.ledger), 0)
        for one in said:
            if isinstance(one, Worded):
                record, decided = record_of(one, self._topic, self._partition), one.decided
                self.outbox.append(record)
                self.outbox_bytes += len(one.value)
                is_answer = input_record is not None and input_record.message is decided.request
                self.told.append(
                    Told(decided, input_record.received_ms if input_record is not None and is_answer else None)
                )
                party.opened_ms = max(party.opened_ms, decided.answer.valid_until_ms or 0)
            elif isinstance(one, Anomaly):
                self.notes.append((one, input_record.source if input_record is not None else None))
            elif item is not None and isinstance(one, Refused):
                letter_of = item.record if one.stored is None else original(one.stored)
                self.dead.append((letter_of, DeadLetter(one.code, one.message), 1))
            elif item is not None and not isinstance(one, Refused):
                self._send_on(item, one)

    def _send_on(self, item: Item, routed: Routed) -> None:
        """Packed at once: what the party goes through from here on does not change it any more."""
        record = self._routing.send(routed, item.envelope.home if item.envelope is not None else self._partition)
        self.outbox.append(record)
        self.outbox_bytes += len(record.value or b"")
        self.sent_on.append(_WHAT[type(routed)])

    def _see_who_waits(self, party: StoredParty) -> None:
        """If the step gave back what somebody waits for, requests are for the next commit: who waits comes first."""
        stock = self._stock
        for asked in party.ledger.waiting:
            self._awaited_here.update(asked.awaits)
        for draw, change in party.journal.moved().items():
            if draw.key in self._awaited_here or draw.key in stock.awaited:
                self.is_closed |= stock.opens(draw) if draw.is_cell else change < 0


def _note_party(made: Changes, party: StoredParty) -> None:
    """What a party went through, as the commit writes it."""
    packed = party.repacked = pack_ledger(party.ledger)
    if packed != party.packed:
        made.ledgers[party.name] = packed
    for key in party.changed:
        if key in party.answers:  # it may have moved on with its customer
            made.answers[key] = pack_answered(party.answers[key])
    if party.waits or party.ledger.waiting:
        _note_waits(made.waits, party)
    if party.opened_ms:
        made.opened[party.name] = party.opened_ms


def _note_waits(waits: dict[Wait, bool], party: StoredParty) -> None:
    """Who waits for which capacity now and did not before (true), or does no longer (false)."""
    now = party.waiting_for()
    if now != party.waits:
        waits |= {Wait(what, *queue_key, party.name): False for what, queue_key in party.waits - now}
        waits |= {Wait(what, *queue_key, party.name): True for what, queue_key in now - party.waits}


def _note_timer(made: Changes, party: StoredParty) -> None:
    """When the next timer of a party fires, and its turn then."""
    made.timers[party.name] = party.due_ms
    if party.queue_key != FREES_FIRST:
        made.queue_keys[party.name] = party.queue_key


_WHAT = {Forward: "forward", Join: "join", Leave: "leave", Return: "return"}
