"""What the demonstration says of each client: profile, consents, preferences and suppressions.

Attributes are the bank's real columns. Time zones, households, consents, preferences and suppressions are generated
from a seed per client, and labelled so. Clients who refused the last campaign, or are in default, withdrew more often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
from msgspec import Struct

from arbiter.demo.bank import Client
from arbiter.messages import (
    CONSENTS,
    PROFILES,
    ConsentChange,
    CustomerChange,
    OwnMaximum,
    PreferenceChange,
    Profile,
    SuppressionChange,
)

CAPTURED = datetime(2007, 5, 1, 9, tzinfo=UTC)
CAPTURED_SPREAD_DAYS = 150
SOURCE = "generated"

AZORES_SHARE, UNKNOWN_ZONE_SHARE = 0.05, 0.04
WITHDRAWN = {"failure": 0.16, "other": 0.08, "success": 0.01, "unknown": 0.04}
WITHDRAWN_IN_DEFAULT = 0.35
NEVER_ASKED_SHARE = 0.05
CHANNEL_WITHDRAWN_SHARE = 0.05
EXPIRING_SHARE = 0.02
WISHES_SHARE = 0.10
LISTED_SHARE = {"complaint": 0.004, "robinson_phone": 0.02, "do_not_contact": 0.003}
ELDERLY_AGE_MIN, VULNERABLE_SHARE = 75, 0.05


class Fact(Struct, frozen=True):
    """A record ready to be sent: topic, key and value."""

    topic: str
    customer_id: str
    value: bytes


_encode = msgspec.json.Encoder().encode


def facts(clients: list[Client], seed: int, homes: Mapping[str, str]) -> Iterator[Fact]:
    """Every client's profile and facts, in the order in which they are sent.

    ``homes`` has the household of each client who lives in one; see ``households``.
    """
    for client in clients:
        # A generator of its own for each client, so that a shorter demonstration has the same clients.
        random = Random(seed * 1_000_003 + client.number)  # noqa: S311 - data for a demonstration
        yield Fact(PROFILES, client.customer_id, _encode(_profile(client, random, homes.get(client.customer_id))))
        captured = CAPTURED + timedelta(days=random.randrange(CAPTURED_SPREAD_DAYS))
        for change in _changes(client, captured, random):
            yield Fact(CONSENTS, client.customer_id, _encode(change))


def _profile(client: Client, random: Random, household: str | None) -> Profile:
    draw = random.random()
    zone: str | None = "Europe/Lisbon"
    if draw < AZORES_SHARE:
        zone = "Atlantic/Azores"
    elif draw < AZORES_SHARE + UNKNOWN_ZONE_SHARE:
        zone = None
    return Profile(
        customer_id=client.customer_id,
        household_id=household,
        time_zone=zone,
        attributes={
            "age": client.age,
            "job": client.job,
            "marital": client.marital,
            "education": client.education,
            "balance": client.balance,
            "housing": client.has_mortgage,
            "loan": client.has_loan,
            "default": client.has_default,
            "zone_generated": True,
            **({} if household is None else {"household_generated": True}),
        },
    )


def _changes(client: Client, captured: datetime, random: Random) -> Iterator[CustomerChange]:
    if random.random() >= NEVER_ASKED_SHARE:
        is_expiring = random.random() < EXPIRING_SHARE
        expires = captured + timedelta(days=random.randrange(300, 900)) if is_expiring else None
        yield _consent(client, "granted", captured, expires_at=expires)
    withdrawn = WITHDRAWN_IN_DEFAULT if client.has_default else WITHDRAWN[client.previous_result]
    later = captured + timedelta(days=20)
    if random.random() < withdrawn:
        yield _consent(client, "withdrawn", later)
    elif random.random() < CHANNEL_WITHDRAWN_SHARE:
        yield _consent(client, "withdrawn", later, channel=random.choice(("phone", "sms", "email", "push", "mail")))
    if random.random() < WISHES_SHARE:
        yield _wishes(client, later, random)
    for name, share in LISTED_SHARE.items():
        if random.random() < share:
            yield _listed(client, name, later)
    if client.age >= ELDERLY_AGE_MIN and random.random() < VULNERABLE_SHARE:
        yield _listed(client, "vulnerable", later)


def _consent(
    client: Client, state: str, captured: datetime, *, channel: str | None = None, expires_at: datetime | None = None
) -> ConsentChange:
    return ConsentChange(
        customer_id=client.customer_id,
        purpose="marketing",
        state="granted" if state == "granted" else "withdrawn",
        captured_at=captured,
        channel=channel,
        expires_at=expires_at,
        source=SOURCE,
    )


def _wishes(client: Client, captured: datetime, random: Random) -> PreferenceChange:
    """One preference of the kinds that clients have: own hours, an own maximum, a refused channel or product."""
    kind = random.randrange(4)
    return PreferenceChange(
        customer_id=client.customer_id,
        captured_at=captured,
        closed={"every day": "18:00-11:00"} if kind == 0 else {},
        maximum=OwnMaximum(limit=1, window="rolling 7d") if kind == 1 else None,
        refused_channels=[random.choice(("sms", "push", "phone"))] if kind == 2 else [],  # noqa: PLR2004 - a drawn kind
        refused_products=[random.choice(("card", "mortgage"))] if kind == 3 else [],  # noqa: PLR2004 - a drawn kind
        source=SOURCE,
    )


def _listed(client: Client, name: str, captured: datetime) -> SuppressionChange:
    return SuppressionChange(
        customer_id=client.customer_id, list=name, active=True, captured_at=captured, source=SOURCE
    )
