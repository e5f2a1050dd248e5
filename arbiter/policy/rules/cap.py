"""``cap``: at most ``limit`` contacts (or points) in a window, per party or customer and any other field.

Yes if used + own ≤ limit. A rolling window ``w`` evaluated at ``at`` holds the contacts later than ``at − w``, also
future ones: so the cap holds whenever they are sent. A calendar window holds the contacts inside it, and a permit that
draws on it ends with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, Self

from msgspec import Meta, Struct

from arbiter.ledger.contacts import Shape
from arbiter.messages import Finding
from arbiter.policy.frame import PolicyFrame
from arbiter.policy.inputs import Inputs, Used, Where
from arbiter.policy.match import REQUEST_FIELDS, SHAPE_FIELDS, Matcher, When, names_one, spoken_when
from arbiter.policy.phrases import both, contacts, counted, of, window
from arbiter.policy.rules.base import NEVER_MS, NOW_MS, Rule, kind_of, used_contacts
from arbiter.policy.rules.checking import HELD_BY, Checker, Code, Mistake, Reach, check_permit_fits, lint_zero
from arbiter.policy.rules.counting import CompiledCounting
from arbiter.timing.instants import FAR_MS
from arbiter.timing.windows import Window, calendar_window, duration_ms, parse_window, spoken

PerField = Literal["party", "customer", "department", "campaign", "category", "channel", "product"]
Limit = Annotated[int, Meta(ge=0, description="How many contacts, or points, fit in the window.")]
WINDOWS_AHEAD_MAX = 1_000
CATEGORY, CHANNEL = SHAPE_FIELDS.index("category"), SHAPE_FIELDS.index("channel")


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
    """At most so many contacts, or points, in a window, for each customer or household."""

    per: Annotated[list[PerField], Meta(min_length=1, description="`party` or `customer`, and any other fields.")]
    limit: Limit
    window: Annotated[str, Meta(description="`rolling 7d`, or `calendar week` (hour, day, month, quarter, year).")]
    unit: Annotated[Literal["contacts", "points"], Meta(description="`points` weighs channels.")] = "contacts"
    counts: Annotated[When, Meta(description="Which past contacts count; as `when` if left out.")] | None = None
    limit_by: Annotated[LimitBy, Meta(description="Other limits for some customers.")] = LimitBy()
    keep: Annotated[Keep | None, Meta(description="Headroom for what matters more.")] = None

    reference = """
        At most `limit` in `window`. `per` names `party` or `customer`, and any of `department`, `campaign`, `category`,
        `channel`, `product`: contacts that are equal on them share a budget, and a missing field is a bucket of its
        own. Past contacts count if they match `counts` (if left out: `when`); `counts` may look only at what is
        remembered of a contact: department, campaign, channel, category, product, partner, and the customer's profile
        and segments of today. Yes if used + own ≤ limit, where own is this request's cost if it matches `counts`, else
        0. `unit: points` prices every contact, past ones too, at today's channel points. `limit_by: {segment: {private:
        1}}` gives a segment a limit of its own; a customer in several has the strictest. Defer to the exact moment at
        which there is room; a contact that costs more than the limit is rejected, with no next time.

        `keep: {slots: 1, for: {product: retention}}` is headroom: contacts that do not match `for` fill at most the
        limit (the segment's, where it has one of its own) less the slots (`reserved`), those that match may take every
        place.
        """
    codes = {
        "cap_reached": Code("the contact budget of the window is used up", is_budget=True),
        "reserved": Code("the room that is left is kept for something else", is_budget=True),
    }
    mistakes = {
        "bad-per": Mistake(
            "A cap that counts per party and per customer, or per neither.", "Name one of the two.", "forms"
        ),
        "not-remembered": Mistake(
            "A cap counts by something that is not remembered with a contact.",
            "Say with `counts:` which past contacts count.",
            "forms",
            looks_at=("counts",),
        ),
        "keep-over-limit": Mistake(
            "More places kept than the limit has.", "Keep fewer, or raise the limit.", "contradictions"
        ),
        "never-affordable": Mistake(
            "A channel whose contacts cost more points than the limit has.",
            "Raise the limit, or lower the channel's `points`.",
            "warnings",
        ),
        "all-kept": Mistake(
            "Headroom as large as the limit, so that others are always refused.", "Keep fewer places.", "warnings"
        ),
        "kept-for-nobody": Mistake(
            "Headroom for requests that the rule does not apply to.", "Let `for` be a part of `when`.", "warnings"
        ),
    }
    stand_ins = {
        "per": ["party"],
        "limit": 10**9,
        "window": "calendar day",
        "keep": {"slots": 1, "for": {"category": "-"}},
    }
    formed = frozenset({"per", "window", "unit"})
    exempt_counts = True
    tames_marketing = True

    def compile(self, policy: PolicyFrame, from_ms: int, until_ms: int) -> CompiledCap:
        """See :meth:`Rule.compile`."""
        if ("party" in self.per) == ("customer" in self.per):
            raise ValueError("`per` must name either `party` or `customer`")
        return CompiledCap(self, from_ms, until_ms, [channel.points for channel in policy.channels.values()])

    def words(self, policy: PolicyFrame) -> Iterator[str]:
        """See :meth:`Rule.words`."""
        unit = "point" if self.unit == "points" else "contact"
        whom = "party" if "party" in self.per else "customer"
        others = [field for field in self.per if field not in ("party", "customer")]
        split = f", counted for each {both(others)} by itself" if others else ""
        if self.limit == 0 and self.unit == "contacts" and not self.limit_by.segment and self.counts is None:
            yield f"{of(self.when)}none at all. The answer is no, not later."
            return
        yield f"{of(self.when)}at most {counted(self.limit, unit)} {window(self.window)} for each {whom}{split}."
        if parse_window(self.window).unit is not None:
            shared = f"zone that all of the party share, else of {policy.timezone}"
            yield f"The calendar is that of the {shared if whom == 'party' else 'zone of the customer'}."
        if self.unit == "points":
            costs = [f"{counted(channel.points, 'point')} by {name}" for name, channel in policy.channels.items()]
            yield f"A contact costs {both(costs)}."
        yield from self._other_limits(unit)
        if self.counts is not None:
            yield f"What counts are {contacts(self.counts)}; the request itself counts if it is one of them."
        yield "What does not fit waits until there is room."

    def _other_limits(self, unit: str) -> Iterator[str]:
        """The limits of segments, and headroom, in words."""
        for segment, other in self.limit_by.segment.items():
            yield f"For customers in segment {segment} the limit is {counted(other, unit)}."
        if len(self.limit_by.segment) > 1:
            yield "Of several segments the lowest limit counts."
        if self.keep is not None:
            yield (
                f"{counted(self.keep.slots, 'place is', 'places are')} kept for {contacts(self.keep.for_)}; "
                "all others fill at most the rest."
            )

    def check(self, c: Checker) -> None:
        """Window, buckets, what counts and headroom must make sense."""
        if c.reads("window", "bad-window", parse_window, self.window):
            if parse_window(self.window).longest_ms > duration_ms(c.policy.history):
                message = f"the window `{self.window}` is longer than contacts are remembered, {c.policy.history}"
                c.error("window", "window-too-long", message, "shorten it, or raise `history`")
            check_permit_fits(c, "window", self.window)
        if ("party" in self.per) == ("customer" in self.per):
            c.error("per", "bad-per", "`per` must name either `party` or `customer`", "name one of them")
        if self.counts is not None:
            c.conditions("counts", self.counts)
        for key in _counted(self):
            if key.startswith("attributes.") or (key in REQUEST_FIELDS and key not in SHAPE_FIELDS):
                message = f"`{key}` is not remembered with a contact, so nothing would ever count"
                fields = f"{', '.join(SHAPE_FIELDS)}, `profile.x` or segment"
                fix = f"say with `counts:` which past contacts count, by {fields}"
                c.error(("when" if self.counts is None else "counts", key), "not-remembered", message, fix)
        for segment in self.limit_by.segment:
            c.known(("limit_by", "segment", segment), "segment", segment, c.policy.segments)
        if self.keep is not None:
            c.conditions(("keep", "for"), self.keep.for_)
            if self.keep.slots > self.limit:
                message = f"{self.keep.slots} places are kept of a limit of {self.limit}"
                c.error(("keep", "slots"), "keep-over-limit", message, "keep fewer, or raise `limit`")

    def lint(self, c: Checker) -> None:
        """Limits that always or never stop something."""
        lint_zero(c, self.limit)
        if self.keep is not None:
            self._lint_keep(self.keep, c)
        kind, points = kind_of(CapRule), c.policy.channels
        channels = c.reach.channels(self.when, _counted(self), kind=kind) if self.unit == "points" else []
        dear = next((name for name in channels if points[name].points > self.limit > 0), None)
        if dear is not None:
            cost = f"a contact by `{dear}` costs {points[dear].points} points"
            message = f"{cost}, more than the limit of {self.limit}: it is always refused"
            c.warning("limit", "never-affordable", message, "raise the limit, or lower the channel's `points`")

    def _lint_keep(self, keep: Keep, c: Checker) -> None:
        by_segment = self.limit_by.segment
        least = min([self.limit, *by_segment.values()])
        if not c.reach.meets(self.when, keep.for_):
            message = "the places are kept for requests that this rule does not apply to, so nobody ever gets them"
            c.warning(("keep", "for"), "kept-for-nobody", message, "let `for` be a part of `when`")
        elif 0 < least <= keep.slots:
            segments = [f" of segment `{name}`" for name, limit in by_segment.items() if limit < self.limit]
            of_whom = segments[0] if segments and self.limit > keep.slots else ""
            message = f"{keep.slots} of {least} places{of_whom} are kept, so all others are always refused"
            c.warning(("keep", "slots"), "all-kept", message, "keep fewer, or raise the limit")

    def is_as_strict_as(self, other: Self, reach: Reach) -> bool:
        """It counts all that the other counts, its window contains the other's, and its limit leaves no more room."""
        return (
            self.unit == other.unit
            and reach.covers_contacts(_counted(self), _counted(other))
            and self._shares(other)
            and self._holds(other)
            and self._leaves_less(other)
        )

    def _shares(self, other: Self) -> bool:
        """Whether contacts that share a budget of the other share one of this rule."""
        if "customer" in self.per and "customer" not in other.per:
            return False
        finer = set(self.per) - set(other.per) - {"party", "customer"}
        pinned = [names_one(other.when, field) and other.when[field] == _counted(other).get(field) for field in finer]
        return all(pinned)

    def _holds(self, other: Self) -> bool:
        """Whether its window always contains the other's."""
        wide, narrow = parse_window(self.window), parse_window(other.window)
        if wide.rolling_ms is not None:
            return wide.rolling_ms >= narrow.longest_ms
        # A party's windows are in the zone that its members share, a customer's in the customer's own.
        same_zone = ("party" in self.per) == ("party" in other.per)
        return narrow.unit is not None and same_zone and (wide.unit or "") in HELD_BY[narrow.unit]

    def _leaves_less(self, other: Self) -> bool:
        """Whether its limit is never above the other's, with all segments and headroom."""
        mine, theirs = self.limit_by.segment, other.limit_by.segment
        if mine.keys() == theirs.keys() and (other.keep is None or other.keep == self.keep):
            return self.limit <= other.limit and all(limit <= theirs[name] for name, limit in mine.items())
        kept = other.keep.slots if other.keep else 0
        return max([self.limit, *mine.values()]) <= min([other.limit, *theirs.values()]) - kept

    @property
    def in_short(self) -> str:
        """See :attr:`Rule.in_short`."""
        return f"{self.limit} in {self.window}"

    @property
    def forbids(self) -> bool:
        """Whether the limit is 0 for everybody, and what asks counts."""
        is_zero = self.limit == 0 and not self.limit_by.segment and self.unit != "points"
        return is_zero and _counted(self) == self.when


def _counted(rule: CapRule) -> When:
    """The past contacts that count."""
    return rule.when if rule.counts is None else rule.counts


class CompiledCap(CompiledCounting):
    """Counts the party's contacts."""

    def __init__(self, rule: CapRule, from_ms: int, until_ms: int, points: Sequence[int] = ()) -> None:
        """``points`` are what contacts cost, by all channels, where the rule counts in points."""
        super().__init__(rule, from_ms, until_ms)
        self._limit = rule.limit
        self._by_segment = rule.limit_by.segment
        self._window: Window = parse_window(rule.window)
        self._unit = rule.unit
        self._rolling_ms = self._window.rolling_ms
        self._in_points = rule.unit == "points"
        self.dearest = max([1, *points]) if self._in_points else 1
        self._counts = Matcher(rule.when if rule.counts is None else rule.counts)
        self._same = [SHAPE_FIELDS.index(field) for field in rule.per if field in SHAPE_FIELDS]
        self.per_customer = "customer" in rule.per
        self.asks_who = not self._counts.shape_only
        self._party_zone = "party" in rule.per
        self._kept = rule.keep.slots if rule.keep else 0
        self._for = Matcher(rule.keep.for_) if rule.keep else None
        self._for_whom = spoken_when(rule.keep.for_) if rule.keep else ""
        # The strictest limit, less what is kept of it: up to here there is room for everybody.
        self.least = max(min([self._limit, *self._by_segment.values()]) - self._kept, 0)
        self._windows: dict[str, tuple[int, int]] = {}  # the last one of each zone: most questions are about today
        self.cuts = self.is_timed = self._window.unit is not None

    def until(self, e: Inputs, at_ms: int) -> int:
        """When the budget has room for this contact."""
        own, spent = self._own(e), e.counted_by(self)
        limit = self._limit_for(e) if self._by_segment else self._limit
        until_ms = self._frees(e, spent, at_ms, limit - own)
        if until_ms == NOW_MS and self._for is not None and not _matches(self._for, e):
            until_ms = self._frees(e, self._others(e, spent), at_ms, max(limit - self._kept, 0) - own)
        return until_ms if until_ms in (NOW_MS, NEVER_MS) else self.bounded(until_ms)

    def explain(self, e: Inputs, at_ms: int, until_ms: int) -> Finding:
        """A finding that tells what used the budget."""
        own, spent, limit, code = self._own(e), e.counted_by(self), self._limit_for(e), "cap_reached"
        if self._for is not None and self._frees(e, spent, at_ms, limit - own) == NOW_MS:
            spent, limit, code = self._others(e, spent), max(limit - self._kept, 0), "reserved"
        if own <= limit and until_ms >= NEVER_MS:
            until_ms = min(self._frees(e, spent, at_ms, limit - own), self.until_ms)
        low, high = self._bounds(e, at_ms)
        inside = [one for one in spent if low < one[0] < high]
        used = self._cost(e, inside)
        end_ms = None if own > limit else until_ms
        message = self._sentence(e, used, own, limit, end_ms, is_kept=code == "reserved")
        told, window = used_contacts(e, [(one[0], one[1]) for one in inside]), self._window.text
        return self.no(code, message, end_ms, used=used, limit=limit, window=window, contacts=told)

    def changes_at(self, where: Where, at_ms: int) -> int:
        """The end of the calendar window."""
        return self._bounds(where, at_ms)[1]

    def closes_at(self, where: Where, at_ms: int) -> int:
        """The end of the calendar window that the contact draws on."""
        return FAR_MS if self._window.unit is None or at_ms < self.from_ms else self._bounds(where, at_ms)[1]

    def permit_end(self, e: Inputs, at_ms: int) -> int:
        """The end of the calendar window, if the contact draws on it."""
        return self.closes_at(e, at_ms) if self._own(e) else FAR_MS

    def cost_of_shape(self, shape: Shape, points: Mapping[str, int]) -> int | None:
        """What a request of this shape costs; ``None`` if more than the shape decides."""
        if not self._counts.shape_matches(shape):
            return 0
        if not self._counts.shape_only:
            return None
        return points.get(shape[CHANNEL] or "", 1) if self._in_points else 1

    def counts_shape(self, shape: Shape) -> bool:
        """Whether contacts of this shape may count."""
        # A contact nobody asked for, of a kind nobody told, counts everywhere.
        return not shape[CATEGORY] or self._counts.shape_matches(shape)

    def is_shared(self, shape: Shape, other: Shape) -> bool:
        """Whether the fields that the budget is split by are the same."""
        for index in self._same:  # noqa: SIM110 - as in Matcher
            if shape[index] != other[index]:
                return False
        return True

    def counts_of(self, e: Inputs, customer: str) -> bool:
        """See :meth:`CompiledCounting.counts_of`."""
        return self._counts.rest_matches(e.of_contact(customer))

    def leaves_at(self, where: Where, at_ms: int) -> int:
        """See :meth:`CompiledCounting.leaves_at`."""
        if self._rolling_ms is not None:
            return at_ms + self._rolling_ms
        zone = self._zone(where)
        low, high = self._windows.get(zone, (0, 0))
        return high if low < at_ms < high else calendar_window(self._window.unit or "", zone, at_ms)[1]

    def _limit_for(self, e: Inputs) -> int:
        """The limit for this customer: the strictest one of the customer's segments, if any is named."""
        if not e.segments:
            return self._limit
        return min((self._by_segment[s] for s in e.segments if s in self._by_segment), default=self._limit)

    def _own(self, e: Inputs) -> int:
        cost = e.costs.get(self)
        if cost is None:
            matches = _matches(self._counts, e)
            cost = (e.points.get(e.request.channel, 1) if self._in_points else 1) if matches else 0
        return cost

    def _others(self, e: Inputs, spent: Sequence[Used]) -> Sequence[Used]:
        """The contacts without those that headroom is kept for."""
        kept = self._for
        if kept is None:
            return spent
        is_kept = [
            kept.shape_matches(shape) and (kept.shape_only or kept.rest_matches(e.of_contact(kind.customer)))
            for _, kind, shape in spent
        ]
        return [one for one, is_so in zip(spent, is_kept, strict=True) if not is_so]

    def _cost(self, e: Inputs, contacts: Sequence[Used]) -> int:
        """What these contacts use of the budget, at today's prices."""
        if not self._in_points:
            return len(contacts)
        return sum([e.points.get(kind.channel, 1) for _, kind, _ in contacts])

    def _bounds(self, where: Where, at_ms: int) -> tuple[int, int]:
        """The window: everything strictly after the first instant and strictly before the second."""
        if self._rolling_ms is not None:
            return at_ms - self._rolling_ms, NEVER_MS
        zone = self._zone(where)
        known = self._windows.get(zone)
        if known is None or not known[0] < at_ms < known[1]:
            start, end = calendar_window(self._window.unit or "", zone, at_ms)
            known = self._windows[zone] = (start - 1, end)
        return known

    def _zone(self, where: Where) -> str:
        return where.party_zone if self._party_zone else where.zone

    def _frees(self, e: Inputs, spent: Sequence[Used], at_ms: int, room: int) -> int:
        """The first instant from which at most ``room`` is used: ``NOW_MS`` if it is no more now."""
        if room < 0:
            return NEVER_MS
        if self._rolling_ms is not None:
            filled_ms = self._filled(e, spent, room)
            if filled_ms is None or filled_ms <= at_ms - self._rolling_ms:
                return NOW_MS
            return filled_ms + self._rolling_ms
        low, high = self._bounds(e, at_ms)
        if self._cost(e, [one for one in spent if low < one[0] < high]) <= room:
            return NOW_MS
        unit, zone = self._window.unit or "", self._zone(e)
        for _ in range(WINDOWS_AHEAD_MAX - 1):
            start, end = calendar_window(unit, zone, high)
            if self._cost(e, [one for one in spent if start <= one[0] < end]) <= room:
                return start
            high = end
        return FAR_MS

    def _filled(self, e: Inputs, spent: Sequence[Used], room: int) -> int | None:
        """When the first contact beyond ``room`` counts (ms), from the newest back; ``None`` if there is none."""
        if not self._in_points:
            return spent[-room - 1][0] if len(spent) > room else None
        for one in reversed(spent):
            room -= self._cost(e, [one])
            if room < 0:
                return one[0]
        return None

    def _sentence(self, e: Inputs, used: int, own: int, limit: int, until_ms: int | None, *, is_kept: bool) -> str:
        unit = self._unit
        if until_ms is None:
            if is_kept:
                return f"this contact costs {own} {unit}, more than the {limit} that are not kept for {self._for_whom}"
            if limit == 0:
                return "no such contact is allowed: the limit is 0"
            return f"this contact costs {own} {unit}, more than the limit of {limit} {unit}"
        kept = f" ({self._kept} more kept for {self._for_whom})" if is_kept else ""
        zone = self._zone(e)
        when = f"there is room again at {spoken(until_ms, zone)}" if until_ms < FAR_MS else "for good"
        return f"{used} of {limit} {unit} used in {self._window.text}{kept}, this one needs {own}; {when}"


def _matches(matcher: Matcher, e: Inputs) -> bool:
    return matcher.shape_matches(e.shape) and (matcher.shape_only or matcher.rest_matches(e))
