"""What becomes of approved contacts in the demonstration, as desks would report it on the outcomes topic.

None of it happened. It is drawn from the decision's id, so that a run can be repeated. Most desks report nothing, which
counts as "sent". A planned contact gets no outcome: it may still be recalled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from random import Random
from typing import Any

import msgspec

from arbiter.demo.customers import Fact
from arbiter.messages import OUTCOMES, Outcome, OutcomeKind

CALL: Mapping[OutcomeKind, float] = {"sent": 0.04, "not_reached": 0.03, "responded": 0.005, "complained": 0.001}
MESSAGE: Mapping[OutcomeKind, float] = {"sent": 0.05, "bounced": 0.03, "cancelled": 0.02, "complained": 0.0005}

_encode = msgspec.json.Encoder().encode


def outcome_of(decision: Mapping[str, Any]) -> Fact | None:
    """The outcome record of an approval; ``None`` if its desk reports nothing."""
    random = Random(decision["decision_id"])  # noqa: S311 - data for a demonstration
    draw = random.random()
    for kind, share in (CALL if decision["channel"] == "phone" else MESSAGE).items():
        draw -= share
        if draw < 0:
            return None if decision["not_before"] > decision["decided_at"] else _told(decision, kind, random)
    return None


def _told(decision: Mapping[str, Any], kind: OutcomeKind, random: Random) -> Fact:
    begin, end = (datetime.fromisoformat(decision[name]) for name in ("not_before", "valid_until"))
    outcome = Outcome(
        department=decision["department"],
        customer_id=decision["customer_id"],
        request_id=decision["request_id"],
        kind=kind,
        at=begin + (end - begin) * random.random() / 2,
    )
    return Fact(OUTCOMES, outcome.customer_id, _encode(outcome))
