"""One batch of one partition, decided: without I/O, one record after another, in one call.

:meth:`Batch.decide` is a generator. It yields what it must know before it can go on (:class:`AnswersNeeded`,
:class:`CapacityNeeded`), or ``None`` where other work may run; who drives it fetches that and sends it in.

The parties are taken out of the cache or read from the store, so a batch that is not committed leaves no trace there.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from arbiter.engine.party import Review, answers_needed
from arbiter.engine.state import Context
from arbiter.ledger.capacity import Draw
from arbiter.policy.ruleset import Policy
from arbiter.worker.kafka.reader import Record
from arbiter.worker.partition.applying import Applier, BatchStock, CapacityNeeded, CapacityUnknown
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.changes import Changes, changes_of
from arbiter.worker.partition.inputs import CONSENT_RANK_MAX, Input, RoutedRecord, asked_ms_of, content_of, rank_of
from arbiter.worker.partition.output import Output
from arbiter.worker.partition.quarantine import NEVER_MS, Quarantine
from arbiter.worker.partition.routing import Routing
from arbiter.worker.partition.timer_queue import TimerQueue
from arbiter.worker.partition.work import Work

PAUSE_EVERY = 200
"""How many records may keep the other partitions and the health checks waiting."""


class AnswersNeeded(Struct, frozen=True):
    """The answers under these keys are needed: send a list of their bytes, ``None`` for what is not there any more."""

    keys: list[bytes]


Need = AnswersNeeded | CapacityNeeded | None


class Batch:
    """Decides the records of one commit. Afterwards ``output`` says what is published, :meth:`changes` what is written.

    ``late`` are the records that did not fit in any more, and left the work. One that ``is_closed`` takes no more
    requests: those who wait for capacity come before them.
    """

    def __init__(
        self,
        policy: Policy,
        seq: int,
        parties: Mapping[str, StoredParty],
        quarantine: Quarantine,
        routing: Routing,
        stock: BatchStock,
        output: Output,
        *,
        is_event_clock: bool = False,
        is_reading_facts: bool = False,
    ) -> None:
        """``seq`` is the number of the commit to be. ``parties`` has every party of the work that can be read."""
        self.parties = parties
        self.output = output
        self.now_ms = 0
        self.is_closed = False
        self.late: list[Record] = []
        self._quarantine = quarantine
        self._is_event_clock = is_event_clock
        self._is_reading_facts = is_reading_facts
        self._routing = routing
        self._stock = stock
        self._applier = Applier(Context(policy, seq, stock, is_reading_facts, is_event_clock), stock, output)
        self._is_shared = policy.is_shared or any(party.ledger.draws for party in parties.values())
        self._reviewed: dict[str, None] = {}
        self._timers: TimerQueue | None = None

    @property
    def alarms(self) -> int:
        """How many events could not be applied in the usual way."""
        return self._applier.alarms

    @property
    def changes_of_capacity(self) -> Mapping[Draw, int]:
        """What it took of the capacity that all share (above 0), and gave back (below)."""
        return self._stock.changes if self._is_shared else {}

    @property
    def routed(self) -> dict[str, int]:
        """The numbers of what went to and came from other partitions, for the head."""
        return self._routing.positions

    def changes(self) -> Changes:
        """What the commit writes of the parties; once, when all is decided."""
        changes = changes_of(self.parties, self._reviewed)
        changes.timers.update(self._quarantine.timers)
        return changes

    def decide(self, work: Work) -> Generator[Need, Any, None]:
        """Decide it all: first what comes back by itself, then record after record, then what became due meanwhile."""
        self.now_ms, self.is_closed = work.now_ms, work.is_closed
        if self._is_event_clock:
            self._timers = self._applier.timers = TimerQueue(self.parties, work.due if work.is_due_cut else ())
        self._applier.begin(self.parties.values(), is_shared=self._is_shared)
        yield from self._load_answers(work.inputs)
        for name in work.given_up:
            self._quarantine.timers[name] = NEVER_MS
        yield from self._fire_timers(self.now_ms)
        yield from self._review(work)
        yield from self._take_all(work)
        yield from self._finish(work.until_ms)
        for _, forward, home in work.home:
            self.output.outbox.append(self._routing.send(forward, home))

    def _load_answers(self, inputs: Iterable[Input]) -> Generator[Need, Any, None]:
        """The answers to requests that come again, and all of a customer whose ledger will move."""
        known: dict[tuple[str, bytes], None] = {}
        for one in inputs:
            party = self.parties.get(name := one.party)
            if party is not None and party.ledger.members:
                for key in answers_needed(content_of(one), name, party.ledger):
                    known[name, key] = None
        if not known:
            return
        packed = yield AnswersNeeded([key for _, key in known])
        for (name, key), data in zip(known, packed, strict=True):
            if data is not None and (answered := self._quarantine.answer(name, key, data)) is not None:
                party = self.parties[name]
                party.loaded[key] = party.answers[key] = answered

    # Without a record

    def _review(self, work: Work) -> Generator[Need, Any, None]:
        """Parties that are due, those for whom there may be capacity, and those that a new policy may concern."""
        again = Review(recalls=work.recalls)
        reviews: list[tuple[str, Review | None]] = [(name, None) for name in work.due]
        reviews += [(name, again) for name in [*work.woken, *work.swept]]
        for name, review in reviews:
            party = self.parties.get(name)
            if party is None:
                self._quarantine.put_off(name, self.now_ms, is_event_clock=self._is_event_clock)
                continue
            self._reviewed.pop(name, None)
            self._reviewed[name] = None
            if review is not None or not self._is_event_clock:
                yield from self._let_time_pass(party, self.now_ms, review)
            yield None  # much may wait in each party, and all of it is decided anew: let other work run

    def _fire_timers(self, to_ms: int) -> Generator[Need, Any, None]:
        """In event time: fire the timers up to an instant, each at its own, in their order."""
        timers = self._timers
        while timers is not None and timers.first_by(to_ms) is not None:
            if self.is_closed or self._is_reading_facts or self.output.is_full:
                return
            due_ms, _, name = timers.pop()
            self.now_ms = max(self.now_ms, due_ms)
            yield from self._let_time_pass(self.parties[name], due_ms)
            yield None

    def _finish(self, until_ms: int) -> Generator[Need, Any, None]:
        """Fire what became due meanwhile; what no longer fits stays due."""
        if self._is_event_clock:
            yield from self._fire_timers(max(self.now_ms, until_ms))
            return
        if self._is_reading_facts:
            return
        due = [party for party in self.parties.values() if party.due_ms is not None and party.due_ms <= self.now_ms]
        for party in sorted(due, key=lambda party: (party.due_ms, party.queue_key, party.name)):
            if self.output.is_full:
                return
            yield from self._let_time_pass(party, self.now_ms)

    def _let_time_pass(
        self, party: StoredParty, now_ms: int, review: Review | None = None
    ) -> Generator[Need, Any, None]:
        try:
            self._applier.apply(party, review, now_ms)
        except CapacityUnknown as unknown:
            yield from self._applier.settle(partial(self._applier.apply, party, review, now_ms), unknown)
        self.is_closed |= self._applier.frees_awaited

    # Records

    def _take_all(self, work: Work) -> Generator[Need, Any, None]:
        """Take the inputs, as far as they fit; in event time all timers on the way to each of them fire first."""
        timers = self._timers
        for index, one in enumerate(work.inputs):
            at_ms = self.now_ms
            if timers is not None:
                at_ms = max(at_ms, asked_ms_of(one) or 0)
                if timers.next_ms <= at_ms:
                    yield from self._fire_timers(at_ms)
            is_full = self.is_closed or self.output.is_full
            if (is_full or (timers is not None and at_ms >= timers.known_ms)) and not self._fits(one):
                self.late = work.leave(index)
                return
            self.now_ms = at_ms
            try:
                self._take(one)
            except CapacityUnknown as unknown:
                yield from self._applier.settle(partial(self._take, one), unknown)
            self.is_closed |= self._applier.frees_awaited
            if index % PAUSE_EVERY == PAUSE_EVERY - 1:
                yield None

    def _fits(self, one: Input) -> bool:
        """Whether an input is for this commit although requests are for the next."""
        if asked_ms_of(one) is not None:
            return False
        return not self.output.is_full or rank_of(one) <= CONSENT_RANK_MAX

    def _take(self, one: Input) -> None:
        """Apply one input; raises :class:`CapacityUnknown`, and nothing else. To be called again then."""
        party = self.parties.get(one.party)
        letter = self._quarantine.letter(one, party) if party is None or self._quarantine.answers else None
        if letter is not None:
            self.output.reject(one, letter, 1)
        elif party is not None:
            self._applier.apply(party, one, self.now_ms)
        if isinstance(one, RoutedRecord):
            self._routing.take(one.envelope)
