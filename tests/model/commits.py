"""Drives the reference through the commits of a running installation, and compares each with it.

It is shown the commits of a :class:`tests.harness.stepwise.SteppedCluster`. What a commit covers (which records,
at what time, under which policy) is for the worker to choose. What must then be in it follows: every decision to the
byte, every ledger, timer and dead letter, what goes to other partitions and what was taken of capacity. It shares no
code with ``arbiter.worker``, and reads the bytes of the store and of the routed topic through their codecs alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from arbiter.engine.input_record import InputRecord, to_stored
from arbiter.engine.party import Event, Review, permit_ends
from arbiter.engine.render import message_of
from arbiter.engine.routed import Forward, Return, Routed
from arbiter.engine.state import Effect
from arbiter.ledger.capacity import Draw
from arbiter.ledger.keys import customer_party
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import (
    ConsentChange,
    ContactRequest,
    Outcome,
    PreferenceChange,
    Profile,
    SuppressionChange,
    encoder,
    is_letter_answer,
)
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import pack_ledger, unpack_ledger, unpack_outbox
from arbiter.state.envelopes import unpack_envelope
from arbiter.state.store import Commit
from tests.model.reference import NOWHERE, Part, Reference, due_of, event_time, request_in
from tests.model.topics import decoders
from tests.oracle.differences import same
from tests.oracle.promises import check
from tests.servers.topics import DECISIONS, ROUTED, Place

ORDER: tuple[tuple[type, ...], ...] = (
    (SuppressionChange,), (ConsentChange, PreferenceChange), (Profile,), (Forward,), (Outcome,), (ContactRequest,),
)  # fmt: skip
"""In what order things are taken that came together, after due timers; ``Forward`` stands for all that is routed."""

_encode = encoder().encode


class Progress(Struct):
    """How far a partition has read, and for which activation all that waits, or has a permit, was looked at.

    ``half`` is the last activation for which all that waits was looked at, and permits not yet.
    """

    activation: int = 0
    swept: int = 0
    half: int = 0
    opened: dict[str, int] = {}
    positions: dict[str, int] = {}
    taken: dict[int, int] = {}


class Step(Struct):
    """Something that one party takes at its turn."""

    rank: int
    party: str
    event: InputRecord | Routed
    sender: int
    place: Place


class CommitDriver(Reference):
    """The reference beside a running installation; see :class:`Reference` for what it has."""

    def __init__(
        self,
        partitions: int,
        policies: Mapping[int, Policy],
        recalls: Sequence[int],
        documents: Mapping[int, Any],
        log: Mapping[Any, list[Any]],
        *,
        is_event_time: bool = False,
    ) -> None:
        """``policies`` by activation, ``recalls`` are those that recall, ``documents`` by version; ``log`` has the
        topics of the installation.
        """
        super().__init__(next(iter(policies.values())), partitions, is_event_time=is_event_time)
        self._progress = [Progress() for _ in range(partitions)]
        self._policies = policies
        self._recalls = recalls
        self._log = log
        self._documents = documents
        # One commit
        self._touched: set[str] = set()
        self._strays: list[tuple[int, Routed]] = []

    def made(self, partition: int, commit: Commit, *, is_reading: bool) -> None:
        """See ``tests.harness.stepwise.Watcher``: do what the commit had to do, and compare."""
        part, progress = self.parts[partition], self._progress[partition]
        self._touched, self._strays, self.on_the_way, before_told = set(), [], [], len(self.told)
        steps = sorted(self._steps(part, progress, commit), key=lambda step: step.rank)
        assert commit.activation >= progress.activation
        progress.activation, part.seq = commit.activation, commit.seq
        part.now_ms = part.now_ms if self.is_event_time else commit.now_ms
        self.policy, self.is_reading_facts = self._policies[commit.activation], is_reading
        self.open_cells()
        before = {party: pack_ledger(ledger) for party, ledger in part.ledgers.items()}
        self._live(part, progress, steps, commit)
        self._compare(part, commit, before, self.told[before_told:])
        if commit.opened:  # as the store keeps it
            lasting = {party: end_ms for party, end_ms in progress.opened.items() if end_ms > commit.now_ms}
            latest = {party: max(end_ms, lasting.get(party, 0)) for party, end_ms in commit.opened.items()}
            progress.opened = lasting | latest

    @property
    def _is_live(self) -> bool:
        """Whether facts are read, so that time goes on."""
        return not self.is_reading_facts

    def woken(self) -> list[tuple[Part, str]]:
        """What others take of a capacity is known for one partition only."""
        return [] if len(self.parts) > 1 else super().woken()

    def _live(self, part: Part, progress: Progress, steps: list[Step], commit: Commit) -> None:
        if self._is_live:
            self._come_back(part, progress, commit)
        for step in steps:
            self._step(part, step)
        if self._is_live and self.is_event_time:
            self._pass(part, commit.now_ms, is_last=True)
        elif self._is_live:
            for party in self.due(part, part.now_ms):
                if party in self._touched:
                    self._look(part, party)

    def _pass(self, part: Part, to_ms: int, *, is_last: bool = False) -> None:
        """In event time all timers of the partition fire one after another, each at its instant; but who waits for a
        place comes before the next one. The commit that gave it back may end there, if nothing follows.
        """
        while due := self.due(part, to_ms):
            if self.woken():
                assert is_last, "time went on although there is a place for somebody who waits"
                return
            due_ms, _ = part.timers[due[0]]
            part.now_ms = max(part.now_ms, due_ms)
            self._look(part, due[0], at_ms=due_ms)

    def _come_back(self, part: Part, progress: Progress, commit: Commit) -> None:
        """What is due, then who may have what is free, then all that waits under an older policy."""
        again, recalls = self._swept(part, progress, commit)
        woken = self.woken()
        if self.is_event_time and not woken:
            self._pass(part, part.now_ms, is_last=True)
        elif not self.is_event_time:
            for party in self.due(part, part.now_ms):
                self._look(part, party)
            woken = self.woken()
        order = {party: place for place, party in enumerate(commit.timers)}
        again.sort(key=lambda party: order.get(party, len(order)))  # a sweep takes parties in an order of its own
        for party in [*(party for _, party in woken), *again]:
            self._look(part, party, Review(recalls=recalls))

    def _swept(self, part: Part, progress: Progress, commit: Commit) -> tuple[list[str], bool]:
        """Whom a new activation concerns: who waits and, in a commit after that, who has a permit it may recall."""
        if progress.swept == commit.activation:
            return [], False
        waiting, opened = self.due(part), sorted(progress.opened, key=lambda party: (progress.opened[party], party))
        recalls = any(progress.swept < number <= commit.activation for number in self._recalls)
        if recalls and commit.swept != commit.activation:
            progress.half = commit.activation
            return waiting, True
        progress.swept = commit.activation
        if recalls and waiting and progress.half != commit.activation:
            # Those who waited were looked at before, nobody had a permit, and then came one more activation.
            assert not opened, "permits were to be looked at, too, in a commit of their own"
            recalls = any(progress.half < number <= commit.activation for number in self._recalls)
            assert not recalls, "permits were to be looked at after those who wait, in a commit of their own"
        if not recalls:
            return waiting, False
        unsent = {party for party, ledger in part.ledgers.items() if max(permit_ends(ledger), default=0) > part.now_ms}
        assert unsent <= set(opened), "a permit that may have to be recalled is in no index"
        return opened, bool(opened)

    def _step(self, part: Part, step: Step) -> None:
        request = request_in(step.event)
        if request is not None and self._is_live:
            assert not self.woken(), "a request was decided although there is a place for somebody who waits"
        if self.is_event_time:
            at_ms = max(part.now_ms, event_time(step.event))
            if self._is_live:
                self._pass(part, at_ms, is_last=request is None)
            part.now_ms = at_ms
        elif self._is_live:
            self._look(part, step.party)
        before = pack_ledger(part.ledgers.get(step.party) or Ledger()), Counter(self.stock.taken)
        effects = self._do(part, step.party, step.event, part.now_ms, step.sender, step.place)
        if request is not None and request.dry_run and any(isinstance(one, Decision) for one in effects):
            same(before, (pack_ledger(part.ledgers[step.party]), self.stock.taken), "what a dry run leaves behind")

    def _look(self, part: Part, party: str, event: Review | None = None, at_ms: int | None = None) -> None:
        """Let time go on for a party; what follows from that is checked before anything else changes."""
        at_ms = part.now_ms if at_ms is None else at_ms
        self._do(part, party, None, at_ms)
        if event is not None:
            self._do(part, party, event, at_ms)

    def _do(
        self, part: Part, party: str, event: Event | None, now_ms: int, sender: int = 0, place: Place = NOWHERE
    ) -> list[Effect]:
        self._touched.add(party)
        effects = self.apply(part, party, event, now_ms, sender, place)
        # What a home had held is taken one record after another: the last decision may not be the last that happened.
        if not isinstance(event, Return):
            self._check(part.ledgers[party], effects)
        return effects

    def _check(self, ledger: Ledger, effects: list[Effect]) -> None:
        """Ask whether the last that was decided keeps what is promised, unless more has changed since."""
        decided = [effect for effect in effects if isinstance(effect, Decision)]
        has_left = any(hasattr(effect, "part") for effect in effects)
        if decided and not has_left and not any(one.outcome == "recalled" for one in decided):
            check(self._documents[self.policy.ref[1]], self.policy, ledger, decided[-1], self.stock)

    # What a commit covers

    def _steps(self, part: Part, progress: Progress, commit: Commit) -> Iterator[Step]:
        for topic, end in commit.positions.items():
            if topic in decoders or topic == ROUTED:
                begin = progress.positions.get(topic, 0)
                assert end > begin
                records = self._log[topic, part.number][begin:end]
                progress.positions[topic] = end
                read = self._routed if topic == ROUTED else self._input
                yield from (step for record in records if (step := read(part, progress, topic, record)) is not None)

    def _routed(self, part: Part, progress: Progress, topic: str, record: Any) -> Step | None:
        envelope = unpack_envelope(record.value)
        if envelope.seq <= progress.taken.get(envelope.home, 0):
            return None
        progress.taken[envelope.home] = envelope.seq
        return Step(3, envelope.party, envelope.open(), envelope.home, (topic, part.number, record.offset))

    def _input(self, part: Part, _: Progress, topic: str, record: Any) -> Step | None:
        message, place = decoders[topic](record.value), (topic, part.number, record.offset)
        home, party = self.home(message.customer_id), customer_party(message.customer_id)
        input_record = InputRecord(message, place, record.timestamp, record.value, record.key, None, record.headers)
        if home != part.number and party not in part.ledgers:
            self._strays.append((home, Forward(party, to_stored(msgspec.structs.replace(input_record, hops=1)))))
            return None
        rank = next(rank for rank, kinds in enumerate(ORDER) if isinstance(message, kinds))
        return Step(rank, party, input_record, part.number, place)

    # What must be in it

    def _compare(self, part: Part, commit: Commit, before: dict[str, bytes], told: list[Decision]) -> None:
        outbox = unpack_outbox(commit.outbox)
        published = [record.value or b"" for record in outbox if record.topic == DECISIONS]
        # What answers a dead letter is no decision; the invariants look at it.
        decided = [value for value in published if not is_letter_answer(msgspec.json.decode(value)["decision_id"])]
        same([_encode(message_of(one)) for one in told], decided, "decisions")
        routed = [record for record in outbox if record.topic == ROUTED]
        parcels = [(record.partition, unpack_envelope(record.value or b"").open()) for record in routed]
        sent = [(parcel.receiver, parcel.routed) for parcel in self.on_the_way]
        same(sent, parcels[: len(sent)], "what goes to other partitions")
        same(sorted(self._strays, key=repr), sorted(parcels[len(sent) :], key=repr), "what goes home")
        same(part.now_ms, commit.now_ms, "the time")
        for party in self._touched | commit.ledgers.keys():
            packed = commit.ledgers.get(party) or before.get(party)
            same(part.ledgers[party], Ledger() if packed is None else unpack_ledger(packed), f"the ledger of {party}")
        for party, due_ms in commit.timers.items():
            same(due_of(part.ledgers[party]), due_ms, f"the timer of {party}")
        if len(self.parts) == 1:
            for key, spent in commit.spent.items():
                same(self.stock.taken[Draw.of(key)], spent.used, f"what is used of {key}")
