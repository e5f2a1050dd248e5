"""Any history of a party: requests with all their fields, outcomes, facts of its members, time that passes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any

from arbiter.engine.input_record import Message
from arbiter.messages import (
    ConsentChange,
    ContactRequest,
    Outcome,
    OwnMaximum,
    PreferenceChange,
    Profile,
    SuppressionChange,
)
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.any_policy import CATEGORIES, CHANNELS, HOURS, LISTS, OUTCOMES, PRODUCTS, SHAPE, ZONES

CUSTOMERS = ("c0", "c1", "c2")
FOR_EVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class HistoryWriter:
    """Makes up what happens, as ``random`` has it, from ``now_ms`` on."""

    def __init__(self, random: Random, now_ms: int) -> None:
        self._random = random
        self.now_ms = now_ms
        self._asked: list[ContactRequest] = []

    def steps(self, count: int) -> list[tuple[int, Message]]:
        """So many messages, each with when it arrives."""
        found: list[tuple[int, Message]] = []
        makers: tuple[Callable[[], Message], ...] = (
            *(self._request,) * 8, *(self._outcome,) * 3,
            self._consent, self._suppression, self._preference, self._profile,
        )  # fmt: skip
        for customer in CUSTOMERS:
            found.append((self.now_ms, self._profile(customer)))
            found.append((self.now_ms, self._consent(customer, "granted")))
        for _ in range(count):
            if self._random.random() < 0.5:
                self.now_ms += self._random.choice(
                    (MINUTE_MS, 17 * MINUTE_MS, HOUR_MS, 9 * HOUR_MS, DAY_MS, 3 * DAY_MS)
                )
            found.append((self.now_ms, self._random.choice(makers)()))
        return found

    def _request(self) -> ContactRequest:
        pick = self._random.choice
        more = {
            "product": pick(PRODUCTS),
            "partner": pick((None, None, "shop")),
            "priority": pick((10.0, 90.0)),
            "value": pick((2.0, 40.0)),
            "propensity": pick((0.01, 0.5)),
            "recallable": pick((True, False)),
            "dry_run": pick((False, False, False, False, True)),
            "requested_at": to_datetime(self.now_ms - pick((*(0, HOUR_MS) * 5, 31 * DAY_MS))),
            "send_after": to_datetime(self.now_ms + pick((-HOUR_MS, HOUR_MS, HOUR_MS, 2 * DAY_MS, 12 * DAY_MS))),
            "attributes": {"urgent": pick((True, "yes", "no"))},
        }
        asked = ContactRequest(
            request_id=f"r{len(self._asked)}",
            customer_id=self._customer(),
            department=pick(SHAPE["department"]),
            campaign=pick(SHAPE["campaign"]),
            channel=pick(CHANNELS),
            category=pick((*CATEGORIES, "promotional")),
            expires_at=self._then(20 * MINUTE_MS, 2 * DAY_MS, 20 * DAY_MS, 300 * DAY_MS),
            **self._few(more),
        )
        self._asked.append(asked)
        return asked

    def _outcome(self) -> Outcome:
        pick = self._random.choice
        fields: dict[str, Any] = {"customer_id": self._customer(), "request_id": "unknown", "department": "cards"}
        fields |= self._few({"channel": pick(CHANNELS), "category": pick(CATEGORIES), "product": pick(PRODUCTS)})
        if self._asked and self._random.random() < 0.9:
            asked = pick(self._asked[-6:])
            fields = {"customer_id": asked.customer_id, "request_id": asked.request_id, "department": asked.department}
        kinds: tuple[Any, ...] = ("sent", "sent", "cancelled", *OUTCOMES)
        return Outcome(kind=pick(kinds), at=to_datetime(self.now_ms), **fields)

    def _consent(self, customer: str | None = None, state: Any = None) -> ConsentChange:
        pick = self._random.choice
        more = {
            "channel": pick((None, "email")),
            "department": pick((None, "cards")),
            "partner": pick((None, "shop")),
            "expires_at": self._then(HOUR_MS, 2 * DAY_MS, 9 * DAY_MS),
        }
        return ConsentChange(
            customer_id=customer or self._customer(),
            purpose="marketing" if customer else pick(("marketing", "marketing", "marketing", "service", "legal")),
            state=state or pick(("granted", "granted", "withdrawn")),
            captured_at=to_datetime(self.now_ms),
            **(self._few(more) if customer is None else {}),
        )

    def _suppression(self) -> SuppressionChange:
        expires = self._then(HOUR_MS, 3 * DAY_MS)
        return SuppressionChange(
            customer_id=self._customer(),
            list=self._random.choice(LISTS),
            active=self._random.random() < 0.6,
            captured_at=to_datetime(self.now_ms),
            **self._few({"expires_at": expires}),
        )

    def _preference(self) -> PreferenceChange:
        pick = self._random.choice
        more = {
            "closed": {pick(("every day", "weekdays", "sun")): pick(HOURS)},
            "refused_channels": [pick(CHANNELS)],
            "refused_products": [pick(PRODUCTS)],
            "preferred_channel": pick(CHANNELS),
            "snooze_until": self._then(HOUR_MS, 3 * DAY_MS),
            "maximum": OwnMaximum(limit=pick((0, 1, 2)), window=pick(("rolling 2d", "calendar week", "calendar hour"))),
        }
        return PreferenceChange(customer_id=self._customer(), captured_at=to_datetime(self.now_ms), **self._few(more))

    def _profile(self, customer: str | None = None) -> Profile:
        pick = self._random.choice
        attributes: dict[str, Any] = self._few({"balance": pick((10, 5000)), "kind": pick(("person", "firm"))})
        more = {
            "time_zone": pick((*ZONES, "Nowhere/Land")),
            "time_zones": list(ZONES[:2]),
            "relationship_owner": "anna",
        }
        return Profile(customer_id=customer or self._customer(), attributes=attributes, **self._few(more))

    def _then(self, *spans_ms: int) -> datetime:
        """So long from now, or for ever."""
        if self._random.random() < 0.1:
            return FOR_EVER
        return to_datetime(self.now_ms + self._random.choice(spans_ms))

    def _customer(self) -> str:
        return self._random.choice((*CUSTOMERS, *CUSTOMERS, *CUSTOMERS, "stranger"))

    def _few(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Some of these fields; the rest is left out."""
        return {name: value for name, value in fields.items() if self._random.random() < 0.4}
