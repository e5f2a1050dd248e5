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

from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

from arbiter.core.case import Case, Group, Shape
from arbiter.core.instants import FAR_MS, HOUR_MS
from arbiter.core.rules import ArbitrationJudge, FloorJudge, Judge, Need, SharedJudge
from arbiter.core.rules.counting import CountingJudge

PAIRS_MAX = 10_000
STRETCHES_MAX = 10_000

_place = attrgetter("place")


class Counts:
    """By shape of a past contact the rules of a policy that may count it, and whether that depends on whose it is."""

    def __init__(self, judges: Iterable[Judge]) -> None:
        self._judges = [j for j in judges if isinstance(j, CountingJudge) and j.needs is Need.CONTACTS]
        self._memo: dict[Shape, list[tuple[CountingJudge, bool]]] = {}

    def of(self, shape: Shape) -> list[tuple[CountingJudge, bool]]:
        """The rules for contacts of this shape."""
        known = self._memo.get(shape)
        if known is None:
            if len(self._memo) > PAIRS_MAX:
                self._memo.clear()
            known = [(judge, judge.asks_who) for judge in self._judges if judge.counts_shape(shape)]
            self._memo[shape] = known
        return known


class Plan:
    """The rules for one shape. ``own`` is what one costs where contacts are counted (``None``: it depends)."""

    __slots__ = ("_counts", "_pairs", "_shared", "_sometimes", "_speaking", "_views", "arbitrations", "own", "shape")

    def __init__(self, shape: Shape, judges: Iterable[Judge], points: Mapping[str, int], counts: Counts) -> None:
        """``judges`` are all that the request's category must obey, ``counts`` what is known of past contacts."""
        self.shape = shape
        self._counts = counts
        self._speaking = [judge for judge in judges if judge.when.shape_matches(shape)]
        self._sometimes = [judge for judge in self._speaking if not judge.when.shape_only]
        counting = [j for j in self._speaking if isinstance(j, CountingJudge) and j.needs is Need.CONTACTS]
        self._shared = [judge for judge in self._speaking if isinstance(judge, SharedJudge)]
        self.arbitrations = [judge for judge in self._speaking if isinstance(judge, ArbitrationJudge)]
        self._pairs: dict[Shape, list[tuple[CountingJudge, bool]]] = {}
        self._views: dict[tuple[bool, ...], View] = {}
        self.own: dict[Any, int | None] = {judge: judge.cost_of_shape(shape, points) for judge in counting}

    def view(self, case: Case) -> View:
        """The rules that speak about this very request."""
        key: tuple[bool, ...] = ()
        if self._sometimes:
            subject = case.subject
            key = tuple([judge.when.rest_matches(subject) for judge in self._sometimes])
        view = self._views.get(key)
        if view is None:
            silent = {judge for judge, speaks in zip(self._sometimes, key, strict=True) if not speaks}
            view = self._views[key] = View([judge for judge in self._speaking if judge not in silent], self.own)
        return view

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

    def counted(self, case: Case) -> dict[Any, list[Group]]:
        """By rule the contacts that it counts, whenever they were; rules that count none are left out."""
        found: dict[Any, list[Group]] = {}
        for group in case.groups:
            pairs = self._pairs.get(group.shape)
            for judge, asks_who in self._pair(group.shape) if pairs is None else pairs:
                if not asks_who or judge.counts_group(case, group):
                    groups = found.get(judge)
                    if groups is None:
                        found[judge] = [group]
                    else:
                        groups.append(group)
        return found

    def _pair(self, other: Shape) -> list[tuple[CountingJudge, bool]]:
        """Which rules count contacts of a shape, and whether that depends on whose contacts they are."""
        if len(self._pairs) > PAIRS_MAX:
            self._pairs.clear()
        shape = self.shape
        own = self.own
        pairs = [(j, asks_who) for j, asks_who in self._counts.of(other) if j in own and j.is_shared(shape, other)]
        self._pairs[other] = pairs
        return pairs


class View:
    """The rules that speak about a request, in file order, and when which of them may say no."""

    __slots__ = ("_own", "_stretches", "judges")

    def __init__(self, judges: list[Judge], own: Mapping[Any, int | None]) -> None:
        self.judges = judges
        self._own = own
        self._stretches: dict[tuple[Any, ...], list[Stretch]] = {}  # by zones and hour

    def stretch(self, case: Case, at_ms: int) -> Stretch:
        """The span around ``at_ms`` in which nothing changes by the clock alone, for customers in these zones."""
        key = (case.zones, case.zone, case.party_zone, at_ms // HOUR_MS)
        kept = self._stretches.get(key)
        if kept is None:
            if len(self._stretches) > STRETCHES_MAX:
                self._stretches.clear()
            kept = self._stretches[key] = []
        for stretch in kept:
            if stretch.from_ms <= at_ms < stretch.until_ms:
                return stretch
        new = Stretch(self.judges, self._own, case, at_ms)
        for index, old in enumerate(kept):
            # One that ends at the same instant is the same one, seen from a later instant.
            if old.until_ms == new.until_ms:
                kept[index] = new
                return new
        kept.append(new)
        return new


class Stretch:
    """Within ``[from_ms, until_ms)`` the same rules are in force, closed and open, and calendar windows are the same.

    ``asked`` may say no whatever the customer's state is. ``bounds`` has the window of each rule that counts contacts:
    what is strictly later than the first (or, where that is ``None``, later than the third ago) and strictly earlier
    than the second. ``cut_ms`` is when a permit ends by the calendar and ``cutter`` the rule that ends it;
    ``cutters`` are the rules that may end it for other reasons.
    """

    __slots__ = ("asked", "bounds", "cut_ms", "cutter", "cutters", "events", "from_ms", "lists", "until_ms")

    def __init__(self, judges: Iterable[Judge], own: Mapping[Any, int | None], case: Case, at_ms: int) -> None:
        self.from_ms, self.until_ms = at_ms, FAR_MS
        self.asked: list[Judge] = []
        self.lists: list[Judge] = []
        self.events: list[Judge] = []
        self.bounds: dict[Any, tuple[int | None, int, int]] = {}
        self.cut_ms, self.cutter = FAR_MS, None
        self.cutters: list[Judge] = []
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

    cutter: Judge | None

    def _take(self, judge: Judge, own: int | None, case: Case, at_ms: int, *, is_in_force: bool) -> None:
        if judge.is_timed:
            self.until_ms = min(self.until_ms, judge.changes_at(case, at_ms))
        if is_in_force and isinstance(judge, CountingJudge) and judge.needs is Need.CONTACTS:
            self.bounds[judge] = judge.window(case, at_ms)
            if own is None or own > judge.least:
                self.asked.append(judge)
        elif is_in_force and judge.may_object(case, at_ms):
            {Need.LISTS: self.lists, Need.EVENTS: self.events}.get(judge.needs, self.asked).append(judge)
        if judge.cuts and not judge.shadow:
            self._cut(judge, own, case, at_ms)

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
        return found if found is self.asked else sorted(set(found), key=_place)

    def _full(self, case: Case, at_ms: int) -> list[Judge]:
        """The rules that count contacts and have no room for this one unless they know better."""
        found: list[Judge] = []
        bounds, owns = self.bounds, case.plan.own
        for judge, groups in case.counted.items():
            window = bounds.get(judge)
            own = owns[judge]
            if window is None or own is None:
                continue  # not in force, or it is asked anyway
            room = judge.least - own
            low, high, span = window
            if low is None:
                low = at_ms - span
            costs = case.points if judge.in_points else None
            for group in groups:
                cost = 1 if costs is None else costs.get(group.kind.channel, 1)
                for when_ms in group.times:
                    if low < when_ms < high:
                        room -= cost
            if room < 0:
                found.append(judge)
        return found


def _has_lists(case: Case) -> bool:
    """Whether anybody of the party was ever on a suppression list."""
    members = case.ledger.members
    if len(members) <= 1:
        return bool(case.member.suppressions)
    return any(member.suppressions for member in members.values())
