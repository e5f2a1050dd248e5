"""Rules that contradict themselves, each other, or the policy around them: what they ask for can never happen.

Every check is sound: it speaks up only where the contradiction follows from the policy's text, whatever requests come.
What is merely suspicious is a warning, in :mod:`arbiter.policy_check.lints`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from arbiter.policy.document import PolicyDocument
from arbiter.policy.openings import never_open
from arbiter.policy.problem import Path, Problem
from arbiter.policy.reach import Reach, Span, only_domain, span_of
from arbiter.policy.rules import (
    AnyRule,
    BlackoutRule,
    CapacityRule,
    CapRule,
    CellRule,
    ConflictRule,
    ConsentRule,
    FloorRule,
)
from arbiter.timing.instants import DAY_MS, FAR_MS, HOUR_MS
from arbiter.timing.windows import calendar_window, duration_ms, moment, parse_window

UNIT_MS = {
    "hour": HOUR_MS,
    "day": DAY_MS,
    "week": 7 * DAY_MS,
    "month": 31 * DAY_MS,
    "quarter": 92 * DAY_MS,
    "year": 366 * DAY_MS,
}
"""The longest that a calendar window lasts, but for the hour by which clocks are put back."""
WINDOWS_COUNTED_MAX = 10_000
Rules = list[tuple[int, AnyRule]]


def alone(document: PolicyDocument, skip: frozenset[int] = frozenset()) -> Iterator[Problem]:
    """What contradicts itself, or the policy around it, within one rule, but for those to ``skip``."""
    for index, rule in enumerate(document.rules):
        check = _ALONE.get(type(rule))
        if check is not None and index not in skip:
            yield from check(("rules", index), rule, document)


def contradictions(document: PolicyDocument, skip: frozenset[int] = frozenset()) -> list[Problem]:
    """What rules cannot all be true at once, in a policy that can be understood but for the rules to ``skip``."""
    rules = [(index, rule) for index, rule in enumerate(document.rules) if index not in skip]
    enforced = [(index, rule) for index, rule in rules if rule.mode == "enforce"]
    reach = Reach(document)
    found: list[Problem] = []
    if not skip:
        found += _marketing_without_consent(enforced, document, reach)
    found += _opposite_consents(enforced, document, reach)
    found += _wanted_but_never(enforced, document, reach)
    found += _floors_over_capacity(enforced, document, reach)
    found += never_open(document, reach, skip)
    return found


def _cap(path: Path, rule: CapRule, document: PolicyDocument) -> Iterator[Problem]:
    yield from _too_short(path, "window", rule.window, document)


def _capacity(path: Path, rule: CapacityRule, document: PolicyDocument) -> Iterator[Problem]:
    yield from _too_short(path, "window", rule.window, document)
    if rule.hourly is not None:
        yield from _too_short(path, "hourly", "calendar hour", document)


def _too_short(path: Path, field: str, window: str, document: PolicyDocument) -> Iterator[Problem]:
    """A permit ends with the calendar window that it draws on, so one that is longer than the window cannot be."""
    unit = parse_window(window).unit
    if unit is not None and duration_ms(document.permit.min) > UNIT_MS[unit]:
        message = f"permits end with a `{window}` they draw on, and the shortest one, {document.permit.min}, is longer"
        yield Problem((*path, field), "window-too-short", message, "use a longer window, or lower `permit.min`")


def _conflict(path: Path, rule: ConflictRule, document: PolicyDocument) -> Iterator[Problem]:
    if duration_ms(rule.within) > duration_ms(document.history):
        message = f"`within: {rule.within}` is longer than contacts are remembered, {document.history}"
        yield Problem((*path, "within"), "window-too-long", message, "shorten it, or raise `history`")


def _cell(path: Path, rule: CellRule, document: PolicyDocument) -> Iterator[Problem]:
    if moment(rule.deadline, document.timezone, "end") <= span_of(rule, document.timezone)[0]:
        message = "the cell's deadline is over before the rule is in force, so its campaign never starts"
        yield Problem((*path, "deadline"), "never-in-force", message, "move the deadline, or `effective.from`")


def _floor(path: Path, rule: FloorRule, document: PolicyDocument) -> Iterator[Problem]:
    zone = document.timezone
    dates = moment(rule.from_, zone, "start"), moment(rule.until, zone, "end")
    yield from _apart((*path, "effective"), "floor", dates, span_of(rule, zone))


def _blackout(path: Path, rule: BlackoutRule, document: PolicyDocument) -> Iterator[Problem]:
    zone = document.timezone
    if rule.from_ and rule.until:
        freeze = moment(rule.from_, zone, "start"), moment(rule.until, zone, "end")
        if freeze[0] >= freeze[1]:
            yield Problem((*path, "until"), "empty-span", "the freeze ends before it begins", "swap the dates")
        elif not (rule.dates or rule.holidays):
            yield from _apart((*path, "effective"), "freeze", freeze, span_of(rule, zone))


def _apart(path: Path, what: str, dates: Span, span: Span) -> Iterator[Problem]:
    if dates[1] <= span[0] or span[1] <= dates[0]:
        message = f"the {what}'s own dates lie outside of `effective`, so the rule does nothing"
        yield Problem(path, "never-in-force", message, "remove `effective`, or let the two overlap", at_key=True)


def _marketing_without_consent(rules: Rules, document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """Marketing that a department may ask for while no consent rule surely speaks about it."""
    consents = [(span_of(rule, document.timezone), reach.mask(rule.when)) for _, rule in rules
                if isinstance(rule, ConsentRule) and only_domain(rule.when)]  # fmt: skip
    instants = sorted({-FAR_MS, *(instant for span, _ in consents for instant in span if instant < FAR_MS)})
    for name, category in document.categories.items():
        asks = reach.having("category", [name])
        if category.purpose != "marketing" or not asks:
            continue
        ever = _speaking(consents, None)
        missing = asks & ~ever or next(filter(None, (asks & ~_speaking(consents, at_ms) for at_ms in instants)), 0)
        if missing:
            yield _unasked(name, missing, reach, is_ever=not asks & ~ever)


def _speaking(consents: list[tuple[Span, int]], at_ms: int | None) -> int:
    """The asks that a consent rule speaks about, at an instant or ever."""
    mask = 0
    for (begin_ms, end_ms), bits in consents:
        if at_ms is None or begin_ms <= at_ms < end_ms:
            mask |= bits
    return mask


def _unasked(name: str, missing: int, reach: Reach, *, is_ever: bool) -> Problem:
    asks, gaps = set(reach.spoken(reach.having("category", [name]))), set(reach.spoken(missing))
    channels = sorted({channel for *_, channel in gaps})
    departments = sorted({department for department, *_ in gaps})
    message = f"category `{name}` is for marketing but no consent rule "
    fix = f"add a rule with `kind: consent` and `when: {{category: {name}}}`"
    if is_ever:
        message += "is in force for it at all times"
        fix = "remove `effective` from the consent rule, or add one for the rest of the time"
    elif gaps == asks:
        message += "speaks about it"
    elif {ask for ask in asks if ask[2] in channels} == gaps:
        message += f"speaks about it by {', '.join(f'`{channel}`' for channel in channels)}"
    else:
        message += f"speaks about what {', '.join(f'`{department}`' for department in departments)} may ask for"
    return Problem(("categories", name), "marketing-without-consent", message, fix)


def _opposite_consents(rules: Rules, document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """An opt-out within an opt-in: the opt-in asks for a grant all the same, so the opt-out opens nothing."""
    consents = [(index, rule) for index, rule in rules if isinstance(rule, ConsentRule)]
    strict = [(index, rule) for index, rule in consents if rule.basis == "opt_in"]
    for index, rule in consents:
        if rule.basis == "opt_out":
            for other, opt_in in strict:
                if _always_with(opt_in, rule, document, reach):
                    message = f"`{rule.id}` says that no consent is needed, `{opt_in.id}` asks for it all the same"
                    fix = f"keep one of the two, or take these contacts out of the `when` of `{opt_in.id}`"
                    path: Path = ("rules", index, "basis")
                    yield Problem(path, "opposite-consent", message, fix, first=("rules", other, "id"))
                    break


def _wanted_but_never(rules: Rules, document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """A floor or a cell for contacts that a limit of 0 forbids."""
    never = [(index, rule) for index, rule in rules if _is_never(rule)]
    for index, rule in rules:
        if isinstance(rule, FloorRule | CellRule):
            for other, limit in never:
                if _always_with(limit, rule, document, reach):
                    field = "reach" if isinstance(rule, FloorRule) else "size"
                    message = f"`{rule.id}` wants contacts that `{limit.id}` never allows: its limit is 0"
                    fix = f"raise the limit of `{limit.id}`, or narrow one of the two"
                    yield Problem(
                        ("rules", index, field), "wanted-but-never", message, fix, first=("rules", other, "id")
                    )
                    break


def _is_never(rule: AnyRule) -> bool:
    if isinstance(rule, CapacityRule):
        return rule.limit == 0
    own_counts = isinstance(rule, CapRule) and (rule.counts is None or rule.counts == rule.when)
    return (
        isinstance(rule, CapRule)
        and own_counts
        and rule.limit == 0
        and not rule.limit_by.segment
        and rule.unit != "points"
    )


def _floors_over_capacity(rules: Rules, document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """A floor that wants more contacts than a capacity on the same contacts gives out between its dates."""
    zone = document.timezone
    for index, floor in rules:
        if not isinstance(floor, FloorRule):
            continue
        dates = moment(floor.from_, zone, "start"), moment(floor.until, zone, "end")
        for other, capacity in rules:
            if not isinstance(capacity, CapacityRule) or not _always_with(capacity, floor, document, reach, dates):
                continue
            most = _most(capacity, dates, zone)
            if 0 < most < floor.reach:
                message = (
                    f"`{floor.id}` is to reach {floor.reach}, but `{capacity.id}` gives out only {most} in that time"
                )
                fix = f"lower `reach`, raise the limit of `{capacity.id}`, or take more time"
                path: Path = ("rules", index, "reach")
                yield Problem(path, "floor-over-capacity", message, fix, first=("rules", other, "id"))
                break


def _most(capacity: CapacityRule, dates: Span, zone: str) -> int:
    """The most that a capacity can give out between two instants."""
    unit = capacity.window.removeprefix("calendar ")
    most = capacity.limit * _windows(unit, dates, zone)
    if capacity.hourly is not None:
        most = min(most, capacity.hourly * _windows("hour", dates, zone))
    return most


def _windows(unit: str, dates: Span, zone: str) -> int:
    """How many calendar windows lie between two instants, those at the ends included; no fewer than there are."""
    if (dates[1] - dates[0]) // UNIT_MS[unit] > WINDOWS_COUNTED_MAX:
        return (dates[1] - dates[0]) // HOUR_MS + 2
    count, at_ms = 0, dates[0]
    while at_ms < dates[1]:
        at_ms = calendar_window(unit, zone, at_ms)[1]
        count += 1
    return count


def _always_with(
    wide: AnyRule, narrow: AnyRule, document: PolicyDocument, reach: Reach, span: Span | None = None
) -> bool:
    """Whether ``wide`` speaks about every request that ``narrow`` speaks about, at all times (of ``span``)."""
    there, here = span_of(wide, document.timezone), span or span_of(narrow, document.timezone)
    speaks = reach.mask(narrow.when) != 0
    kind = str(wide.__struct_config__.tag)
    # What is exempt from `wide` must not count as covered: only if none of it is does `wide` speak about all of it.
    is_bound = not reach.mask(narrow.when) & ~reach.obeying(kind)
    return (
        speaks
        and is_bound
        and there[0] <= here[0]
        and here[1] <= there[1]
        and reach.covers(wide.when, narrow.when, kind)
    )


_ALONE: dict[type, Callable[..., Iterator[Problem]]] = {
    BlackoutRule: _blackout,
    CapacityRule: _capacity,
    CapRule: _cap,
    CellRule: _cell,
    ConflictRule: _conflict,
    FloorRule: _floor,
}
