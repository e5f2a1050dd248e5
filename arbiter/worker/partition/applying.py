"""Applies an event to a party of a batch, also if it fails: it is undone and tried again, and then tried in other ways.

An undone event leaves nothing: its party is read from its bytes again, and the events before are applied again. Then
the event is tried once more. A record that fails again is booked, and what follows from it is left for later, so an
undecidable request never holds up a withdrawal. If even that fails, the record becomes a dead letter, and its party
goes on as if it had never come. A waiting request that cannot be decided when it is due is rejected, as if a rule had
failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from arbiter import log_events
from arbiter.engine.events import Mode
from arbiter.engine.party import Review
from arbiter.engine.state import Context
from arbiter.ledger.capacity import CapacityJournal, Draw, Stock
from arbiter.worker.kafka.reader import DeadLetter
from arbiter.worker.partition.cache import StoredParty
from arbiter.worker.partition.inputs import Input, event_of
from arbiter.worker.partition.output import Output
from arbiter.worker.partition.timer_queue import TimerQueue

UNDECIDABLE = "undecidable"

CAPACITY_TRIES = 5
"""How often an event is applied when there turns out to be more or less capacity than was believed."""

Cause = Input | Review | None
"""What happens to a party: an input, a review, or (``None``) that time goes on."""


class CapacityNeeded(Struct, frozen=True):
    """So many places of these windows are needed, or to be known: ask for them."""

    questions: dict[Draw, int]


class CapacityUnknown(Exception):
    """An event is undone, and must be applied again once these questions are answered."""

    def __init__(self, questions: dict[Draw, int], event: tuple[str, int]) -> None:
        """``event`` is the party and the number of its event."""
        super().__init__("the capacity that all share must be asked for")
        self.questions = questions
        self.event = event


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


class Applier:
    """Applies the events of one batch.

    ``alarms`` counts the events that could not be applied in the usual way. ``frees_awaited`` says that one gave back
    a place that somebody waits for.
    """

    def __init__(self, context: Context, stock: BatchStock, output: Output) -> None:
        self.alarms = 0
        self.frees_awaited = False
        self.timers: TimerQueue | None = None
        """Under the event clock, the timers of the batch's parties."""
        self._context = context
        self._stock = stock
        self._output = output
        self._questions = stock.questions
        self._is_shared = False
        self._awaited_here: set[str] = set()

    def begin(self, parties: Collection[StoredParty], *, is_shared: bool) -> None:
        """These are the parties; with ``is_shared`` they may draw on what all customers share."""
        self._is_shared = is_shared
        for party in parties:
            party.context = self._context
            if is_shared:
                party.journal = CapacityJournal(self._stock)
                party.context = replace(self._context, stock=party.journal)

    def apply(self, party: StoredParty, cause: Cause, now_ms: int) -> None:
        """Apply an event in the first mode that succeeds; raises :class:`CapacityUnknown`, and nothing else."""
        try:
            self._apply(party, cause, now_ms, Mode.NORMAL)
        except CapacityUnknown:
            raise
        except Exception:  # noqa: BLE001 - whatever fails on a record must not take its neighbours along
            self._apply_otherwise(party, cause, now_ms)

    def settle(self, step: Callable[[], None], unknown: CapacityUnknown) -> Generator[CapacityNeeded, Any, None]:
        """Ask for what a step needs and take it again, the last time with what was granted and nothing else.

        The events before it stand.
        """
        tries: dict[tuple[str, int], int] = {}
        while True:
            number = tries[unknown.event] = tries.get(unknown.event, 1) + 1
            yield CapacityNeeded(unknown.questions)
            # If not even that is there, the tokens of this batch are void: its commit is refused, and will say why.
            self._stock.is_void |= number > CAPACITY_TRIES
            self._stock.is_last_try = number >= CAPACITY_TRIES
            try:
                step()
            except CapacityUnknown as again:
                unknown = again
            else:
                self._stock.is_last_try = False
                return

    def _apply(self, party: StoredParty, cause: Cause, now_ms: int, mode: Mode) -> None:
        """Apply an event and add what comes of it to the output; if that fails, the party is as it was before."""
        timer = party.due_ms, party.queue_key
        if self._is_shared:
            party.journal.begin()
        try:
            effects = party.apply(event_of(cause), now_ms, party.context, mode)
            records = self._output.records_of(effects)
        except Exception:
            self._rewind(party)
            raise
        if self._questions:
            questions = dict(self._questions)
            self._rewind(party)
            raise CapacityUnknown(questions, (party.name, len(party.steps)))
        party.steps.append((cause, now_ms, mode))
        self.alarms += mode is not Mode.NORMAL
        if self.timers is not None and (party.due_ms, party.queue_key) != timer:
            self.timers.set(party)
        if self._is_shared and (party.ledger.waiting or party.journal.moves):
            self._note_freed(party)
        self._output.add(party, None if isinstance(cause, Review) else cause, effects, records)

    def _rewind(self, party: StoredParty) -> None:
        """The party as it was before the current event: loaded again, with the earlier events of the batch applied
        again.
        """
        party.journal.rewind()
        self._questions.clear()
        party.rewind()
        for cause, now_ms, mode in party.steps:
            party.apply(event_of(cause), now_ms, party.context, mode)

    def _apply_otherwise(self, party: StoredParty, cause: Cause, now_ms: int) -> None:
        """Apply what is due alone, then the event, each once more and then in the modes that are left."""
        reviews = (Mode.NORMAL, Mode.END_UNDECIDABLE, Mode.END_ALL, Mode.POSTPONE)
        if not self._context.is_reading_facts and party.due_ms is not None and party.due_ms <= now_ms:
            self._try(party, None, now_ms, reviews)
        if cause is None:
            return
        if isinstance(cause, Review):
            self._try(party, cause, now_ms, reviews)
        elif (failure := self._try(party, cause, now_ms, (Mode.NORMAL, Mode.RECORD_ONLY))) is not None:
            self._output.reject(cause, DeadLetter(UNDECIDABLE, f"deciding failed twice: {failure}"), 2)

    def _try(self, party: StoredParty, cause: Cause, now_ms: int, modes: Iterable[Mode]) -> str | None:
        """Apply it in the first of these modes that succeeds; gives what failed in the last one, if none does."""
        failure = None
        for mode in modes:
            try:
                self._apply(party, cause, now_ms, mode)
            except CapacityUnknown:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                log_events.EVENT_FAILED(exc_info=True, place=_place(cause), mode=mode.value)
                failure = type(error).__name__
            else:
                return None
        return failure

    def _note_freed(self, party: StoredParty) -> None:
        """Whether the event gave back what somebody waits for."""
        stock = self._stock
        for asked in party.ledger.waiting:
            self._awaited_here.update(asked.awaits)
        for draw, change in party.journal.moved().items():
            if draw.key in self._awaited_here or draw.key in stock.awaited:
                self.frees_awaited |= stock.opens(draw) if draw.is_cell else change < 0


def _place(cause: Cause) -> str:
    """Where an input stands, for the log."""
    if cause is None or isinstance(cause, Review):
        return "what waits"
    topic, partition, offset = cause.source
    return f"{topic}/{partition}/{offset}"
