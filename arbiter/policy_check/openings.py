"""Whether the rules that close times ever leave enough time to contact anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from arbiter.policy.document import PolicyDocument
from arbiter.policy.rules import Rule
from arbiter.policy.rules.base import Closing
from arbiter.policy_check.problem import Path, Problem
from arbiter.policy_check.reach import Reach, only_domain
from arbiter.timing.instants import DAY_MS, FAR_MS
from arbiter.timing.opening_hours import NO_DATES, Closed, Closings, Span
from arbiter.timing.windows import duration_ms

SINCE_MS = 20_457 * DAY_MS
"""The beginning of the search: 2026-01-04, a Sunday. Only what repeats matters, so any day would do."""
LOOK_MS = 500 * DAY_MS
"""The length of the search: more than a year of weeks and yearly dates."""

AlwaysClosing = tuple[int, Rule, Closing]
"""Number, rule, and the times that it closes year after year."""


def never_open(document: PolicyDocument, reach: Reach, skip: frozenset[int]) -> Iterator[Problem]:
    """Rules that together never leave a channel open for as long as the shortest permit."""
    reported: set[tuple[int, ...]] = set()
    for rules, channels in _groups(document, reach, skip):
        culprits = _fewest(rules, document)
        numbers = tuple(index for index, *_ in culprits)
        if culprits and numbers not in reported:
            reported.add(numbers)
            yield _never(culprits, channels, document)


def never_open_without_zone(document: PolicyDocument, reach: Reach) -> Iterator[Problem]:
    """Quiet hours that are never open at once in all zones where a customer without a zone may be."""
    zones = tuple(document.candidate_zones)
    if document.unknown_customer_zone != "every_candidate" or len(zones) < 2:  # noqa: PLR2004 - one zone is no spread
        return
    reported: set[int] = set()
    for rules, channels in _groups(document, reach, frozenset()):
        quiet = [one for one in rules if one[2].is_local]
        if not quiet or _opens(_merged(quiet), zones, document):
            continue
        index, _, closing = quiet[-1]
        if index not in reported:
            reported.add(index)
            message = (
                f"customers without a known zone can never be contacted by {_or(channels)}: it is never open in all"
            )
            message += f" {len(zones)} `candidate_zones` at once"
            fix = "name fewer candidate zones, or write `unknown_customer_zone: business`"
            yield Problem(("rules", index, closing.field), "never-open-without-zone", message, fix, "warning")


def _groups(
    document: PolicyDocument, reach: Reach, skip: frozenset[int]
) -> Iterator[tuple[list[AlwaysClosing], list[str]]]:
    """Closing rules that surely apply to the same asks, and the channels of those."""
    closing: dict[int, tuple[AlwaysClosing, int]] = {}
    for index, rule in enumerate(document.rules):
        if index not in skip and _is_always_in_force(rule, document) and (closes := rule.closing()) is not None:
            closing[index] = (index, rule, closes), reach.mask(rule.when) & reach.obeying(rule.kind)
    groups: dict[tuple[int, ...], int] = {}
    for number in range(len(reach.asks)):
        speaking = tuple(index for index, (_, mask) in closing.items() if mask >> number & 1)
        groups[speaking] = groups.get(speaking, 0) | 1 << number
    for speaking, mask in groups.items():
        if speaking:
            channels = sorted({channel for _, _, channel in reach.listed(mask)})
            yield [closing[index][0] for index in speaking], channels


def _is_always_in_force(rule: Rule, document: PolicyDocument) -> bool:
    return rule.mode == "enforce" and rule.in_force(document.timezone)[1] >= FAR_MS and only_domain(rule.when)


def _fewest(rules: list[AlwaysClosing], document: PolicyDocument) -> list[AlwaysClosing]:
    """The fewest of the rules that are never open together. None if all of them together do open."""
    zones = (document.timezone,)
    if _opens(_merged(rules), zones, document):
        return []
    for rule in list(rules):
        fewer = [other for other in rules if other is not rule]
        if fewer and not _opens(_merged(fewer), zones, document):
            rules = fewer
    return rules


def _merged(rules: Sequence[AlwaysClosing]) -> Closed:
    """The times that the rules close together."""
    by_weekday: tuple[tuple[Span, ...], ...] = ((),) * 7
    days = NO_DATES
    for _, _, closing in rules:
        closed = closing.closed
        by_weekday = tuple(known + more for known, more in zip(by_weekday, closed.by_weekday, strict=True))
        days = days | closed.days
    return Closed(by_weekday=by_weekday, days=days)


def _opens(closed: Closed, zones: tuple[str, ...], document: PolicyDocument) -> bool:
    """Whether there is ever time for the shortest permit, in all zones at once."""
    closings, least_ms = Closings(closed, zones), duration_ms(document.permit.min)
    at_ms = SINCE_MS
    while at_ms < SINCE_MS + LOOK_MS:
        opens_ms = closings.closed_until(at_ms)
        at_ms = at_ms if opens_ms is None else opens_ms
        closes_ms = closings.next_close(at_ms) if at_ms < FAR_MS else FAR_MS
        if at_ms < FAR_MS and closes_ms - at_ms >= least_ms:
            return True
        at_ms = closes_ms
    return False


def _never(culprits: list[AlwaysClosing], channels: list[str], document: PolicyDocument) -> Problem:
    index, rule, closing = culprits[-1]
    least = f"for {document.permit.min}, the shortest permit"
    path: Path = ("rules", index, closing.field)
    fix = "leave some hours open; to forbid a channel, take it out of the departments' `channels`"
    others = [f"`{other.id}`" for _, other, _ in culprits[:-1]]
    if not others:
        return Problem(path, "never-open", f"`{rule.id}` is never open {least}, so nothing could ever be sent", fix)
    message = (
        f"together with {' and '.join(others)} this is never open {least}: nothing could be sent by {_or(channels)}"
    )
    return Problem(path, "never-open", message, fix, first=("rules", culprits[0][0], "id"))


def _or(names: list[str]) -> str:
    words = [f"`{name}`" for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
