"""Counts decisions while they stream by. It keeps some 150 bytes of numbers per request and nothing else."""

from __future__ import annotations

from array import array
from collections import Counter
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from arbiter.engine.render import count_of
from arbiter.messages import is_letter_answer
from arbiter.messages.canary import CANARY
from arbiter.messages.reason_codes import causes
from arbiter.reports.policy_diff.fates import Names
from arbiter.timing.instants import to_ms

APPROVED, DEFERRED, REJECTED, RECALLED = range(4)
OUTCOMES: Final = {"approved": APPROVED, "deferred": DEFERRED, "rejected": REJECTED, "recalled": RECALLED}
UNKNOWN: Final = -1
FULL_PRIORITY: Final = 100.0
KEY_HEX: Final = 16
"""So many digits of a decision id identify its request: 64 bits of its identity."""

Shape = tuple[str, str, str]
"""Department, campaign, channel."""

Mistake = tuple[str, str, str, str]
"""A sender's mistake: department, reason code, field, and the field that was probably meant."""


class SeenContact(Struct, frozen=True, gc=False):
    """A contact that used a budget: its department, and the fields that identify it."""

    department: str
    channel: str
    at: str


class SeenFinding(Struct, frozen=True):
    """The rule of a finding."""

    rule: str
    kind: str
    code: str
    owner: str
    contacts: list[SeenContact] = []


class SeenNote(Struct, frozen=True, gc=False):
    """What is said of a field of the request."""

    field: str
    code: str
    meant: str = ""


class SeenPolicy(Struct, frozen=True, gc=False):
    """Which policy decided."""

    name: str
    version: int


class SeenSource(Struct, frozen=True, gc=False):
    """Where the request stands."""

    topic: str
    partition: int
    offset: int


class Seen(Struct, frozen=True):
    """The fields of a decision that the report needs. Decoding only these is half the work."""

    decision_id: str
    department: str
    campaign: str
    channel: str
    outcome: str
    decided_at: datetime
    policy: SeenPolicy
    source: SeenSource
    findings: list[SeenFinding] = []
    shadow: list[SeenFinding] = []
    notes: list[SeenNote] = []
    dry_run: bool = False


read_decision = msgspec.json.Decoder(Seen).decode
"""Raises ``msgspec.DecodeError`` for what is no decision."""


class Tally:
    """Counts the decisions of ``[since_ms, until_ms)``. A column has one entry per request, by its number."""

    def __init__(self, since_ms: int | None, until_ms: int | None) -> None:
        self._since_ms, self._until_ms = since_ms, until_ms
        self._numbers: dict[int, int] = {}
        self._shapes, self._rule_sets, self._code_sets = Names(), Names(), Names()
        self._nothing = self._rule_sets[()], self._code_sets[()]
        self.shape, self.rules, self.codes = array("i"), array("i"), array("i")
        self.first_ms, self.last_ms = array("q"), array("q")
        self.n, self.outcome, self.was_recalled = array("q"), array("b"), array("b")
        self.priority = array("d")
        self.kinds: dict[str, tuple[str, str]] = {}
        self.watched: Counter[str] = Counter()
        self.watched_alone: Counter[str] = Counter()
        self.contacts: Counter[tuple[str, str]] = Counter()
        self.requests_behind: Counter[tuple[str, str]] = Counter()
        self.own_only: Counter[str] = Counter()
        self.with_others: Counter[str] = Counter()
        self.policies: set[tuple[str, int]] = set()
        self.spans: dict[str, dict[int, tuple[int, int]]] = {}
        self.mistakes: Counter[Mistake] = Counter()
        self._answered: set[str] = set()
        self.decisions = self.repeated = self.outside = self.dry_runs = 0
        self.seen_ms: tuple[int, int] | None = None

    def add(self, seen: Seen) -> None:
        """Count a decision. The order does not matter, and repeats are recognised. The canary's are left out."""
        if seen.department == CANARY:
            return
        at_ms = to_ms(seen.decided_at)
        self._note_time(at_ms)
        if not self._is_inside(at_ms):
            self.outside += 1
            return
        if is_letter_answer(seen.decision_id):
            self._untaken(seen)
            return
        key, _, count = seen.decision_id.partition(":")
        if seen.dry_run or not count.isdecimal():
            self.dry_runs += 1
            return
        n = int(count)
        number = self._number(int(key[:KEY_HEX], 16), seen)
        is_first = count_of(seen.decision_id) == 1 and self.first_ms[number] == UNKNOWN
        if n <= self.n[number] and not is_first:
            self.repeated += 1
            return
        self.decisions += 1
        self.policies.add((seen.policy.name, seen.policy.version))
        if is_first:
            self._first(number, seen, at_ms)
        if n > self.n[number]:
            self._newest(number, seen, n, at_ms)
        self.was_recalled[number] |= seen.outcome == "recalled"

    def claim(self, key: int, priority: float) -> None:
        """Note the priority of a request. ``key`` is the first 8 bytes of its identity."""
        number = self._numbers.get(key)
        if number is not None:
            self.priority[number] = priority

    @property
    def shapes(self) -> list[Shape]:
        """By number."""
        return list(self._shapes)  # type: ignore[arg-type]

    @property
    def rule_sets(self) -> list[tuple[str, ...]]:
        """By number: which rules said no in a first answer."""
        return list(self._rule_sets)  # type: ignore[arg-type]

    @property
    def code_sets(self) -> list[tuple[str, ...]]:
        """By number: why requests were rejected."""
        return list(self._code_sets)  # type: ignore[arg-type]

    def _note_time(self, at_ms: int) -> None:
        low, high = self.seen_ms or (at_ms, at_ms)
        self.seen_ms = min(low, at_ms), max(high, at_ms)

    def _is_inside(self, at_ms: int) -> bool:
        return (self._since_ms is None or at_ms >= self._since_ms) and (
            self._until_ms is None or at_ms < self._until_ms
        )

    def _number(self, key: int, seen: Seen) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            self.shape.append(self._shapes[seen.department, seen.campaign, seen.channel])
            self.rules.append(self._nothing[0])
            self.codes.append(self._nothing[1])
            self.first_ms.append(UNKNOWN)
            self.last_ms.append(UNKNOWN)
            self.n.append(0)
            self.outcome.append(DEFERRED)
            self.was_recalled.append(0)
            self.priority.append(UNKNOWN)
        return number

    def _untaken(self, seen: Seen) -> None:
        """A record that became a dead letter, and was answered."""
        if seen.decision_id in self._answered:
            self.repeated += 1
            return
        self._answered.add(seen.decision_id)
        code = next((finding.code for finding in seen.findings), "")
        noted = {(note.field, note.meant) for note in seen.notes if note.field} or {("", "")}
        self.mistakes.update((seen.department, code, field, meant) for field, meant in noted)

    def _first(self, number: int, seen: Seen, at_ms: int) -> None:
        self.first_ms[number] = at_ms
        if seen.notes:
            self.mistakes.update({(seen.department, note.code, note.field, note.meant) for note in seen.notes})
        self._note_place(seen.source)
        if seen.findings:
            rules = tuple(sorted({finding.rule for finding in causes(seen.findings)}))
            self.rules[number] = self._rule_sets[rules]
            self._note_rules(seen.findings)
            self._in_the_way(seen)
        if seen.shadow:
            self._note_rules(seen.shadow)
            watched = {finding.rule for finding in seen.shadow}
            self.watched.update(watched)
            if len(watched) == 1 and not seen.findings:
                self.watched_alone.update(watched)

    def _newest(self, number: int, seen: Seen, n: int, at_ms: int) -> None:
        self.n[number], self.last_ms[number] = n, at_ms
        self.outcome[number] = OUTCOMES[seen.outcome]
        if seen.outcome == "rejected":
            self.codes[number] = self._code_sets[tuple(sorted({finding.code for finding in seen.findings}))]

    def _note_rules(self, findings: list[SeenFinding]) -> None:
        for finding in findings:
            if finding.rule not in self.kinds:
                self.kinds[finding.rule] = finding.kind, finding.owner

    def _note_place(self, source: SeenSource) -> None:
        spans = self.spans.setdefault(source.topic, {})
        low, end = spans.get(source.partition, (source.offset, 0))
        spans[source.partition] = min(low, source.offset), max(end, source.offset + 1)

    def _in_the_way(self, seen: Seen) -> None:
        """Whose contacts used the budgets. A contact named by two rules counts once."""
        mine = seen.department
        used = {(one.department, one.channel, one.at) for finding in seen.findings for one in finding.contacts}
        if not used:
            return
        whose = Counter(department for department, _, _ in used)
        for department, count in whose.items():
            self.contacts[mine, department] += count
            self.requests_behind[mine, department] += 1
        (self.own_only if whose.keys() == {mine} else self.with_others)[mine] += 1
