"""What a policy says about requests of one shape, worked out once and kept.

Most of what a decision needs depends only on the shape of the request (department, campaign, channel, category,
product, partner), on the shapes of past contacts, and on the time of day. A bank has a few hundred shapes and millions
of requests, and a rule that says yes now says yes for hours. So three things are kept, each made from the one before:

- a :class:`Plan` for a shape: the rules that speak about it, what it costs in each cap, which past contacts count;
- a :class:`View` for the rules of the plan whose other conditions hold (a segment, a value);
- a :class:`Stretch` of a view: a span of time in which nothing changes by the clock alone.

They answer one question: which rules *may* say no to this request at this instant? Those are asked, the others need not
be. A rule says in ``needs`` what it cannot say no without; none is left out that could.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from msgspec import Struct

from arbiter.ledger.model import FREE
from arbiter.policy.case import Case, Shape, Spent
from arbiter.policy.rules import ArbitrationJudge, FloorJudge, Judge, Need, SharedJudge
from arbiter.policy.rules.counting import CountingJudge
from arbiter.timing.instants import DAY_MS, FAR_MS

PAIRS_MAX = 10_000
SEGMENTS_MAX = 1_000
ZONES_MAX = 1_000
STRETCHES_MAX = 1_000
"""Of one view, for customers in the same zones."""
KEPT_MS = 8 * DAY_MS
"""How long a stretch is kept after its end: partitions that replay a log are at different days of it."""

_place = attrgetter("place")


class Counts:
    """By shape of a past contact the rules of a policy that may count it."""

    def __init__(self, judges: Iterable[Judge]) -> None:
        self._judges = [j for j in judges if isinstance(j, CountingJudge) and j.needs is Need.CONTACTS]
        self._memo: dict[Shape, list[CountingJudge]] = {}

    def of(self, shape: Shape) -> list[CountingJudge]:
        """The rules for contacts of this shape."""
        known = self._memo.get(shape)
        if known is None:
            if len(self._memo) > PAIRS_MAX:
                self._memo.clear()
            known = self._memo[shape] = [judge for judge in self._judges if judge.counts_shape(shape)]
        return known


class Pair(Struct, frozen=True):
    """Which rules count contacts of one shape for requests of another: if they were to the same customer (``own``), to
    another one of the party (``other``), or if what is known of the customer says so (``unsure``).
    """

    own: list[CountingJudge]
    other: list[CountingJudge]
    unsure: list[CountingJudge]


class Plan:
    """The rules for one shape. ``own`` is what one costs where contacts are counted (``None``: it depends)."""

    __slots__ = (
        "_by_segment",
        "_counts",
        "_in_segments",
        "_otherwise",
        "_pairs",
        "_shared",
        "_speaking",
        "_views",
        "arbitrations",
        "own",
        "shape",
    )

    def __init__(self, shape: Shape, judges: Iterable[Judge], points: Mapping[str, int], counts: Counts) -> None:
        """``judges`` are all that the request's category must obey, ``counts`` what is known of past contacts."""
        self.shape = shape
        self._counts = counts
        self._speaking = [judge for judge in judges if judge.when.shape_matches(shape)]
        sometimes = [judge for judge in self._speaking if not judge.when.shape_only]
        self._by_segment = [judge for judge in sometimes if judge.when.by_segment]
        self._otherwise = [judge for judge in sometimes if not judge.when.by_segment]
        self._in_segments: dict[frozenset[str] | None, tuple[bool, ...]] = {}
        counting = [j for j in self._speaking if isinstance(j, CountingJudge) and j.needs is Need.CONTACTS]
        self._shared = [judge for judge in self._speaking if isinstance(judge, SharedJudge)]
        self.arbitrations = [judge for judge in self._speaking if isinstance(judge, ArbitrationJudge)]
        self._pairs: dict[Shape, Pair] = {}
        self._views: dict[tuple[bool, ...], View] = {}
        self.own: dict[Any, int | None] = {judge: judge.cost_of_shape(shape, points) for judge in counting}

    def view(self, case: Case) -> View:
        """The rules that speak about this very request."""
        speaks: tuple[bool, ...] = ()
        if self._by_segment:
            segments = case.subject.segments
            known = self._in_segments.get(segments)
            speaks = self._speaks_in(segments, case) if known is None else known
        if self._otherwise:
            subject = case.subject
            speaks += tuple([judge.when.rest_matches(subject) for judge in self._otherwise])
        view = self._views.get(speaks)
        if view is None:
            sometimes = zip((*self._by_segment, *self._otherwise), speaks, strict=True)
            silent = {judge for judge, does_speak in sometimes if not does_speak}
            view = self._views[speaks] = View([judge for judge in self._speaking if judge not in silent], self.own)
        return view

    def _speaks_in(self, segments: frozenset[str] | None, case: Case) -> tuple[bool, ...]:
        if len(self._in_segments) > SEGMENTS_MAX:
            self._in_segments.clear()
        subject = case.subject
        speaks = self._in_segments[segments] = tuple([judge.when.rest_matches(subject) for judge in self._by_segment])
        return speaks

    @property
    def may_draw(self) -> bool:
        """Whether requests of this shape may take of what all customers share."""
        return bool(self._shared)

    @property
    def may_boost(self) -> bool:
        """Whether a floor may raise the score of requests of this shape."""
        return any(isinstance(judge, FloorJudge) for judge in self._shared)

    def shared(self, case: Case, at_ms: int) -> list[SharedJudge]:
        """The rules in force that a contact at ``at_ms`` draws on; those in shadow mode, too."""
        judges = [judge for judge in self._shared if judge.from_ms <= at_ms < judge.until_ms]
        return [judge for judge in judges if judge.when.shape_only or judge.when.rest_matches(case.subject)]

    def floors(self, case: Case, at_ms: int) -> list[FloorJudge]:
        """The floors that speak about this very request."""
        return [judge for judge in self.shared(case, at_ms) if isinstance(judge, FloorJudge)]

    def spent(self, case: Case) -> dict[CountingJudge, list[Spent]]:
        """By the rules that count any the party's contacts that use budgets, whenever they were."""
        found: dict[CountingJudge, list[Spent]] = {}
        customer, pairs = case.customer, self._pairs
        for contact in case.ledger.contacts:
            if contact.state in FREE:
                continue
            # What `shape_of` and `at_ms` say, without the calls: this runs for each contact of each decision.
            kind, sent_ms = contact.kind, contact.sent_at_ms
            shape = (kind.department, kind.campaign, kind.channel, kind.category, kind.product, kind.partner)
            pair = pairs.get(shape) or self._pair(shape)
            is_own = kind.customer == customer
            judges = pair.own if is_own else pair.other
            if pair.unsure:
                judges = judges + [
                    judge
                    for judge in pair.unsure
                    if (is_own or not judge.per_customer) and judge.counts_of(case, kind.customer)
                ]
            one = (contact.valid_until_ms - 1 if sent_ms is None else sent_ms, kind, shape)
            for judge in judges:
                if judge in found:
                    found[judge].append(one)
                else:
                    found[judge] = [one]
        return found

    def _pair(self, other: Shape) -> Pair:
        if len(self._pairs) > PAIRS_MAX:
            self._pairs.clear()
        judges = [j for j in self._counts.of(other) if j in self.own and j.is_shared(self.shape, other)]
        sure = [judge for judge in judges if not judge.asks_who]
        unsure = [judge for judge in judges if judge.asks_who]
        pair = self._pairs[other] = Pair(sure, [judge for judge in sure if not judge.per_customer], unsure)
        return pair


class View:
    """The rules that speak about a request, in file order, and when which of them may say no."""

    __slots__ = ("_always", "_by_clock", "_own", "_stretches", "judges")

    def __init__(self, judges: list[Judge], own: Mapping[Any, int | None]) -> None:
        self.judges = judges
        self._own = own
        self._by_clock = [judge for judge in judges if judge.is_timed or not judge.is_for_ever]
        self._always: Stretch | None = None
        # By zones the ends of stretches, in order, and the stretches.
        self._stretches: dict[tuple[Any, ...], tuple[list[int], list[Stretch]]] = {}

    def stretch(self, case: Case, at_ms: int) -> Stretch:
        """The span around ``at_ms`` in which nothing changes by the clock alone, for customers in these zones."""
        key = (case.zones, case.zone, case.party_zone)
        kept = self._stretches.get(key)
        if kept is None:
            if len(self._stretches) > ZONES_MAX:
                self._stretches.clear()
            kept = self._stretches[key] = ([], [])
        ends, stretches = kept
        place = bisect_right(ends, at_ms)
        if place < len(ends) and stretches[place].from_ms <= at_ms:
            return stretches[place]
        new = (self._always or self._without_clock(case, at_ms)).at(at_ms)
        new.take(self._by_clock, self._own, case)
        self._keep(new, ends, stretches, case.now_ms)
        return new

    def _without_clock(self, case: Case, at_ms: int) -> Stretch:
        """The part of every stretch that no clock changes; where a rule failed, for this instant only."""
        new = Stretch(at_ms)
        new.take([judge for judge in self.judges if judge not in self._by_clock], self._own, case)
        if new.until_ms == FAR_MS:
            self._always = new
        return new

    def _keep(self, new: Stretch, ends: list[int], stretches: list[Stretch], now_ms: int) -> None:
        over = len(ends) if len(ends) > STRETCHES_MAX else bisect_right(ends, now_ms - KEPT_MS)
        del ends[:over], stretches[:over]
        place = bisect_left(ends, new.until_ms)
        if place < len(ends) and ends[place] == new.until_ms:
            stretches[place] = new  # the same one, seen from an earlier instant
        else:
            ends.insert(place, new.until_ms)
            stretches.insert(place, new)


class Stretch:
    """Within ``[from_ms, until_ms)`` the same rules are in force, closed and open, and calendar windows are the same.

    ``asked`` may say no whatever the customer's state is. ``bounds`` has the window and the room of each rule that
    counts contacts: what counts is strictly later than the first (or, where that is ``None``, later than the third ago)
    and strictly earlier than the second, and the fourth is how much of it leaves room for the request. ``cut_ms`` is
    when a permit ends by the calendar and ``cutter`` the rule that ends it; ``cutters`` are the rules that may end it
    for other reasons.
    """

    __slots__ = ("asked", "bounds", "cut_ms", "cutter", "cutters", "events", "from_ms", "lists", "until_ms")

    cutter: Judge | None

    def __init__(self, at_ms: int) -> None:
        """The instant ``at_ms``, without rules until some are taken."""
        self.from_ms, self.until_ms = at_ms, FAR_MS
        self.asked: list[Judge] = []
        self.lists: list[Judge] = []
        self.events: list[Judge] = []
        self.bounds: dict[Judge, tuple[int | None, int, int, int]] = {}
        self.cut_ms, self.cutter = FAR_MS, None
        self.cutters: list[Judge] = []

    def at(self, at_ms: int) -> Stretch:
        """Another one at ``at_ms`` with the rules of this one, none of which looks at the clock, to take more."""
        new = Stretch(at_ms)
        new.until_ms = self.until_ms
        new.asked, new.lists, new.events = [*self.asked], [*self.lists], [*self.events]
        new.bounds, new.cutters = {**self.bounds}, [*self.cutters]
        return new

    def take(self, judges: Iterable[Judge], own: Mapping[Any, int | None], case: Case) -> None:
        """Find the place of each of these rules at the instant, and how far it holds."""
        at_ms = self.from_ms
        for judge in judges:
            if at_ms >= judge.until_ms:
                continue
            is_in_force = judge.from_ms <= at_ms
            self.until_ms = min(self.until_ms, judge.until_ms if is_in_force else judge.from_ms)
            try:
                self._take(judge, own.get(judge), case, at_ms, is_in_force=is_in_force)
            except Exception:  # noqa: BLE001 - it fails again when it is asked, and is heard as a no there
                self.until_ms = at_ms + 1
                self.asked.append(judge)
                self.cutters.append(judge)
        self.asked.sort(key=_place)
        self.cutters.sort(key=_place)

    def _take(self, judge: Judge, own: int | None, case: Case, at_ms: int, *, is_in_force: bool) -> None:
        """Find a rule's place. Whatever can fail comes first, so that a rule that does has none yet."""
        if judge.is_timed:
            self.until_ms = min(self.until_ms, judge.changes_at(case, at_ms))
        bound = None
        may_object = is_in_force
        if is_in_force and isinstance(judge, CountingJudge) and judge.needs is Need.CONTACTS:
            if own is not None and own <= judge.least:
                bound = (*judge.window(case, at_ms), judge.least - own)
        elif is_in_force:
            may_object = judge.may_object(case, at_ms)
        if judge.cuts and not judge.shadow:
            self._cut(judge, own, case, at_ms)
        if bound is not None:
            self.bounds[judge] = bound
        elif may_object:
            {Need.LISTS: self.lists, Need.EVENTS: self.events}.get(judge.needs, self.asked).append(judge)

    def _cut(self, judge: Judge, own: int | None, case: Case, at_ms: int) -> None:
        if not judge.is_timed or (isinstance(judge, CountingJudge) and own is None):
            self.cutters.append(judge)
            return
        end_ms = judge.permit_end(case, at_ms)
        if end_ms < self.cut_ms:
            self.cut_ms, self.cutter = end_ms, judge

    def suspects(self, case: Case, at_ms: int) -> list[Judge]:
        """The rules that may say no to this request at ``at_ms``, in file order."""
        found = self.asked
        if self.lists and _has_lists(case):
            found = found + self.lists
        if self.events and case.ledger.events:
            found = found + self.events
        if self.bounds and case.ledger.contacts:
            full = self._full(case, at_ms)
            if full:
                found = found + full
        return found if found is self.asked else sorted(found, key=_place)

    def _full(self, case: Case, at_ms: int) -> list[Judge]:
        """The rules that count contacts and have no room for this one unless they know better."""
        full: list[Judge] = []
        for judge, spent in case.spent.items():
            bound = self.bounds.get(judge)
            if bound is None:
                continue  # not in force, or it is asked anyway
            low, high, span, room = bound
            first = at_ms - span if low is None else low
            inside = [kind for when_ms, kind, _ in spent if first < when_ms < high]
            used = sum([case.points.get(kind.channel, 1) for kind in inside]) if judge.in_points else len(inside)
            if used > room:
                full.append(judge)
        return full


def _has_lists(case: Case) -> bool:
    """Whether anybody of the party was ever on a suppression list."""
    for member in case.ledger.members.values():  # noqa: SIM110 - as in Matcher
        if member.suppressions:
            return True
    return False
