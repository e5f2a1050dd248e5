"""What a rule may look at: one request, its party, and where the customer is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from arbiter.ledger.capacity import Draw, Stock
from arbiter.ledger.contacts import Kind, Shape
from arbiter.ledger.model import Ledger, Member
from arbiter.messages import ContactRequest, Scalar
from arbiter.policy.match import OfContact, Subject


def shape_of(what: ContactRequest | Kind) -> Shape:
    """The fields by which rules are looked up, in the order of ``match.SHAPE_FIELDS``."""
    return (what.department, what.campaign, what.channel, what.category, what.product, what.partner)


Used = tuple[int, Kind, Shape]
"""A contact that uses budgets: when it counts (ms), what it was, and the shape of that."""


class Where(Protocol):
    """The zones by which clocks and calendars are read for a request.

    ``zones`` are all zones in which the customer may be; ``zone`` and ``party_zone`` are those of calendar windows.
    """

    @property
    def zones(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def zone(self) -> str: ...  # noqa: D102
    @property
    def party_zone(self) -> str: ...  # noqa: D102
    @property
    def business_zone(self) -> str: ...  # noqa: D102


class Inputs(Where, Subject, Protocol):
    """A request with its party's state and the policy's plain facts about it.

    ``now_ms`` is the time of the decision, ``last_ms`` the last instant at which it could be approved. ``is_ahead``:
    the rules are asked about a later time, by the search for the settled time. A rule that then says yes although
    other requests decide that (a cell may fill) sets ``is_uncertain``. A rule adds windows of capacity whose level is
    not known to ``unknown``. ``consented`` is what the customer's consents say, kept here by the first rule that works
    it out. ``costs`` is what the request costs in each rule that counts contacts; ``None`` if its shape does not
    decide that.
    """

    request: ContactRequest
    customer: str
    shape: Shape
    purpose: str
    ledger: Ledger
    member: Member
    profile: dict[str, Scalar] | None
    segments: frozenset[str] | None
    stock: Stock
    points: dict[str, int]
    discloses_campaign: bool
    now_ms: int
    last_ms: int
    is_ahead: bool
    is_uncertain: bool
    unknown: list[Draw]
    consented: Any
    costs: dict[Any, int | None]

    def counted_by(self, rule: Any) -> Sequence[Used]:
        """The party's contacts that a rule counts for this request, oldest first."""

    def of_contact(self, customer: str) -> OfContact:
        """A past contact of ``customer`` as a ``when`` sees it: with what is known of the customer today."""


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
