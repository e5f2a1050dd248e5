"""Customers with a past: a few approved contacts each, all over, nothing waiting. What most customers of a bank are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from arbiter.messages import ContactRequest
from arbiter.worker.kafka.partitioner import partition_of
from loadtests.traffic import FIRST_DAY, Entry, request_id

CONTACTS = 5
# Far enough apart for the weekly cap of `policies/four-rules`, under which all of them are approved.
EVERY = timedelta(days=8)
# By then the last permit has run out, and what ran out counts as a contact.
LATER = timedelta(days=30)
CHANNELS = ("email", "push", "sms", "phone", "email")
DESKS = ("cards", "mortgages", "boat-loans", "retention", "service-desk")
ZONE = ZoneInfo("Europe/Lisbon")

_encode = msgspec.json.Encoder().encode


class Requests:
    """Requests with consecutive numbers, as the harness counts them."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.made = 0

    def of(self, customers: Iterable[str], at: datetime, occasion: int = 0) -> Iterator[Entry]:
        """One for each of these customers at this time; another ``occasion`` is another desk and channel."""
        for customer in customers:
            request = ContactRequest(
                request_id=request_id(self.made),
                customer_id=customer,
                department=DESKS[occasion % len(DESKS)],
                campaign=f"campaign-{occasion}",
                channel=CHANNELS[occasion % len(CHANNELS)],
                category="service",
                product="card",
                priority=50.0,
                requested_at=at,
            )
            self.made += 1
            yield Entry(partition_of(customer, self._partitions), customer.encode(), _encode(request))

    def past(self, customers: Sequence[str]) -> list[Entry]:
        """A past for each of them; and one request in every partition, of others, when it is over."""
        begin = FIRST_DAY.replace(tzinfo=ZONE)
        contacts = [
            entry for occasion in range(CONTACTS) for entry in self.of(customers, begin + occasion * EVERY, occasion)
        ]
        return [*contacts, *self.of(one_in_each(self._partitions), begin + CONTACTS * EVERY + LATER)]


def one_in_each(partitions: int) -> list[str]:
    """A customer for every partition, by whom time goes on there."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < partitions:
        name = f"T{number:07d}"
        found.setdefault(partition_of(name, partitions), name)
        number += 1
    return list(found.values())


def names(first: int, count: int) -> list[str]:
    """Customers by number; all names have the same length."""
    return [f"C{number:07d}" for number in range(first, first + count)]
