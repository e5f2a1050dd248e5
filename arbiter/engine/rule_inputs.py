"""What rules read about one request: its own fields, its party's state, and what the policy says about both."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, TypeVar

from arbiter.ledger.capacity import Draw, Stock
from arbiter.ledger.contacts import Shape
from arbiter.ledger.model import Ledger, Member
from arbiter.messages import ContactRequest
from arbiter.policy.index import ApplicableRules, ShapeRules, Timetable
from arbiter.policy.inputs import Used
from arbiter.policy.match import OfContact
from arbiter.policy.rules import CompiledRule
from arbiter.policy.ruleset import Policy
from arbiter.policy.terms import Terms
from arbiter.timing.instants import DAY_MS, FAR_MS, to_ms

DEFAULT_EXPIRY_MS = 7 * DAY_MS
NO_MEMBER = Member()
R = TypeVar("R", bound=CompiledRule)


def asked_at(request: ContactRequest, received_ms: int) -> int:
    """When the request was made (ms): its ``requested_at``, else ``received_ms``, the time of its record."""
    return received_ms if request.requested_at is None else to_ms(request.requested_at)


def expiry_of(request: ContactRequest, asked_ms: int) -> int:
    """When the request expires (ms): its ``expires_at``, else seven days after ``asked_ms``."""
    return asked_ms + DEFAULT_EXPIRY_MS if request.expires_at is None else to_ms(request.expires_at)


class RuleInputs:
    """One request, its party and a policy, gathered once. Rules see it as :class:`arbiter.policy.inputs.Inputs`.

    It holds as long as the ledger does not change. If the policy does not know a name in the request
    (``terms.unknown``), only the request's own fields, its times, ``terms`` and the score are set.
    """

    __slots__ = (
        "applicable",
        "asked_ms",
        "business_zone",
        "consented",
        "costs",
        "counted",
        "customer",
        "discloses_campaign",
        "expires_ms",
        "is_ahead",
        "is_uncertain",
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
        "rules",
        "score",
        "score_note",
        "segments",
        "send_after_ms",
        "shape",
        "stock",
        "terms",
        "timetable",
        "unknown",
        "zone",
        "zones",
    )

    terms: Terms
    rules: ShapeRules
    applicable: ApplicableRules
    timetable: Timetable

    def __init__(
        self, policy: Policy, ledger: Ledger, request: ContactRequest, received_ms: int, now_ms: int, stock: Stock
    ) -> None:
        """``received_ms`` is the time of the request's record, ``now_ms`` the time of the decision."""
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
        # `asked_at` and `expiry_of`, written out: this runs for every evaluation.
        self.asked_ms = received_ms if request.requested_at is None else to_ms(request.requested_at)
        self.expires_ms = self.asked_ms + DEFAULT_EXPIRY_MS if request.expires_at is None else to_ms(request.expires_at)
        self.send_after_ms = -FAR_MS if request.send_after is None else to_ms(request.send_after)
        self.score, self.priority, self.score_note = policy.score(request, terms)
        if terms.rules is not None:
            self._gather(policy, terms, terms.rules)

    def _gather(self, policy: Policy, terms: Terms, rules: ShapeRules) -> None:
        """Set what depends on the customer, the party and the rules."""
        self.rules = rules
        self.costs = rules.costs
        self.customer = customer = self.request.customer_id
        self.member = member = self.ledger.members.get(customer) or NO_MEMBER
        traits = member.traits
        cohort = policy.cohort(traits)
        self.profile = None if traits is None else traits.attributes
        self.segments = cohort.segments
        self.timetable = timetable = policy.timetable(cohort, self.ledger)
        self.zones, self.zone, self.party_zone = timetable.zones, timetable.zone, timetable.party_zone
        self.business_zone = policy.zone
        self.purpose = terms.purpose
        self.points = policy.points
        self.discloses_campaign = policy.discloses_campaign
        self.last_ms = self.expires_ms - policy.permit_min_ms
        self.is_ahead = self.is_uncertain = False
        self.unknown: list[Draw] = []
        self.consented: Any = None
        self.applicable = rules.applicable(self)
        self.counted = rules.counted(self)
        if terms.may_boost:
            self._boost()

    def counted_by(self, rule: CompiledRule) -> Sequence[Used]:
        """The party's contacts that a rule counts, oldest first.

        The customer's own maximum is not a rule of the policy. It counts all contacts of this customer.
        """
        number = self.rules.numbers.get(rule)
        return self._own_contacts() if number is None else self.counted[number]

    def counting(self) -> list[CompiledRule]:
        """The rules that count at least one of the party's contacts for this request."""
        return [rule for rule, counted in zip(self.rules.counting, self.counted, strict=True) if counted]

    def of_contact(self, customer: str) -> OfContact:
        """What a ``when`` reads about the customer of a past contact: the profile and segments known now."""
        if customer == self.customer:
            return OfContact(self.profile, self.segments)
        member = self.ledger.members.get(customer)
        traits = member.traits if member else None
        return (
            OfContact(None, None)
            if traits is None
            else OfContact(traits.attributes, self.policy.cohort(traits).segments)
        )

    def in_force(self, rules: list[R], at_ms: int) -> list[R]:
        """Those of ``rules`` that are in force at ``at_ms`` and whose ``when`` matches the request."""
        dated = [rule for rule in rules if rule.from_ms <= at_ms < rule.until_ms]
        return [rule for rule in dated if rule.when.shape_only or rule.when.rest_matches(self)]

    def _own_contacts(self) -> list[Used]:
        own = [one for one in self.ledger.contacts if one.counts and one.kind.customer == self.customer]
        return sorted([(one.at_ms, one.kind, one.kind.shape) for one in own], key=itemgetter(0))

    def _boost(self) -> None:
        """Raise the score by each floor that applies and has not reached its share."""
        for floor in self.in_force(self.rules.floors, self.now_ms):
            boost = floor.boost(self.stock, self.now_ms)
            if boost > 1:
                self.score *= boost
                raised = f"raised {boost:.4g} times by `{floor.id}`, which is behind"
                self.score_note = f"{self.score_note}; {raised}" if self.score_note else raised
