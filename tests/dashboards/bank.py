"""A bank for the pictures: its policy, its customers, and what its departments ask for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from msgspec.structs import replace

from arbiter.messages import ConsentChange, ContactRequest, Profile, SuppressionChange
from tests.inputs.builders import document

Fact = ConsentChange | SuppressionChange | Profile
Rule = dict[str, Any]

ASKS: dict[str, tuple[int, dict[str, Any]]] = {
    "cards": (5, {"campaign": ["gold", "travel"], "channel": ["email", "push", "phone"], "priority": [20, 40, 60, 80]}),
    "loans": (4, {"campaign": ["renovation", "car"], "channel": ["phone", "email"], "priority": [100, 100, 100, 60]}),
    "savings": (2, {"campaign": ["spring", "seminar"], "channel": ["email", "sms"], "priority": [10, 30, 50]}),
    "retention": (1, {"campaign": ["stay"], "channel": ["phone"], "priority": [70, 90, 100]}),
    "service": (3, {"campaign": ["advice"], "channel": ["push", "email", "sms"], "priority": [30, 50, 70]}),
}
"""Of each department: how much it asks for, and what."""

CHANNELS = {"email": {"points": 1}, "push": {"points": 1}, "sms": {"points": 2}, "phone": {"points": 5}}
OFFER = {"category": "promotional"}
LIVES = (4, *[1_800] * 30, *[9 * 86_400] * 15)
"""After how many seconds a request expires, each as often as another."""


def night() -> str:
    """Hours from an hour ago to eight hours ahead: closed whenever this runs."""
    hour = datetime.now(UTC).hour
    begin, end = (hour - 1) % 24, (hour + 8) % 24
    return f"{begin:02d}:00-{end:02d}:00"


def policy(calls_an_hour: int = 300, offers_a_week: int = 4, **fields: Any) -> dict[str, Any]:
    """The policy document: every kind of rule that a dashboard tells something of."""
    departments = {name: {"owner": f"{name}@bank.example", "categories": ["promotional", "service"]} for name in ASKS}
    categories = {"promotional": {"purpose": "marketing"}, "service": {"purpose": "service"}}
    permit = {"min": "10m", "max": dict.fromkeys(CHANNELS, "24h")}
    changed = {
        "departments": departments,
        "channels": CHANNELS,
        "categories": categories,
        "permit": permit,
        "waiting_max": 8,
        **fields,
    }
    return document(*_caps(offers_a_week), *_shared(calls_an_hour), *_others(), **changed)


def _caps(offers_a_week: int) -> Iterator[Rule]:
    """Budgets, two of them in shadow mode."""
    kept = {"slots": 1, "for": {"department": "retention"}}
    yield _cap("offers-a-week", ["party"], offers_a_week, "rolling 7d", when=OFFER, keep=kept)
    yield _cap("calls-a-week", ["customer", "channel"], 1, "rolling 7d", when={"channel": "phone"})
    yield _cap("loans-share", ["party", "department"], 2, "rolling 14d", when={"department": "loans"})
    yield _cap("messages-a-day", ["customer", "channel"], 2, "rolling 1d")
    yield _cap("one-offer-a-day", ["customer"], 1, "rolling 1d", when=OFFER, mode="shadow")
    yield _cap("one-push-a-day", ["customer", "channel"], 1, "rolling 1d", when={"channel": "push"}, mode="shadow")


def _cap(name: str, per: list[str], limit: int, window: str, **more: Any) -> Rule:
    return {"id": name, "kind": "cap", "per": per, "limit": limit, "window": window, **more}


def _shared(calls_an_hour: int) -> Iterator[Rule]:
    """What all customers share: capacities, a floor and a cell."""
    today = datetime.now(UTC).date()
    begin, end = str(today - timedelta(days=20)), str(today + timedelta(days=40))
    calls = {"limit": calls_an_hour, "window": "calendar hour"}
    yield {"id": "call-centre", "kind": "capacity", "when": {"channel": "phone"}, **calls}
    mails = {"limit": 20_000, "window": "calendar week"}
    yield {"id": "newsletter", "kind": "capacity", "when": {"channel": "email"}, **mails}
    for campaign, reach in (("spring", 600), ("advice", 2_000)):
        dates = {"from": begin, "until": end}
        yield {"id": f"{campaign}-goal", "kind": "floor", "when": {"campaign": campaign}, "reach": reach, **dates}
    yield {"id": "seminar", "kind": "cell", "when": {"campaign": "seminar"}, "size": 60, "deadline": end}


def _others() -> Iterator[Rule]:
    """Rules about lists, hours, order and competition."""
    yield {"id": "do-not-contact", "kind": "suppression", "lists": ["do_not_contact"]}
    yield {"id": "night", "kind": "quiet_hours", "when": {"channel": "sms"}, "closed": {"every day": night()}}
    sorry = {"after": {"outcome": "complained"}, "within": "30d", "per": "customer"}
    yield {"id": "after-a-complaint", "kind": "conflict", "when": OFFER, **sorry}
    compete = {"department": ["cards", "savings"], "channel": "email"}
    yield {"id": "best-offer-first", "kind": "arbitration", "when": compete, "hold": "8s"}
    yield {"id": "control-group", "kind": "holdout", "when": {"campaign": "travel"}, "share": 0.05, "salt": "spring"}


class Bank:
    """Customers and requests; the same seed gives the same ones, but for their times."""

    def __init__(self, seed: int, customers: int) -> None:
        self._random = Random(seed)
        self._customers = [f"customer-{number}" for number in range(customers)]
        self._asked: list[ContactRequest] = []

    def facts(self) -> Iterator[Fact]:
        """Nearly all have consented, a third lives in households, and a few want to hear nothing."""
        long_ago = datetime.now(UTC) - timedelta(days=300)
        for number, customer in enumerate(self._customers):
            household = f"household-{number // 3}" if number % 9 < 3 else None
            yield Profile(customer_id=customer, household_id=household, attributes={"balance": number})
            if self._random.random() < 0.95:
                yield ConsentChange(customer_id=customer, purpose="marketing", state="granted", captured_at=long_ago)
            if self._random.random() < 0.02:
                yield SuppressionChange(customer_id=customer, list="do_not_contact", active=True, captured_at=long_ago)

    def moves(self) -> Profile:
        """A customer who moves to another household, or out of one."""
        household = self._random.choice((None, f"household-{self._random.randrange(50)}"))
        return Profile(customer_id=self._random.choice(self._customers), household_id=household)

    def request(self) -> ContactRequest:
        """The next request; one in fifty is one that was sent before."""
        now = datetime.now(UTC)
        if self._asked and self._random.random() < 0.02:
            return replace(self._random.choice(self._asked[-2_000:]), requested_at=now)
        (department,) = self._random.choices(list(ASKS), [weight for weight, _ in ASKS.values()])
        what = {name: self._random.choice(values) for name, values in ASKS[department][1].items()}
        # Some customers are wanted by everybody.
        number = int(len(self._customers) * self._random.random() ** 1.3)
        request = ContactRequest(
            request_id=f"r{len(self._asked)}",
            customer_id=self._customers[number],
            department=department,
            category="service" if department == "service" else "promotional",
            value=self._random.choice((10.0, 50.0, 400.0)),
            requested_at=now - timedelta(seconds=self._old()),
            send_after=now + timedelta(minutes=5) if self._random.random() < 0.2 else None,
            expires_at=now + timedelta(seconds=self._random.choice(LIVES)),
            **what,
        )
        self._asked.append(request)
        return request

    def _old(self) -> float:
        """How old a request is when it is sent: most are new, some were made days ago."""
        return self._random.choice((3_000, 15_000, 60_000, 400_000)) if self._random.random() < 0.1 else 0.0


def with_unknown_field(request: ContactRequest) -> bytes:
    """A request with a field that this build does not know."""
    return json.dumps(
        {
            "request_id": f"{request.request_id}-new",
            "customer_id": request.customer_id,
            "department": request.department,
            "campaign": request.campaign,
            "channel": request.channel,
            "category": request.category,
            "mood": "good",
        }
    ).encode()
