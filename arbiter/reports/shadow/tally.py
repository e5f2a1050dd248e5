"""Counts decisions while they stream by. It keeps a few numbers per request, and the bytes of some decisions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, zip_longest
from typing import Final

import msgspec
from msgspec import Struct

from arbiter.messages import is_letter_answer
from arbiter.reports.policy_diff.fates import Names
from arbiter.timing.instants import to_ms

KEY_HEX: Final = 16
"""So many digits of a decision id identify its request: 64 bits of its identity."""

SAMPLES: Final = 10
GROUPS_MAX: Final = 50
"""Departments and channels of which examples are kept."""

RECALLED: Final = "recalled"
NOT_JUDGED: Final = ""
POLICY: Final = "policy"
"""The kind of a finding that is none of a rule."""

APPROVED, DEFERRED, REJECTED, RULE_ERROR = "approved", "deferred", "rejected", "rule_error"
LOST, LATER, GAINED, SOONER, FAILED, SAME = "lost", "later", "gained", "sooner", "failed", "same"
OTHERWISE = "otherwise"

Shape = tuple[str, str, str, str]
"""Department, campaign, channel, category."""

Ref = tuple[str, int, str]
"""A policy: name, version, digest."""


class SeenFinding(Struct, frozen=True):
    """A finding: its rule, and whether it is final."""

    rule: str
    kind: str
    owner: str
    why: str
    effect: str


class SeenPolicy(Struct, frozen=True):
    """Which policy."""

    name: str
    version: int
    digest: str

    @property
    def ref(self) -> Ref:
        """As a key."""
        return self.name, self.version, self.digest


class SeenShadow(Struct, frozen=True):
    """The shadow policy's answer."""

    policy: SeenPolicy
    outcome: str
    rules: list[str] = []
    findings: list[SeenFinding] = []


class Seen(Struct, frozen=True):
    """The fields of a decision that the report needs."""

    decision_id: str
    department: str
    campaign: str
    channel: str
    category: str
    outcome: str
    decided_at: datetime
    policy: SeenPolicy
    findings: list[SeenFinding] = []
    shadow: list[SeenFinding] = []
    shadow_policy: SeenShadow | None = None
    dry_run: bool = False


_decode = msgspec.json.Decoder(Seen).decode


class Row(Struct):
    """A request, by its newest decision.

    ``stopped`` are the rules in shadow mode that said no (rule, whether for good). ``would`` is the shadow policy's
    answer, ``stops`` by which of its rules. ``allowed_ms`` is when it would first have approved a request that was not
    approved (0: never), ``frees`` the rules in force that said no then.
    """

    n: int
    shape: int
    outcome: str
    at_ms: int
    policy: int
    stopped: int
    would: str
    shadow: int
    stops: int
    allowed_ms: int
    frees: int

    @property
    def change(self) -> str:
        """What the shadow policy would have changed."""
        if self.would == RULE_ERROR:
            return FAILED
        if self.outcome != APPROVED:
            otherwise = SAME if self.outcome == self.would else OTHERWISE
            return GAINED if self.allowed_ms else otherwise
        if self.allowed_ms:
            return SOONER
        if self.would == APPROVED:
            return SAME
        return LATER if self.would == DEFERRED else LOST


Sample = tuple[bytes, Row]
"""A decision as it was read, and its request."""


class Samples:
    """Decisions for examples: the newest of each group, by what they are examples of."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[tuple[str, str], deque[tuple[int, int, bytes]]]] = {}

    def keep(self, what: tuple[str, str], group: tuple[str, str], key: int, n: int, value: bytes) -> None:
        """Keep a decision."""
        groups = self._kept.setdefault(what, {})
        if group not in groups and len(groups) >= GROUPS_MAX:
            return
        groups.setdefault(group, deque(maxlen=SAMPLES)).append((key, n, value))

    def of(self, what: tuple[str, str], newest: dict[int, Row]) -> list[Sample]:
        """Some that are still their requests' newest decisions, from as many groups as possible."""
        groups = self._kept.get(what, {})
        current = [
            [(value, newest[key]) for key, n, value in reversed(kept) if newest[key].n == n] for kept in groups.values()
        ]
        turns: Iterator[Sample | None] = chain.from_iterable(zip_longest(*current))
        return [sample for sample in turns if sample is not None][:SAMPLES]


class Tally:
    """Counts the decisions of ``[since_ms, until_ms)``. The order does not matter, and repeats are recognised."""

    def __init__(self, since_ms: int, until_ms: int) -> None:
        self._span = range(since_ms, until_ms)
        self._shapes, self._policies, self._shadows = Names(), Names(), Names()
        self._stopped, self._rule_sets = Names(), Names()
        self.rows: dict[int, Row] = {}
        self.rules: dict[str, SeenFinding] = {}
        self.owners: dict[str, str] = {}
        self.samples = Samples()
        self.decisions = self.unreadable = 0

    def add(self, value: bytes) -> None:
        """Count a decision. Raises ``msgspec.DecodeError`` if it is none."""
        seen = _decode(value)
        at_ms = to_ms(seen.decided_at)
        if at_ms not in self._span or seen.dry_run or seen.outcome == RECALLED or is_letter_answer(seen.decision_id):
            # What is recalled is decided anew in the same moment; what is a dead letter was not decided.
            return
        identity, _, number = seen.decision_id.rpartition(":")
        key, n = int(identity[:KEY_HEX], 16), int(number)
        before = self.rows.get(key)
        if before is not None and before.n >= n:
            return
        self.decisions += 1
        row = self.rows[key] = self._row(seen, n, at_ms, before)
        self._note(seen, row, key, value)

    @property
    def shapes(self) -> list[Shape]:
        """By the number that rows have."""
        return list(self._shapes)  # type: ignore[arg-type]

    @property
    def policies(self) -> list[Ref]:
        """By the number that rows have."""
        return list(self._policies)  # type: ignore[arg-type]

    @property
    def shadows(self) -> list[Ref]:
        """By the number that rows have."""
        return list(self._shadows)  # type: ignore[arg-type]

    @property
    def stopped(self) -> list[tuple[tuple[str, bool], ...]]:
        """By the number that rows have: rules, and whether they only put off."""
        return list(self._stopped)  # type: ignore[arg-type]

    @property
    def rule_sets(self) -> list[tuple[str, ...]]:
        """By the number that rows have."""
        return list(self._rule_sets)  # type: ignore[arg-type]

    def _row(self, seen: Seen, n: int, at_ms: int, before: Row | None) -> Row:
        row = Row(
            n,
            self._shapes[seen.department, seen.campaign, seen.channel, seen.category],
            seen.outcome,
            at_ms,
            self._policies[seen.policy.ref],
            self._stopped[tuple((finding.rule, finding.effect == "defer") for finding in seen.shadow)],
            NOT_JUDGED,
            -1,
            self._rule_sets[()],
            0,
            self._rule_sets[()],
        )
        beside = seen.shadow_policy
        if beside is None:
            return row
        row.shadow, row.would = self._shadows[beside.policy.ref], beside.outcome
        if seen.outcome == APPROVED:
            row.stops = self._rule_sets[_telling(beside.rules, beside.findings)]
        if before is not None and before.shadow == row.shadow and before.allowed_ms:
            row.allowed_ms, row.frees = before.allowed_ms, before.frees
        elif seen.outcome != APPROVED == beside.outcome:
            rules = [finding.rule for finding in seen.findings]
            row.allowed_ms, row.frees = at_ms, self._rule_sets[_telling(rules, seen.findings)]
        return row

    def _note(self, seen: Seen, row: Row, key: int, value: bytes) -> None:
        """Whose the rules are, and examples."""
        group = seen.department, seen.channel
        for finding in seen.shadow:
            self.rules[finding.rule] = finding
            if seen.outcome == APPROVED:
                self.samples.keep(("rule", finding.rule), group, key, row.n, value)
        if seen.shadow_policy is None:
            return
        for finding in (*seen.findings, *seen.shadow_policy.findings):
            self.owners[finding.rule] = finding.owner
        if row.change not in (SAME, OTHERWISE):
            self.samples.keep((str(row.shadow), row.change), group, key, row.n, value)


def _telling(rules: list[str], findings: list[SeenFinding]) -> tuple[str, ...]:
    """The rules, without what the policy says only because of them: that it would come too late."""
    own = {finding.rule for finding in findings if finding.kind == POLICY}
    return tuple(rule for rule in rules if rule not in own) or tuple(rules)
