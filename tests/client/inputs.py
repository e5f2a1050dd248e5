"""What the tests of the client are made of: decisions as they come from the topic, a request, a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from arbiter.messages import DecisionMessage, Finding, PolicyRef, Source

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
IDENTITY = "3afff301bef5f1482c30bc2780ef507b"


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        """The time that was set."""
        return self.now


def message(number: int, outcome: Any, *codes: str, request_id: str = "r1", **fields: Any) -> DecisionMessage:
    """A decision as it comes from the topic; an approval opens in an hour, for an hour."""
    permit = {"not_before": NOON + HOUR, "valid_until": NOON + 2 * HOUR} if outcome == "approved" else {}
    findings = tuple(Finding("rule", "cap", code, "defer", "owner", "why", f"because of {code}") for code in codes)
    given: dict[str, Any] = {
        "customer_id": "c1",
        "department": "cards",
        "campaign": "gold",
        "channel": "email",
        "category": "promotional",
        "final": outcome != "deferred",
        "policy": PolicyRef("bank", 1, "0"),
        "source": Source("contact.requests.v1", 0, 0),
        "seq": number,
        "decided_at": NOON,
        "findings": findings,
        **permit,
        **fields,
    }
    given = {"decision_id": f"{IDENTITY}:{number}", **given}
    return DecisionMessage(request_id=request_id, outcome=outcome, **given)


ASKED: dict[str, Any] = {
    "request_id": "r1",
    "customer_id": "c1",
    "campaign": "gold",
    "channel": "email",
    "category": "promotional",
}
