"""One request under judgement: everything a rule may look at, gathered once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

from arbiter.ledger.capacity import Draw, Stock
from arbiter.ledger.model import Kind, Ledger, Member, Traits
from arbiter.messages import ContactRequest
from arbiter.policy.match import Subject
from arbiter.timing.instants import FAR_MS

Shape = tuple[str | None, ...]


def shape_of(what: ContactRequest | Kind) -> Shape:
    """The fields by which rules are looked up, in the order of ``match.SHAPE_FIELDS``."""
    return (what.department, what.campaign, what.channel, what.category, what.product, what.partner)


Spent = tuple[int, Kind, Shape]
"""A contact that uses budgets: when it counts (ms), what it was, and the shape of that."""


class Counting(Protocol):
    """What a case needs of the plan for its shape; caps are named by themselves."""

    shape: Shape

    @property
    def arbitrations(self) -> Sequence[Any]:
        """The arbitrations that speak about the shape."""

    @property
    def own(self) -> Mapping[Any, int | None]:
        """What the request costs in each cap, where its shape says so."""

    def spent(self, case: Any) -> Mapping[Any, Sequence[Spent]]:
        """By the rules that count contacts those of the party that use budgets."""

    def view(self, case: Any) -> Any:
        """The rules that speak about the request."""

    def shared(self, case: Any, at_ms: int) -> list[Any]:
        """The rules in force that a contact at ``at_ms`` draws on."""

    def floors(self, case: Any, at_ms: int) -> list[Any]:
        """The floors that speak about the request."""


class Case:
    """A request with its party's state and the policy's plain facts about it.

    ``zones`` are all zones in which the customer may be; ``zone`` and ``party_zone`` are those of calendar windows.
    ``now_ms`` is when it is judged, ``last_ms`` the last instant at which it could be approved; ``is_ahead`` says that
    this is a look at a later time, not a decision for now. A rule that says yes there to what others still decide, as
    whether a cell fills, sets ``hopes``.
    """

    __slots__ = (
        "_asking",
        "_segments_of",
        "_spent",
        "_subjects",
        "business_zone",
        "consent_ends",
        "customer",
        "discloses_campaign",
        "hopes",
        "is_ahead",
        "last_ms",
        "ledger",
        "member",
        "now_ms",
        "party_zone",
        "plan",
        "points",
        "purpose",
        "request",
        "shape",
        "stock",
        "unknown",
        "zone",
        "zones",
    )

    def __init__(
        self,
        request: ContactRequest,
        ledger: Ledger,
        member: Member,
        segments_of: Callable[[Traits], frozenset[str]],
        plan: Counting,
        stock: Stock,
        purpose: str,
        points: Mapping[str, int],
        zones: tuple[str, ...],
        zone: str,
        party_zone: str,
        business_zone: str,
        *,
        discloses_campaign: bool,
    ) -> None:
        self.request = request
        self.customer = request.customer_id
        self.ledger = ledger
        self.member = member
        self._segments_of = segments_of
        self.stock = stock
        self.unknown: list[Draw] = []  # windows of capacity of which nothing is known: an approval asks for its place
        self.now_ms = 0
        self.last_ms = FAR_MS
        self.is_ahead = False
        self.hopes = False
        self._asking: Subject | None = None
        self._subjects: dict[str, Subject] = {}
        self.plan = plan
        self.consent_ends: dict[Hashable, tuple[int, int]] = {}  # (judged at, good until): the permit asks right after
        self.shape = plan.shape
        self._spent: Mapping[Any, Sequence[Spent]] | None = None
        self.purpose = purpose
        self.points = points
        self.zones = zones
        self.zone = zone
        self.party_zone = party_zone
        self.business_zone = business_zone
        self.discloses_campaign = discloses_campaign

    @property
    def spent(self) -> Mapping[Any, Sequence[Spent]]:
        """By the rules that count any for this request the party's contacts that use budgets."""
        if self._spent is None:
            self._spent = self.plan.spent(self)
        return self._spent

    def counted_by(self, judge: Hashable) -> Sequence[Spent]:
        """The party's contacts that a cap counts; a customer's own cap, which is no rule of the policy, counts all."""
        if judge in self.plan.own:
            return self.spent.get(judge, ())
        own = [contact for contact in self.ledger.contacts if contact.kind.customer == self.customer and contact.counts]
        return [(contact.at_ms, contact.kind, shape_of(contact.kind)) for contact in own]

    @property
    def subject(self) -> Subject:
        """The request as a ``when`` sees it."""
        subject = self._asking
        if subject is None:
            subject = self._asking = Subject(self.request, self.member.traits, self._segments_of)
        return subject

    def contact_subject(self, customer: str) -> Subject:
        """A past contact of ``customer`` as a ``when`` sees it: with what is known of the customer today."""
        subject = self._subjects.get(customer)
        if subject is None:
            member = self.ledger.members.get(customer)
            traits = member.traits if member else None
            subject = self._subjects[customer] = Subject(None, traits, self._segments_of)
        return subject

    def cost(self, channel: str, unit: str) -> int:
        """What one contact on ``channel`` uses of a budget in ``unit``, at today's prices."""
        return self.points.get(channel, 1) if unit == "points" else 1


def kind_of(request: ContactRequest) -> Kind:
    """The kind of contact that approving ``request`` makes."""
    return Kind(
        request.customer_id,
        request.department,
        request.campaign,
        request.channel,
        request.category,
        request.product,
        request.partner,
    )


def shared_kind(request: ContactRequest, ledger: Ledger) -> Kind:
    """As :func:`kind_of`; contacts of a ledger that are alike share one."""
    kind = kind_of(request)
    for contact in ledger.contacts:
        if contact.kind == kind:
            return contact.kind
    return kind
