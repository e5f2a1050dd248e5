"""``cap``: at most ``limit`` contacts (or points) in a window, per party or customer and any other field.

Yes if used + own ≤ limit. A rolling window ``w`` judged at ``at`` holds the contacts later than ``at − w``, future
ones included, so that the window stays true whatever the sending times turn out to be; a calendar window holds
those inside it, and ends the permits that draw on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from msgspec import Meta, Struct

from arbiter.core.case import Case, Group, Shape
from arbiter.core.instants import FAR_MS
from arbiter.core.match import Matcher, Subject, When
from arbiter.core.model import Finding
from arbiter.core.rules.base import Judge, Rule, used_contacts
from arbiter.core.windows import Window, calendar_window, parse_window, spoken

PerField = Literal["party", "customer", "department", "campaign", "category", "channel", "product"]
Limit = Annotated[int, Meta(ge=0, description="How many contacts, or points, fit in the window.")]
WINDOWS_AHEAD_MAX = 1_000

Counted = tuple[int, int, str, str, str]
"""(instant, cost, department, channel, campaign) of a contact that counts."""


class Keep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"for_": "for"}):
    """Headroom: places that only requests matching ``for`` may take."""

    slots: Annotated[int, Meta(ge=1, description="Others fill at most the limit less these.")]
    for_: Annotated[When, Meta(min_length=1, description="Whom the places are kept for.")]


class LimitBy(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Limits that stand in for ``limit``."""

    segment: Annotated[
        dict[str, Limit], Meta(description="Segment → limit; the strictest counts for a customer of several.")
    ] = {}


class CapRule(Rule, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, tag="cap"):
    """A ceiling on contacts in a window."""

    per: Annotated[list[PerField], Meta(min_length=1, description="`party` or `customer`, and any other fields.")]
    limit: Limit
    window: Annotated[str, Meta(description="`rolling 7d`, or `calendar week` (hour, day, month, quarter, year).")]
    unit: Annotated[Literal["contacts", "points"], Meta(description="`points` weighs channels.")] = "contacts"
    counts: Annotated[When, Meta(description="Which past contacts count; as `when` if left out.")] | None = None
    limit_by: Annotated[LimitBy, Meta(description="Other limits for some customers.")] = LimitBy()
    keep: Annotated[Keep | None, Meta(description="Headroom for what matters more.")] = None


class CapJudge(Judge):
    """Counts the party's contacts."""

    kind = "cap"

    def __init__(self, rule: CapRule, from_ms: int, until_ms: int) -> None:
        super().__init__(rule, from_ms, until_ms)
        self._limit = rule.limit
        self._by_segment = rule.limit_by.segment
        self._window: Window = parse_window(rule.window)
        self._unit = rule.unit
        self._counts = Matcher(rule.when if rule.counts is None else rule.counts)
        self._same: list[Callable[[Case, Group], bool]] = [_SAME[field] for field in rule.per if field != "party"]
        self._party_zone = "party" in rule.per
        self._kept = rule.keep.slots if rule.keep else 0
        self._for = Matcher(rule.keep.for_) if rule.keep else None

    def check(self, case: Case, at_ms: int) -> Finding | None:
        """A finding until the budget has room for this contact."""
        own, limit = self._own(case), self.limit(case)
        finding = self._full(case, self._counted(case), at_ms, own, limit)
        if finding is None and self._for is not None and not _matches(self._for, case.shape, case.subject):
            left = max(limit - self._kept, 0)
            finding = self._full(case, self._counted(case, others_only=True), at_ms, own, left, "reserved")
        return finding

    def _full(
        self, case: Case, counted: list[Counted], at_ms: int, own: int, limit: int, code: str = "cap_reached"
    ) -> Finding | None:
        """A finding if what was counted leaves no room under ``limit``."""
        if not counted and own <= limit:
            return None
        low, high = self._bounds(case, at_ms)
        inside = [entry for entry in counted if low < entry[0] < high]
        used = sum(entry[1] for entry in inside)
        if used + own <= limit:
            return None
        until = None if own > limit else self._frees(case, counted, at_ms, limit - own)
        return self.no(
            code,
            self._sentence(case, used, own, limit, until),
            until,
            used=used,
            limit=limit,
            window=self._window.text,
            **used_contacts(case, [(entry[0], *entry[2:]) for entry in inside]),
        )

    def permit_end(self, case: Case, at_ms: int) -> int:
        """The end of the calendar window that the contact draws on."""
        if self._window.unit is None or not self._own(case):
            return FAR_MS
        return self._bounds(case, at_ms)[1]

    def limit(self, case: Case) -> int:
        """The limit for this customer: the strictest one of the customer's segments, if any is named."""
        if not self._by_segment or not case.subject.segments:
            return self._limit
        return min((self._by_segment[s] for s in case.subject.segments if s in self._by_segment), default=self._limit)

    def _own(self, case: Case) -> int:
        return case.cost(case.request.channel, self._unit) if _matches(self._counts, case.shape, case.subject) else 0

    def _counted(self, case: Case, *, others_only: bool = False) -> list[Counted]:
        """The contacts that count; ``others_only`` leaves out those that headroom is kept for."""
        counted: list[Counted] = []
        for group in case.groups:
            kept = self._for if others_only else None
            if kept is not None and _matches(kept, group.shape, case.contact_subject(group.kind.customer)):
                continue
            if self._group_counts(case, group):
                kind, cost = group.kind, case.cost(group.kind.channel, self._unit)
                counted += [(c.at_ms, cost, kind.department, kind.channel, kind.campaign) for c in group.contacts]
        return counted

    def _group_counts(self, case: Case, group: Group) -> bool:
        if not all(same(case, group) for same in self._same):
            return False
        if not group.kind.category:
            return True  # a contact nobody asked for, of a kind nobody told: it counts everywhere
        if not self._counts.shape_matches(group.shape):
            return False
        return self._counts.shape_only or self._counts.rest_matches(case.contact_subject(group.kind.customer))

    def _bounds(self, case: Case, at_ms: int) -> tuple[int, int]:
        """What lies strictly after the first and before the second is in the window."""
        if self._window.rolling_ms is not None:
            return at_ms - self._window.rolling_ms, FAR_MS
        start, end = calendar_window(self._window.unit or "", self._zone(case), at_ms)
        return start - 1, end

    def _zone(self, case: Case) -> str:
        return case.party_zone if self._party_zone else case.zone

    def _frees(self, case: Case, counted: list[Counted], at_ms: int, room: int) -> int:
        """The first instant from which at most ``room`` is used."""
        if self._window.rolling_ms is not None:
            left = 0
            for when_ms, cost, *_ in sorted(counted, reverse=True):
                left += cost
                if left > room:
                    return when_ms + self._window.rolling_ms
        for _ in range(WINDOWS_AHEAD_MAX):
            start, end = self._bounds(case, at_ms)
            if sum(entry[1] for entry in counted if start < entry[0] < end) <= room:
                return start + 1
            at_ms = end
        return FAR_MS

    def _sentence(self, case: Case, used: int, own: int, limit: int, until_ms: int | None) -> str:
        unit = self._unit
        if until_ms is None:
            return f"this contact costs {own} {unit}, more than the limit of {limit} {unit}"
        when = f"there is room again at {spoken(until_ms, self._zone(case))}" if until_ms < FAR_MS else "for good"
        return f"{used} of {limit} {unit} used in {self._window.text}, this one needs {own}; {when}"


def _matches(matcher: Matcher, shape: Shape, subject: Subject) -> bool:
    return matcher.shape_matches(shape) and (matcher.shape_only or matcher.rest_matches(subject))


_SAME: dict[str, Callable[[Case, Group], bool]] = {
    "customer": lambda case, group: group.kind.customer == case.kind.customer,
    "department": lambda case, group: group.kind.department == case.kind.department,
    "campaign": lambda case, group: group.kind.campaign == case.kind.campaign,
    "category": lambda case, group: group.kind.category == case.kind.category,
    "channel": lambda case, group: group.kind.channel == case.kind.channel,
    "product": lambda case, group: group.kind.product == case.kind.product,
}
