"""What is over is noted: by the day, in the business zone, and not a moment before."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.ended import ended
from arbiter.timing.windows import moment
from tests.inputs.complete_policy import COMPLETE

DAY = "2026-08-31"
ZONE = "Europe/Lisbon"
END_MS = moment(DAY, ZONE, "end")
RULE = {"id": "x", "owner": "o", "why": "w"}
SPAN = {"from": "2026-01-01", "until": DAY}


def notes(at_ms: int, *rules: dict[str, Any], **fields: Any) -> list[str]:
    """The notes on a policy of these rules."""
    content = deepcopy(COMPLETE) | {"rules": [{**RULE, **rule} for rule in rules], "exceptions": []} | fields
    return ended(msgspec.convert(content, PolicyDocument), at_ms)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            {"kind": "consent", "basis": "opt_in", "effective": SPAN},
            "rule `x` has ended (`effective` until 2026-08-31)",
        ),
        ({"kind": "cell", "size": 3, "deadline": DAY}, "the deadline of the cell `x` (2026-08-31) is over: unless"),
        ({"kind": "floor", "reach": 3, **SPAN}, "the floor `x` has ended (until 2026-08-31)"),
        ({"kind": "blackout", **SPAN}, "all days of the blackout `x` are over"),
        ({"kind": "blackout", "dates": ["2026-08-29..2026-08-31"]}, "all days of the blackout `x` are over"),
    ],
)
def test_a_rule_that_is_over_is_noted(rule: dict[str, Any], words: str) -> None:
    """From the end of its last day on."""
    (note,) = notes(END_MS, rule)

    assert note.startswith(words)
    assert notes(END_MS - 1, rule) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "blackout", "dates": ["2026-08-31", "12-24"]},
        {"kind": "blackout", "dates": ["2026-08-31"], "holidays": ["pt"]},
        {"kind": "blackout", "dates": ["2026-08-01"], "from": "2026-09-01", "until": "2026-09-02"},
        {"kind": "cell", "size": 3, "deadline": "2026-09-01"},
    ],
)
def test_what_comes_again_is_not_over(rule: dict[str, Any]) -> None:
    """Yearly days, holidays, a freeze to come."""
    assert notes(END_MS, rule) == []


def test_exceptions_and_calendars_are_noted() -> None:
    """Each by its name; a cell past its deadline whose rule has ended is told once."""
    one = {"id": "stock", "rules": ["x"], "approver": "a", "reason": "r", "until": DAY}
    cell = {"kind": "cell", "size": 3, "deadline": DAY, "effective": SPAN}
    told = notes(END_MS, cell, exceptions=[one], holidays={"pt": ["2026-04-03"], "every": ["12-25"], "none": []})

    assert [note.split(";")[0] for note in told] == [
        "rule `x` has ended (`effective` until 2026-08-31)", "exception `stock` has ended",
        "all days of the holiday calendar `pt` are over",
    ]  # fmt: skip
