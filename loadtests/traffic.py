"""The input: customers with profiles and consents, and requests of all departments of a policy. Seeded, same bytes.

Event time runs through working days only (Monday to Friday, 09:00 to 17:00), whatever the day of the test: else a run
at night would measure quiet hours, and two runs would not compare.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from arbiter.messages import Attributes, ConsentChange, ContactRequest, Profile
from arbiter.policy.document import PolicyDocument
from arbiter.worker.kafka.partitioner import partition_of

FIRST_DAY = datetime(2026, 3, 2, 9, 0)  # noqa: DTZ001 - a Monday, local time of the policy's zone
DAY_SECONDS = 8 * 3600
WORKDAYS = 5
REQUESTS_A_DAY = 25_000

# Few customers are popular: the first gets about 70 times as many requests as the average one of 20,000.
ZIPF_EXPONENT = 0.5
CONSENT_SHARE = 0.85
CAMPAIGNS = ("spring-renewal", "summer-upgrade", "autumn-savings", "winter-protection", "welcome-series", "year-end")
PRODUCTS = ("card", "mortgage", "boat-loan", "term-deposit", "insurance", "retention")
CITIES = ("Lisboa", "Porto", "Braga", "Coimbra", "Faro", "Setubal")
MARKETING = "marketing"

_encode = msgspec.json.Encoder().encode


class Entry(Struct, frozen=True):
    """A record to publish: for which partition, key and value."""

    partition: int
    key: bytes
    value: bytes


class Campaign(Struct, frozen=True):
    """What a department runs: one product, one category, on any of its channels."""

    department: str
    name: str
    category: str
    product: str
    channels: list[str]


class Traffic:
    """All that one load test publishes. The same policy, seed and sizes give the same bytes."""

    def __init__(self, policy: PolicyDocument, customers: int, partitions: int, seed: int) -> None:
        self._campaigns = campaigns(policy)
        self._zone = ZoneInfo(policy.timezone)
        self._names = [f"C{number:07d}" for number in range(customers)]
        self._homes = {name: partition_of(name, partitions) for name in self._names}
        self._seed = seed

    def _entry(self, customer: str, value: bytes) -> Entry:
        return Entry(self._homes[customer], customer.encode(), value)

    def profiles(self) -> list[Entry]:
        """One profile for every customer."""
        chance = random.Random(f"{self._seed} profiles")
        entries = []
        for name in self._names:
            attributes: Attributes = {
                "balance": chance.randrange(200, 120_000),
                "age": chance.randrange(18, 90),
                "city": chance.choice(CITIES),
                "digital": chance.random() < 0.7,  # noqa: PLR2004 - a share, of no meaning beyond this line
            }
            zone = "Atlantic/Azores" if chance.random() < 0.03 else self._zone.key  # noqa: PLR2004 - likewise
            entries.append(self._entry(name, _encode(Profile(customer_id=name, time_zone=zone, attributes=attributes))))
        return entries

    def consenting(self) -> list[str]:
        """The customers who agreed to marketing."""
        chance = random.Random(f"{self._seed} consents")
        return [name for name in self._names if chance.random() < CONSENT_SHARE]

    def consents(self) -> list[Entry]:
        """One record for every customer who agreed."""
        captured_at = (FIRST_DAY - timedelta(days=90)).replace(tzinfo=self._zone)
        return [
            self._entry(
                name,
                _encode(
                    ConsentChange(
                        customer_id=name,
                        purpose=MARKETING,
                        state="granted",
                        captured_at=captured_at,
                        source="branch",
                        proof=f"form-{name}",
                    )
                ),
            )
            for name in self.consenting()
        ]

    def requests(self, count: int) -> list[Entry]:
        """The first ``count`` requests; the number of each is the digits of its ``request_id``."""
        chance = random.Random(f"{self._seed} requests")
        popularity = list(accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(len(self._names))))
        # Not the lowest numbers: popular customers are spread over all of them.
        order = random.Random(f"{self._seed} popularity").sample(self._names, len(self._names))
        # With a generator of its own, so that the first requests are the same whatever their number.
        chosen = random.Random(f"{self._seed} chosen").choices(order, cum_weights=popularity, k=count)
        return [self._entry(name, _encode(self._request(number, name, chance))) for number, name in enumerate(chosen)]

    def _request(self, number: int, customer: str, chance: random.Random) -> ContactRequest:
        campaign = chance.choice(self._campaigns)
        return ContactRequest(
            request_id=request_id(number),
            customer_id=customer,
            department=campaign.department,
            campaign=campaign.name,
            channel=chance.choice(campaign.channels),
            category=campaign.category,
            product=campaign.product,
            priority=float(chance.randrange(10, 100)),
            value=chance.randrange(100, 50_000) / 100,
            propensity=chance.randrange(1, 400) / 1000,
            requested_at=self._instant(number),
            attributes={"wave": chance.randrange(1, 9), "list": "crm-selection"},
        )

    def _instant(self, number: int) -> datetime:
        day, rest = divmod(number, REQUESTS_A_DAY)
        weeks, weekday = divmod(day, WORKDAYS)
        at = FIRST_DAY + timedelta(weeks=weeks, days=weekday, seconds=rest * DAY_SECONDS / REQUESTS_A_DAY)
        return at.replace(tzinfo=self._zone, microsecond=at.microsecond // 1000 * 1000)


def campaigns(policy: PolicyDocument) -> list[Campaign]:
    """What each department of the policy runs: every campaign with a product and a category of its own."""
    found = []
    for department, desk in policy.departments.items():
        channels = list(policy.channels) if desk.channels is None else desk.channels
        for index, (name, product) in enumerate(zip(CAMPAIGNS, PRODUCTS, strict=True)):
            category = desk.categories[index % len(desk.categories)]
            found.append(Campaign(department, f"{name}-2026", category, product, channels))
    return found


def request_id(number: int) -> str:
    """The id of request ``number``; see :func:`number_in`."""
    return f"load-{number:08d}"


_MARK = b'"request_id":"load-'
_DIGITS = 8
_DECISION_MARK = b'"decision_id":"'


def number_in(value: bytes) -> int | None:
    """The number of the request that a message (request or decision) is about; ``None`` if it names none of ours."""
    at = value.find(_MARK) + len(_MARK)
    return int(value[at : at + _DIGITS]) if at >= len(_MARK) else None


def decision_in(value: bytes) -> bytes | None:
    """The id of the decision that a message is; ``None`` if it names none: whoever answers once needs no id."""
    at = value.find(_DECISION_MARK) + len(_DECISION_MARK)
    return value[at : value.find(b'"', at)] if at >= len(_DECISION_MARK) else None
