"""The published form of a decision, when it would be too long."""

from __future__ import annotations

import msgspec

from arbiter.engine.render import DECISION_BYTES_MAX, encoded, message_of
from arbiter.ledger.model import Decision
from arbiter.messages import DecisionMessage, Finding, UsedContact
from arbiter.timing.instants import to_datetime
from tests.inputs.builders import MONDAY, request

USED = tuple(UsedContact("cards", "email", to_datetime(MONDAY + number)) for number in range(20))


def decided(findings: int, why: str = "w") -> Decision:
    """An answer with so many findings, the last one a reject."""
    found = [
        Finding(f"rule-{number}", "cap", "cap_reached", "defer" if number < findings - 1 else "reject", "o", why, "m",
                1, 1, "rolling 1d", to_datetime(MONDAY + number * 1_000), USED)
        for number in range(findings)
    ]  # fmt: skip
    return Decision(
        "rejected", True, ("p", 1, "d"), MONDAY, tuple(found),
        request=request(), identity=b"identity-16bytes", n=1, source=("t", 0, 7), seq=1,
    )  # fmt: skip


def test_a_decision_of_usual_length_is_sent_whole() -> None:
    """Its bytes are those of the message, which says nothing of omissions."""
    decision, value = encoded(decided(3))

    assert decision == message_of(decided(3))
    assert b"omitted" not in value


def test_contacts_are_left_out_first() -> None:
    """All findings stay, without the contacts that used the budgets, and their number is told."""
    decision, value = encoded(decided(200))

    assert 200 == len(decision.findings)
    assert 200 * 20 == decision.contacts_omitted
    assert 0 == decision.findings_omitted
    assert len(value) <= DECISION_BYTES_MAX


def test_then_findings_are_left_out() -> None:
    """Rejects stay, then what lasts longest, and the rest is counted."""
    decision, value = encoded(decided(1_000, why="w" * 500))

    assert len(value) <= DECISION_BYTES_MAX
    assert 1_000 == len(decision.findings) + decision.findings_omitted
    assert "rule-999" == decision.findings[0].rule
    assert "rule-998" == decision.findings[1].rule
    assert decision == msgspec.json.decode(value, type=DecisionMessage)
