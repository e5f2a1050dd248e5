"""A compiled policy: what a document means, ready to judge with.

:func:`load` reads a published document; it refuses one that :func:`arbiter.core.checks.problems` would complain
about, so that a worker never runs a policy that ``arbiter policy check`` would not have let through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from arbiter.core.case import Case, Shape
from arbiter.core.checks import problems
from arbiter.core.document import Category, PolicyDocument
from arbiter.core.hours import Dates, parse_dates
from arbiter.core.instants import FAR_MS
from arbiter.core.match import Matcher, Subject
from arbiter.core.model import Ledger, Traits
from arbiter.core.rules import (
    AnyRule,
    ArbitrationJudge,
    ArbitrationRule,
    BlackoutJudge,
    BlackoutRule,
    CapacityJudge,
    CapacityRule,
    CapJudge,
    CapRule,
    ConflictJudge,
    ConflictRule,
    ConsentJudge,
    ConsentRule,
    HoldoutJudge,
    HoldoutRule,
    Judge,
    QuietHoursJudge,
    QuietHoursRule,
    Rule,
    SuppressionJudge,
    SuppressionRule,
)
from arbiter.core.score import parse_formula, safely
from arbiter.core.stock import Draw, EmptyStock, Stock, Want
from arbiter.core.windows import duration_ms, known_zone, moment
from arbiter.messages import ContactRequest

SHAPES_MAX = 10_000
NEVER_EXEMPT = ("consent", "suppression")
NO_STOCK = EmptyStock()


class PolicyError(ValueError):
    """A document that cannot be a policy; the text says where and why."""


class Policy:
    """An immutable, compiled policy. ``ref`` is (name, version, digest)."""

    def __init__(self, document: PolicyDocument, version: int, digest: str) -> None:
        self.document = document
        self.ref = (document.policy, version, digest)
        self.zone = document.timezone
        self.permit_min_ms = duration_ms(document.permit.min)
        self.permit_max_ms = {channel: duration_ms(text) for channel, text in document.permit.max.items()}
        self.reserve_ahead_ms = duration_ms(document.reserve_ahead)
        self.history_ms = duration_ms(document.history)
        self.points = {name: channel.points for name, channel in document.channels.items()}
        self._candidates = tuple(document.candidate_zones) or (document.timezone,)
        self.recall = document.recall
        self.recall_margin_ms = duration_ms(document.recall.margin)
        self.waiting_max = document.waiting_max
        self._formula = parse_formula(document.score)
        self._segments = {name: Matcher(segment.when) for name, segment in document.segments.items()}
        judges = [compile_rule(rule, document) for rule in document.rules if rule.mode != "off"]
        self._arbitrations = {j.id: j for j in judges if isinstance(j, ArbitrationJudge) and not j.shadow}
        self._judges = [judge for judge in judges if not isinstance(judge, ArbitrationJudge)]
        self._capacities = [judge for judge in judges if isinstance(judge, CapacityJudge)]
        self._by_shape: dict[Shape, list[Judge]] = {}

    def judges(self, case: Case, category: Category) -> list[Judge]:
        """The rules that speak about this request and from which its category is not exempt, in file order."""
        found = self._by_shape.get(case.shape)
        if found is None:
            if len(self._by_shape) > SHAPES_MAX:
                self._by_shape.clear()
            exempt = [kind for kind in category.exempt if kind not in NEVER_EXEMPT]
            found = [j for j in self._judges if j.kind not in exempt and j.when.shape_matches(case.shape)]
            self._by_shape[case.shape] = found
        return [judge for judge in found if judge.when.shape_only or judge.when.rest_matches(case.subject)]

    def arbitrations(self, request: ContactRequest, ledger: Ledger, at_ms: int) -> list[ArbitrationJudge]:
        """The arbitrations in force that speak about this request, unless its category is exempt."""
        if not self._arbitrations or "arbitration" in self.document.categories[request.category].exempt:
            return []
        case = self.case(request, ledger, NO_STOCK)
        found = [j for j in self._arbitrations.values() if j.from_ms <= at_ms < j.until_ms]
        return [j for j in found if j.when.shape_matches(case.shape) and j.when.rest_matches(case.subject)]

    def arbitration(self, rule: str) -> ArbitrationJudge | None:
        """An arbitration rule by its id; ``None`` if this policy has none of that name."""
        return self._arbitrations.get(rule)

    def rank(self, request: ContactRequest) -> tuple[float, float]:
        """(score, priority) by which requests are ordered, lowered to what the department may claim."""
        department = self.document.departments.get(request.department)
        if department is None:
            return 0.0, 0.0
        return self.score(request)[0], min(request.priority, department.max_priority)

    @property
    def has_capacities(self) -> bool:
        """Whether there is anything that customers have in common."""
        return bool(self._capacities)

    def wants(self, request: ContactRequest, ledger: Ledger, at_ms: int) -> list[Want]:
        """What an approval at ``at_ms`` would take of the capacity that all customers share."""
        category = self.document.categories.get(request.category)
        if not self._capacities or category is None or "capacity" in category.exempt:
            return []
        case = self.case(request, ledger, NO_STOCK)
        return [
            want
            for judge in self._capacities
            if judge.from_ms <= at_ms < judge.until_ms and judge.when.shape_matches(case.shape)
            if judge.when.shape_only or judge.when.rest_matches(case.subject)
            for want in judge.wants(self.zone, at_ms)
        ]

    def limit_of(self, draw: Draw) -> int | None:
        """How many places a window of capacity has; ``None`` if its rule only watches."""
        wants = (want for judge in self._capacities for want in judge.wants(self.zone, draw.start_ms))
        return next((want.limit for want in wants if want.draw.name == draw.name), 0)

    def case(self, request: ContactRequest, ledger: Ledger, stock: Stock) -> Case:
        """Everything the rules may look at for this request. Its category must be known."""
        member = ledger.members.get(request.customer_id)
        traits = member.traits if member else None
        return Case(
            request,
            ledger,
            self._segments_of,
            stock,
            purpose=self.document.categories[request.category].purpose,
            points=self.points,
            zones=self.zones_of(traits),
            zone=self.window_zone(traits),
            party_zone=self._party_zone(ledger),
            business_zone=self.zone,
            discloses_campaign=self.document.disclose == "campaign",
        )

    def zones_of(self, traits: Traits | None) -> tuple[str, ...]:
        """All zones in which quiet hours must be open for this customer."""
        if traits is not None:
            if traits.time_zone is not None and known_zone(traits.time_zone):
                return (traits.time_zone,)
            named = tuple(zone for zone in traits.time_zones if known_zone(zone))
            if named and self.document.unknown_customer_zone == "every_candidate":
                return named
        return self._candidates if self.document.unknown_customer_zone == "every_candidate" else (self.zone,)

    def window_zone(self, traits: Traits | None) -> str:
        """The zone of a customer's calendar windows: the customer's own if known, else the business zone."""
        if traits is not None and traits.time_zone is not None and known_zone(traits.time_zone):
            return traits.time_zone
        return self.zone

    def score(self, request: ContactRequest) -> tuple[float, str | None]:
        """The score and, if anything was lowered or could not be computed, a note that says so."""
        department = self.document.departments[request.department]
        defaults = self.document.score_defaults
        notes: list[str] = []
        priority = request.priority
        if priority > department.max_priority:
            notes.append(f"priority {priority:g} lowered to {department.max_priority:g}")
            priority = department.max_priority
        value = defaults.value if request.value is None else request.value
        if department.max_value is not None and value > department.max_value:
            notes.append(f"value {value:g} lowered to {department.max_value:g}")
            value = department.max_value
        propensity = defaults.propensity if request.propensity is None else request.propensity
        score = safely(self._formula, priority, propensity, value)
        if score is None:
            notes.append("the formula gave no finite number; 0 stands")
        text = f"{'; '.join(notes)} (department {request.department})" if notes else None
        return (0.0 if score is None else score), text

    def _segments_of(self, traits: Traits | None) -> frozenset[str] | None:
        if traits is None:
            return None
        profile = Subject(None, traits.attributes, None)
        return frozenset(name for name, when in self._segments.items() if when.rest_matches(profile))

    def _party_zone(self, ledger: Ledger) -> str:
        zones = {self.window_zone(member.traits) for member in ledger.members.values()}
        return zones.pop() if len(zones) == 1 else self.zone


def compile_rule(rule: AnyRule, document: PolicyDocument) -> Judge:
    """The judge of a rule; ``ValueError`` where its text cannot be understood."""
    zone = document.timezone
    begin_ms, end_ms = -FAR_MS, FAR_MS
    if rule.effective is not None:
        begin_ms = moment(rule.effective.from_, zone, "start") if rule.effective.from_ else begin_ms
        end_ms = moment(rule.effective.until, zone, "end") if rule.effective.until else end_ms
    simple = _JUDGES.get(type(rule))
    if simple is not None:
        return simple(rule, begin_ms, end_ms)
    if isinstance(rule, QuietHoursRule):
        return QuietHoursJudge(rule, begin_ms, end_ms, holidays_of(rule.holidays, document.holidays))
    if isinstance(rule, BlackoutRule):
        freeze = None
        if rule.from_ and rule.until:
            freeze = (moment(rule.from_, zone, "start"), moment(rule.until, zone, "end"))
        return BlackoutJudge(rule, begin_ms, end_ms, holidays_of(rule.holidays, document.holidays), freeze)
    raise ValueError(f"no judge for {type(rule).__name__}")  # pragma: no cover - the union and this table agree


_JUDGES: dict[type[Rule], Callable[..., Judge]] = {
    ConsentRule: ConsentJudge,
    SuppressionRule: SuppressionJudge,
    CapRule: CapJudge,
    CapacityRule: CapacityJudge,
    ConflictRule: ConflictJudge,
    HoldoutRule: HoldoutJudge,
    ArbitrationRule: ArbitrationJudge,
}


def holidays_of(names: list[str], calendars: Mapping[str, list[str]]) -> Dates:
    """The days of these holiday calendars; ``ValueError`` for one that the policy does not have."""
    days = Dates()
    for name in names:
        if name not in calendars:
            raise ValueError(f"`{name}` is not a holiday calendar of this policy")
        days = days | parse_dates(calendars[name])
    return days


def load(document: bytes, version: int, digest: str) -> Policy:
    """Compile a published document (JSON). Raises :class:`PolicyError` with every problem found."""
    try:
        parsed = msgspec.json.decode(document, type=PolicyDocument)
    except msgspec.DecodeError as error:
        raise PolicyError(f"the policy document cannot be read: {error}") from None
    found = [problem for problem in problems(parsed) if problem.severity == "error"]
    if found:
        raise PolicyError("; ".join(f"{problem.where}: {problem.message}" for problem in found))
    return Policy(parsed, version, digest)
