"""The desks of the departments: they read decisions, make the contacts, and report what became of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self

import msgspec
from confluent_kafka import Consumer

from arbiter.messages import OUTCOMES, Outcome, OutcomeKind
from tests.servers.topics import DECISIONS
from tests.servers.workers import Site

CONTACT: tuple[tuple[OutcomeKind, ...], ...] = (
    *(("sent",), ("sent",), ("sent",), ("sent",), ("sent",), ("sent", "responded")),
    *(("bounced",), ("cancelled",), ("not_reached",), ("sent", "complained")),
)
"""What becomes of an approved contact, each as often as another."""


class Desks:
    """As long as this is entered, outcomes follow decisions."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._random = Random(seed)
        self._end = Event()
        self._thread = Thread(target=self._run, name="desks")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        config = {**self._site.client_config, "group.id": f"{self._site.name}-desks", "auto.offset.reset": "earliest"}
        consumer = Consumer({name: value for name, value in config.items() if name != "partitioner"})
        consumer.subscribe([self._site.settings.topic(DECISIONS)])
        try:
            while not self._end.is_set():
                for record in consumer.consume(200, 0.2):
                    if record.error() is None:
                        self._answer(json.loads(record.value() or b"{}"))
        finally:
            consumer.close()

    def _answer(self, decision: dict[str, Any]) -> None:
        """Most keep to the decision; one desk in two hundred sends what was put off."""
        if decision["outcome"] == "approved" and decision["not_before"] <= decision["decided_at"]:
            self._report(decision, *self._random.choice(CONTACT))
        elif decision["outcome"] == "deferred" and self._random.random() < 0.005:
            self._report(decision, "sent")

    def _report(self, decision: dict[str, Any], *kinds: OutcomeKind) -> None:
        for kind in kinds:
            outcome = Outcome(
                department=decision["department"],
                customer_id=decision["customer_id"],
                request_id=decision["request_id"],
                kind=kind,
                at=datetime.now(UTC),
            )
            self._site.put(OUTCOMES, msgspec.json.encode(outcome), outcome.customer_id.encode())
