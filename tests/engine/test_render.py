"""The published form of a decision, when it would be too long."""

from __future__ import annotations

import msgspec

from arbiter.engine.render import DECISION_BYTES_MAX, decision_of, message_of
from arbiter.engine.told import Decided
from arbiter.ledger.model import Answer, Finding, Used
from arbiter.messages import Decision
from tests.inputs.builders import MONDAY, request

USED = tuple(Used("cards", "email", MONDAY + number) for number in range(20))


def decided(findings: int, why: str = "w") -> Decided:
    """An answer with so many findings, the last one a reject."""
    found = [
        Finding(f"rule-{number}", "cap", "cap_reached", number < findings - 1, "o", why, "m", 1, 1, "rolling 1d",
                MONDAY + number * 1_000, USED)
        for number in range(findings)
    ]  # fmt: skip
    answer = Answer(1, "rejected", True, ("p", 1, "d"), ("t", 0, 7), 1, MONDAY, tuple(found))
    return Decided(request(), b"identity-16bytes", answer, False)


def test_a_decision_of_usual_length_is_sent_whole() -> None:
    """Its bytes are those of the message, which says nothing of omissions."""
    decision, value = message_of(decided(3))

    assert decision == decision_of(decided(3))
    assert b"omitted" not in value


def test_contacts_are_left_out_first() -> None:
    """All findings stay, without the contacts that used the budgets, and their number is told."""
    decision, value = message_of(decided(200))

    assert 200 == len(decision.findings)
    assert 200 * 20 == decision.contacts_omitted
    assert 0 == decision.findings_omitted
    assert len(value) <= DECISION_BYTES_MAX


def test_then_findings_are_left_out() -> None:
    """Rejects stay, then what lasts longest, and the rest is counted."""
    decision, value = message_of(decided(1_000, why="w" * 500))

    assert len(value) <= DECISION_BYTES_MAX
    assert 1_000 == len(decision.findings) + decision.findings_omitted
    assert "rule-999" == decision.findings[0].rule
    assert "rule-998" == decision.findings[1].rule
    assert decision == msgspec.json.decode(value, type=Decision)
