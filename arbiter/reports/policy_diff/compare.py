"""Compares what became of the same requests under two policies: what changes, for whom, and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, Final

import msgspec
from msgspec import Struct

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import SHAPE_FIELDS
from arbiter.reports.policy_diff.fates import NEVER, OUTCOMES, Fates
from arbiter.reports.policy_diff.over import Over, changed_rules
from arbiter.reports.policy_diff.sides import Side

SEGMENT: Final = "segment"
DIMENSIONS: Final = ("department", "channel", "category", "campaign", SEGMENT)
MOVED_MS: Final = 60_000
"""An approval that comes at least so much later or sooner has changed."""

ENDS: Final = {"approved": "approved", "rejected": "rejected"}
WAITING: Final = "waiting"
UNANSWERED: Final = "unanswered"


class Line(Struct):
    """One department (or channel …): how many requests are approved before and after, and how many changed."""

    name: str
    requests: int = 0
    old: int = 0
    new: int = 0
    gained: int = 0
    lost: int = 0

    @property
    def change(self) -> int:
        """More approvals; below 0, fewer."""
        return self.new - self.old


class RuleLine(Struct):
    """One rule: how many requests it stopped at first, and how many for good, before and after."""

    rule: str
    owner: str
    status: str
    held_old: int = 0
    held_new: int = 0
    stopped_old: int = 0
    stopped_new: int = 0

    @property
    def is_moved(self) -> bool:
        """Whether the rule changed, or says no to another number of requests."""
        return bool(self.status) or self.held_old != self.held_new or self.stopped_old != self.stopped_new


class Waiting(Struct, frozen=True):
    """How long approved requests waited (ms): the median, the 90th percentile, and how many waited at all."""

    median_ms: int
    tenth_ms: int
    waited: int


class Comparison(Struct):
    """The whole comparison. ``first`` and ``ends`` count requests by (old, new) answer, at first and in the end."""

    old: tuple[str, int, str]
    new: tuple[str, int, str]
    requests: int
    since_ms: int
    until_ms: int
    unread: int
    dead: int
    first: Counter[tuple[str, str]]
    ends: Counter[tuple[str, str]]
    later: int
    sooner: int
    lines: dict[str, list[Line]]
    rules: list[RuleLine]
    waiting: tuple[Waiting, Waiting]
    parties: int
    parties_more: int
    parties_fewer: int
    over: list[Over]
    changed: list[str]
    removed: list[str]
    examples: list[int]

    @property
    def approved(self) -> tuple[int, int]:
        """How many are approved in the end, before and after."""
        old = sum(count for (before, _), count in self.ends.items() if before == "approved")
        new = sum(count for (_, after), count in self.ends.items() if after == "approved")
        return old, new

    @property
    def gained(self) -> int:
        """Requests that are approved now and were not."""
        return sum(count for (b, a), count in self.ends.items() if a == "approved" and b != "approved")

    @property
    def lost(self) -> int:
        """Requests that were approved and are not now."""
        return sum(count for (b, a), count in self.ends.items() if b == "approved" and a != "approved")


def as_builtins(c: Comparison, examples: Sequence[Struct]) -> dict[str, Any]:
    """The comparison for JSON; ``examples`` are given in words."""
    plain = {name: getattr(c, name) for name in c.__struct_fields__ if name not in ("first", "ends", "examples")}
    ends = {name: [{"before": b, "after": a, "requests": n} for (b, a), n in counter.items()]
            for name, counter in (("first_answers", c.first), ("ends", c.ends))}  # fmt: skip
    approved = dict(zip(("before", "after"), c.approved, strict=True))
    totals = {"approved": approved, "gained": c.gained, "lost": c.lost}
    whole: dict[str, Any] = msgspec.to_builtins({**totals, **ends, **plain, "examples": list(examples)})
    return whole


def compare(old: Side, new: Side, documents: tuple[PolicyDocument, PolicyDocument], examples: int = 10) -> Comparison:
    """What would change if ``new`` replaced ``old``; ``examples`` is how many example requests to pick."""
    before, after = old.fates, new.fates
    ends = [(_end(a), _end(b)) for a, b in zip(before.last, after.last, strict=True)]
    moved = [_moved(pair, before.approved[n], after.approved[n]) for n, pair in enumerate(ends)]
    more, fewer = _parties(before, ends)
    return Comparison(
        old=old.ref,
        new=new.ref,
        requests=len(before),
        since_ms=min(before.asked, default=0),
        until_ms=max(before.asked, default=0),
        unread=old.unread,
        dead=new.dead,
        first=Counter((OUTCOMES[a], OUTCOMES[b]) for a, b in zip(before.first, after.first, strict=True)),
        ends=Counter(ends),
        later=moved.count("later"),
        sooner=moved.count("sooner"),
        lines={name: _lines(name, before, ends) for name in DIMENSIONS if name != SEGMENT or any(before.segments)},
        rules=_rules(before, after, *documents),
        waiting=(_waiting(before), _waiting(after)),
        parties=before.parties,
        parties_more=more,
        parties_fewer=fewer,
        over=old.over,
        changed=changed_rules(*documents),
        removed=[name for name in _ids(documents[0]) if name not in _ids(documents[1])],
        examples=_examples(before, after, moved, examples),
    )


def _end(outcome: int) -> str:
    if not outcome:
        return UNANSWERED
    return ENDS.get(OUTCOMES[outcome], WAITING)


def _moved(ends: tuple[str, str], old_ms: int, new_ms: int) -> str:
    """How a request changed: gained, lost, later, sooner, another finding; empty if it did not."""
    if ends[0] != ends[1]:
        if "approved" in ends:
            return "gained" if ends[1] == "approved" else "lost"
        return "other"
    if ends[0] == "approved" and abs(new_ms - old_ms) >= MOVED_MS:
        return "later" if new_ms > old_ms else "sooner"
    return ""


def _lines(dimension: str, fates: Fates, ends: list[tuple[str, str]]) -> list[Line]:
    """The lines of one dimension, the biggest change first. A customer of several segments counts in each."""
    column = fates.group if dimension == SEGMENT else fates.shape
    names = _names(dimension, fates)
    lines: dict[str, Line] = {}
    for (number, (before, after)), count in Counter(zip(column, ends, strict=True)).items():
        for name in names[number]:
            line = lines.setdefault(name, Line(name))
            line.requests += count
            line.old += count * (before == "approved")
            line.new += count * (after == "approved")
            line.gained += count * (after == "approved" != before)
            line.lost += count * (before == "approved" != after)
    return sorted(lines.values(), key=lambda line: (-abs(line.change), -line.requests, line.name))


def _names(dimension: str, fates: Fates) -> list[list[str]]:
    """What the numbers of a column stand for in this dimension."""
    if dimension == SEGMENT:
        return [sorted(segments) or ["(none)"] for segments in fates.segments]
    index = SHAPE_FIELDS.index(dimension)
    return [[shape[index] or "(none)"] for shape in fates.shapes]


def _rules(before: Fates, after: Fates, old: PolicyDocument, new: PolicyDocument) -> list[RuleLine]:
    changed, first = set(changed_rules(old, new)), _ids(old)
    owners = {**before.owners, **after.owners, **{rule.id: rule.owner for rule in (*old.rules, *new.rules)}}
    lines: dict[str, RuleLine] = {}

    def line(rule: str) -> RuleLine:
        if rule not in lines:
            status = ""
            if rule in changed:
                status = "changed" if rule in first else "new"
            elif rule in first and rule not in _ids(new):
                status = "removed"
            lines[rule] = RuleLine(rule, owners.get(rule, ""), status)
        return lines[rule]

    for rule in (*changed, *(name for name in first if name not in _ids(new))):
        line(rule)
    for rule, count in _by_rule(before, first_answers=True):
        line(rule).held_old += count
    for rule, count in _by_rule(after, first_answers=True):
        line(rule).held_new += count
    for rule, count in _by_rule(before, first_answers=False):
        line(rule).stopped_old += count
    for rule, count in _by_rule(after, first_answers=False):
        line(rule).stopped_new += count
    return sorted(lines.values(), key=lambda one: (not one.status, -_weight(one), one.rule))


def _weight(line: RuleLine) -> int:
    return abs(line.held_new - line.held_old) + abs(line.stopped_new - line.stopped_old)


def _by_rule(fates: Fates, *, first_answers: bool) -> Iterator[tuple[str, int]]:
    """How many requests each rule stopped at first, and how many it helped to stop for good."""
    if first_answers:
        counts: Counter[int] = Counter(fates.first_rules)
    else:
        rejected = OUTCOMES.index("rejected")
        counts = Counter(rules for rules, last in zip(fates.last_rules, fates.last, strict=True) if last == rejected)
    for number, count in counts.items():
        for rule in fates.rule_sets[number]:
            yield rule, count


def _ids(document: PolicyDocument) -> dict[str, None]:
    return {rule.id: None for rule in document.rules}


def _waiting(fates: Fates) -> Waiting:
    waits = sorted(
        max(approved - asked, 0)
        for approved, asked in zip(fates.approved, fates.asked, strict=True)
        if approved != NEVER
    )
    if not waits:
        return Waiting(0, 0, 0)
    waited = [wait for wait in waits if wait >= MOVED_MS]
    return Waiting(int(median(waits)), waits[len(waits) * 9 // 10], len(waited))


def _parties(fates: Fates, ends: list[tuple[str, str]]) -> tuple[int, int]:
    """How many parties get more contacts, and how many fewer."""
    changes: defaultdict[int, int] = defaultdict(int)
    for party, (before, after) in zip(fates.party, ends, strict=True):
        changes[party] += (after == "approved") - (before == "approved")
    return sum(change > 0 for change in changes.values()), sum(change < 0 for change in changes.values())


def _examples(before: Fates, after: Fates, moved: list[str], count: int) -> list[int]:
    """Example requests: one of each kind of change and reason before a second of any, the most frequent first."""
    groups: defaultdict[tuple[str, frozenset[str]], list[int]] = defaultdict(list)
    for number, how in enumerate(moved):
        if how:
            old = before.rule_sets[before.first_rules[number]]
            new = after.rule_sets[after.first_rules[number]]
            groups[how, old ^ new].append(number)
    # Of a group one from the middle: the first requests meet empty ledgers.
    queues = [
        numbers[len(numbers) // 2 :] + numbers[: len(numbers) // 2]
        for _, numbers in sorted(groups.items(), key=lambda group: (-len(group[1]), group[0][0], sorted(group[0][1])))
    ]
    chosen: list[int] = []
    for turn in range(count):
        chosen += [queue[turn] for queue in queues if turn < len(queue)]
        if len(chosen) >= count:
            break
    return chosen[:count]
