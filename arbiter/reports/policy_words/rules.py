"""Each rule in sentences that can be signed: limits, windows, hours, conditions, and what a "no" means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import SHAPE_FIELDS, Condition, Matcher, Test, When, plain_number
from arbiter.policy.rules import (
    AnyRule,
    ArbitrationRule,
    BlackoutRule,
    CapacityRule,
    CapRule,
    CellRule,
    ConflictRule,
    ConsentRule,
    FloorRule,
    HoldoutRule,
    QuietHoursRule,
    SuppressionRule,
)
from arbiter.policy.rules.conflict import OUTCOMES
from arbiter.reports.policy_words.phrases import (
    both,
    contacts,
    counted,
    date,
    dates,
    days,
    duration,
    either,
    hours,
    until,
    window,
)
from arbiter.timing.windows import parse_window

SHARE_FACTOR = 100


def sentences(rule: AnyRule, document: PolicyDocument) -> list[str]:
    """The rule in sentences, without its reason and owner."""
    says: Callable[[Any, PolicyDocument], Iterator[str]] = _SAYS[type(rule)]
    return [*says(rule, document), *_not_bound(rule, document), *_when_in_force(rule, document)]


def _not_bound(rule: AnyRule, document: PolicyDocument) -> Iterator[str]:
    kind, category = str(rule.__struct_config__.tag), rule.when.get("category")
    matches = Matcher({} if category is None else {"category": category})
    spared = [name for name, one in document.categories.items()
              if kind in one.exempt and matches.shape_matches(_shape_of(name))]  # fmt: skip
    if spared:
        counts = ", but count where they match" if isinstance(rule, CapRule) else ""
        yield f"Contacts of category {either(spared)} need not obey it{counts}."


def _shape_of(category: str) -> tuple[str | None, ...]:
    return tuple(category if field == "category" else None for field in SHAPE_FIELDS)


def _when_in_force(rule: AnyRule, document: PolicyDocument) -> Iterator[str]:
    if rule.effective is not None:
        begin = f" from {date(rule.effective.from_)}" if rule.effective.from_ else ""
        end = f" until {until(rule.effective.until)}" if rule.effective.until else ""
        yield f"It is in force{begin}{end} (time of {document.timezone})."
    if rule.mode == "shadow":
        yield "It is on trial (shadow mode): it stops nothing and only reports what it would have stopped."
    if rule.mode == "off":
        yield "It is switched off and does nothing."


def _consent(rule: ConsentRule, _: PolicyDocument) -> Iterator[str]:
    if rule.basis == "opt_in":
        yield f"{_for(rule.when)}only with the customer's own consent (opt-in), for a partner one that names it."
    else:
        yield f"{_for(rule.when)}allowed without consent (opt-out); but for a partner only with a grant that names it."
    yield "A withdrawal by the customer stops the contact until a later grant lifts it. The answer is no, not later."


def _for(when: When) -> str:
    return f"For {contacts(when)}: "


def _suppression(rule: SuppressionRule, _: PolicyDocument) -> Iterator[str]:
    who = "the customer, or anybody of the same party," if rule.scope == "party" else "the customer"
    lists = either(f"`{name}`" for name in rule.lists)
    after = f", and for {duration(rule.cool_down)} after leaving it" if rule.cool_down else ""
    yield f"{_for(rule.when)}none while {who} is on the list {lists}{after}."
    yield "Where the end is known the request waits for it; otherwise the answer is no."


def _quiet_hours(rule: QuietHoursRule, _: PolicyDocument) -> Iterator[str]:
    closed = []
    for day, spans in rule.closed.items():
        when = both([hours(span) for span in ([spans] if isinstance(spans, str) else spans)])
        on = "" if day == "every day" else "on "
        closed.append(f"{on}{days(day)} {when}")
    yield f"{_for(rule.when)}none {'; '.join(closed)}, in the customer's own time zone."
    if rule.holidays:
        yield f"Holidays are those of {both(f'`{name}`' for name in rule.holidays)}."
    yield "What falls into these hours waits until they are over."


def _blackout(rule: BlackoutRule, document: PolicyDocument) -> Iterator[str]:
    spans = [dates(text) for text in rule.dates]
    spans += [f"the holidays of `{name}`" for name in rule.holidays]
    parts = [f"on {both(spans)}"] if spans else []
    if rule.from_ is not None and rule.until is not None:
        parts.append(f"from {date(rule.from_)} until {until(rule.until)}")
    yield f"{_for(rule.when)}none {', nor '.join(parts)} (time of {document.timezone})."
    yield "What falls on these days waits until they are over."


def _cap(rule: CapRule, document: PolicyDocument) -> Iterator[str]:
    unit = "point" if rule.unit == "points" else "contact"
    whom = "party" if "party" in rule.per else "customer"
    others = [field for field in rule.per if field not in ("party", "customer")]
    split = f", counted for each {both(others)} by itself" if others else ""
    if rule.limit == 0 and rule.unit == "contacts" and not rule.limit_by.segment and rule.counts is None:
        yield f"{_for(rule.when)}none at all. The answer is no, not later."
        return
    yield f"{_for(rule.when)}at most {counted(rule.limit, unit)} {window(rule.window)} for each {whom}{split}."
    if parse_window(rule.window).unit is not None:
        shared = f"zone that all of the party share, else of {document.timezone}"
        yield f"The calendar is that of the {shared if whom == 'party' else 'zone of the customer'}."
    if rule.unit == "points":
        costs = [f"{counted(channel.points, 'point')} by {name}" for name, channel in document.channels.items()]
        yield f"A contact costs {both(costs)}."
    for segment, other in rule.limit_by.segment.items():
        yield f"For customers in segment {segment} the limit is {counted(other, unit)}."
    if len(rule.limit_by.segment) > 1:
        yield "Of several segments the lowest limit counts."
    if rule.keep is not None:
        yield (
            f"{counted(rule.keep.slots, 'place is', 'places are')} kept for {contacts(rule.keep.for_)}; "
            "all others fill at most the rest."
        )
    if rule.counts is not None:
        yield f"What counts are {contacts(rule.counts)}; the request itself counts if it is one of them."
    yield "What does not fit waits until there is room."


def _capacity(rule: CapacityRule, document: PolicyDocument) -> Iterator[str]:
    limit = f"at most {counted(rule.limit, 'contact')}" if rule.limit else "none at all"
    hourly = f", and at most {rule.hourly:,} of them in each clock hour" if rule.hourly is not None else ""
    together = f"over all customers together{hourly} (time of {document.timezone})"
    yield f"{_for(rule.when)}{limit} {window(rule.window)} {together}."
    yield (
        "First come, first served; what does not fit waits for the next window." if rule.limit else "The answer is no."
    )


def _floor(rule: FloorRule, document: PolicyDocument) -> Iterator[str]:
    span = f"from {date(rule.from_)} until {until(rule.until)} (time of {document.timezone})"
    yield f"{_for(rule.when)}{rule.reach:,} should be reached {span}."
    ceiling = plain_number(rule.ceiling)
    yield f"While fewer are than are due by then, its requests score up to {ceiling} times as much. It stops nothing."


def _cell(rule: CellRule, document: PolicyDocument) -> Iterator[str]:
    yield f"{_for(rule.when)}none before {counted(rule.size, 'customer')} wait for nothing else; then all may begin."
    yield f"If that is not so by {until(rule.deadline)} (time of {document.timezone}), the answer is no."


def _conflict(rule: ConflictRule, _: PolicyDocument) -> Iterator[str]:
    other = {key: condition for key, condition in rule.after.items() if key != "outcome"}
    whom = "anybody of the same party" if rule.per == "party" else "the same customer"
    contact = f"{contacts(other, 'a contact')}," if other else "a contact"
    before = f"{_came_to(rule.after['outcome'])} concerning {contact}" if "outcome" in rule.after else contact
    yield f"{_for(rule.when)}none within {duration(rule.within)} after {before} to {whom}."
    yield "What comes too early waits until that time is over."


def _came_to(outcomes: Condition) -> str:
    named = outcomes.not_ if isinstance(outcomes, Test) else outcomes
    said = either([OUTCOMES.get(str(one), str(one)) for one in (named if isinstance(named, list) else [named])])
    return f"any other outcome than {said}" if isinstance(outcomes, Test) else said


def _arbitration(rule: ArbitrationRule, _: PolicyDocument) -> Iterator[str]:
    yield (
        f"{_for(rule.when)}requests are gathered for {duration(rule.hold)} from a party's first one on, "
        "then decided together, best score first."
    )


def _holdout(rule: HoldoutRule, _: PolicyDocument) -> Iterator[str]:
    share = plain_number(round(rule.share * SHARE_FACTOR, 10))
    yield f"{_for(rule.when)}{share} % of all customers, always the same, are never contacted: a control group."
    yield f"Who is in it follows from the customer's id and the salt `{rule.salt}`."


_SAYS: dict[type, Callable[..., Iterator[str]]] = {
    ArbitrationRule: _arbitration,
    BlackoutRule: _blackout,
    CapacityRule: _capacity,
    CapRule: _cap,
    CellRule: _cell,
    ConflictRule: _conflict,
    ConsentRule: _consent,
    FloorRule: _floor,
    HoldoutRule: _holdout,
    QuietHoursRule: _quiet_hours,
    SuppressionRule: _suppression,
}
