"""A compiled policy: what a document means, ready to evaluate requests.

:func:`load` reads a published document. :mod:`arbiter.policy_check` checked it when it was published and again when it
was put in force. Here it is only compiled, and refused if that is impossible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from arbiter.ledger.capacity import EmptyStock, Want
from arbiter.ledger.contacts import Kind, Shape
from arbiter.ledger.model import Ledger, Traits
from arbiter.messages import ContactRequest
from arbiter.policy.document import PolicyDocument
from arbiter.policy.exceptions import NO_LIFTS, Lift, Lifts
from arbiter.policy.index import Cohort, RuleIndex, ShapeRules, Timetable
from arbiter.policy.inputs import Inputs, shape_of
from arbiter.policy.kill_switches import CompiledKill, Kill
from arbiter.policy.known_names import KnownNames
from arbiter.policy.match import SHAPE_FIELDS, Matcher, OfContact
from arbiter.policy.rules import (
    EXEMPTABLE,
    PROTECTING,
    CompiledArbitration,
    CompiledFloor,
    CompiledRule,
    CompiledShared,
    Rule,
)
from arbiter.policy.score import parse_formula, safely
from arbiter.policy.terms import Terms, terms_of
from arbiter.timing.windows import duration_ms, known_zone

SHAPES_MAX = 10_000
ZONES_MAX = 1_000
NO_STOCK = EmptyStock()
CATEGORY = SHAPE_FIELDS.index("category")


class PolicyError(ValueError):
    """A document that cannot be a policy; the text says where and why."""


class Policy:
    """An immutable, compiled policy. ``ref`` is (name, version, digest); ``kills`` are in force beside its rules.

    ``shadow`` is a policy of which every decision tells what it would have said; it decides nothing.
    """

    def __init__(
        self,
        document: PolicyDocument,
        version: int,
        digest: str,
        kills: Sequence[Kill] = (),
        shadow: Policy | None = None,
    ) -> None:
        self.document = document
        self.shadow = shadow
        self.ref = (document.policy, version, digest)
        self.zone = document.timezone
        self.permit_min_ms = duration_ms(document.permit.min)
        self.permit_max_ms = {channel: duration_ms(text) for channel, text in document.permit.max.items()}
        self.reserve_ahead_ms = duration_ms(document.reserve_ahead)
        self.history_ms = duration_ms(document.history)
        self.points = {name: channel.points for name, channel in document.channels.items()}
        every = document.unknown_customer_zone == "every_candidate"
        self._unknown_zones = tuple(document.candidate_zones if every else ()) or (document.timezone,)
        self._timetables: dict[tuple[tuple[str, ...], str, str], Timetable] = {}
        self._cohorts: dict[tuple[frozenset[str] | None, Timetable], Cohort] = {}
        self.discloses_campaign = document.disclose == "campaign"
        self.recall = document.recall
        self.recall_margin_ms = duration_ms(document.recall.margin)
        self.waiting_max = document.waiting_max
        self._formula = parse_formula(document.score)
        self._segments = {name: Matcher(segment.when) for name, segment in document.segments.items()}
        rules = compiled(document)
        for place, one in enumerate(rules):
            one.place = place
        self._arbitrations = {j.id: j for j in rules if isinstance(j, CompiledArbitration) and not j.shadow}
        rules = [j for j in rules if not (isinstance(j, CompiledArbitration) and j.shadow)]
        self._compiled = rules
        self._shared = [one for one in rules if isinstance(one, CompiledShared)]
        self.is_shared = bool(self._shared)
        """Whether there is anything that all customers have in common."""
        self._terms: dict[Shape, Terms] = {}
        self._kills = [CompiledKill(kill) for kill in kills]
        self.has_kills = bool(kills)
        for place, kill_judge in enumerate(self._kills, -len(self._kills)):
            kill_judge.place = place
        self._index = RuleIndex([*self._kills, *rules])
        self.known = KnownNames(document)
        self.has_lifts = bool(document.exceptions)
        self._lifts = Lifts([Lift.of(written, document.timezone) for written in document.exceptions])

    def terms(self, shape: Shape) -> Terms:
        """What this policy says about requests of a shape, whoever the customer is."""
        terms = self._terms.get(shape)
        if terms is None:
            if len(self._terms) > SHAPES_MAX:
                self._terms.clear()
            terms = self._terms[shape] = terms_of(self.document, shape, self._rules(shape))
        return terms

    def _rules(self, shape: Shape) -> ShapeRules | None:
        """The rules that apply to requests of this shape and from which its category is not exempt."""
        category = self.document.categories.get(shape[CATEGORY] or "")
        if category is None:
            return None
        rules = [j for j in self._compiled if j.kind in PROTECTING or j.kind not in category.exempt]
        there = [one for one in [*self._stopping(shape), *rules] if one.when.shape_matches(shape)]
        return ShapeRules(self._index, shape, there, self.points)

    def is_stopped(self, kind: Kind, at_ms: int) -> bool:
        """Whether a kill switch stops contacts of this kind at ``at_ms``."""
        return any(at_ms < one.until_ms for one in self._stopping(shape_of(kind)))

    def _stopping(self, shape: Shape) -> list[CompiledKill]:
        category = self.document.categories.get(shape[CATEGORY] or "")
        return [one for one in self._kills if one.stops(shape, category.purpose if category else None)]

    def lifts(self, e: Inputs) -> Lifts:
        """The exceptions that are for this request."""
        return self._lifts.matching(e) if self.has_lifts else NO_LIFTS

    def arbitration(self, rule: str) -> CompiledArbitration | None:
        """An arbitration rule by its id; ``None`` if this policy has none of that name."""
        return self._arbitrations.get(rule)

    def window(self, name: str, at_ms: int) -> Want | None:
        """The window of a name, as its draws have it, that holds ``at_ms``; ``None`` if there is no such rule."""
        wants = (want for one in self._shared for want in one.wants(self.zone, at_ms))
        return next((want for want in wants if want.draw.name == name), None)

    def limits(self, at_ms: int) -> list[Want]:
        """The windows at an instant of which there are only so many places."""
        wants = (want for one in self._shared for want in one.wants(self.zone, at_ms))
        return [want for want in wants if want.limit is not None and not want.draw.is_cell]

    def floors(self, at_ms: int) -> list[CompiledFloor]:
        """The floors that count at an instant and raise scores while they are behind."""
        floors = (one for one in self._shared if isinstance(one, CompiledFloor) and not one.shadow)
        return [one for one in floors if one.from_ms <= at_ms < one.until_ms and any(one.wants(self.zone, at_ms))]

    def wants_of(self, rule: str, at_ms: int) -> list[Want]:
        """What one rule counts for all customers at ``at_ms``, its main window first; nothing if it is off."""
        return [want for one in self._shared if one.id == rule for want in one.wants(self.zone, at_ms)]

    def cohort(self, traits: Traits | None) -> Cohort:
        """To whom a customer with this profile is alike.

        Worked out once for each profile, and kept beside it: a profile never changes, it is replaced.
        """
        if traits is None:
            return self._cohort(None, *self._zones_of(None))
        kept = traits.__dict__.get("cohort")
        if kept is None or kept[0] is not self._index:
            cohort = self._cohort(self._segments_of(traits), *self._zones_of(traits))
            kept = traits.__dict__["cohort"] = (self._index, cohort)
        return kept[1]

    def _cohort(self, segments: frozenset[str] | None, zones: tuple[str, ...], zone: str) -> Cohort:
        timetable = self._timetable(zones, zone, zone)
        known = self._cohorts.get((segments, timetable))
        if known is None:
            if len(self._cohorts) > SHAPES_MAX:
                self._cohorts.clear()
            known = self._cohorts[segments, timetable] = Cohort(segments, timetable)
        return known

    def timetable(self, cohort: Cohort, ledger: Ledger) -> Timetable:
        """What the clock decides for a customer of a party: the party's zone is the one that all members share."""
        own = cohort.timetable
        if len(ledger.members) <= 1:
            return own
        zones = {self.cohort(member.traits).timetable.zone for member in ledger.members.values()}
        return self._timetable(own.zones, own.zone, zones.pop() if len(zones) == 1 else self.zone)

    def _timetable(self, zones: tuple[str, ...], zone: str, party_zone: str) -> Timetable:
        key = (zones, zone, party_zone)
        known = self._timetables.get(key)
        if known is None:
            if len(self._timetables) > ZONES_MAX:
                self._timetables.clear()
            known = self._timetables[key] = Timetable(self._index, *key, self.zone)
        return known

    def _zones_of(self, traits: Traits | None) -> tuple[tuple[str, ...], str]:
        """Of a customer: all zones in which quiet hours must be open, and the zone of calendar windows."""
        if traits is None:
            return self._unknown_zones, self.zone
        if traits.time_zone is not None and known_zone(traits.time_zone):
            return (traits.time_zone,), traits.time_zone
        named = tuple(zone for zone in traits.time_zones if known_zone(zone))
        every = self.document.unknown_customer_zone == "every_candidate"
        return (named if named and every else self._unknown_zones), self.zone

    def score(self, request: ContactRequest, terms: Terms) -> tuple[float, float, str | None]:
        """(score, priority) before any floor; and, if either was lowered or could not be computed, a note of that."""
        department, defaults = terms.department, self.document.score_defaults
        if department is None:
            return 0.0, 0.0, None
        priority, value, propensity = request.priority, request.value, request.propensity
        notes: list[str] = []
        if priority > department.max_priority:
            notes.append(f"priority {priority:g} lowered to {department.max_priority:g}")
            priority = department.max_priority
        if value is None:
            value = defaults.value
        if department.max_value is not None and value > department.max_value:
            notes.append(f"value {value:g} lowered to {department.max_value:g}")
            value = department.max_value
        score = safely(self._formula, priority, defaults.propensity if propensity is None else propensity, value)
        if score is None:
            notes.append("the formula gave no finite number; 0 stands")
            score = 0.0
        return score, priority, f"{'; '.join(notes)} (department {request.department})" if notes else None

    def segments_of(self, ledger: Ledger, customer: str) -> frozenset[str]:
        """The segments of a customer, by the profile as it is known now."""
        member = ledger.members.get(customer)
        return self._segments_of(member.traits or Traits() if member else Traits())

    def _segments_of(self, traits: Traits) -> frozenset[str]:
        subject = OfContact(traits.attributes, frozenset())  # a segment is made of attributes, never of segments
        return frozenset([name for name, when in self._segments.items() if when.rest_matches(subject)])


def compiled(document: PolicyDocument) -> list[CompiledRule]:
    """All rules that are not off, compiled. Raises :class:`PolicyError` for the first that makes no sense."""
    for trouble in _contradictory(document):
        raise PolicyError(trouble)
    rules = []
    for index, rule in enumerate(document.rules):
        try:
            one = compile_rule(rule, document)
        except ValueError as error:
            raise PolicyError(f"rules[{index}], `{rule.id}`: {error}") from None
        if rule.mode != "off":
            rules.append(one)
    return rules


def compile_rule(rule: Rule, document: PolicyDocument) -> CompiledRule:
    """The compiled rule. Raises ``ValueError`` if its text cannot be understood."""
    return rule.compile(document, *rule.in_force(document.timezone))


def _contradictory(document: PolicyDocument) -> Iterator[str]:
    """What would let through what must not pass, or stop everything, if a document came here unchecked."""
    yield from (f"`{zone}` is not a time zone" for zone in (document.timezone, *document.candidate_zones)
                if not known_zone(zone))  # fmt: skip
    for name, category in document.categories.items():
        yield from (f"categories.{name}: nothing can be exempt from `{kind}`" for kind in category.exempt
                    if kind not in EXEMPTABLE)  # fmt: skip
    rules: dict[str, Rule] = {}
    for rule in document.rules:
        if rules.setdefault(rule.id, rule) is not rule:
            yield f"rule id `{rule.id}` is used twice"
    for one in document.exceptions:
        yield from (f"exception `{one.id}`: nothing lifts `{name}`, a rule of the kind `{rules[name].kind}`"
                    for name in one.rules if name in rules and rules[name].protects)  # fmt: skip


def load(
    document: bytes, version: int, digest: str, kills: Sequence[Kill] = (), shadow: Policy | None = None
) -> Policy:
    """Compile a published document (JSON), with ``shadow`` beside it. Raises :class:`PolicyError`."""
    try:
        parsed = msgspec.json.decode(document, type=PolicyDocument)
    except msgspec.DecodeError as error:
        raise PolicyError(f"the policy document cannot be read: {error}") from None
    try:
        return Policy(parsed, version, digest, kills, shadow)
    except PolicyError:
        raise
    except ValueError as error:
        raise PolicyError(f"the policy cannot be compiled: {error}") from None
