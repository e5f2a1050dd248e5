"""What became of each request under one policy, compact enough for millions: numbers in arrays, sentences in a file."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from arbiter.engine.input_record import InputRecord
from arbiter.engine.simulate import SimulatedDecision
from arbiter.ledger.contacts import Shape
from arbiter.ledger.identity import identity
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest
from arbiter.messages.reason_codes import causes
from arbiter.policy.inputs import shape_of

OUTCOMES: Final = ("none", "approved", "deferred", "rejected", "recalled")
"""What is last said of a request; its position is what is kept."""

NEVER: Final = -1
LINES: Final = 1 << 48
"""A place is the number of a file times this, plus the offset of a line in its text."""

_pack = msgspec.msgpack.Encoder().encode


class Objection(Struct, frozen=True, array_like=True):
    """A finding, as an example quotes it."""

    rule: str
    owner: str
    code: str
    message: str


class Said(Struct, frozen=True, array_like=True):
    """An answer, as an example quotes it."""

    outcome: str
    decided_at_ms: int
    retry_at_ms: int | None
    next_eligible_at_ms: int | None
    not_before_ms: int | None
    objections: list[Objection]


class Names(dict[object, int]):
    """Values that occur often, each with a small number in the order of first appearance."""

    def __missing__(self, name: object) -> int:
        self[name] = number = len(self)
        return number


class Fates(Struct):
    """Columns with one entry per request, in the order in which requests first came; that order is the same for all
    policies.

    ``group`` is a number of ``segments``: the customer's segments at the first answer. ``first`` and ``last`` are the
    first and the last outcome. ``first_rules`` and ``last_rules`` are the rules that said no then (a number of
    ``rule_sets``). ``first_said`` and ``last_said`` are positions of the sentences in the file. ``asked`` and
    ``approved`` are instants (ms). ``place`` is where the request itself stands.
    """

    shapes: list[Shape]
    parties: int
    segments: list[frozenset[str]]
    rule_sets: list[frozenset[str]]
    owners: dict[str, str]
    shape: array[int]
    party: array[int]
    group: array[int]
    place: array[int]
    asked: array[int]
    first: array[int]
    last: array[int]
    first_rules: array[int]
    last_rules: array[int]
    first_said: array[int]
    last_said: array[int]
    approved: array[int]

    def __len__(self) -> int:
        return len(self.first)


class Watch:
    """Fills :class:`Fates` during a simulation: :meth:`arrived` before a record, :meth:`decided` after a decision."""

    def __init__(self, said: BinaryIO, segments_of: Callable[[SimulatedDecision], frozenset[str]]) -> None:
        """``said`` is the file for sentences; ``segments_of`` gives a customer's segments."""
        self._said = said
        self._segments_of = segments_of
        self._groups: Names = Names({frozenset[str](): 0})
        self._at = 0
        self._numbers: dict[bytes, int] = {}
        self._shapes: Names = Names()
        self._parties: Names = Names()
        self._rule_sets: Names = Names({frozenset[str](): 0})
        self._owners: dict[str, str] = {}
        self._wide = {name: array("q") for name in ("place", "asked", "first_said", "last_said", "approved")}
        self._small = {name: array("i") for name in ("shape", "party", "group", "first_rules", "last_rules")}
        self._outcome = {name: array("b") for name in ("first", "last")}

    def arrived(self, place: int, record: InputRecord) -> None:
        """Number the request that is about to be decided. A dry run gets none, since nothing comes of it."""
        message = record.message
        if not isinstance(message, ContactRequest) or message.dry_run:
            return
        key = identity(message)
        if key in self._numbers:
            return
        self._numbers[key] = len(self._numbers)
        for column in (*self._wide.values(), *self._outcome.values()):
            column.append(0)
        for column in self._small.values():
            column.append(0)
        self._wide["place"][-1] = place
        self._wide["asked"][-1] = record.received_ms
        self._wide["approved"][-1] = NEVER
        self._small["shape"][-1] = self._shapes[shape_of(message)]
        self._small["party"][-1] = NEVER

    def decided(self, simulated: SimulatedDecision) -> None:
        """Note a decision. Repeats add nothing."""
        decision = simulated.decision
        if decision.is_repeat or not decision.n:
            return
        number = self._numbers[decision.identity]
        rules = self._rule_sets[frozenset(finding.rule for finding in causes(decision.findings))]
        place, outcome = self._keep(decision), OUTCOMES.index(decision.outcome)
        if decision.n == 1:
            self._small["party"][number] = self._parties[simulated.party]
            self._small["group"][number] = self._groups[self._segments_of(simulated)]
            self._outcome["first"][number] = outcome
            self._small["first_rules"][number] = rules
            self._wide["first_said"][number] = place
        self._outcome["last"][number] = outcome
        self._small["last_rules"][number] = rules
        self._wide["last_said"][number] = place
        is_approved = decision.outcome == "approved" and decision.not_before_ms is not None
        self._wide["approved"][number] = (decision.not_before_ms or 0) if is_approved else NEVER

    def fates(self) -> Fates:
        """The columns."""
        shapes: list[Shape] = list(self._shapes)  # type: ignore[arg-type]
        rule_sets: list[frozenset[str]] = list(self._rule_sets)  # type: ignore[arg-type]
        segments: list[frozenset[str]] = list(self._groups)  # type: ignore[arg-type]
        columns = {**self._wide, **self._small, **self._outcome}
        return Fates(shapes, len(self._parties), segments, rule_sets, self._owners, **columns)

    def _keep(self, decision: Decision) -> int:
        self._owners.update((finding.rule, finding.owner) for finding in decision.findings)
        objections = [Objection(f.rule, f.owner, f.code, f.message) for f in decision.findings]
        times = decision.decided_at_ms, decision.retry_at_ms, decision.next_eligible_at_ms, decision.not_before_ms
        packed = _pack(Said(decision.outcome, *times, objections))
        place = self._at
        self._said.write(len(packed).to_bytes(4, "little") + packed)
        self._at += 4 + len(packed)
        return place


_said = msgspec.msgpack.Decoder(Said).decode


def said_at(file: Path, place: int) -> Said:
    """The answer that was written there."""
    with file.open("rb") as said:
        said.seek(place)
        length = int.from_bytes(said.read(4), "little")
        return _said(said.read(length))
