"""What a real worker keeps and what it promises: headroom of a segment's limit, times at which every rule says yes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from arbiter.messages import ContactRequest, Profile
from tests.inputs.builders import document
from tests.servers.topics import DECISIONS, entries_of
from tests.servers.workers import Site

BEGIN = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
"""A Monday."""

KEPT = {
    "id": "kept", "kind": "cap", "per": ["customer"], "limit": 5, "window": "calendar week",
    "limit_by": {"segment": {"private": 2}}, "keep": {"slots": 1, "for": {"product": "retention"}},
}  # fmt: skip
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
PRIVATE = {"private": {"owner": "desk", "when": {"profile.balance": {"at_least": 1}}}}


def ask(number: int, **fields: Any) -> ContactRequest:
    """A service e-mail to a private customer."""
    asked = BEGIN + timedelta(minutes=number)
    base: dict[str, Any] = {
        "channel": "email",
        "category": "service",
        "expires_at": asked + timedelta(days=20),
        **fields,
    }
    return ContactRequest(
        request_id=f"r{number}", customer_id="c1", department="cards", campaign="gold", requested_at=asked, **base
    )


def test_headroom_and_settled_times(site: Site) -> None:
    """One of two places is taken; the other is kept; who may not wait is told Monday at nine, and not at midnight."""
    site.publish(document(KEPT, NIGHT, segments=PRIVATE))
    site.send(Profile(customer_id="c1", time_zone="Europe/Lisbon", attributes={"balance": 5000}))
    site.flush()
    site.start()
    site.settle()
    site.barrier()
    site.send(ask(1), ask(2, expires_at=BEGIN + timedelta(days=1)), ask(3), ask(4, product="retention"))

    entries = site.audit()

    told = {said["request_id"]: said for said in (entry.fields() for entry in entries_of(DECISIONS, entries))}
    assert ["approved", "rejected", "deferred", "approved"] == [told[f"r{n}"]["outcome"] for n in range(1, 5)]
    assert ["reserved", "would_expire"] == [finding["code"] for finding in told["r2"]["findings"]]
    assert "2026-03-09T09:00:00Z" == told["r2"]["next_eligible_at"] == told["r3"]["retry_at"]
    site.compare(entries)
