"""Records as senders write them, and what the reader makes of them."""

from __future__ import annotations

from typing import Any

import msgspec
from aiokafka import ConsumerRecord

from arbiter.messages import CONSENTS, OUTCOMES, PROFILES, REQUESTS
from arbiter.worker.kafka.reader import Reader
from tests.inputs.builders import MONDAY

NOW = MONDAY
SAMPLES: dict[str, tuple[str, dict[str, Any]]] = {
    "request": (
        REQUESTS,
        {
            "request_id": "r1",
            "customer_id": "c1",
            "department": "cards",
            "campaign": "spring",
            "channel": "email",
            "category": "promotional",
        },
    ),
    "withdrawal": (
        CONSENTS,
        {
            "type": "consent",
            "customer_id": "c1",
            "purpose": "marketing",
            "state": "withdrawn",
            "captured_at": "2026-03-02T10:00:00Z",
        },
    ),
    "grant": (
        CONSENTS,
        {
            "type": "consent",
            "customer_id": "c1",
            "purpose": "marketing",
            "state": "granted",
            "captured_at": "2026-03-02T10:00:00Z",
        },
    ),
    "preference": (CONSENTS, {"type": "preference", "customer_id": "c1", "captured_at": "2026-03-02T10:00:00Z"}),
    "suppression": (
        CONSENTS,
        {
            "type": "suppression",
            "customer_id": "c1",
            "list": "do_not_contact",
            "active": True,
            "captured_at": "2026-03-02T10:00:00Z",
        },
    ),
    "complaint": (
        OUTCOMES,
        {
            "department": "cards",
            "customer_id": "c1",
            "request_id": "r1",
            "kind": "complained",
            "at": "2026-03-02T10:00:00Z",
        },
    ),
    "profile": (PROFILES, {"customer_id": "c1"}),
}

FOR_EVER = (
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59.9999999Z",
    "9999-12-31T23:59:59-14:00",
    "+1000000000-12-31T23:59:59.999999999Z",
    "294276-12-31 23:59:59.999999+00",
    "+275760-09-13T00:00:00.000Z",
    "infinity",
)
SINCE_EVER = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0000-01-01T00:00:00Z",
    "-1000000000-01-01T00:00:00Z",
    "-271821-04-20T00:00:00.000Z",
    "4714-11-24 00:00:00+00 BC",
    "-infinity",
)


def read(sample: str, /, **fields: Any) -> Any:
    """What the reader makes of a sample with other fields, on the wall clock."""
    return received(NOW, sample, **fields)


def received(stamp_ms: int, sample: str, /, **fields: Any) -> Any:
    """The same of a record with this time stamp."""
    topic, usual = SAMPLES[sample]
    value = msgspec.json.encode(usual | fields)
    record = ConsumerRecord(topic, 0, 7, stamp_ms, 0, b"c1", value, None, 1, 1, ())
    return Reader(topic, 262_144, is_wall_clock=True).read(record, NOW)
