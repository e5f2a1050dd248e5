"""The evaluation of a request: every rule is asked, every "no" is a finding, and the findings alone decide.

Any reject → rejected. Else any defer → deferred until the settled time. Else approved, as a permit for a span of
time. Which outcome findings lead to is in this file; what follows from an outcome is in ``requests.py``.

One loop, :meth:`Evaluation._objections`, asks the rules, for the decision now and for the search for the settled time.
The settled time is the first instant at which all rules say yes. Sentences are made for the decision now, and never
during the search.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from arbiter.engine.decisions import RULE_ERROR, without_rules
from arbiter.engine.settling import Calendar, Search, Settled, may_end_any_time, too_late
from arbiter.ledger.capacity import Draw, Stock, Want
from arbiter.ledger.contacts import Shape
from arbiter.ledger.model import Decision, Ledger, Member
from arbiter.messages import ContactRequest, Finding, OutcomeName, instant_of
from arbiter.policy.exceptions import NO_LIFTS, Lift
from arbiter.policy.index import ApplicableRules, ShapeRules, Timetable, ValidInterval
from arbiter.policy.inputs import Used, shape_of
from arbiter.policy.kill_switches import KILL_SWITCH
from arbiter.policy.match import OfContact
from arbiter.policy.preferences import OWN_HOURS, PREFERENCES, Preference
from arbiter.policy.rules import (
    NEVER_MS,
    NOW_MS,
    PROTECTING,
    CompiledArbitration,
    CompiledClosed,
    CompiledRule,
    CompiledShared,
)
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import Terms, finding_of
from arbiter.timing.instants import DAY_MS, END_MS, FAR_MS, to_ms
from arbiter.timing.windows import spoken

REMEMBERED_MS = 30 * DAY_MS
"""How long a request id is told from a new one; an older request is ``expired``."""

DEFAULT_EXPIRY_MS = 7 * DAY_MS
NO_MEMBER = Member()
R = TypeVar("R", bound=CompiledRule)


def expiry_of(request: ContactRequest, asked_ms: int) -> int:
    """When a request that was asked then expires (ms): its own word, else after seven days."""
    return asked_ms + DEFAULT_EXPIRY_MS if request.expires_at is None else to_ms(request.expires_at)


def asked_at(request: ContactRequest, received_ms: int) -> int:
    """When it was asked (ms): ``requested_at``, else the record's time stamp."""
    return received_ms if request.requested_at is None else to_ms(request.requested_at)


def decide(
    policy: Policy,
    ledger: Ledger,
    request: ContactRequest,
    received_ms: int,
    now_ms: int,
    stock: Stock,
    *,
    is_new: bool = True,
) -> Decision:
    """CompiledRule one request against a party's state. Pure: nothing is changed, nothing is read but the arguments.

    ``is_new``: it just arrived. One that was answered before and waits is known, however old it is by now.
    """
    return Evaluation(policy, ledger, request, received_ms, now_ms, stock).decision(is_new=is_new)


def rank_of(policy: Policy, request: ContactRequest, ledger: Ledger, stock: Stock, now_ms: int) -> tuple[float, float]:
    """(score, priority) by which requests are ordered, lowered to what the department may claim."""
    terms = policy.terms(shape_of(request))
    if terms.may_boost and not terms.unknown:
        e = Evaluation(policy, ledger, request, now_ms, now_ms, stock)
        return e.score, e.priority
    score, priority, _ = policy.score(request, terms)
    return score, priority


class Objection(Struct, gc=False):
    """A "no" to a contact at an instant: whose, when that rule says yes (``rule_ms``), and when the "no" ends, which
    an exception may do sooner. ``error`` is how the rule failed.
    """

    rule: CompiledRule
    rule_ms: int
    until_ms: int
    error: Exception | None = None


class Permit(Struct, gc=False):
    """How long an approval would last, and what ends it; with what stands against it for being too short."""

    until_ms: int
    cutter: CompiledRule | None = None
    objection: Objection | None = None


class Evaluation:
    """One request, its party, and a rule set, at as many instants as it takes to find out when every rule says yes.

    It holds for the ledger as it is; rules see it as :class:`arbiter.policy.inputs.Inputs`. Of a request with a name
    that is unknown to the policy it knows no more than that.
    """

    __slots__ = (
        "_applicable",
        "_asked",
        "_counted",
        "_exceptions",
        "_full",
        "_has_lifts",
        "_interval",
        "_lifted",
        "_lifts",
        "_rules",
        "_shadow",
        "_timetable",
        "_wishes",
        "asked_ms",
        "business_zone",
        "consented",
        "costs",
        "customer",
        "discloses_campaign",
        "draws",
        "ends_ms",
        "expires_ms",
        "hopes",
        "is_ahead",
        "last_ms",
        "ledger",
        "member",
        "now_ms",
        "party_zone",
        "points",
        "policy",
        "priority",
        "profile",
        "purpose",
        "request",
        "score",
        "score_note",
        "segments",
        "send_after_ms",
        "shape",
        "stock",
        "terms",
        "unknown",
        "zone",
        "zones",
    )

    terms: Terms
    _rules: ShapeRules
    _applicable: ApplicableRules
    _timetable: Timetable
    _interval: ValidInterval

    def __init__(
        self, policy: Policy, ledger: Ledger, request: ContactRequest, received_ms: int, now_ms: int, stock: Stock
    ) -> None:
        self.policy = policy
        self.ledger = ledger
        self.request = request
        self.now_ms = now_ms
        self.stock = stock
        shape: Shape = (
            request.department, request.campaign, request.channel, request.category, request.product, request.partner,
        )  # fmt: skip
        self.shape = shape
        self.terms = terms = policy.terms(shape)
        self.asked_ms = received_ms if request.requested_at is None else to_ms(request.requested_at)
        self.expires_ms = self.ends_ms = (
            self.asked_ms + DEFAULT_EXPIRY_MS if request.expires_at is None else to_ms(request.expires_at)
        )
        self.send_after_ms = -FAR_MS if request.send_after is None else to_ms(request.send_after)
        self.score, self.priority, self.score_note = policy.score(request, terms)
        if terms.rules is not None:
            self._meet_party(policy, terms, terms.rules)

    def _meet_party(self, policy: Policy, terms: Terms, rules: ShapeRules) -> None:
        """Everything that rules look at, gathered once."""
        self._rules = rules
        self.costs = rules.costs
        self.customer = customer = self.request.customer_id
        self.member = member = self.ledger.members.get(customer) or NO_MEMBER
        traits = member.traits
        cohort = policy.cohort(traits)
        self.profile = None if traits is None else traits.attributes
        self.segments = cohort.segments
        self._timetable = timetable = policy.timetable(cohort, self.ledger)
        self.zones, self.zone, self.party_zone = timetable.zones, timetable.zone, timetable.party_zone
        self.business_zone = policy.zone
        self.purpose = terms.purpose
        self.points = policy.points
        self.discloses_campaign = policy.discloses_campaign
        self.last_ms = self.expires_ms - policy.permit_min_ms
        self.is_ahead = self.hopes = False
        self.unknown: list[Draw] = []
        self.draws: list[Draw] = []
        self.consented: Any = None
        self._applicable = applicable = rules.applicable(self)
        self._counted = counted = rules.counted(self)
        self._asked, self._full = applicable.asked(self), applicable.full(self, counted)
        self._wishes: tuple[Preference, ...] = ()
        if terms.minds_preferences and member.preferences is not None:
            self._wishes = PREFERENCES
        self._lifts, self._has_lifts = NO_LIFTS, False
        if policy.has_lifts:
            self._lifts = policy.lifts(self)
            self._has_lifts = bool(self._lifts)
        self._lifted: dict[CompiledRule, Lift] = {}
        if terms.may_boost:
            self._boost()

    # What rules ask for.

    def counted_by(self, rule: CompiledRule) -> Sequence[Used]:
        """The party's contacts that a rule counts, oldest first; a customer's own cap, which is no rule of the policy,
        counts all of the customer's.
        """
        number = self._rules.numbers.get(rule)
        return self._own_contacts() if number is None else self._counted[number]

    def counting(self) -> list[CompiledRule]:
        """The rules that count any of the party's contacts for the request."""
        return [rule for rule, counted in zip(self._rules.counting, self._counted, strict=True) if counted]

    def _own_contacts(self) -> list[Used]:
        own = [one for one in self.ledger.contacts if one.counts and one.kind.customer == self.customer]
        return sorted([(one.at_ms, one.kind, one.kind.shape) for one in own], key=itemgetter(0))

    def of_contact(self, customer: str) -> OfContact:
        """A past contact of ``customer`` as a ``when`` sees it: with what is known of the customer today."""
        if customer == self.customer:
            return OfContact(self.profile, self.segments)
        member = self.ledger.members.get(customer)
        traits = member.traits if member else None
        return (
            OfContact(None, None)
            if traits is None
            else OfContact(traits.attributes, self.policy.cohort(traits).segments)
        )

    # What is decided.

    def decision(self, *, is_new: bool = True, takes: bool = False) -> Decision:
        """The answer at ``now``; ``is_new`` as in :func:`decide`.

        With ``takes`` an approval will take its places of the capacity, and taking asks for them. In all other cases
        capacity that is unknown is asked for here, so that the findings are complete.
        """
        if self.terms.unknown:
            return without_rules(self.policy, self.now_ms, "rejected", self.terms.unknown)
        at_ms = max(self.now_ms, self.send_after_ms)
        found, shadow, permit = self._look(at_ms, is_new=is_new)
        if self.unknown and (found or not takes):
            for draw in self.unknown:
                self.stock.need(draw)
        self._shadow = tuple(shadow)
        self._exceptions = self._excepted() if self._has_lifts else ()
        if permit is not None:
            return self._approved(at_ms, permit.until_ms)
        for finding in found:
            if not finding.defers:
                return self._answer("rejected", found)
        return self._deferred(found)

    def objections(self, begin_ms: int, end_ms: int) -> list[Finding]:
        """What consent, suppression and kill switches say against sending in ``[begin, end)``; by these it is recalled.

        What ends before the permit begins does not concern it. What is unknown now is said, too.
        """
        if self.terms.unknown:
            return [*self.terms.unknown]
        at_ms = max(self.now_ms, begin_ms)
        found = []
        for rule in self._rules.index.set_of(self._applicable.bits & self._rules.index.enforced):
            recalls = rule.kind in PROTECTING or rule.kind == KILL_SWITCH
            if recalls and rule.from_ms <= at_ms < rule.until_ms:
                finding = self._hear(rule, at_ms)
                if finding is None and (cut_ms := rule.permit_end(self, at_ms)) < end_ms:
                    finding = self._hear(rule, cut_ms)
                if finding is not None:
                    found.append(finding)
        return found

    def arbitrations(self) -> list[CompiledArbitration]:
        """The arbitrations for which the request must wait."""
        if self.terms.unknown or not self._rules.arbitrations:
            return []
        return [rule for rule in self._gathering() if self._lifts.at(rule.id, self.now_ms) is None]

    def wants(self, at_ms: int) -> list[Want]:
        """What an approval at ``at_ms`` would take of the capacity that all customers share."""
        return [want for rule in self._shared(at_ms) for want in rule.wants(self.business_zone, at_ms)]

    def eligible_ms(self, from_ms: int) -> int | None:
        """The first instant from ``from`` on at which a request alike that does not expire could be approved; ``None``
        if none is known.
        """
        settled = self._settle(from_ms)
        return settled.at_ms if settled.is_sure else None

    # How it is found out.

    def _objections(self, at_ms: int, *, enforced_only: bool = False) -> list[Objection]:
        """The rules that say no to a contact at ``at_ms``, in file order, then the customer's own."""
        found: list[Objection] = []
        if self._lifted:
            self._lifted = {}
        for rule in self._suspects(at_ms, enforced_only=enforced_only):
            try:
                until_ms = rule.until(self, at_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
                found.append(Objection(rule, NEVER_MS, NEVER_MS, error))
                continue
            if until_ms == NOW_MS:
                continue
            if self._has_lifts and rule.may_be_lifted and not rule.shadow:
                lift = self._lifts.at(rule.id, at_ms)
                if lift is not None:
                    self._lifted[rule] = lift
                    continue
                if until_ms < END_MS:
                    found.append(Objection(rule, until_ms, min(until_ms, self._lifts.next_ms(rule.id, at_ms))))
                    continue
            found.append(Objection(rule, until_ms, until_ms))
        return found

    def _suspects(self, at_ms: int, *, enforced_only: bool) -> Sequence[CompiledRule]:
        """The rules that may say no to a contact at ``at_ms``."""
        self._interval = interval = self._timetable.at(at_ms, self.now_ms)
        index, bits = self._rules.index, self._asked
        for frees_ms, bit in self._full:
            if at_ms < frees_ms:
                bits |= bit
        bits = bits & interval.asking | interval.failed & self._applicable.bits
        if enforced_only:
            bits &= index.enforced
        rules = index.set_of(bits)
        return (*rules, *self._wishes) if self._wishes else rules

    def _look(self, at_ms: int, *, is_new: bool) -> tuple[list[Finding], list[Finding], Permit | None]:
        """Findings and shadow findings on a contact at ``at_ms``, decided now; the permit, if nothing is found."""
        found = [*self.terms.refusals]
        if self.now_ms >= self.expires_ms or (is_new and self.now_ms - self.asked_ms > REMEMBERED_MS):
            found.append(self._late())
        ahead_ms = self.send_after_ms - self.policy.reserve_ahead_ms
        if ahead_ms > self.now_ms:
            ahead = self.policy.document.reserve_ahead
            message = f"budgets may be reserved {ahead} ahead, from {self._say(ahead_ms)}"
            found.append(self._own("reserve_ahead", "too_early", message, ahead_ms))
        shadow: list[Finding] = []
        for objection in self._objections(at_ms):
            (shadow if objection.rule.shadow else found).append(self._explain(objection, at_ms))
        if found:
            return found, shadow, None
        permit = self._permit(at_ms)
        if permit.objection is None and permit.until_ms - at_ms >= self.policy.permit_min_ms:
            return found, shadow, permit
        return [self._too_short(permit, at_ms)], shadow, None

    def _peek(self, now_ms: int) -> int:
        """When every "no" of ``now`` has ended (ms): ``NOW_MS`` if there is none, ``NEVER_MS`` if one is for good."""
        at_ms = max(now_ms, self.send_after_ms)
        ahead_ms = self.send_after_ms - self.policy.reserve_ahead_ms
        until_ms = ahead_ms if ahead_ms > now_ms else NOW_MS
        for objection in self._objections(at_ms, enforced_only=True):
            until_ms = max(until_ms, objection.until_ms)
        if until_ms > NOW_MS:
            return until_ms
        permit = self._permit(at_ms)
        if permit.objection is None and permit.until_ms - at_ms >= self.policy.permit_min_ms:
            return NOW_MS
        return self._when_longer(permit, at_ms)[0]

    def _explain(self, objection: Objection, at_ms: int) -> Finding:
        """The finding that tells of an objection. A rule that fails says no: what cannot be judged is not approved."""
        rule = objection.rule
        if objection.error is not None:
            return _failed(rule, objection.error)
        try:
            finding = rule.explain(self, at_ms, objection.rule_ms)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
            return _failed(rule, error)
        if objection.until_ms == objection.rule_ms:
            return finding
        return replace(finding, until=instant_of(objection.until_ms))

    def _hear(self, rule: CompiledRule, at_ms: int) -> Finding | None:
        """One rule's word."""
        objection = self._objection(rule, at_ms)
        return None if objection.until_ms == NOW_MS else self._explain(objection, at_ms)

    def _objection(self, rule: CompiledRule, at_ms: int) -> Objection:
        try:
            until_ms = rule.until(self, at_ms)
        except Exception as error:  # noqa: BLE001 - likewise
            return Objection(rule, NEVER_MS, NEVER_MS, error)
        return Objection(rule, until_ms, until_ms)

    def _permit(self, at_ms: int) -> Permit:
        """How long an approval at ``at_ms`` would last; of several rules that end it at once the first in the file."""
        permit = Permit(min(at_ms + self.terms.permit_max_ms, self.ends_ms))
        place = -FAR_MS
        if not self._has_lifts:
            cut_ms, cutter = self._applicable.cut(self._interval)
            if cut_ms < permit.until_ms and cutter is not None:
                permit.until_ms, permit.cutter, place = cut_ms, cutter, cutter.place
        for rule in self._cutting(at_ms):
            try:
                cut_ms = rule.permit_end(self, at_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not approve
                permit.objection = Objection(rule, NEVER_MS, NEVER_MS, error)
                return permit
            if self._has_lifts and cut_ms < permit.until_ms:
                cut_ms = self._cut_by(rule, cut_ms)
            if (cut_ms, rule.place) < (permit.until_ms, place):
                permit.until_ms, permit.cutter, place = cut_ms, rule, rule.place
        for rule, lift in self._lifted.items():
            if lift.until_ms < permit.until_ms:
                permit.until_ms, permit.cutter = lift.until_ms, rule
        return permit

    def _cutting(self, at_ms: int) -> Sequence[CompiledRule]:
        """The rules that are asked when they would end a permit: those that do so for a reason of the request's own.

        With exceptions all that may: an interval knows the first one only, and that may be lifted. What is lifted
        already is cut by the end of its exception.
        """
        index, applicable, interval = self._rules.index, self._applicable, self._interval
        if self._has_lifts:
            rules = index.set_of(applicable.bits & index.enforced)
            there = [one for one in rules if one.cuts and at_ms < one.until_ms and one not in self._lifted]
        else:
            rules = index.set_of(applicable.cutting & interval.lasting | interval.failed & applicable.bits)
            there = [*rules] if interval.failed else rules  # type: ignore[assignment]
        return [*there, *self._wishes] if self._wishes else there

    def _cut_by(self, rule: CompiledRule, cut_ms: int) -> int:
        """When a rule that would cut a permit at ``cut_ms`` does so, if an exception lifts it then."""
        lift = self._lifts.at(rule.id, cut_ms) if rule.may_be_lifted else None
        if lift is None:
            return cut_ms
        self._lifted[rule] = lift
        return max(cut_ms, lift.until_ms)

    def _when_longer(self, permit: Permit, at_ms: int) -> tuple[int, Objection | None]:
        """When a permit that is too short would be longer; and what says no at its end, where that is for good."""
        cutter, end_ms = permit.cutter, permit.until_ms
        if permit.objection is not None or cutter is None:
            return NEVER_MS, permit.objection
        alike = PREFERENCES if isinstance(cutter, Preference) else (cutter,)
        then = max([self._objection(rule, end_ms) for rule in alike], key=attrgetter("until_ms"))
        if then.until_ms >= END_MS:
            return NEVER_MS, then
        until_ms = max(then.until_ms, end_ms) if then.until_ms == NOW_MS else then.until_ms
        if self._has_lifts:
            until_ms = min(until_ms, self._lifts.next_ms(cutter.id, at_ms))
        return cutter.bounded(until_ms), None

    def _too_short(self, permit: Permit, at_ms: int) -> Finding:
        """The finding of whatever leaves less than the shortest permit."""
        until_ms, then = self._when_longer(permit, at_ms)
        if then is not None:
            return self._explain(then, permit.until_ms)
        least = self.policy.document.permit.min
        message = f"an approval would end at {self._say(permit.until_ms)}, in less than {least}"
        if permit.cutter is None:
            return self._own("expires_at", "would_expire", message)
        return permit.cutter.no("permit_too_short", message, until_ms)

    def _settle(self, from_ms: int) -> Settled:
        self.is_ahead, self.ends_ms = True, FAR_MS
        return Search(self, self._peek, self._calendars, self.policy.permit_min_ms).settle(from_ms)

    def _calendars(self) -> list[Calendar]:
        """What closes at times that nothing but the clock decides."""
        rules = self._rules.index.set_of(self._applicable.bits & self._rules.index.enforced)
        closing: list[Calendar] = [
            rule for rule in rules if isinstance(rule, CompiledClosed) and not self._lifts.may_lift(rule.id)
        ]
        return [*closing, OWN_HOURS] if self._wishes else closing

    # What comes of it.

    def _approved(self, at_ms: int, until_ms: int) -> Decision:
        preferences = self.member.preferences
        wishes = preferences.preferred_channel if preferences is not None else None
        if self.terms.may_draw:
            # What is given out cannot be taken once more, also where an exception lets it pass.
            shared = [rule for rule in self._shared(at_ms) if rule not in self._lifted]
            self.draws = [draw for rule in shared for draw in rule.draws(self, at_ms)]
        return Decision(
            "approved", True, self.policy.ref, self.now_ms, (), None, None, at_ms, until_ms,
            self._relationship_owner(), wishes if wishes != self.request.channel else None,
            self.score, self.score_note, self._shadow, self._exceptions,
        )  # fmt: skip

    def _deferred(self, found: list[Finding]) -> Decision:
        """Deferred until the settled time, when every rule says yes at once; if that is too late, a no."""
        until_ms = max([finding.until_ms or 0 for finding in found])
        if until_ms <= self.now_ms:
            return self._answer("deferred", found, retry_at_ms=until_ms)
        settled = self._settle(until_ms)
        at_ms, expires_ms = settled.at_ms, self.expires_ms
        if self._is_in_time(settled):
            return self._answer("deferred", found, retry_at_ms=at_ms)
        chances = [finding for finding in found if may_end_any_time(finding)]
        if chances and until_ms <= self.last_ms:
            firm = [finding.until_ms or 0 for finding in found if finding not in chances]
            if self._is_in_time(self._settle(max([self.now_ms, *firm]))):
                return self._answer("deferred", found, retry_at_ms=until_ms)
        if settled.is_never and at_ms < expires_ms:
            return self._answer("rejected", found + self._final(at_ms))
        message = too_late(settled, expires_ms, self.policy.document.permit.min, self.policy.zone)
        late = self._own("expires_at", "would_expire", message)
        return self._answer("rejected", [*found, late], next_ms=at_ms if settled.is_sure else None)

    def _final(self, now_ms: int) -> list[Finding]:
        """What says no for good at a later instant."""
        at_ms = max(now_ms, self.send_after_ms)
        objections = self._objections(at_ms, enforced_only=True)
        if not objections:
            finding = self._too_short(self._permit(at_ms), at_ms)
            return [] if finding.defers else [finding]
        found = [self._explain(one, at_ms) for one in objections if one.until_ms >= END_MS]
        return [finding for finding in found if not finding.defers]

    def _answer(
        self, outcome: OutcomeName, found: list[Finding], retry_at_ms: int | None = None, next_ms: int | None = None
    ) -> Decision:
        return Decision(
            outcome, outcome != "deferred", self.policy.ref, self.now_ms, tuple(found),
            retry_at_ms, next_ms, None, None, None, None,
            self.score, self.score_note, self._shadow, self._exceptions,
        )  # fmt: skip

    def _is_in_time(self, settled: Settled) -> bool:
        """Whether it can be approved then, before it expires."""
        begins_ms = max(settled.at_ms, self.send_after_ms)
        return settled.is_yes and begins_ms + self.policy.permit_min_ms <= self.expires_ms

    def _relationship_owner(self) -> str | None:
        """Who is to be copied in: as the customer's own profile says, else as the party's other profiles agree."""
        own = self.member.traits
        if own is not None and own.relationship_owner is not None:
            return own.relationship_owner
        members = self.ledger.members.values()
        if own is not None and len(members) == 1:
            return None
        named = {member.traits.relationship_owner for member in members if member.traits} - {None}
        return named.pop() if len(named) == 1 else None

    def _late(self) -> Finding:
        """That the request expired, or is too old to be told from one that was answered."""
        if self.now_ms >= self.expires_ms:
            return self._own("expires_at", "expired", f"the request expired at {self._say(self.expires_ms)}")
        asked = self._say(self.asked_ms)
        return self._own("requested_at", "expired", f"the request is from {asked}, more than 30 days ago")

    def _boost(self) -> None:
        """Raise the score by the floors that apply and are behind."""
        for floor in self._in_force(self._rules.floors, self.now_ms):
            boost = floor.boost(self.stock, self.now_ms)
            if boost > 1:
                self.score *= boost
                raised = f"raised {boost:.4g} times by `{floor.id}`, which is behind"
                self.score_note = f"{self.score_note}; {raised}" if self.score_note else raised

    def _excepted(self) -> tuple[str, ...]:
        """The ids of the exceptions that made a difference: they lifted a rule, or an arbitration."""
        waived = [self._lifts.at(rule.id, self.now_ms) for rule in self._gathering()]
        lifted = (*self._lifted.values(), *waived)
        return tuple(sorted({lift.id for lift in lifted if lift is not None}))

    def _gathering(self) -> list[CompiledArbitration]:
        return self._in_force(self._rules.arbitrations, self.now_ms)

    def _shared(self, at_ms: int) -> list[CompiledShared]:
        """The rules that a contact at ``at_ms`` draws on; those in shadow mode, too."""
        return self._in_force(self._rules.shared, at_ms)

    def _in_force(self, rules: list[R], at_ms: int) -> list[R]:
        there = [rule for rule in rules if rule.from_ms <= at_ms < rule.until_ms]
        return [rule for rule in there if rule.when.shape_only or rule.when.rest_matches(self)]

    def _own(self, rule: str, code: str, message: str, until_ms: int | None = None) -> Finding:
        return finding_of(self.policy.document, rule, code, message, until_ms)

    def _say(self, at_ms: int) -> str:
        return spoken(at_ms, self.policy.zone)


def _failed(rule: CompiledRule, error: Exception) -> Finding:
    return rule.no(RULE_ERROR, f"the rule failed: {type(error).__name__}")
