"""A whole installation in one loop: the decisions on a sequence of records, without a clock or a server.

:class:`Simulation` takes one record after another, as a worker reads them. It decides in event time, as a worker with
``ARBITER_CLOCK=event`` does. A partition's clock is the newest request's time, and timers fire at their own instants
before it moves on. Records between a customer's home and a household arrive at once. All partitions share one capacity.
So it gives the decisions that a live worker gives, under any policy.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.input_record import InputRecord, from_stored
from arbiter.engine.party import Party, Review, answers_needed, awaits
from arbiter.engine.routed import Forward, Routed
from arbiter.engine.rule_inputs import asked_at
from arbiter.engine.state import Anomaly, Context, Effect, LifecycleEvent, QueueKey
from arbiter.ledger.capacity import Draw, WholeStock
from arbiter.ledger.facts import Refused
from arbiter.ledger.keys import customer_party, id_of
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import FAR_MS

LONG_AGO_MS = 0
"""The clock of a partition that has not seen a request; a new head begins with it."""


class Storage(Protocol):
    """Where the simulation keeps parties, by name, and answers, by key."""

    def take(self, name: str) -> Party:
        """The party; a new one if it is not known. The caller changes it and gives it back with :meth:`put`."""

    def put(self, name: str, party: Party) -> None:
        """Keep a party."""

    def answer(self, key: bytes) -> Decision | None:
        """The answer that was kept under this key in the last 35 days; ``None`` if there is none."""

    def keep(self, key: bytes, answered: Decision, now_ms: int) -> None:
        """Keep an answer."""


class SimulatedDecision(Struct, frozen=True):
    """A decision. ``party`` is whose budget it concerns; ``record`` caused it, ``None`` if a timer did."""

    party: str
    record: InputRecord | None
    decision: Decision


class SimulatedRefusal(Struct, frozen=True):
    """A record that a worker would have made a dead letter, and why."""

    record: InputRecord
    refused: Refused


Simulated = SimulatedDecision | SimulatedRefusal


class _Partition:
    """One partition: its clock, the number of its last commit, and its timers."""

    def __init__(self) -> None:
        self.now_ms = LONG_AGO_MS
        self.seq = 0
        self.due: dict[str, tuple[int, QueueKey]] = {}
        self._heap: list[tuple[int, QueueKey, str]] = []

    def set_timer(self, name: str, party: Party) -> None:
        if party.due_ms is None:
            self.due.pop(name, None)
            return
        place = party.due_ms, party.queue_key
        if self.due.get(name) != place:
            self.due[name] = place
            heappush(self._heap, (*place, name))

    def first(self) -> tuple[int, str] | None:
        """The next timer: the earliest; of equal ones the party that asked first. It stays set."""
        while self._heap:
            due_ms, queue_key, party = self._heap[0]
            if self.due.get(party) == (due_ms, queue_key):
                return due_ms, party
            heappop(self._heap)
        return None


class _Stock(WholeStock):
    """The whole capacity. ``moved`` has the windows that got places back, and the cells that got a customer."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: set[Draw] = set()

    def take(self, draw: Draw) -> None:
        super().take(draw)
        if draw.is_cell:
            self.moved.add(draw)

    def give(self, draw: Draw) -> None:
        super().give(draw)
        self.moved.add(draw)


class Simulation:
    """Call :meth:`take` for each record in order, then :meth:`finish`. Both give the results in order."""

    def __init__(self, policy: Policy, storage: Storage, home: Callable[[str], int], partitions: int = 1) -> None:
        """``home`` gives the partition, below ``partitions``, of a customer's or household's id."""
        self._policy = policy
        self._storage = storage
        self._home = home
        self._partitions = [_Partition() for _ in range(partitions)]
        self._stock = _Stock()
        self._waits: dict[str, dict[str, QueueKey]] = {}
        self.notes: Counter[str] = Counter()

    @property
    def now_ms(self) -> int:
        """The newest instant that any partition has reached."""
        return max(partition.now_ms for partition in self._partitions)

    @property
    def waiting(self) -> int:
        """How many parties have a timer."""
        return sum(len(partition.due) for partition in self._partitions)

    def take(self, record: InputRecord) -> Iterator[Simulated]:
        """Apply one record and all that follows at that instant. Exhaust the iterator before the next record."""
        message = record.message
        party = customer_party(message.customer_id)
        partition = self._partition_of(party)
        if isinstance(message, ContactRequest):
            yield from self._advance(partition, asked_at(message, record.received_ms))
        yield from self._deliver(party, record, record)

    def finish(self, until_ms: int = FAR_MS) -> Iterator[Simulated]:
        """After the last record: fire all timers until ``until_ms``, in the order of time."""
        while True:
            due = [(first, partition) for partition in self._partitions if (first := partition.first()) is not None]
            if not due:
                return
            (due_ms, _), partition = min(due, key=lambda entry: entry[0])
            if due_ms > until_ms:
                return
            yield from self._advance(partition, due_ms)

    def _partition_of(self, party: str) -> _Partition:
        return self._partitions[self._home(id_of(party))]

    def _advance(self, partition: _Partition, now_ms: int) -> Iterator[Simulated]:
        """Move a partition's clock on. Timers that are due before fire first, each at its own instant."""
        now_ms = max(now_ms, partition.now_ms)
        while (first := partition.first()) is not None and first[0] <= now_ms:
            due_ms, party = first
            partition.now_ms = max(partition.now_ms, due_ms)
            yield from self._decide_again(partition, party, None, due_ms)
            yield from self._wake()
        partition.now_ms = now_ms

    def _deliver(self, name: str, event: InputRecord | Routed, record: InputRecord) -> Iterator[Simulated]:
        """Apply an event to a party, then what that sends to other parties. ``record`` is the record that began it."""
        todo: deque[tuple[str, InputRecord | Routed]] = deque([(name, event)])
        while todo:
            name, event = todo.popleft()
            partition = self._partition_of(name)
            if isinstance(event, Forward):
                event = read = replace(event, record=from_stored(event.stored))
                if read.record is not None and isinstance(read.record.message, ContactRequest):
                    yield from self._advance(partition, asked_at(read.record.message, read.record.received_ms))
            for effect in self._apply(partition, name, event, partition.now_ms):
                if isinstance(effect, Decision | Anomaly | LifecycleEvent | Refused):
                    yield from self._results(name, effect, record)
                else:
                    todo.append((effect.party, effect))
            # That may be due at once: an arbitration may have closed on its way to a household.
            if (due := partition.due.get(name)) is not None and due[0] <= partition.now_ms:
                yield from self._decide_again(partition, name, None, partition.now_ms)
            yield from self._wake()

    def _decide_again(self, partition: _Partition, name: str, event: Review | None, now_ms: int) -> Iterator[Simulated]:
        for effect in self._apply(partition, name, event, now_ms):
            yield from self._results(name, effect, None)

    def _apply(
        self, partition: _Partition, name: str, event: InputRecord | Routed | Review | None, now_ms: int
    ) -> list[Effect]:
        party = self._storage.take(name)
        before = awaits(party.ledger) if self._policy.is_shared else {}
        if isinstance(event, InputRecord | Forward):
            self._load_answer(party, name, event)
        partition.seq += 1
        context = Context(self._policy, partition.seq, self._stock, is_event_time=True)
        effects = party.apply(event, now_ms, context)
        for key in party.changed:
            if key in party.answers:
                self._storage.keep(key, party.answers[key], partition.now_ms)
        party.answers, party.changed = {}, {}
        party.forget_requests()
        self._storage.put(name, party)
        partition.set_timer(name, party)
        if self._policy.is_shared:
            self._note_waits(name, before, awaits(party.ledger))
        return effects

    def _note_waits(self, name: str, before: dict[str, QueueKey], after: dict[str, QueueKey]) -> None:
        for key in before.keys() - after.keys():
            self._waits[key].pop(name, None)
        for key, queue_key in after.items():
            self._waits.setdefault(key, {})[name] = queue_key

    def _load_answer(self, party: Party, name: str, event: InputRecord | Forward) -> None:
        """Load the answer to a repeated request. All partitions share one storage, so answers need not move."""
        record = event.record if isinstance(event, Forward) else event
        if record is not None and isinstance(record.message, ContactRequest):
            for key in answers_needed(record, name, party.ledger):
                answered = self._storage.answer(key)
                if answered is not None:
                    party.answers[key] = answered

    def _wake(self) -> Iterator[Simulated]:
        """Review the parties that wait for freed places: as many as there are places, first come first.

        A party that does not take its place leaves it to the next.
        """
        draws: set[Draw] = set()
        woken: set[str] = set()
        while True:
            if self._stock.moved:
                draws |= self._stock.moved
                self._stock.moved.clear()
                woken.clear()
            found = sorted({wait for draw in draws for wait in self._wakeable(draw, woken)})
            if not found:
                return
            for party in dict.fromkeys(party for _, party in found):
                woken.add(party)
                partition = self._partition_of(party)
                yield from self._decide_again(partition, party, Review(), partition.now_ms)

    def _wakeable(self, draw: Draw, woken: set[str]) -> list[tuple[QueueKey, str]]:
        want = self._policy.window(draw.name, draw.start_ms)
        waits = self._waits.get(draw.key)
        if want is None or not waits:
            return []
        if draw.is_cell:
            places = len(waits) if self._stock.level(draw, want.opens_at or 0).is_open else 0
        else:
            places = (want.limit or 0) - self._stock.taken[draw]
        if places <= 0:
            return []
        waiting = sorted((queue_key, party) for party, queue_key in waits.items() if party not in woken)
        return [wait for wait in waiting if draw.end_ms > self._partition_of(wait[1]).now_ms][:places]

    def _results(self, party: str, result: Effect, record: InputRecord | None) -> Iterator[Simulated]:
        if isinstance(result, Decision):
            yield SimulatedDecision(party, record, result)
        elif isinstance(result, Anomaly):
            self.notes[result.what] += 1
        elif isinstance(result, Refused) and record is not None:
            yield SimulatedRefusal(record, result)
