"""The one reference: several partitions in memory that take one record after another.

It is independent of the worker, of the stores, of the simulation and of how the engine orders its timers. It works out
anew where a record is taken, what comes back when and in which order, who is woken when capacity is free, and what
travels between partitions. It is not independent of the engine's judgement: what a party does at an event is
``Party.apply``, and the messages are built by ``message_of``. Caps, consent, suppression lists and opening hours are
judged without the engine by :mod:`tests.model.plain_policy` and :mod:`tests.oracle.promises`.

A test calls :meth:`Reference.send` itself. :mod:`tests.model.topics` feeds the reference with the records on topics,
:mod:`tests.model.commits` with those that the commits of a worker cover.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
from msgspec import Struct

from arbiter.engine.input_record import InputRecord, Message, from_stored
from arbiter.engine.party import Event, Party, Review
from arbiter.engine.render import message_of
from arbiter.engine.routed import Forward, Join, Return, Routed
from arbiter.engine.rule_inputs import asked_at
from arbiter.engine.state import Anomaly, Context, Effect, LifecycleEvent
from arbiter.ledger.capacity import Draw, Level, Want, WholeStock
from arbiter.ledger.contacts import Contact
from arbiter.ledger.facts import Refused
from arbiter.ledger.keys import customer_party, id_of, is_household
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ContactRequest, encoder
from arbiter.policy.ruleset import Policy
from arbiter.state.answers import pack_decision, unpack_decision
from arbiter.state.codec import pack_ledger, unpack_ledger
from tests.oracle.invariants import home_of
from tests.servers.topics import Place

Turn = tuple[int, int]
"""When a request was received, and its offset."""

NOWHERE: Place = ("", 0, 0)
WAKES_MAX = 1_000
_encode = encoder().encode


class Stock(WholeStock):
    """The whole limit. A cell is open if it was full when a commit began."""

    def __init__(self) -> None:
        super().__init__()
        self.full: set[Draw] = set()

    def level(self, draw: Draw, limit: int) -> Level:
        """See :class:`arbiter.ledger.capacity.Stock`."""
        level = super().level(draw, limit)
        return Level(level.here, level.used, draw in self.full)


class Part(Struct):
    """One partition: its number, its clock, its last commit's number, its ledgers and answers.

    ``timers`` has when each party must be looked at again, and its turn among those of the same instant.
    """

    number: int
    now_ms: int = 0
    seq: int = 0
    ledgers: dict[str, Ledger] = {}
    answers: dict[bytes, Decision] = {}
    timers: dict[str, tuple[int, Turn]] = {}


class Parcel(Struct):
    """A routed record on its way from one partition to another."""

    sender: int
    receiver: int
    routed: Routed


class Reference:
    """``told`` has all decisions in order, ``notes`` all anomalies, ``refused`` the records that must be dead letters,
    by place. ``on_the_way`` is what partitions sent each other. Whoever drives it may change ``policy`` at any time.
    """

    def __init__(
        self,
        policy: Policy,
        partitions: int,
        *,
        is_event_time: bool = False,
        check: Callable[[Ledger, list[Effect]], None] = lambda *_: None,
    ) -> None:
        """Empty partitions. ``check`` is called with the party's ledger and all effects after each event."""
        self.policy = policy
        self.parts = [Part(number) for number in range(partitions)]
        self.stock = Stock()
        self.told: list[Decision] = []
        self.notes: list[Anomaly] = []
        self.lives: list[LifecycleEvent] = []
        self.refused: dict[Place, Refused] = {}
        self.on_the_way: list[Parcel] = []
        self.is_event_time = is_event_time
        self.is_reading_facts = False
        self._checked = check
        self._sent = 0

    # What has become of it

    def home(self, name: str) -> int:
        """The partition of a customer or a household."""
        return home_of(name, len(self.parts))

    def ledger(self, party: str) -> Ledger:
        """The ledger of a party at its home, empty at first."""
        return self.parts[self.home(id_of(party))].ledgers.setdefault(party, Ledger())

    def ledgers(self) -> list[tuple[str, Ledger]]:
        """All ledgers with their party, those on their way included."""
        travelling = [
            (one.routed.party, one.routed.part.ledger)
            for one in self.on_the_way
            if isinstance(one.routed, Join | Return)
        ]
        return [entry for part in self.parts for entry in part.ledgers.items()] + travelling

    def contacts(self) -> list[tuple[str, Contact]]:
        """All contacts with the party that has them, those on their way included."""
        return [(party, contact) for party, ledger in self.ledgers() for contact in ledger.contacts]

    def decided(self, customer: str, request_id: str) -> list[Decision]:
        """All decisions on a request, in order."""
        named = customer, request_id
        return [one for one in self.told if (one.request.customer_id, one.request.request_id) == named]

    def decisions(self) -> dict[str, bytes]:
        """All decisions as they are published, by ``decision_id``."""
        found: dict[str, bytes] = {}
        for decision in map(message_of, self.told):
            value = _encode(decision)
            assert found.setdefault(decision.decision_id, value) == value, f"{decision.decision_id} has two contents"
        return found

    # What happens

    def send(self, message: Message, now_ms: int) -> None:
        """A record arrives at its customer's home."""
        self._sent += 1
        place = "sent", self.home(message.customer_id), self._sent
        self.receive(InputRecord(message, place, now_ms, msgspec.json.encode(message)))

    def receive(self, record: InputRecord) -> None:
        """An input record is taken on its partition, or at its customer's home if that partition does not know it."""
        name, number = customer_party(record.message.customer_id), record.source[1]
        home = self.home(record.message.customer_id)
        part = self.parts[number if name in self.parts[number].ledgers else home]
        self._take(part, name, record, record.received_ms, home)

    def carry(self, sender: int, receiver: int, now_ms: int = 0) -> None:
        """The oldest record on its way from one partition to another arrives."""
        parcel = next(one for one in self.on_the_way if (one.sender, one.receiver) == (sender, receiver))
        self.on_the_way.remove(parcel)
        self._take(self.parts[receiver], parcel.routed.party, parcel.routed, now_ms, sender)

    def carry_all(self, now_ms: int = 0) -> None:
        """What is on its way arrives, until nothing is."""
        while self.on_the_way:
            self.carry(*min((one.sender, one.receiver) for one in self.on_the_way), now_ms)

    def tick(self, now_ms: int) -> None:
        """Time goes on everywhere."""
        for part in self.parts:
            self._advance(part, now_ms)

    def _take(self, part: Part, party: str, event: InputRecord | Routed, now_ms: int, sender: int) -> None:
        """What is due comes first, then the event, then what that made due at once.

        In event time a partition's clock goes by its requests.
        """
        if self.is_event_time:
            now_ms = event_time(event)
        now_ms = max(now_ms, part.now_ms)
        self._advance(part, now_ms)
        self._begin(part)
        place = event.source if isinstance(event, InputRecord) else NOWHERE
        self.apply(part, party, event, now_ms, sender, place)
        self._wake()
        self._advance(part, now_ms)

    def _advance(self, part: Part, to_ms: int) -> None:
        """A partition's clock goes on. In event time each timer fires at its own instant."""
        while due := self.due(part, to_ms):
            at_ms = part.timers[due[0]][0] if self.is_event_time else to_ms
            part.now_ms = max(part.now_ms, at_ms)
            self._begin(part)
            self.apply(part, due[0], None, at_ms)
            self._wake()
        part.now_ms = max(part.now_ms, to_ms)

    def _wake(self) -> None:
        """Whoever may have a place that is free is asked, until nobody may."""
        for _ in range(WAKES_MAX):
            woken = self.woken()
            if not woken:
                return
            for part, party in woken:
                self._begin(part)
                self.apply(part, party, Review(), part.now_ms)
        raise AssertionError("places are free, and nobody who waits for them takes them")

    def _begin(self, part: Part) -> None:
        part.seq += 1
        self.open_cells()

    # What follows

    def apply(
        self, part: Part, name: str, event: Event | None, now_ms: int, sender: int = 0, place: Place = NOWHERE
    ) -> list[Effect]:
        """What a party does at an event that stood at ``place``, or that partition ``sender`` sent.

        Its ledger and its new answers are then packed and unpacked, as by a store.
        """
        party = Party(part.ledgers.get(name) or Ledger())
        party.answers = part.answers
        context = Context(self.policy, part.seq, self.stock, self.is_reading_facts, self.is_event_time)
        effects = party.apply(event, now_ms, context)
        for effect in effects:
            self._note(effect, part.number, sender, place)
        part.answers |= as_stored({key: part.answers[key] for key in party.changed if key in part.answers})
        ledger = part.ledgers[name] = unpack_ledger(pack_ledger(party.ledger))
        due_ms = due_of(ledger)
        part.timers.pop(name, None)
        if due_ms is not None:
            part.timers[name] = due_ms, turn_of(ledger, due_ms)
        self._checked(ledger, effects)
        return effects

    def _note(self, effect: Effect, number: int, sender: int, place: Place) -> None:
        if isinstance(effect, Decision):
            self.told.append(effect)
        elif isinstance(effect, Anomaly):
            self.notes.append(effect)
        elif isinstance(effect, LifecycleEvent):
            self.lives.append(effect)
        elif isinstance(effect, Refused):
            self.refused[place if effect.stored is None else effect.stored.source] = effect
        else:
            receiver = self.home(id_of(effect.party)) if is_household(effect.party) else sender
            self.on_the_way.append(Parcel(number, receiver, unshared(effect)))

    def due(self, part: Part, now_ms: int | None = None) -> list[str]:
        """The parties with a timer whose instant has come by ``now_ms``, in their order; all without an instant."""
        timers = sorted((*timer, party) for party, timer in part.timers.items() if now_ms is None or timer[0] <= now_ms)
        return [party for _, _, party in timers]

    def woken(self) -> list[tuple[Part, str]]:
        """Who may have a place that is free: of each window as many as there are, in the order in which they asked."""
        if not self.policy.is_shared:
            return []
        lines: dict[str, dict[tuple[int, str], Turn]] = {}
        for part in self.parts:
            for party in part.timers:
                for asked in part.ledgers[party].waiting:
                    turn = asked.received_ms, asked.source[2]
                    for key in asked.awaits:
                        line, one = lines.setdefault(key, {}), (part.number, party)
                        line[one] = min(turn, line.get(one, turn))
        found = [wait for key, line in lines.items() for wait in self._first(Draw.of(key), line)]
        return [(self.parts[number], party) for number, party in dict.fromkeys(one for _, one in sorted(found))]

    def _first(self, draw: Draw, line: dict[tuple[int, str], Turn]) -> list[tuple[Turn, tuple[int, str]]]:
        want = self.policy.window(draw.name, draw.start_ms)
        waits = sorted((turn, one) for one, turn in line.items() if draw.end_ms > self.parts[one[0]].now_ms)
        if want is None:
            return []
        if draw.is_cell:
            return waits if draw in self.stock.full else []
        return waits[: max(0, (want.limit or 0) - self.stock.taken[draw])]

    def open_cells(self) -> None:
        """A commit begins: the cells that are full now are open from now on."""
        if self.policy.is_shared:
            rules = [self.policy.window(f"{rule.id}/cell", 0) for rule in self.policy.document.rules]
            sizes = {want.draw.name: cast("int", want.opens_at) for want in rules if isinstance(want, Want)}
            taken = self.stock.taken
            self.stock.full |= {draw for draw in taken if draw.name in sizes and taken[draw] >= sizes[draw.name]}


def request_in(event: Event) -> ContactRequest | None:
    """The request that an event brings, here or from another partition."""
    record = from_stored(event.stored) if isinstance(event, Forward) else event
    return record.message if isinstance(record, InputRecord) and isinstance(record.message, ContactRequest) else None


def event_time(event: Event) -> int:
    """To which instant (ms) an event moves a clock that goes by requests."""
    request = request_in(event)
    received_ms = event.stored.received_ms if isinstance(event, Forward) else getattr(event, "received_ms", 0)
    return 0 if request is None else asked_at(request, received_ms)


def due_of(ledger: Ledger) -> int | None:
    """When the party must be looked at again by itself."""
    dues = [asked.due_ms for asked in ledger.waiting]
    dues += [due_ms for due_ms in (ledger.recall_ms, *(asked.due_ms for asked in ledger.open)) if due_ms]
    return min(dues, default=None)


def turn_of(ledger: Ledger, due_ms: int) -> Turn:
    """The turn of the first request with which a party comes back; nobody comes before who gives back."""
    if any(0 < asked.due_ms <= due_ms for asked in ledger.open):
        return 0, 0
    return min(
        ((asked.received_ms, asked.source[2]) for asked in ledger.waiting if asked.due_ms <= due_ms), default=(0, 0)
    )


def unshared(routed: Routed) -> Routed:
    """A copy that the party's further life does not change."""
    if not isinstance(routed, Join | Return):
        return routed
    ledger = unpack_ledger(pack_ledger(routed.part.ledger))
    part = msgspec.structs.replace(routed.part, ledger=ledger, answers=as_stored(routed.part.answers))
    return msgspec.structs.replace(routed, part=part)


def as_stored(answers: dict[bytes, Decision]) -> dict[bytes, Decision]:
    """These answers as a store gives them back."""
    return {key: unpack_decision(pack_decision(answer)) for key, answer in answers.items()}
