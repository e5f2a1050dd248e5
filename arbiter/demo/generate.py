"""The demonstration's requests: every real call of the bank, and competing offers of other desks.

Calls are real: the phone desk makes as many requests as the file counts calls, the last one on the file's date. The
file does not say when the earlier ones were made; they are spread over the working days before. Everything else is
generated from a seed and says so. No request looks into the future: propensity is learnt from earlier months only, and
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
from arbiter.demo.desks import BROCHURES, DESKS, GUIDE, PAYDAY, Bid, Desk
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

PAYDAY_SHARE, BID_MINUTES = 0.06, 8
PLANNED_SHARE, BROCHURE_SHARE = 0.05, 0.6
PRINT_HOUR, PLANNED_HOURS, BROCHURE_HOURS = 10, (9, 12), (13, 17)


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
        made += _payday(client, calls, propensity, random)
        made += _planned_mail(client, calls, propensity, random)
    made.sort(key=lambda dated: (dated.at_ms, dated.value))
    return made


@lru_cache(maxsize=4096)
def _midnight_ms(day: int) -> int:
    """The instant at which a local day begins."""
    return int(datetime.combine(date.fromordinal(day), datetime.min.time(), ZONE).timestamp()) * 1000


def _instant(day: int, hour: float) -> int:
    return _midnight_ms(day) + int(hour * 3_600) * 1000


def _call_times(client: Client, random: Random) -> list[int]:
    """When the client was called (ms), in order: the last time on the file's date, the others on working days before
    it.
    """
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


def _payday(client: Client, calls: list[int], propensity: Propensity, random: Random) -> Iterator[Dated]:
    """Messages of several desks to one phone within minutes."""
    if client.contact != "cellular" or random.random() >= PAYDAY_SHARE:
        return
    at_ms = _instant(_working_day(_day(calls[0]) - 3, _day(calls[-1]) + 3, random), 10 + 8 * random.random())
    for bid in random.sample(PAYDAY, random.randint(2, len(PAYDAY))):
        asked_ms = at_ms + random.randrange(BID_MINUTES * 60) * 1000
        yield _bid(bid, client, random.choice(("sms", "push")), asked_ms, propensity)


def _planned_mail(client: Client, calls: list[int], propensity: Propensity, random: Random) -> Iterator[Dated]:
    """A guide that is to be printed tomorrow morning, and later that day a brochure with a higher score."""
    if random.random() >= PLANNED_SHARE:
        return
    day = _working_day(_day(calls[0]) - 5, _day(calls[-1]) + 3, random)
    send_after = _datetime(_instant(day + 1, PRINT_HOUR))
    asked_ms = _instant(day, random.uniform(*PLANNED_HOURS))
    yield _bid(GUIDE, client, "mail", asked_ms, propensity, send_after)
    wanting = [BROCHURES[desk.department] for desk in DESKS if desk.department in BROCHURES and desk.wants(client)]
    if wanting and random.random() < BROCHURE_SHARE:
        asked_ms = _instant(day, random.uniform(*BROCHURE_HOURS))
        yield _bid(random.choice(wanting), client, "mail", asked_ms, propensity, send_after)


def _working_day(first: int, last: int, random: Random) -> int:
    """A day from the first to the last, Monday to Friday; the next one where none of them is."""
    day = random.randint(first, last)
    while _weekday(day) >= SATURDAY:
        day += 1
    return day


def _bid(
    bid: Bid, client: Client, channel: str, at_ms: int, propensity: Propensity, send_after: datetime | None = None
) -> Dated:
    request = ContactRequest(
        request_id=f"{bid.campaign}-{client.number}",
        customer_id=client.customer_id,
        department=bid.department,
        campaign=bid.campaign,
        channel=channel,
        category=bid.category,
        product=bid.product,
        priority=bid.priority,
        value=bid.value(client),
        propensity=propensity.of(client, _month(at_ms)),
        requested_at=_datetime(at_ms),
        send_after=send_after,
        attributes=GENERATED,
    )
    return Dated(at_ms, client.customer_id, _encode(request))


def _day(at_ms: int) -> int:
    return at_ms // DAY_MS + EPOCH_DAY


def _datetime(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
