"""The sentences of findings: what a refused department reads says in words what stands in the way."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.policy.match import When, spoken_when
from tests.inputs.builders import MONDAY, Desk, grant, policy, request

ROOM = "there is room again at 2026-03-09 10:00 (Europe/Lisbon)"


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ({"campaign": "spring"}, "campaign spring"),
        ({"channel": ["phone", "sms"], "product": "card"}, "channel phone or sms, product card"),
        ({"channel": {"not": "phone"}}, "channel other than phone"),
        ({"campaign": {"not": ["a", "b"]}}, "campaign other than a or b"),
        ({"profile.age": {"at_least": 18, "below": 26}}, "profile.age at least 18 and below 26"),
        ({"recallable": True, "profile.floor": 3}, "recallable true, profile.floor 3"),
    ],
)
def test_conditions_in_words(when: dict[str, Any], expected: str) -> None:
    """Every form that a condition can have."""
    assert expected == spoken_when(msgspec.convert(when, When))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"department": "cards", "channel": ["email", "sms"]}, "a contact (department cards, channel email or sms)"),
        ({"outcome": "complained"}, "a complaint"),
        ({"outcome": ["bounced", "complained"], "department": "cards"}, "a bounce or a complaint (department cards)"),
        ({"outcome": {"not": "responded"}}, "an outcome other than responded"),
    ],
)
def test_a_conflict_names_what_went_before(after: dict[str, Any], expected: str) -> None:
    """The contact or the outcome that it must not follow, and until when."""
    rule = {"id": "apart", "kind": "conflict", "when": {"department": "loans"}, "after": after, "within": "3d"}
    desk = Desk(policy(rule), grant())
    desk.ask(request("a"))
    desk.tell("a", "complained", MONDAY)
    (finding,) = desk.ask(request("b", department="loans")).findings

    end = "2026-03-05 10:00 (Europe/Lisbon)"
    assert f"it may not follow within 3d of {expected}; that ends at {end}" == finding.message


@pytest.mark.parametrize(
    ("rule", "asked", "expected"),
    [
        ({"limit": 0}, {}, "no such contact is allowed: the limit is 0"),
        (
            {"limit": 4, "unit": "points"},
            {"channel": "phone"},
            "this contact costs 5 points, more than the limit of 4 points",
        ),
        (
            {"limit": 6, "unit": "points", "keep": {"slots": 2, "for": {"product": "card"}}},
            {"channel": "phone"},
            "this contact costs 5 points, more than the 4 that are not kept for product card",
        ),
        (
            {"limit": 1},
            {},
            f"1 of 1 contacts used in rolling 7d, this one needs 1; {ROOM}",
        ),
        (
            {"limit": 2, "keep": {"slots": 1, "for": {"department": "loans"}}},
            {},
            f"1 of 1 contacts used in rolling 7d (1 more kept for department loans), this one needs 1; {ROOM}",
        ),
    ],
)
def test_a_cap_says_what_is_used_kept_or_never_allowed(rule: dict[str, Any], asked: Any, expected: str) -> None:
    """With the numbers, whom places are kept for, and when there is room again."""
    cap = {"id": "cap", "kind": "cap", "per": ["party"], "window": "rolling 7d", **rule}
    desk = Desk(policy(cap), grant())
    desk.ask(request("a"))
    desk.tell("a", "sent", MONDAY)
    (finding,) = desk.ask(request("b", **asked)).findings

    assert expected == finding.message
