"""Which rules may say no to a request: tables that are computed once and looked up for each request.

Most of what a decision needs depends on the request's *shape* (department, campaign, channel, category, product,
partner), the customer's segments, and the time in the customer's zones. A bank has a few hundred shapes and millions of
requests. So there are three kinds of tables:

- :class:`ShapeRules`, by shape: the rules that may apply, what a request costs them, which past contacts they count;
- :class:`ApplicableRules`, by shape and customer: the rules that apply, by what they need to say no;
- :class:`ValidInterval`, by zones and time, for all shapes: which rules are in force and closed, and which permits end.

A set of rules is an integer with one bit for each rule, in file order. ``&`` and ``|`` combine the tables.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from operator import eq
from typing import Any

from msgspec import Struct

from arbiter.ledger.contacts import FREE, STATE, STATE_BITS, Shape
from arbiter.policy.inputs import Inputs, Used
from arbiter.policy.rules import CompiledArbitration, CompiledFloor, CompiledRule, CompiledShared, Need
from arbiter.policy.rules.counting import CompiledCounting
from arbiter.timing.instants import DAY_MS, FAR_MS

SETS_MAX = 10_000
PAIRS_MAX = 10_000
SEGMENTS_MAX = 1_000
INTERVALS_MAX = 1_000
"""For customers in the same zones."""
KEPT_MS = 8 * DAY_MS
"""How long an interval is kept after its end. In a replay, partitions are at different days of the log."""


class RuleIndex:
    """The rules of a rule set in file order, each with its bit."""

    def __init__(self, rules: Sequence[CompiledRule]) -> None:
        for number, rule in enumerate(rules):
            rule.bit = 1 << number
        self._rules = rules
        self.enforced = _bits(rule for rule in rules if not rule.shadow)
        self.timed = [rule for rule in rules if rule.is_timed or not rule.is_for_ever]
        self.untimed = _bits(rule for rule in rules if not rule.is_timed and rule.is_for_ever)
        self.counting = [r for r in rules if isinstance(r, CompiledCounting) and r.needs is Need.CONTACTS]
        self._sets: dict[int, tuple[CompiledRule, ...]] = {}
        self._counted: dict[Shape, int] = {}
        self._sharing: dict[tuple[bool, ...], int] = {}

    def set_of(self, bits: int) -> tuple[CompiledRule, ...]:
        """The rules of a set, in file order."""
        known = self._sets.get(bits)
        if known is None:
            if len(self._sets) > SETS_MAX:
                self._sets.clear()
            known = self._sets[bits] = tuple([rule for rule in self._rules if rule.bit & bits])
        return known

    def counted(self, shape: Shape, other: Shape) -> int:
        """The set of rules that may count contacts of shape ``other`` for requests of ``shape``."""
        counted = self._counted.get(other)
        if counted is None:
            if len(self._counted) > SETS_MAX:
                self._counted.clear()
            counted = self._counted[other] = _bits(rule for rule in self.counting if rule.counts_shape(other))
        # Whether two shapes share a budget depends on the fields in which they are equal.
        alike = tuple(map(eq, shape, other))
        sharing = self._sharing.get(alike)
        if sharing is None:
            sharing = self._sharing[alike] = _bits(rule for rule in self.counting if rule.is_shared(shape, other))
        return counted & sharing


class Pair(Struct, frozen=True):
    """Which of a shape's counting rules count contacts of another shape, as indexes into ``ShapeRules.counting``.

    ``own``: contacts to the same customer. ``others``: contacts to others of the party. ``by_customer``: it depends on
    the customer's profile.
    """

    own: tuple[int, ...]
    others: tuple[int, ...]
    by_customer: tuple[int, ...]


class ShapeRules:
    """The rules for requests of one shape.

    ``counting`` are the rules that count contacts, and ``numbers`` their indexes there. ``costs`` is what a request
    costs each of them; ``None`` if that depends on more than the shape.
    """

    __slots__ = (
        "_applicable",
        "_by_request",
        "_by_segment",
        "_by_shape",
        "_in_segments",
        "_pairs",
        "_pairs_of",
        "_shape",
        "arbitrations",
        "bits",
        "costs",
        "counting",
        "floors",
        "index",
        "numbers",
        "shared",
    )

    def __init__(
        self, index: RuleIndex, shape: Shape, rules: Sequence[CompiledRule], points: Mapping[str, int]
    ) -> None:
        """``rules`` are those whose conditions on the shape hold; ``points`` is what each channel costs."""
        self.index = index
        self._shape = shape
        self.bits = _bits(rules)
        self._by_shape = _bits(rule for rule in rules if rule.when.shape_only)
        others = [rule for rule in rules if not rule.when.shape_only]
        self._by_segment = [rule for rule in others if rule.when.by_segment]
        self._by_request = [rule for rule in others if not rule.when.by_segment]
        self._in_segments: dict[frozenset[str] | None, int] = {}
        self._applicable: dict[int, ApplicableRules] = {}
        self._pairs: dict[Shape, Pair] = {}
        self._pairs_of: dict[int, Pair] = {}
        self.shared = [rule for rule in rules if isinstance(rule, CompiledShared)]
        self.floors = [rule for rule in rules if isinstance(rule, CompiledFloor)]
        self.arbitrations = [rule for rule in rules if isinstance(rule, CompiledArbitration)]
        self.counting = [rule for rule in index.counting if rule.bit & self.bits]
        self.numbers: dict[CompiledRule, int] = {rule: number for number, rule in enumerate(self.counting)}
        self.costs: dict[Any, int | None] = {rule: rule.cost_of_shape(shape, points) for rule in self.counting}

    def applicable(self, e: Inputs) -> ApplicableRules:
        """The rules that apply to this request: all their conditions hold."""
        bits = self._by_shape
        if self._by_segment:
            known = self._in_segments.get(e.segments)
            bits |= self._match_segments(e) if known is None else known
        for rule in self._by_request:
            if rule.when.rest_matches(e):
                bits |= rule.bit
        found = self._applicable.get(bits)
        if found is None:
            found = self._applicable[bits] = ApplicableRules(self, bits)
        return found

    def _match_segments(self, e: Inputs) -> int:
        """The rules with conditions on segments that hold for this customer."""
        if len(self._in_segments) > SEGMENTS_MAX:
            self._in_segments.clear()
        bits = sum([rule.bit for rule in self._by_segment if rule.when.rest_matches(e)])
        self._in_segments[e.segments] = bits
        return bits

    def counted(self, e: Inputs) -> list[list[Used]]:
        """For each rule in ``counting``, the party's contacts that it counts, oldest first."""
        contacts, customer, pairs = e.ledger.contacts, e.customer, self._pairs
        counted: list[list[Used]] = [[] for _ in self.counting]
        for at_ms, code in sorted(zip(contacts.counted, contacts.codes, strict=True)):
            if code & STATE in FREE:
                continue
            index = code >> STATE_BITS
            kind, shape = contacts.kinds[index], contacts.shapes[index]
            pair = pairs.get(shape) or self._pair(shape)
            is_own = kind.customer == customer
            used = (at_ms, kind, shape)
            for number in pair.own if is_own else pair.others:
                counted[number].append(used)
            for number in pair.by_customer:
                rule = self.counting[number]
                if (is_own or not rule.per_customer) and rule.counts_of(e, kind.customer):
                    counted[number].append(used)
        return counted

    def _pair(self, other: Shape) -> Pair:
        if len(self._pairs) > PAIRS_MAX:
            self._pairs.clear()
        bits = self.bits & self.index.counted(self._shape, other)
        pair = self._pairs_of.get(bits)
        if pair is None:
            numbers = [number for number, rule in enumerate(self.counting) if rule.bit & bits]
            own = [number for number in numbers if not self.counting[number].asks_who]
            others = [number for number in own if not self.counting[number].per_customer]
            by_customer = [number for number in numbers if self.counting[number].asks_who]
            pair = self._pairs_of[bits] = Pair(tuple(own), tuple(others), tuple(by_customer))
        self._pairs[other] = pair
        return pair


class ApplicableRules:
    """The rules that apply to a request, by what they need to say no.

    ``_asked`` may say no whatever the party's state is. ``_lists`` need an entry of a suppression list, ``_events`` an
    outcome. ``_rooms`` need contacts: it has how many contacts leave room for the request. ``_dated`` end permits by
    the calendar alone; ``cutting`` end them for other reasons.
    """

    __slots__ = ("_asked", "_dated", "_events", "_lists", "_rooms", "bits", "cutting")

    def __init__(self, shape_rules: ShapeRules, bits: int) -> None:
        self.bits = bits
        self._asked = self._lists = self._events = self._dated = self.cutting = 0
        self._rooms: list[tuple[int, int, CompiledCounting]] = []
        for rule in shape_rules.index.set_of(bits):
            bit, cost, number = rule.bit, shape_rules.costs.get(rule), shape_rules.numbers.get(rule)
            room = rule.room(cost) if isinstance(rule, CompiledCounting) and cost is not None else None
            if room is not None and number is not None:
                self._rooms.append((number, room, shape_rules.counting[number]))
            elif rule.objects:
                self._classify(rule.needs, bit)
            if rule.cuts and not rule.shadow:
                if not rule.is_timed or (number is not None and cost is None):
                    self.cutting |= bit
                elif number is None or cost:
                    self._dated |= bit

    def _classify(self, needs: Need, bit: int) -> None:
        if needs is Need.LISTS:
            self._lists |= bit
        elif needs is Need.EVENTS:
            self._events |= bit
        else:
            self._asked |= bit

    def asked(self, e: Inputs) -> int:
        """The set of rules that may say no to this request whatever its contacts are."""
        bits = self._asked
        if self._lists:
            for member in e.ledger.members.values():
                if member.suppressions:
                    bits |= self._lists
                    break
        if self._events and e.ledger.events:
            bits |= self._events
        return bits

    def full(self, e: Inputs, counted: Sequence[Sequence[Used]]) -> list[tuple[int, int]]:
        """The rules that may say no because of contacts, as (instant, bit): from that instant (ms) on it has room.

        ``counted`` as :meth:`ShapeRules.counted` gives it.
        """
        found = []
        for number, room, rule in self._rooms:
            contacts = counted[number]
            if len(contacts) > room:
                try:
                    frees_ms = rule.leaves_at(e, contacts[-room - 1][0])
                except Exception:  # noqa: BLE001 - then the rule is asked, and if it fails, that is a "no"
                    frees_ms = FAR_MS
                found.append((frees_ms, rule.bit))
        return found

    def cut(self, interval: ValidInterval) -> tuple[int, CompiledRule | None]:
        """When the calendar ends a permit (ms), and the rule that ends it; (``FAR_MS``, ``None``) if none does."""
        known = interval.cut_by.get(self._dated)
        if known is None:
            found = next((cut for cut in interval.cuts if cut[2].bit & self._dated), (FAR_MS, 0, None))
            known = interval.cut_by[self._dated] = found[0], found[2]
        return known


class ValidInterval:
    """A span ``[from_ms, until_ms)`` in which no rule begins, ends, opens or closes, and no calendar window ends.

    ``may_object`` are the rules in force that may say no by the clock. ``not_over`` are the rules that have not ended.
    ``failed`` are those that raised an error. ``cuts`` has (instant, place, rule) for each rule that ends permits by
    the calendar, the earliest first. ``cut_by`` keeps the first of these for each set of rules.
    """

    __slots__ = ("cut_by", "cuts", "failed", "from_ms", "may_object", "not_over", "until_ms")

    def __init__(self, index: RuleIndex, where: Timetable, at_ms: int) -> None:
        self.from_ms, self.until_ms = at_ms, FAR_MS
        self.may_object = self.not_over = index.untimed
        self.failed = 0
        self.cuts: list[tuple[int, int, CompiledRule]] = []
        self.cut_by: dict[int, tuple[int, CompiledRule | None]] = {}
        for rule in index.timed:
            if at_ms >= rule.until_ms:
                continue
            is_in_force = rule.from_ms <= at_ms
            self.not_over |= rule.bit
            self.until_ms = min(self.until_ms, rule.until_ms if is_in_force else rule.from_ms)
            try:
                self._add(rule, where, is_in_force=is_in_force)
            except Exception:  # noqa: BLE001 - the rule is asked, and if it fails again, that is a "no"
                self.until_ms = at_ms + 1
                self.failed |= rule.bit
        self.cuts.sort(key=lambda cut: cut[:2])

    def _add(self, rule: CompiledRule, where: Timetable, *, is_in_force: bool) -> None:
        """Add what the clock says about a rule; nothing if that raises an error."""
        at_ms = self.from_ms
        if rule.is_timed:
            self.until_ms = min(self.until_ms, rule.changes_at(where, at_ms))
        may_object = is_in_force and rule.may_object(where, at_ms)
        if rule.is_timed and rule.cuts and not rule.shadow:
            self.cuts.append((rule.closes_at(where, at_ms), rule.place, rule))
        if may_object:
            self.may_object |= rule.bit


class Timetable:
    """The intervals of customers in the same zones, which are those of :class:`arbiter.policy.inputs.Where`."""

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
        """The interval that holds ``at_ms``. ``now_ms`` is the decision's time; intervals long before are dropped."""
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
        old = len(ends) if len(ends) > INTERVALS_MAX else bisect_right(ends, now_ms - KEPT_MS)
        del ends[:old], intervals[:old]
        place = bisect_left(ends, new.until_ms)
        if place < len(ends) and ends[place] == new.until_ms:
            intervals[place] = new  # the same interval, computed from an earlier instant
        else:
            ends.insert(place, new.until_ms)
            intervals.insert(place, new)


class Cohort(Struct, frozen=True, eq=False):
    """Customers with the same segments (``None``: without a profile) and zones. For the rules they are alike."""

    segments: frozenset[str] | None
    timetable: Timetable


def _bits(rules: Iterable[CompiledRule]) -> int:
    """The set of these rules."""
    return sum([rule.bit for rule in rules])
