"""Turns the counts into the report."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

from msgspec import Struct

from arbiter.reports.shadow.document import (
    Effect,
    Pair,
    RuleEffect,
    RuleInShadow,
    ShadowPolicy,
    ShadowReport,
    Stopped,
)
from arbiter.reports.shadow.examples import of_policy, of_rule
from arbiter.reports.shadow.known import Known, WatchedRule
from arbiter.reports.shadow.tally import (
    APPROVED,
    GAINED,
    LATER,
    LOST,
    SAME,
    SAMPLES,
    SOONER,
    Ref,
    Row,
    Sample,
    Shape,
    Tally,
)
from arbiter.timing.instants import to_datetime

DEPARTMENT, CAMPAIGN, CHANNEL = range(3)
EXAMPLES_OF = (LOST, LATER, GAINED, SOONER)

Sums = dict[tuple[int, str], Counter[str]]
"""By field of a shape and its value, counts."""


class _Counts(Struct):
    """What one rule in shadow mode did."""

    total: Counter[str]
    sums: Sums


def build(tally: Tally, known: Known, since_ms: int, until_ms: int, zone: str, source: str) -> ShadowReport:
    """The report on ``[since_ms, until_ms)``."""
    shadows = tally.shadows
    newest = max(((row.at_ms, row.shadow) for row in tally.rows.values() if row.shadow >= 0), default=None)
    counted = None if newest is None else newest[1]
    return ShadowReport(
        since=to_datetime(since_ms),
        until=to_datetime(until_ms),
        zone=zone,
        source=source,
        decisions=tally.decisions,
        requests=len(tally.rows),
        unreadable=tally.unreadable,
        policies=[_named(ref) for ref in tally.policies],
        rules=_rules(tally, known, zone),
        policy=None if counted is None else _policy(tally, known, counted, zone),
        earlier=[_named(ref) for number, ref in enumerate(shadows) if number != counted],
    )


def _named(ref: Ref) -> str:
    return f"{ref[0]} version {ref[1]}"


def _instant(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else to_datetime(at_ms)


# Rules in shadow mode


def _rules(tally: Tally, known: Known, zone: str) -> list[RuleInShadow]:
    counts, watched = _counted(tally, known)
    found = [_rule(name, one, watched.get(name), tally, known, zone) for name, one in counts.items()]
    return sorted(found, key=lambda rule: (-rule.approved, -rule.would_stop, rule.rule))


def _counted(tally: Tally, known: Known) -> tuple[dict[str, _Counts], dict[str, WatchedRule]]:
    """For each rule in shadow mode, what it evaluated and would have stopped, and its form in the newest policy."""
    shapes, stopped = tally.shapes, tally.stopped
    rules = [known.rules(ref) for ref in tally.policies]
    counts: dict[str, _Counts] = defaultdict(lambda: _Counts(Counter(), defaultdict(Counter)))
    watched = {rule.id: rule for per_policy in rules for rule in per_policy}
    for rule in watched:
        counts[rule].total.update()
    for row in tally.rows.values():
        shape = shapes[row.shape]
        said = dict(stopped[row.stopped])
        about = [rule.id for rule in rules[row.policy] if rule.id not in said and rule.is_about(shape, row.at_ms)]
        for name in (*about, *said):
            _count_rule(counts[name], shape, row, said.get(name))
    return counts, watched


def _count_rule(counts: _Counts, shape: Shape, row: Row, puts_off: bool | None) -> None:
    """``puts_off`` is ``None`` where the rule said nothing."""
    what = ["judged"]
    if puts_off is not None:
        what.append("would_stop")
        if row.outcome == APPROVED:
            what += [APPROVED, "put_off"] if puts_off else [APPROVED]
    counts.total.update(what)
    for field in (DEPARTMENT, CAMPAIGN, CHANNEL):
        counts.sums[field, shape[field]].update(what)


def _rule(
    name: str, counts: _Counts, watched: WatchedRule | None, tally: Tally, known: Known, zone: str
) -> RuleInShadow:
    whose = watched or tally.rules[name]
    total = counts.total
    return RuleInShadow(
        rule=name,
        kind=whose.kind,
        owner=whose.owner,
        why=whose.why,
        since=_instant(known.rule_since_ms(name)),
        judged=total["judged"],
        is_exact=watched is not None and watched.is_exact,
        would_stop=total["would_stop"],
        approved=total[APPROVED],
        put_off=total["put_off"],
        departments=_stopped(counts.sums, DEPARTMENT),
        channels=_stopped(counts.sums, CHANNEL),
        campaigns=_stopped(counts.sums, CAMPAIGN),
        examples=of_rule(tally.samples.of(("rule", name), tally.rows), name, zone),
    )


def _stopped(sums: Sums, field: int) -> list[Stopped]:
    found = [
        Stopped(name=name, judged=count["judged"], would_stop=count["would_stop"], approved=count[APPROVED])
        for (of, name), count in sums.items()
        if of == field
    ]
    return sorted(found, key=lambda line: (-line.approved, -line.would_stop, -line.judged, line.name))


# The shadow policy


def _policy(tally: Tally, known: Known, number: int, zone: str) -> ShadowPolicy:
    rows = [row for row in tally.rows.values() if row.shadow == number]
    name, version, digest = ref = tally.shadows[number]
    shapes, pairs = tally.shapes, Counter((row.outcome, row.would) for row in rows)
    return ShadowPolicy(
        name=name,
        version=version,
        digest=digest,
        since=_instant(known.policy_since_ms(ref)),
        total=_effects(rows, lambda _: "all")[0],
        pairs=[Pair(live=live, shadow=would, requests=count) for (live, would), count in pairs.most_common()],
        departments=_effects(rows, lambda row: shapes[row.shape][DEPARTMENT]),
        channels=_effects(rows, lambda row: shapes[row.shape][CHANNEL]),
        rules=_rule_effects(rows, tally),
        examples=of_policy(_samples(tally, number), zone),
    )


def _effects(rows: Iterable[Row], name_of: Callable[[Row], str]) -> list[Effect]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[name_of(row)].update(("requests", row.change))
    found = [
        Effect(name=name, **{what: count for what, count in one.items() if what != SAME})
        for name, one in counts.items()
    ]
    return sorted(found, key=lambda line: (-(line.lost + line.later + line.gained), -line.requests, line.name))


def _rule_effects(rows: Iterable[Row], tally: Tally) -> list[RuleEffect]:
    stops: Counter[str] = Counter()
    frees: Counter[str] = Counter()
    sets = tally.rule_sets
    for row in rows:
        if row.change in (LOST, LATER):
            stops.update(sets[row.stops])
        elif row.change in (GAINED, SOONER):
            frees.update(sets[row.frees])
    found = [
        RuleEffect(rule=rule, owner=tally.owners.get(rule, ""), stops=stops[rule], frees=frees[rule])
        for rule in {**stops, **frees}
    ]
    return sorted(found, key=lambda line: (-(line.stops + line.frees), line.rule))


def _samples(tally: Tally, number: int) -> list[Sample]:
    """A few examples of each kind of change, evenly."""
    found = [tally.samples.of((str(number), change), tally.rows) for change in EXAMPLES_OF]
    turns = [values[turn] for turn in range(SAMPLES) for values in found if turn < len(values)]
    return turns[:SAMPLES]
