"""The demonstration's requests: every real call of the bank, and the offers of other desks that compete with it.

Calls are real: as many requests of the phone desk as the file counts calls, the last one on the file's date. When the
earlier ones were made is not in the file; they are spread over the working days before. Everything else is generated
from a seed and says so. No request looks into the future: propensity is learnt from earlier months only, and
``duration`` is never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import lru_cache
from random import Random
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from arbiter.demo.bank import Client, month_number
from arbiter.demo.desks import DESKS, Desk
from arbiter.demo.propensity import Propensity
from arbiter.messages import ContactRequest, Scalar

ZONE = ZoneInfo("Europe/Lisbon")
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
EPOCH_DAY = date(1970, 1, 1).toordinal()

GENERATED: dict[str, Scalar] = {"generated": True}
DEPOSIT_SHARE, DEPOSIT_LEAST = 0.04, 20.0

# Working days between two calls to the same client: most callers try again soon.
CALL_GAPS_DAYS = (0, 1, 1, 1, 2, 2, 3, 5)
EVENING_SHARE = 0.06
SATURDAY = 5


class Dated(Struct, frozen=True):
    """A request with the instant (ms) at which it is made."""

    at_ms: int
    customer_id: str
    value: bytes


_encode = msgspec.json.Encoder().encode


def requests(clients: list[Client], seed: int) -> list[Dated]:
    """All requests by time: the real calls and the offers that compete with them."""
    random = Random(seed)  # noqa: S311 - data for a demonstration
    propensity = Propensity(clients)
    made: list[Dated] = []
    for client in clients:
        calls = _call_times(client, random)
        made += _calls(client, calls, propensity)
        for desk in DESKS:
            if desk.wants(client):
                made += _offers(desk, client, calls, propensity, random)
    made.sort(key=lambda dated: (dated.at_ms, dated.value))
    return made


@lru_cache(maxsize=4096)
def _midnight_ms(day: int) -> int:
    """The instant at which a local day begins."""
    return int(datetime.combine(date.fromordinal(day), datetime.min.time(), ZONE).timestamp()) * 1000


def _instant(day: int, hour: float) -> int:
    return _midnight_ms(day) + int(hour * 3_600) * 1000


def _call_times(client: Client, random: Random) -> list[int]:
    """When the client was called (ms), in order: the last time on the file's date, before it on working days."""
    day = client.day
    days = [day]
    for _ in range(client.calls - 1):
        gap = random.choice(CALL_GAPS_DAYS)
        while gap:
            day -= 1
            gap -= _weekday(day) < SATURDAY
        days.append(day)
    times = [_instant(day, _call_hour(random)) for day in days]
    times.sort()
    return times


def _weekday(day: int) -> int:
    return (day - 1) % 7


def _call_hour(random: Random) -> float:
    """Office hours, and a few calls in the evening or before nine."""
    if random.random() < EVENING_SHARE:
        return random.choice((8, 20, 21)) + random.random()
    return 9 + 10 * random.random()


def _month(at_ms: int) -> int:
    return _month_of_day(at_ms // DAY_MS)


@lru_cache(maxsize=4096)
def _month_of_day(days: int) -> int:
    day = date.fromordinal(days + EPOCH_DAY)
    return month_number(day.year, day.month)


def _calls(client: Client, times: list[int], propensity: Propensity) -> Iterator[Dated]:
    value = round(max(DEPOSIT_LEAST, DEPOSIT_SHARE * client.balance), 2)
    for number, at_ms in enumerate(times, 1):
        request = ContactRequest(
            request_id=f"call-{client.number}-{number}",
            customer_id=client.customer_id,
            department="phone-desk",
            campaign="term-deposit",
            channel="phone",
            category="promotional",
            product="term-deposit",
            priority=60,
            value=value,
            propensity=propensity.of(client, _month(at_ms)),
            requested_at=_datetime(at_ms),
        )
        yield Dated(at_ms, client.customer_id, _encode(request))


def _offers(desk: Desk, client: Client, calls: list[int], propensity: Propensity, random: Random) -> Iterator[Dated]:
    """The desk's requests for the client, around the days on which the phone desk called."""
    if random.random() >= desk.interest:
        return
    number, first, last = 1, _day(calls[0]) - 4, _day(calls[-1]) + 4
    while True:
        first_hour, last_hour = desk.hours
        at_ms = _instant(random.randint(first, last), first_hour + (last_hour - first_hour) * random.random())
        chance = propensity.of(client, _month(at_ms))
        request = ContactRequest(
            request_id=f"{desk.campaign}-{client.number}-{number}",
            customer_id=client.customer_id,
            department=desk.department,
            campaign=desk.campaign,
            channel=desk.channel(client, random.random()),
            category=desk.category,
            product=desk.product,
            priority=desk.priority,
            value=desk.value(client),
            propensity=chance,
            requested_at=_datetime(at_ms),
            expires_at=None if desk.expires_hours is None else _datetime(at_ms + desk.expires_hours * HOUR_MS),
            attributes=GENERATED,
        )
        yield Dated(at_ms, client.customer_id, _encode(request))
        if random.random() >= desk.again:
            return
        number += 1


def _day(at_ms: int) -> int:
    return at_ms // DAY_MS + EPOCH_DAY


def _datetime(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
