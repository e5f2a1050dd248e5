"""The sequential reference beside a running installation: the pure core, one record at a time, without the worker.

It is shown the commits of a :class:`tests.harness.stepwise.Site`. What a commit covers (which records,
at what time, under which policy) is for the worker to choose. What must then be in it follows, and is worked out here
anew: every decision to the byte, every ledger, timer and dead letter, what goes to other partitions and what was
taken of capacity. It shares no code with ``arbiter.worker`` and reads the bytes of the store and of the routed topic
through their codecs alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from arbiter.engine.evaluation import asked_at
from arbiter.engine.input_record import InputRecord, from_stored, to_stored
from arbiter.engine.party import Event, Party, Review, permit_ends
from arbiter.engine.render import decision_of
from arbiter.engine.routed import Forward, Return, Routed
from arbiter.engine.state import Context, Effect
from arbiter.engine.told import Anomaly, Decided
from arbiter.ledger.capacity import Draw
from arbiter.ledger.facts import Refused
from arbiter.ledger.keys import customer_party, id_of, is_household
from arbiter.ledger.model import Answered, Ledger
from arbiter.messages import (
    CONSENTS,
    DECISIONS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ROUTED,
    ConsentChange,
    ContactRequest,
    CustomerChange,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
    encoder,
)
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import pack_ledger, unpack_ledger, unpack_outbox
from arbiter.state.envelopes import unpack_envelope
from arbiter.state.store import Commit
from tests.model.turns import Stock, asked_first, due_of, woken
from tests.oracle.differences import same
from tests.oracle.invariants import home_of
from tests.oracle.promises import check
from tests.servers.topics import Place

ORDER: tuple[tuple[type, ...], ...] = (
    (SuppressionChange,), (ConsentChange, PreferenceChange), (Profile,), (Forward,), (Outcome,), (ContactRequest,),
)  # fmt: skip
"""In what order things are taken that came together, after due timers; ``Forward`` stands for all that is routed."""

_decoders: dict[str, Any] = {
    REQUESTS: msgspec.json.Decoder(ContactRequest).decode,
    CONSENTS: msgspec.json.Decoder(CustomerChange).decode,
    PROFILES: msgspec.json.Decoder(Profile).decode,
    OUTCOMES: msgspec.json.Decoder(Outcome).decode,
}
_encode = encoder().encode


class Part(Struct):
    """One partition: its clock, its parties, its answers, and how far it has read. ``half`` is the last activation for
    which all that waits was looked at, and permits not yet.
    """

    now_ms: int = 0
    activation: int = 0
    swept: int = 0
    half: int = 0
    opened: dict[str, int] = {}
    ledgers: dict[str, Ledger] = {}
    answers: dict[bytes, Answered] = {}
    positions: dict[str, int] = {}
    taken: dict[int, int] = {}


class Step(Struct):
    """Something that one party takes at its turn."""

    rank: int
    party: str
    input_record: InputRecord | None = None
    routed: Routed | None = None
    sender: int = 0
    place: Place = ("", 0, 0)


class Mirror:
    """``told`` has every decision, in the order given; ``refused`` the codes of records that must be dead letters."""

    def __init__(
        self,
        partitions: int,
        policies: Mapping[int, Policy],
        recalls: Sequence[int],
        documents: Mapping[int, Any],
        log: Mapping[Any, list[Any]],
        *,
        is_event_clock: bool = False,
    ) -> None:
        """``policies`` by activation, ``recalls`` are those that recall, ``documents`` by version; ``log`` has the
        topics of the installation.

        ``is_event_clock`` says that time goes by requests.
        """
        self.parts = {partition: Part() for partition in range(partitions)}
        self.stock = Stock()
        self.told: list[Decided] = []
        self.notes: list[Anomaly] = []
        self.refused: dict[Place, str] = {}
        self._partitions = partitions
        self._policies = policies
        self._recalls = recalls
        self._log = log
        self._documents = documents
        self._is_event_clock = is_event_clock
        # One commit
        self._at = 0
        self._seq = 0
        self._hears = True
        self._touched: set[str] = set()
        self._decided: list[bytes] = []
        self._sent: list[tuple[int, Routed]] = []

    @property
    def policy(self) -> Policy:
        """The policy of the commit that is made, or was made last."""
        return self._policies[self.parts[self._at].activation]

    def made(self, partition: int, commit: Commit, *, is_reading: bool) -> None:
        """See ``tests.harness.stepwise.Watcher``: do what the commit had to do, and compare."""
        part = self.parts[partition]
        self._strays = list[tuple[int, Routed]]()
        steps = list(self._steps(partition, commit))
        assert commit.activation >= part.activation
        part.activation, part.now_ms = commit.activation, part.now_ms if self._is_event_clock else commit.now_ms
        self._at, self._seq, self._hears = partition, commit.seq, not is_reading
        self._touched, self._decided, self._sent = set(), [], []
        self.stock.begin({w.draw.name: w.opens_at for w in self._cells()})
        before = {party: pack_ledger(ledger) for party, ledger in part.ledgers.items()}
        self._live(part, sorted(steps, key=lambda step: step.rank), commit)
        self._compare(part, commit, before)
        if commit.opened:  # as the store keeps it
            lasting = {party: end_ms for party, end_ms in part.opened.items() if end_ms > commit.now_ms}
            latest = {party: max(end_ms, lasting.get(party, 0)) for party, end_ms in commit.opened.items()}
            part.opened = lasting | latest

    def _live(self, part: Part, steps: list[Step], commit: Commit) -> None:
        if self._hears:
            self._come_back(part, commit)
        for step in steps:
            self._take(part, step)
        if self._hears and self._is_event_clock:
            self._pass(part, commit.now_ms, is_last=True)
        elif self._hears:
            for party in self.due(part, part.now_ms):
                if party in self._touched:
                    self._look(part, party, part.now_ms)

    def _pass(self, part: Part, to_ms: int, *, is_last: bool = False) -> None:
        """In event time all timers of the partition fire one after another, each at its instant; but who waits for a
        place comes before the next one. The commit that gave it back may end there, if nothing follows.
        """
        while due := self.due(part, to_ms):
            if self._woken(part):
                assert is_last, "time went on although there is a place for somebody who waits"
                return
            due_ms = due_of(self._ledger(part, due[0]))
            assert due_ms is not None
            part.now_ms = max(part.now_ms, due_ms)
            self._look(part, due[0], due_ms)

    def _come_back(self, part: Part, commit: Commit) -> None:
        """What is due, then who may have what is free, then all that waits under an older policy."""
        again, recalls = self._swept(part, commit)
        woken = self._woken(part)
        if self._is_event_clock and not woken:
            self._pass(part, part.now_ms, is_last=True)
        elif not self._is_event_clock:
            for party in self.due(part, part.now_ms):
                self._look(part, party, part.now_ms)
            woken = self._woken(part)
        order = {party: place for place, party in enumerate(commit.timers)}
        again.sort(key=lambda party: order.get(party, len(order)))  # a sweep takes parties in an order of its own
        for party in [*woken, *again]:
            self._look(part, party, part.now_ms, Review(recalls=recalls))

    def _swept(self, part: Part, commit: Commit) -> tuple[list[str], bool]:
        """Whom a new activation concerns: who waits and, in a commit after that, who has a permit it may recall."""
        if part.swept == commit.activation:
            return [], False
        waiting, opened = self.due(part), sorted(part.opened, key=lambda party: (part.opened[party], party))
        recalls = any(part.swept < number <= commit.activation for number in self._recalls)
        if recalls and commit.swept != commit.activation:
            part.half = commit.activation
            return waiting, True
        part.swept = commit.activation
        if recalls and waiting and part.half != commit.activation:
            # Those who waited were looked at before, nobody had a permit, and then came one more activation.
            assert not opened, "permits were to be looked at, too, in a commit of their own"
            recalls = any(part.half < number <= commit.activation for number in self._recalls)
            assert not recalls, "permits were to be looked at after those who wait, in a commit of their own"
        if not recalls:
            return waiting, False
        unsent = {party for party, ledger in part.ledgers.items() if max(permit_ends(ledger), default=0) > part.now_ms}
        assert unsent <= set(opened), "a permit that may have to be recalled is in no index"
        return opened, bool(opened)

    def due(self, part: Part, now_ms: int | None = None) -> list[str]:
        """The parties with a timer whose instant has come by ``now_ms``: the earliest first, of one instant those
        whose due request was received first, or who only give something back.
        """
        timers = sorted((due_ms, asked_first(part.ledgers[p], due_ms), p) for p, due_ms in self.timers(part).items())
        return [party for due_ms, _, party in timers if now_ms is None or due_ms <= now_ms]

    def timers(self, part: Part) -> dict[str, int]:
        """When each party must be looked at again."""
        timers = {party: due_of(ledger) for party, ledger in part.ledgers.items()}
        return {party: due_ms for party, due_ms in timers.items() if due_ms is not None}

    def _woken(self, part: Part) -> list[str]:
        """Who may have a place that is free; what others take of it is known for one partition only."""
        return [] if self._partitions > 1 else woken(part.ledgers, self.policy, self.stock, part.now_ms)

    def _cells(self) -> Iterator[Any]:
        for rule in self.policy.document.rules:
            want = self.policy.window(f"{rule.id}/cell", 0)
            if want is not None:
                yield want

    def _take(self, part: Part, step: Step) -> None:
        message = step.input_record.message if step.input_record is not None else None
        if isinstance(message, ContactRequest) and self._hears:
            assert not self._woken(part), "a request was decided although there is a place for somebody who waits"
        if self._is_event_clock and isinstance(message, ContactRequest) and step.input_record is not None:
            at_ms = max(part.now_ms, asked_at(message, step.input_record.received_ms))
            if self._hears:
                self._pass(part, at_ms)
            part.now_ms = at_ms
        elif self._is_event_clock and self._hears:
            self._pass(part, part.now_ms, is_last=True)
        elif self._hears:
            self._look(part, step.party, part.now_ms)
        before = pack_ledger(self._ledger(part, step.party)), Counter(self.stock.taken)
        effects = self._apply(part, step.party, step.routed or step.input_record, part.now_ms, step)
        if isinstance(message, ContactRequest) and message.dry_run and any(isinstance(one, Decided) for one in effects):
            same(before, (pack_ledger(part.ledgers[step.party]), self.stock.taken), "what a dry run leaves behind")
        # What a home had held is taken one record after another: the last decision may not be the last that happened.
        if not isinstance(step.routed, Return):
            self._check(part, step.party, effects)

    def _check(self, part: Part, party: str, results: list[Any]) -> None:
        """Ask whether the last that was decided keeps what is promised, unless more has changed since."""
        decided = [result for result in results if isinstance(result, Decided)]
        has_left = any(hasattr(result, "part") for result in results)
        if decided and not has_left and not any(one.answer.outcome == "recalled" for one in decided):
            document, ledger = self._documents[self.policy.ref[1]], part.ledgers[party]
            check(document, self.policy, ledger, decided[-1], self.stock)

    def _look(self, part: Part, party: str, now_ms: int, event: Review | None = None) -> None:
        """Let time go on for a party; what follows from that is checked before anything else changes."""
        self._check(part, party, self._apply(part, party, None, now_ms))
        if event is not None:
            self._check(part, party, self._apply(part, party, event, now_ms))

    def _apply(self, part: Part, name: str, event: Event | None, now_ms: int, step: Step | None = None) -> list[Effect]:
        party = Party(self._ledger(part, name))
        party.answers = part.answers
        context = Context(self.policy, self._seq, self.stock, not self._hears, self._is_event_clock)
        effects = party.apply(event, now_ms, context)
        self._note(part, name, effects, step)
        return effects

    def _ledger(self, part: Part, party: str) -> Ledger:
        self._touched.add(party)
        return part.ledgers.setdefault(party, Ledger())

    def _note(self, part: Part, party: str, results: Iterable[Any], step: Step | None) -> None:
        for result in results:
            if isinstance(result, Decided):
                self.told.append(result)
                self._decided.append(_encode(decision_of(result)))
            elif isinstance(result, Anomaly):
                self.notes.append(result)
            elif isinstance(result, Refused):
                assert step is not None
                place = step.place if result.stored is None else result.stored.source
                self.refused[place] = result.code
            else:
                to = self._home(id_of(result.party)) if is_household(result.party) else step.sender  # type: ignore[union-attr]
                self._sent.append((to, unshared(result)))
        # As from the store, where it is packed: whatever is shared or not stored would show.
        part.ledgers[party] = unpack_ledger(pack_ledger(self._ledger(part, party)))

    def _home(self, name: str) -> int:
        return home_of(name, self._partitions)

    # What a commit covers

    def _steps(self, partition: int, commit: Commit) -> Iterator[Step]:
        part = self.parts[partition]
        for topic, end in commit.positions.items():
            if topic not in _decoders and topic != ROUTED:
                continue
            begin = part.positions.get(topic, 0)
            assert end > begin
            for record in self._log[topic, partition][begin:end]:
                yield from self._step(part, partition, topic, record)
            part.positions[topic] = end

    def _step(self, part: Part, partition: int, topic: str, record: Any) -> Iterator[Step]:
        place = (topic, partition, record.offset)
        if topic == ROUTED:
            envelope = unpack_envelope(record.value)
            if envelope.seq > part.taken.get(envelope.home, 0):
                part.taken[envelope.home] = envelope.seq
                routed = envelope.open()
                input_record = from_stored(routed.stored) if isinstance(routed, Forward) else None
                yield Step(3, envelope.party, input_record, routed, envelope.home, place)
            return
        message = _decoders[topic](record.value)
        home, party = self._home(message.customer_id), customer_party(message.customer_id)
        input_record = InputRecord(message, place, record.timestamp, record.value, record.key, None, record.headers)
        if home != partition and party not in part.ledgers:
            self._strays.append((home, Forward(party, to_stored(msgspec.structs.replace(input_record, hops=1)))))
            return
        rank = next(rank for rank, kinds in enumerate(ORDER) if isinstance(message, kinds))
        yield Step(rank, party, input_record, None, partition, place)

    # What must be in it

    def _compare(self, part: Part, commit: Commit, before: dict[str, bytes]) -> None:
        outbox = unpack_outbox(commit.outbox)
        decided = [record.value or b"" for record in outbox if record.topic == DECISIONS]
        same(self._decided, decided, "decisions")
        routed = [record for record in outbox if record.topic == ROUTED]
        parcels = [(record.partition, unpack_envelope(record.value or b"").open()) for record in routed]
        strays = parcels[len(self._sent) :]
        same(self._sent, parcels[: len(self._sent)], "what goes to other partitions")
        same(sorted(self._strays, key=repr), sorted(strays, key=repr), "what goes home")
        same(part.now_ms, commit.now_ms, "the time")
        for party in self._touched | commit.ledgers.keys():
            packed = commit.ledgers.get(party) or before.get(party)
            same(part.ledgers[party], Ledger() if packed is None else unpack_ledger(packed), f"the ledger of {party}")
        for party, due_ms in commit.timers.items():
            same(due_of(part.ledgers[party]), due_ms, f"the timer of {party}")
        if self._partitions == 1:
            for key, spent in commit.spent.items():
                same(self.stock.taken[Draw.of(key)], spent.used, f"what is used of {key}")


def unshared(routed: Routed) -> Routed:
    """A copy that the party's further life does not change."""
    if isinstance(routed, Forward) or not hasattr(routed, "part"):
        return routed
    part = msgspec.structs.replace(routed.part, ledger=unpack_ledger(pack_ledger(routed.part.ledger)))
    return msgspec.structs.replace(routed, part=part)
