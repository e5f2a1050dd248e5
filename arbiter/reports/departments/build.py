"""Turns the counts into the report."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from functools import lru_cache

from msgspec import Struct

from arbiter.reports.departments.document import Day, InTheWay, Line, Material, Mistake, Report, RuleLine, Starving
from arbiter.reports.departments.tally import APPROVED, FULL_PRIORITY, REJECTED, UNKNOWN, Shape, Tally
from arbiter.timing.instants import SECOND_MS, to_datetime
from arbiter.timing.windows import QUARTER_MS, local_time

ALL = "all"
AT_ONCE, LATER, WAITING, REFUSED = range(4)
"""How a request stands at the end of the period."""


class _Sum(Struct):
    """The counts of requests of one shape."""

    ends: list[int]
    codes: Counter[int]
    waits: array[int]
    recalled: int = 0
    claims: int = 0
    claims_of_100: int = 0


def _empty() -> _Sum:
    return _Sum([0, 0, 0, 0], Counter(), array("q"))


def build(tally: Tally, since_ms: int, until_ms: int, zone: str, material: Material) -> Report:
    """The report on ``[since_ms, until_ms)``. Its days are days in ``zone``."""
    sums, days = _sums(tally, zone)
    shapes, codes = tally.shapes, tally.code_sets

    def lines(name_of: Callable[[Shape], tuple[str, str | None]]) -> list[Line]:
        merged: dict[tuple[str, str | None], _Sum] = defaultdict(_empty)
        for number, one in sums.items():
            _merge(merged[name_of(shapes[number])], one)
        made = [_line(name, department, one, codes) for (name, department), one in merged.items()]
        return sorted(made, key=lambda line: (-line.asked, line.name, line.department or ""))

    departments = lines(lambda shape: (shape[0], None))
    total = next(iter(lines(lambda _: (ALL, None))), _line(ALL, None, _empty(), codes))
    return Report(
        since=to_datetime(since_ms),
        until=to_datetime(until_ms),
        zone=zone,
        policies=[f"{name} version {version}" if version else name for name, version in sorted(tally.policies)],
        material=material,
        total=total,
        departments=departments,
        channels=lines(lambda shape: (shape[2], None)),
        campaigns=lines(lambda shape: (shape[1], shape[0])),
        rules=_rules(tally),
        starving=_starving(tally, departments, total),
        in_the_way=_in_the_way(tally),
        days=[
            Day(day=day, approved_at_once=ends[0], approved_later=ends[1], waiting=ends[2], rejected=ends[3])
            for day, ends in sorted(days.items())
        ],
        mistakes=[
            Mistake(department=department, code=code, field=field, meant=meant, records=count)
            for (department, code, field, meant), count in sorted(
                tally.mistakes.items(), key=lambda entry: (-entry[1], entry[0])
            )
        ],
    )


def counted(tally: Tally) -> Iterator[tuple[int, int]]:
    """The number and the end of each request whose first answer falls into the period."""
    for number, (first_ms, outcome, n) in enumerate(zip(tally.first_ms, tally.outcome, tally.n, strict=True)):
        if first_ms != UNKNOWN:
            yield number, _end(outcome, n)


def earlier(tally: Tally) -> int:
    """How many requests were decided again although their first answer came before the period."""
    return sum(first_ms == UNKNOWN for first_ms in tally.first_ms)


def _end(outcome: int, n: int) -> int:
    if outcome == APPROVED:
        return AT_ONCE if n == 1 else LATER
    return REFUSED if outcome == REJECTED else WAITING


def _sums(tally: Tally, zone: str) -> tuple[dict[int, _Sum], dict[date, list[int]]]:
    """By number of the shape, and by day."""
    sums: dict[int, _Sum] = defaultdict(_empty)
    days: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    day_of = _calendar(zone)
    for number, end in counted(tally):
        one = sums[tally.shape[number]]
        one.ends[end] += 1
        one.recalled += tally.was_recalled[number]
        if end == REFUSED:
            one.codes[tally.codes[number]] += 1
        elif end == LATER:
            one.waits.append(tally.last_ms[number] - tally.first_ms[number])
        if tally.priority[number] != UNKNOWN:
            one.claims += 1
            one.claims_of_100 += tally.priority[number] >= FULL_PRIORITY
        days[day_of(tally.first_ms[number] // QUARTER_MS)][end] += 1
    return sums, days


def _calendar(zone: str) -> Callable[[int], date]:
    @lru_cache(maxsize=65_536)
    def day_of(quarter: int) -> date:
        return local_time(quarter * QUARTER_MS, zone).date()

    return day_of


def _merge(into: _Sum, one: _Sum) -> None:
    into.ends = [a + b for a, b in zip(into.ends, one.ends, strict=True)]
    into.codes.update(one.codes)
    into.waits.extend(one.waits)
    into.recalled += one.recalled
    into.claims += one.claims
    into.claims_of_100 += one.claims_of_100


def _line(name: str, department: str | None, one: _Sum, code_sets: list[tuple[str, ...]]) -> Line:
    waits = sorted(one.waits)
    codes: Counter[str] = Counter()
    for number, count in one.codes.items():
        codes.update(dict.fromkeys(code_sets[number], count))
    return Line(
        name=name,
        department=department,
        asked=sum(one.ends),
        approved_at_once=one.ends[AT_ONCE],
        approved_later=one.ends[LATER],
        waiting=one.ends[WAITING],
        rejected=one.ends[REFUSED],
        recalled=one.recalled,
        rejected_by_code=dict(codes.most_common()),
        wait_median_s=_quantile(waits, 50),
        wait_p90_s=_quantile(waits, 90),
        claims_known=one.claims,
        claims_of_100=one.claims_of_100,
    )


def _quantile(sorted_ms: list[int], percent: int) -> float | None:
    """The nearest rank, in seconds."""
    if not sorted_ms:
        return None
    return sorted_ms[max(-(-len(sorted_ms) * percent // 100) - 1, 0)] / SECOND_MS


def _rules(tally: Tally) -> list[RuleLine]:
    stopped: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    ended: dict[int, Counter[str]] = {LATER: Counter(), REFUSED: Counter()}
    pairs = Counter((tally.rules[number], end) for number, end in counted(tally))
    rule_sets = tally.rule_sets
    for (number, end), count in pairs.items():
        rules = dict.fromkeys(rule_sets[number], count)
        stopped.update(rules)
        if len(rules) == 1:
            alone.update(rules)
        if end in ended:
            ended[end].update(rules)
    found = [
        _rule(tally, rule, count, alone[rule], ended[LATER][rule], ended[REFUSED][rule])
        for rule, count in stopped.items()
    ]
    watched = [_rule(tally, rule, count, tally.watched_alone[rule]) for rule, count in tally.watched.items()]
    return sorted(found, key=_weight) + sorted(watched, key=_weight)


def _weight(line: RuleLine) -> tuple[int, str]:
    return -line.stopped, line.rule


def _rule(
    tally: Tally, rule: str, stopped: int, alone: int, approved: int | None = None, rejected: int = 0
) -> RuleLine:
    kind, owner = tally.kinds[rule]
    return RuleLine(
        rule=rule,
        kind=kind,
        owner=owner,
        is_shadow=approved is None,
        stopped=stopped,
        alone=alone,
        approved_later=approved or 0,
        rejected=rejected,
    )


def _starving(tally: Tally, departments: Iterable[Line], total: Line) -> list[Starving]:
    shapes, rule_sets = tally.shapes, tally.rule_sets
    stopped = Counter(shapes[tally.shape[number]][0] for number, _ in counted(tally) if rule_sets[tally.rules[number]])
    worse = [line for line in departments if line.approval_share < total.approval_share]
    return [
        Starving(
            department=line.name,
            approval_share=line.approval_share,
            wait_p90_s=line.wait_p90_s,
            stopped=stopped[line.name],
            by_own=tally.own_only[line.name],
            by_others=tally.with_others[line.name],
        )
        for line in sorted(worse, key=lambda line: (line.approval_share, -(line.wait_p90_s or 0), line.name))
    ]


def _in_the_way(tally: Tally) -> list[InTheWay]:
    pairs = sorted(tally.contacts.items(), key=lambda entry: (entry[0][0], -entry[1], entry[0][1]))
    return [
        InTheWay(department=mine, by=other, contacts=count, requests=tally.requests_behind[mine, other])
        for (mine, other), count in pairs
    ]
