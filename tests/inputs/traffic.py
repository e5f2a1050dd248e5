"""Seeded traffic for whole runs: a policy with every kind of rule, customers and their facts, desks that compete."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from arbiter.messages import ConsentChange, ContactRequest, Profile, SuppressionChange
from arbiter.timing.instants import to_datetime
from tests.inputs.builders import MONDAY, document

Fact = ConsentChange | SuppressionChange | Profile

BEGIN = to_datetime(MONDAY)
RECENT = 5_000
"""How many requests back one may be sent again: a week of them, so that its id is still remembered."""

LONG_AGO = BEGIN - timedelta(days=300)

CAPS: list[dict[str, Any]] = [
    {
        "id": "three-a-week",
        "kind": "cap",
        "when": {"category": "promotional"},
        "per": ["party"],
        "limit": 3,
        "window": "rolling 7d",
        "limit_by": {"segment": {"private": 1}},
    },
    {"id": "one-a-day", "kind": "cap", "per": ["customer", "channel"], "limit": 1, "window": "rolling 1d"},
    {
        "id": "points-a-month",
        "kind": "cap",
        "per": ["party"],
        "limit": 12,
        "window": "calendar month",
        "unit": "points",
    },
    {"id": "desk-a-week", "kind": "cap", "per": ["party", "department"], "limit": 2, "window": "calendar week"},
]
OTHERS: list[dict[str, Any]] = [
    {"id": "do-not-contact", "kind": "suppression", "lists": ["do_not_contact"]},
    {
        "id": "quiet",
        "kind": "quiet_hours",
        "when": {"channel": ["phone", "sms"]},
        "closed": {"every day": "20:00-09:00"},
    },
]


def bank(**changes: Any) -> dict[str, Any]:
    """A policy document; ``limit`` changes that of the weekly cap, everything else replaces the document's fields."""
    caps = [{**CAPS[0], "limit": changes.pop("limit", 3)}, *CAPS[1:]]
    segments = {"private": {"owner": "private-desk", "when": {"profile.balance": {"at_least": 50_000}}}}
    return {
        **document(*caps, *OTHERS, segments=segments, candidate_zones=["Europe/Lisbon", "Atlantic/Azores"]),
        **changes,
    }


class Traffic:
    """The same seed gives the same records."""

    def __init__(self, seed: int, customers: int = 500) -> None:
        """``customers`` is how many there are; their ids have the seed in them."""
        self._random = Random(seed)
        self.customers = [f"c{seed}-{number}" for number in range(customers)]
        self._asked: list[ContactRequest] = []
        self._at = BEGIN

    def first_facts(self) -> Iterator[Fact]:
        """Who the customers are and what they allow: nearly all have consented, some for e-mail only."""
        pick = self._random.random
        for customer in self.customers:
            if pick() < 0.7:
                zone = self._random.choice(("Europe/Lisbon", "Atlantic/Azores", None))
                yield Profile(customer_id=customer, time_zone=zone, attributes={"balance": int(pick() * 60_000)})
            if pick() < 0.95:
                channel = "email" if pick() < 0.1 else None
                yield consent(customer, "granted", LONG_AGO, channel=channel)
            if pick() < 0.03:
                yield SuppressionChange(customer_id=customer, list="do_not_contact", active=True, captured_at=LONG_AGO)

    def later_facts(self, share: float = 0.1) -> Iterator[Fact]:
        """Some withdraw, some of them for one channel, and some return."""
        for customer in self._random.sample(self.customers, int(share * len(self.customers))):
            channel = self._random.choice((None, None, "email", "phone"))
            yield consent(customer, "withdrawn", self._at, channel=channel)
            if self._random.random() < 0.3:
                yield consent(customer, "granted", self._at + timedelta(seconds=1), channel=channel)

    def requests(self, count: int) -> Iterator[ContactRequest]:
        """Requests two minutes apart; one in fifty is sent again, one in two hundred again with other content."""
        for _ in range(count):
            self._at += timedelta(minutes=2)
            kind = self._random.random()
            if self._asked and kind < 0.02:
                yield replace(self._random.choice(self._asked[-RECENT:]), requested_at=self._at)
            elif self._asked and kind < 0.025:
                again = self._random.choice(self._asked[-RECENT:])
                yield replace(again, campaign="another", requested_at=self._at)
            else:
                request = self._request()
                self._asked.append(request)
                yield request

    def _request(self) -> ContactRequest:
        choose = self._random.choice
        department = choose(("cards", "cards", "loans"))
        category = choose(("promotional",) * 8 + ("service", "regulatory")) if department == "cards" else "promotional"
        return ContactRequest(
            request_id=f"r{len(self._asked)}",
            customer_id=choose(self.customers),
            department=department,
            campaign=choose(("gold", "silver")),
            channel=choose(("email", "phone") if department == "loans" else ("email", "sms", "phone", "mail")),
            category=category,
            priority=choose((10.0, 50.0, 90.0)),
            value=choose((None, 25.0)),
            requested_at=self._at,
        )


def consent(customer: str, state: Any, at: Any, **narrowed: Any) -> ConsentChange:
    """A marketing consent, granted or withdrawn."""
    return ConsentChange(customer_id=customer, purpose="marketing", state=state, captured_at=at, **narrowed)


def ask(request_id: str, customer: str, minute: int = 0, **fields: Any) -> ContactRequest:
    """A promotional e-mail of the cards desk, so many minutes after the beginning."""
    base: dict[str, Any] = {"department": "cards", "campaign": "gold", "channel": "email", "category": "promotional"}
    at = BEGIN + timedelta(minutes=minute)
    return ContactRequest(request_id=request_id, customer_id=customer, **{**base, "requested_at": at, **fields})


encode = msgspec.json.encode
