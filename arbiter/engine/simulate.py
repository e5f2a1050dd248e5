"""A whole installation in one loop: what would be answered to these records, without a clock or a server.

:class:`Simulation` is fed one record after another, as a worker reads them, and decides in event time as a worker does
with ``ARBITER_CLOCK=event``: a partition's clock is the newest request's time, timers come back at their own instants
before it moves on, what goes between a customer's home and a household arrives at once, and capacity is drawn on by
all together. So it gives the decisions that a live worker gives, whatever the policy.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import Protocol

from msgspec import Struct

from arbiter.engine.arbitrate import (
    Decided,
    Noted,
    Refused,
    Result,
    Turn,
    awaits,
    come_back,
    next_due_ms,
    party_of,
    turn_of,
)
from arbiter.engine.arrival import Arrival, arrived
from arbiter.engine.decide import asked_at
from arbiter.engine.household import Forward, Join, Leave, Return, Routed, Taker
from arbiter.ledger.capacity import Draw, WholeStock
from arbiter.ledger.identity import answer_key, identity, was_answered
from arbiter.ledger.keys import id_of
from arbiter.ledger.model import Answered, Ledger
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import FAR_MS

LONG_AGO_MS = 0
"""The clock of a partition that has not seen a request; a new head begins with it."""


class Shelf(Protocol):
    """Where the simulation keeps what it does not work on: ledgers by party, answers by their key."""

    def take(self, party: str) -> Ledger:
        """The party's ledger, a new one if it has none. It is changed, then given back with :meth:`put`."""

    def put(self, party: str, ledger: Ledger) -> None:
        """Keep a ledger."""

    def answer(self, key: bytes) -> Answered | None:
        """What was kept under this key in the last 35 days."""

    def keep(self, key: bytes, answered: Answered, now_ms: int) -> None:
        """Keep an answer."""


class Told(Struct, frozen=True):
    """An answer. ``party`` is whose budget it is about; ``arrival`` is the record, ``None`` if a timer came back."""

    party: str
    arrival: Arrival | None
    decided: Decided


class TurnedAway(Struct, frozen=True):
    """A record that a worker would have put among the dead letters, and why."""

    arrival: Arrival
    refused: Refused


Happening = Told | TurnedAway


class _Partition:
    """One partition: its clock, its commits, and who comes back when."""

    def __init__(self) -> None:
        self.now_ms = LONG_AGO_MS
        self.seq = 0
        self.due: dict[str, tuple[int, Turn]] = {}
        self._heap: list[tuple[int, Turn, str]] = []

    def set_timer(self, party: str, ledger: Ledger) -> None:
        due_ms = next_due_ms(ledger)
        if due_ms is None:
            self.due.pop(party, None)
            return
        place = due_ms, turn_of(ledger, due_ms)
        if self.due.get(party) != place:
            self.due[party] = place
            heappush(self._heap, (*place, party))

    def first(self) -> tuple[int, str] | None:
        """The next timer, earliest first, of equal ones who asked first; it stays set."""
        while self._heap:
            due_ms, turn, party = self._heap[0]
            if self.due.get(party) == (due_ms, turn):
                return due_ms, party
            heappop(self._heap)
        return None


class _Stock(WholeStock):
    """The whole capacity; ``moved`` are the windows of which something was given back, or where a cell filled."""

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
    """Feed it with :meth:`take` in the order of arrival, then :meth:`finish`; both give what came of it, in order."""

    def __init__(self, policy: Policy, shelf: Shelf, home: Callable[[str], int], partitions: int = 1) -> None:
        """``home`` gives the partition, below ``partitions``, of a customer's or household's id."""
        self._policy = policy
        self._shelf = shelf
        self._home = home
        self._partitions = [_Partition() for _ in range(partitions)]
        self._stock = _Stock()
        self._waits: dict[str, dict[str, Turn]] = {}
        self.notes: Counter[str] = Counter()

    @property
    def now_ms(self) -> int:
        """The newest instant that any partition has reached."""
        return max(partition.now_ms for partition in self._partitions)

    @property
    def waiting(self) -> int:
        """How many parties have something that will come back by itself."""
        return sum(len(partition.due) for partition in self._partitions)

    def take(self, arrival: Arrival) -> Iterator[Happening]:
        """One record and all that follows from it at that instant. Exhaust it before the next one."""
        message = arrival.message
        party = party_of(message)
        partition = self._partition_of(party)
        if isinstance(message, ContactRequest):
            yield from self._advance(partition, asked_at(message, arrival.received_ms))
        yield from self._deliver(party, arrival, arrival)

    def finish(self, until_ms: int = FAR_MS) -> Iterator[Happening]:
        """No more records come: let time go on, so that what waits comes back, in the order of time."""
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

    def _advance(self, partition: _Partition, now_ms: int) -> Iterator[Happening]:
        """Move a partition's clock on. What was due on the way comes back first, each at its own instant."""
        now_ms = max(now_ms, partition.now_ms)
        while (first := partition.first()) is not None and first[0] <= now_ms:
            due_ms, party = first
            partition.now_ms = max(partition.now_ms, due_ms)
            yield from self._come_back(partition, party, due_ms)
            yield from self._wake()
        partition.now_ms = now_ms

    def _deliver(self, party: str, what: Arrival | Routed, arrival: Arrival) -> Iterator[Happening]:
        """Bring a record to a party, and on to where it sends it; ``arrival`` is the one that began it."""
        todo: deque[tuple[str, Arrival | Routed]] = deque([(party, what)])
        while todo:
            party, what = todo.popleft()
            partition = self._partition_of(party)
            if isinstance(what, Forward) and what.post.what == "request":
                yield from self._advance(partition, asked_at(_request_in(what), what.post.received_ms))
            for result in self._step(partition, party, what):
                if isinstance(result, Forward | Join | Leave | Return):
                    todo.append((result.party, result))
                else:
                    yield from self._heard(party, result, arrival)
            yield from self._catch_up(partition, party)
            yield from self._wake()

    def _step(self, partition: _Partition, party: str, what: Arrival | Routed) -> list[Result | Routed]:
        ledger = self._shelf.take(party)
        answers, before = self._answers(what, ledger), self._awaited(ledger)
        partition.seq += 1
        taker = Taker(self._policy, ledger, answers, partition.now_ms, partition.seq, self._stock)
        known = dict(answers)
        if isinstance(what, Arrival):
            taker.arrive(what)
        else:
            taker.receive(what)
        self._keep(partition, party, ledger, before)
        for key, answered in answers.items():
            if known.get(key) is not answered:
                self._shelf.keep(key, answered, partition.now_ms)
        return taker.out

    def _come_back(self, partition: _Partition, party: str, now_ms: int) -> Iterator[Happening]:
        ledger, answers = self._shelf.take(party), dict[bytes, Answered]()
        before = self._awaited(ledger)
        partition.seq += 1
        results = come_back(self._policy, ledger, answers, now_ms, partition.seq, self._stock)
        self._keep(partition, party, ledger, before)
        for key, answered in answers.items():
            self._shelf.keep(key, answered, partition.now_ms)
        for result in results:
            yield from self._heard(party, result, None)

    def _catch_up(self, partition: _Partition, party: str) -> Iterator[Happening]:
        """What the step made due at once, as an arbitration that closed on its way to a household."""
        while (due := partition.due.get(party)) is not None and due[0] <= partition.now_ms:
            yield from self._come_back(partition, party, due[0])

    def _keep(self, partition: _Partition, party: str, ledger: Ledger, before: dict[str, Turn]) -> None:
        self._shelf.put(party, ledger)
        partition.set_timer(party, ledger)
        if not self._policy.is_shared:
            return
        after = awaits(ledger)
        for key in before.keys() - after.keys():
            self._waits[key].pop(party, None)
        for key, turn in after.items():
            self._waits.setdefault(key, {})[party] = turn

    def _awaited(self, ledger: Ledger) -> dict[str, Turn]:
        return awaits(ledger) if self._policy.is_shared else {}

    def _answers(self, what: Arrival | Routed, ledger: Ledger) -> dict[bytes, Answered]:
        """The answer to a request that comes again. All answers are on one shelf, so they need not move."""
        message = what.message if isinstance(what, Arrival) else None
        if isinstance(what, Forward) and what.post.what == "request":
            message = _request_in(what)
        if not isinstance(message, ContactRequest):
            return {}
        member = ledger.members.get(message.customer_id)
        if member is None or not member.answered:
            return {}
        key = identity(message)
        if not was_answered(ledger, message.customer_id, key):
            return {}
        name = answer_key(message.customer_id, key)
        answered = self._shelf.answer(name)
        return {} if answered is None else {name: answered}

    def _wake(self) -> Iterator[Happening]:
        """Look again at those who wait for what was given back, first come first, as many as there are places; whoever
        does not take one any more leaves it to the next.
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
                yield from self._come_back(partition, party, partition.now_ms)

    def _wakeable(self, draw: Draw, woken: set[str]) -> list[tuple[Turn, str]]:
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
        waiting = sorted((turn, party) for party, turn in waits.items() if party not in woken)
        return [wait for wait in waiting if draw.end_ms > self._partition_of(wait[1]).now_ms][:places]

    def _heard(self, party: str, result: Result | Routed, arrival: Arrival | None) -> Iterator[Happening]:
        if isinstance(result, Decided):
            yield Told(party, arrival, result)
        elif isinstance(result, Noted):
            self.notes[result.what] += 1
        elif isinstance(result, Refused) and arrival is not None:
            yield TurnedAway(arrival, result)


def _request_in(forward: Forward) -> ContactRequest:
    message = arrived(forward.post).message
    assert isinstance(message, ContactRequest)  # noqa: S101 - a post of this kind holds nothing else
    return message
