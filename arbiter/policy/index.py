"""Which rules may say no to a request: tables that are worked out once and looked up for each request.

Most of what a decision needs depends on little: the request's *shape* (department, campaign, channel, category,
product, partner), the customer's segments, and the time in the customer's zones. A bank has a few hundred shapes and
millions of requests. So there are three kinds of tables:

- :class:`ShapeRules`, by shape: the rules that apply to it, what it costs, which past contacts they count;
- :class:`ApplicableRules`, by shape and profile: those whose other conditions hold, by what they need to say no;
- :class:`ValidInterval`, by zones and time and for all shapes: what is in force, closed, and cut by the calendar.

A set of rules is an integer with one bit for each, in file order, so the tables are brought together by ``&`` and
``|``. Rules that count contacts also have a *lane* each: 32 bits of one integer, in which all of them count at once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from operator import eq
from typing import Any

from msgspec import Struct

from arbiter.ledger.contacts import FREE, STATE, STATE_BITS, Kind, Shape
from arbiter.policy.inputs import Inputs, Used
from arbiter.policy.match import SHAPE_FIELDS
from arbiter.policy.rules import CompiledArbitration, CompiledFloor, CompiledRule, CompiledShared, Need
from arbiter.policy.rules.counting import CompiledCounting
from arbiter.timing.instants import DAY_MS, FAR_MS

SETS_MAX = 10_000
PAIRS_MAX = 10_000
SEGMENTS_MAX = 1_000
INTERVALS_MAX = 1_000
"""Of customers in the same zones."""
KEPT_MS = 8 * DAY_MS
"""How long an interval is kept after its end: partitions that replay a log are at different days of it."""

LANE_BITS = 32
LANE = (1 << LANE_BITS) - 1
FULL = 1 << LANE_BITS - 1
"""The bit of a lane that says that there is no room.

A contact costs at most 10,000 points: only 200,000 of these, more than a ledger holds, run over into the next lane.
"""
ROOM_MAX = FULL >> 1
CHANNEL = SHAPE_FIELDS.index("channel")


class RuleIndex:
    """The rules of a rule set in file order, each with its bit; those that count contacts with their lanes."""

    def __init__(self, rules: Sequence[CompiledRule], points: Mapping[str, int]) -> None:
        for number, rule in enumerate(rules):
            rule.bit = 1 << number
        self._rules = rules
        self.enforced = sum([rule.bit for rule in rules if not rule.shadow])
        self.timed = [rule for rule in rules if rule.is_timed or not rule.is_for_ever]
        self.untimed = sum([rule.bit for rule in rules if not rule.is_timed and rule.is_for_ever])
        self.counting = [r for r in rules if isinstance(r, CompiledCounting) and r.needs is Need.CONTACTS]
        self.lane: dict[Any, int] = {rule: number * LANE_BITS for number, rule in enumerate(self.counting)}
        self.spans = sorted({rule.rolling_ms for rule in self.counting if rule.rolling_ms is not None})
        reaching = [[r for r in self.counting if (r.rolling_ms or 0) >= span] for span in [*self.spans, FAR_MS + 1]]
        self.rolling = [self.lanes(rules) for rules in reaching]
        """The lanes whose windows reach back beyond each span and those before it; the last has none."""
        self._points = points
        self._sets: dict[int, tuple[CompiledRule, ...]] = {}
        self._full: dict[int, int] = {}
        self._counted: dict[Shape, tuple[int, int, int]] = {}
        self._shared: dict[tuple[bool, ...], tuple[int, int]] = {}
        everybody = [rule for rule in self.counting if not rule.per_customer]
        self._per_party = sum([rule.bit for rule in everybody]), self.lanes(everybody)

    def lanes(self, rules: Sequence[CompiledRule]) -> int:
        """The lanes of these rules, all their bits set."""
        return sum([LANE << self.lane[rule] for rule in rules])

    def set_of(self, bits: int) -> tuple[CompiledRule, ...]:
        """The rules of a set, in file order."""
        known = self._sets.get(bits)
        if known is None:
            if len(self._sets) > SETS_MAX:
                self._sets.clear()
            known = self._sets[bits] = tuple([rule for rule in self._rules if rule.bit & bits])
        return known

    def full(self, lanes: int) -> int:
        """The set of the rules in whose lanes it says that there is no room."""
        known = self._full.get(lanes)
        if known is None:
            if len(self._full) > SETS_MAX:
                self._full.clear()
            known = sum([rule.bit for rule, lane in self.lane.items() if lanes >> lane & FULL])
            self._full[lanes] = known
        return known

    def cost(self, rule: CompiledCounting, shape: Shape) -> int:
        """What a contact of this shape costs in the rule's lane."""
        return (self._points.get(shape[CHANNEL] or "", 1) if rule.in_points else 1) << self.lane[rule]

    def pair(self, shape: Shape, other: Shape, bits: int, lanes: int) -> Pair:
        """How contacts of shape ``other`` count for requests of ``shape``, to which these rules apply."""
        costs, sure, unsure = self._counted_by(other)
        sharing, shared_lanes = self._sharing(shape, other)
        costs &= shared_lanes & lanes
        bits &= sharing
        own = sure & bits
        unsure &= bits
        everybody, its_lanes = self._per_party
        return Pair(costs, own, costs & its_lanes, own & everybody, self.set_of(unsure) if unsure else ())

    def _counted_by(self, other: Shape) -> tuple[int, int, int]:
        """The costs of a contact in the lanes that count it; who counts it, and who may, depending on whose it is."""
        known = self._counted.get(other)
        if known is None:
            if len(self._counted) > SETS_MAX:
                self._counted.clear()
            rules = [rule for rule in self.counting if rule.counts_shape(other)]
            costs = sum([self.cost(rule, other) for rule in rules if not rule.asks_who])
            sure = sum([rule.bit for rule in rules if not rule.asks_who])
            unsure = sum([rule.bit for rule in rules if rule.asks_who])
            known = self._counted[other] = costs, sure, unsure
        return known

    def _sharing(self, shape: Shape, other: Shape) -> tuple[int, int]:
        """The rules whose budgets the two shapes share, and their lanes: by the fields in which they are equal."""
        alike = tuple(map(eq, shape, other))
        known = self._shared.get(alike)
        if known is None:
            rules = [rule for rule in self.counting if rule.is_shared(shape, other)]
            known = self._shared[alike] = sum([rule.bit for rule in rules]), self.lanes(rules)
        return known


class Pair(Struct, frozen=True):
    """How contacts of one shape count for requests of another: costs in the lanes, and rules, of contacts to the same
    customer, then of those to others of the party; and the rules for which it depends on who the customer is.
    """

    own_costs: int
    own_rules: int
    other_costs: int
    other_rules: int
    unsure: tuple[Any, ...]


class ShapeRules:
    """The rules for requests of one shape. ``costs`` is what one costs where contacts are counted (``None``: it
    depends).
    """

    __slots__ = (
        "_always",
        "_applicable",
        "_by_segment",
        "_in_segments",
        "_lanes",
        "_otherwise",
        "_pairs",
        "arbitrations",
        "bits",
        "costs",
        "floors",
        "index",
        "shape",
        "shared",
    )

    def __init__(
        self, index: RuleIndex, shape: Shape, rules: Sequence[CompiledRule], points: Mapping[str, int]
    ) -> None:
        """``rules`` are those that apply to the shape."""
        self.index = index
        self.shape = shape
        self.bits = sum([rule.bit for rule in rules])
        self._always = sum([rule.bit for rule in rules if rule.when.shape_only])
        sometimes = [rule for rule in rules if not rule.when.shape_only]
        self._by_segment = [rule for rule in sometimes if rule.when.by_segment]
        self._otherwise = [rule for rule in sometimes if not rule.when.by_segment]
        self._in_segments: dict[frozenset[str] | None, int] = {}
        self._applicable: dict[int, ApplicableRules] = {}
        self._pairs: dict[Shape, Pair] = {}
        self.shared = [rule for rule in rules if isinstance(rule, CompiledShared)]
        self.floors = [rule for rule in rules if isinstance(rule, CompiledFloor)]
        self.arbitrations = [rule for rule in rules if isinstance(rule, CompiledArbitration)]
        counting = [rule for rule in rules if rule in index.lane]
        self._lanes = index.lanes(counting)
        self.costs: dict[Any, int | None] = {rule: rule.cost_of_shape(shape, points) for rule in counting}  # type: ignore[attr-defined]

    def applicable(self, e: Inputs) -> ApplicableRules:
        """The rules that apply to this very request."""
        bits = self._always
        if self._by_segment:
            known = self._in_segments.get(e.segments)
            bits |= self._in(e) if known is None else known
        for rule in self._otherwise:
            if rule.when.rest_matches(e):
                bits |= rule.bit
        found = self._applicable.get(bits)
        if found is None:
            found = self._applicable[bits] = ApplicableRules(self, bits)
        return found

    def _in(self, e: Inputs) -> int:
        """The rules for which the segments decide."""
        if len(self._in_segments) > SEGMENTS_MAX:
            self._in_segments.clear()
        bits = sum([rule.bit for rule in self._by_segment if rule.when.rest_matches(e)])
        self._in_segments[e.segments] = bits
        return bits

    def used(self, e: Inputs) -> list[Used]:
        """The party's contacts that use budgets, whenever they were."""
        contacts = e.ledger.contacts
        kinds: list[tuple[int, int, Kind, Shape] | None] = [None] * len(contacts.kinds)
        found: list[Used] = []
        for code, at_ms in zip(contacts.codes, contacts.counted, strict=True):
            if code & STATE in FREE:
                continue
            index = code >> STATE_BITS
            known = kinds[index]
            if known is None:
                known = kinds[index] = self._counting(e, contacts.kinds[index], contacts.shapes[index])
            found.append((at_ms, *known))
        return found

    def _counting(self, e: Inputs, kind: Kind, shape: Shape) -> tuple[int, int, Kind, Shape]:
        """What contacts of a kind cost in the lanes, and the rules that count them."""
        pair, is_own = self._pairs.get(shape) or self._pair(shape), kind.customer == e.customer
        costs, rules = (pair.own_costs, pair.own_rules) if is_own else (pair.other_costs, pair.other_rules)
        for rule in pair.unsure:
            if (is_own or not rule.per_customer) and rule.counts_of(e, kind.customer):
                costs |= self.index.cost(rule, shape)
                rules |= rule.bit
        return costs, rules, kind, shape

    def _pair(self, other: Shape) -> Pair:
        if len(self._pairs) > PAIRS_MAX:
            self._pairs.clear()
        pair = self._pairs[other] = self.index.pair(self.shape, other, self.bits, self._lanes)
        return pair


class ApplicableRules:
    """The rules that apply to a request, by what they need to say no.

    ``_asked`` may say no whatever the customer's state is; the others need an entry of a list, an outcome that is
    remembered, or contacts. ``_bias`` begins each lane so that it overflows into its bit ``FULL`` where there is no
    room. ``cutting`` may end a permit for a reason of the request's own, ``_dated`` by the calendar.
    """

    __slots__ = ("_asked", "_bias", "_cut", "_dated", "_events", "_full", "_index", "_lists", "bits", "cutting")

    def __init__(self, shape_rules: ShapeRules, bits: int) -> None:
        self._index = index = shape_rules.index
        self.bits = bits
        self._asked = self._lists = self._events = self._bias = self._full = self._dated = self.cutting = 0
        self._cut: tuple[ValidInterval | None, int, CompiledRule | None] = (None, FAR_MS, None)
        for rule in index.set_of(bits):
            bit, is_counted = rule.bit, rule in shape_rules.costs
            cost = shape_rules.costs.get(rule)
            if cost is not None and cost <= rule.least:  # type: ignore[attr-defined]
                self._bias |= (FULL - 1 - min(rule.least - cost, ROOM_MAX)) << index.lane[rule]  # type: ignore[attr-defined]
                self._full |= FULL << index.lane[rule]
            elif rule.objects:
                self._file(rule.needs, bit)
            if rule.cuts and not rule.shadow:
                if not rule.is_timed or (is_counted and cost is None):
                    self.cutting |= bit
                elif not is_counted or cost:
                    self._dated |= bit

    def _file(self, needs: Need, bit: int) -> None:
        if needs is Need.LISTS:
            self._lists |= bit
        elif needs is Need.EVENTS:
            self._events |= bit
        else:
            self._asked |= bit

    def suspects(self, e: Inputs, used: Sequence[Used], at_ms: int, interval: ValidInterval) -> int:
        """The set of the rules that may say no to this request at ``at_ms``."""
        bits = self._asked
        if self._lists:
            for member in e.ledger.members.values():
                if member.suppressions:
                    bits |= self._lists
                    break
        if self._events and e.ledger.events:
            bits |= self._events
        if used:
            index = self._index
            spans, rolling, edges, calendar = index.spans, index.rolling, interval.edges, interval.calendar
            lanes = self._bias
            for when_ms, costs, _, _, _ in used:
                inside = rolling[bisect_right(spans, at_ms - when_ms)] | calendar[bisect_right(edges, when_ms)]
                lanes += costs & inside
            lanes &= self._full
            if lanes:
                bits |= index.full(lanes)
        return bits & interval.asking | interval.failed & self.bits

    def cut(self, interval: ValidInterval) -> tuple[ValidInterval | None, int, CompiledRule | None]:
        """When the calendar ends a permit, and the rule by which it does."""
        if self._cut[0] is not interval:
            cuts = interval.cuts
            end_ms, _, rule = next((cut for cut in cuts if cut[2].bit & self._dated), (FAR_MS, 0, None))
            self._cut = (interval, end_ms, rule)
        return self._cut


class ValidInterval:
    """Within ``[from_ms, until_ms)`` the same rules are in force, closed and open, and calendar windows are the same.

    ``asking`` are the rules that are in force and not open by the clock, ``lasting`` those that have not ended,
    ``failed`` those that could not be asked. ``cuts`` tells when which rule ends a permit by the calendar, the first
    first. Contacts between two of the ``edges`` are in the same windows: those of the lanes in ``calendar``.
    """

    __slots__ = ("asking", "calendar", "cuts", "edges", "failed", "from_ms", "lasting", "until_ms")

    def __init__(self, index: RuleIndex, where: Timetable, at_ms: int) -> None:
        self.from_ms, self.until_ms = at_ms, FAR_MS
        self.asking = self.lasting = index.untimed
        self.failed = 0
        self.cuts: list[tuple[int, int, CompiledRule]] = []
        windows: list[tuple[int, int, int]] = []
        for rule in index.timed:
            if at_ms >= rule.until_ms:
                continue
            is_in_force, bit = rule.from_ms <= at_ms, rule.bit
            self.lasting |= bit
            self.until_ms = min(self.until_ms, rule.until_ms if is_in_force else rule.from_ms)
            try:
                self._take(rule, bit, where, windows, index.lane.get(rule), is_in_force=is_in_force)
            except Exception:  # noqa: BLE001 - it fails again when it is asked, and is heard as a no there
                self.until_ms = at_ms + 1
                self.failed |= bit
        self.cuts.sort(key=lambda cut: cut[:2])
        self.edges = sorted({edge_ms for low, high, _ in windows for edge_ms in (low + 1, high)})
        inside = [[lane for low, high, lane in windows if low < edge_ms < high] for edge_ms in self.edges]
        self.calendar = [0, *[sum([LANE << lane for lane in lanes]) for lanes in inside]]

    def _take(
        self, rule: Any, bit: int, where: Timetable, windows: list[Any], lane: int | None, *, is_in_force: bool
    ) -> None:
        """Note what the clock says of a rule. Whatever can fail comes first: nothing is noted of a rule that does."""
        at_ms = self.from_ms
        window = None
        if rule.is_timed:
            self.until_ms = min(self.until_ms, rule.changes_at(where, at_ms))
        if is_in_force and lane is not None and rule.rolling_ms is None:
            window = (*rule.window(where, at_ms), lane)
        may_object = is_in_force and rule.may_object(where, at_ms)
        if rule.is_timed and rule.cuts and not rule.shadow:
            self.cuts.append((rule.closes_at(where, at_ms), rule.place, rule))
        if window is not None:
            windows.append(window)
        if may_object:
            self.asking |= bit


class Timetable:
    """What the clock alone decides for customers in the same zones; see :class:`arbiter.policy.inputs.Where`."""

    __slots__ = ("_ends", "_index", "_intervals", "_last", "business_zone", "party_zone", "zone", "zones")

    def __init__(
        self, index: RuleIndex, zones: tuple[str, ...], zone: str, party_zone: str, business_zone: str
    ) -> None:
        self._index = index
        self.zones = zones
        self.zone = zone
        self.party_zone = party_zone
        self.business_zone = business_zone
        self._ends: list[int] = []
        self._intervals: list[ValidInterval] = []
        self._last: ValidInterval | None = None

    def at(self, at_ms: int, now_ms: int) -> ValidInterval:
        """The interval around ``at_ms``."""
        last = self._last
        if last is not None and last.from_ms <= at_ms < last.until_ms:
            return last
        place = bisect_right(self._ends, at_ms)
        if place < len(self._ends) and self._intervals[place].from_ms <= at_ms:
            self._last = self._intervals[place]
            return self._last
        self._last = ValidInterval(self._index, self, at_ms)
        self._keep(self._last, now_ms)
        return self._last

    def _keep(self, new: ValidInterval, now_ms: int) -> None:
        ends, intervals = self._ends, self._intervals
        over = len(ends) if len(ends) > INTERVALS_MAX else bisect_right(ends, now_ms - KEPT_MS)
        del ends[:over], intervals[:over]
        place = bisect_left(ends, new.until_ms)
        if place < len(ends) and ends[place] == new.until_ms:
            intervals[place] = new  # the same one, seen from an earlier instant
        else:
            ends.insert(place, new.until_ms)
            intervals.insert(place, new)


class Cohort(Struct, frozen=True, eq=False):
    """Customers who are alike to the rules: in the same segments (``None``: without a profile) and zones."""

    segments: frozenset[str] | None
    timetable: Timetable
