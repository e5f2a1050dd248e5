"""The desks that compete with the phone desk: whom they want, how they reach them, when they ask.

None of these offers was ever made. They are generated for the bank's real clients, from columns that such a desk would
look at.
"""

from __future__ import annotations

from msgspec import Struct

from arbiter.demo.bank import Client

YOUNG_AGE_MAX = 35


class Bid(Struct, frozen=True, kw_only=True):
    """What a desk asks for when something happens to a client that several desks are waiting for."""

    department: str
    campaign: str
    category: str
    product: str
    priority: int
    value_share: float = 0.0
    least_value: float

    def value(self, client: Client) -> float:
        """The money expected if the offer succeeds."""
        return round(max(self.least_value, self.value_share * client.balance), 2)


PAYDAY = (
    Bid(department="cards", campaign="cash-back", category="promotional", product="card", priority=50, least_value=20),
    Bid(department="cards", campaign="travel-insurance", category="promotional", product="insurance", priority=40,
        value_share=0.01, least_value=12),
    Bid(department="retention", campaign="stay-with-us", category="promotional", product="retention", priority=70,
        value_share=0.015, least_value=30),
)  # fmt: skip
"""The salary arrives, and within minutes all of these want to send a message to the same telephone."""

GUIDE = Bid(
    department="channel-education", campaign="app-guide", category="education", product="channels", priority=30,
    least_value=5,
)  # fmt: skip
"""A printed guide, planned a day ahead."""

BROCHURES = {
    "boat-loans": Bid(department="boat-loans", campaign="boat-brochure", category="promotional", product="boat-loan",
                      priority=60, value_share=0.05, least_value=100),
    "mortgages": Bid(department="mortgages", campaign="house-brochure", category="promotional", product="mortgage",
                     priority=65, value_share=0.03, least_value=250),
}  # fmt: skip
"""What a product desk would have printed for the same day, if it wants the client."""


class Desk(Struct, frozen=True, kw_only=True):
    """A department as it behaves.

    It wants clients whose age lies in ``ages`` and balance is at least ``least_balance``, of any of ``jobs`` and
    ``marital`` (empty: all), unless they have one of ``avoids`` (default, mortgage, loan). It asks for the share
    ``interest`` of them, and after each request with chance ``again`` for one more. ``reach`` has the channels by
    what is known of the client's phone (``young``: a mobile and not older than ``YOUNG_AGE_MAX``), each as often as
    it is likely. ``hours`` are the first and the last local hour in which it asks; an offer is worth
    ``value_share`` of the balance, but at least ``least_value``. A request expires after ``expires_hours``.
    """

    department: str
    campaign: str
    category: str
    product: str
    priority: int
    interest: float
    again: float
    reach: dict[str, tuple[str, ...]]
    hours: tuple[int, int]
    value_share: float
    least_value: float
    ages: tuple[int, int] = (18, 100)
    least_balance: int = -100_000
    jobs: frozenset[str] = frozenset()
    marital: frozenset[str] = frozenset()
    avoids: frozenset[str] = frozenset()
    expires_hours: int | None = None

    def wants(self, client: Client) -> bool:
        """Whether the client is in the desk's target group."""
        return (
            self.ages[0] <= client.age <= self.ages[1]
            and client.balance >= self.least_balance
            and (not self.jobs or client.job in self.jobs)
            and (not self.marital or client.marital in self.marital)
            and not (client.has_default and "default" in self.avoids)
            and not (client.has_mortgage and "mortgage" in self.avoids)
            and not (client.has_loan and "loan" in self.avoids)
        )

    def channel(self, client: Client, draw: float) -> str:
        """The channel for this client; ``draw`` in [0, 1) chooses among several."""
        is_young = client.contact == "cellular" and client.age <= YOUNG_AGE_MAX
        channels = self.reach["young" if is_young else client.contact]
        return channels[int(draw * len(channels))]

    def value(self, client: Client) -> float:
        """The money expected if the offer succeeds."""
        return round(max(self.least_value, self.value_share * client.balance), 2)


DESKS = (
    Desk(
        department="cards",
        campaign="gold-card",
        category="promotional",
        product="card",
        priority=55,
        interest=0.35,
        again=0.25,
        reach={
            "young": ("push", "sms", "push"),
            "cellular": ("sms", "email", "email"),
            "telephone": ("email",),
            "unknown": ("email",),
        },
        hours=(6, 22),
        value_share=0.02,
        least_value=15,
        ages=(20, 75),
        least_balance=-200,
        avoids=frozenset({"default"}),
        expires_hours=72,
    ),
    Desk(
        department="boat-loans",
        campaign="summer-boats",
        category="promotional",
        product="boat-loan",
        priority=60,
        interest=0.5,
        again=0.4,
        reach={
            "young": ("email",),
            "cellular": ("email", "phone"),
            "telephone": ("phone", "mail"),
            "unknown": ("mail", "email"),
        },
        hours=(8, 21),
        value_share=0.05,
        least_value=100,
        ages=(30, 80),
        least_balance=2_500,
        jobs=frozenset({"management", "entrepreneur", "self-employed", "retired", "technician"}),
        avoids=frozenset({"default", "loan"}),
    ),
    Desk(
        department="mortgages",
        campaign="first-home",
        category="promotional",
        product="mortgage",
        priority=65,
        interest=0.4,
        again=0.4,
        reach={
            "young": ("email", "phone"),
            "cellular": ("phone", "email"),
            "telephone": ("phone", "mail"),
            "unknown": ("mail", "email"),
        },
        hours=(9, 20),
        value_share=0.03,
        least_value=250,
        ages=(24, 55),
        least_balance=0,
        marital=frozenset({"married", "single"}),
        avoids=frozenset({"default", "mortgage", "loan"}),
    ),
    Desk(
        department="channel-education",
        campaign="use-the-app",
        category="education",
        product="channels",
        priority=30,
        interest=0.25,
        again=0.25,
        reach={
            "young": ("push", "push", "sms"),
            "cellular": ("sms", "email", "push"),
            "telephone": ("email", "mail"),
            "unknown": ("mail", "email"),
        },
        hours=(7, 23),
        value_share=0.0,
        least_value=5,
    ),
)
