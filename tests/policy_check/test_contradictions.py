"""Contradictions and warnings: near misses are left alone, and a warning can be accepted where it stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.checks import problems
from arbiter.policy_check.files import read_policy
from arbiter.policy_check.lints import lints
from tests.inputs.builders import document
from tests.policies.accept import WARNED

PHONE = {"channel": "phone"}
OPT_OUT = {"id": "no", "kind": "consent", "basis": "opt_out"}
NEVER = {"id": "never", "kind": "cap", "per": ["party"], "limit": 0, "window": "rolling 1d"}
OFFERS = {"category": "promotional"}
CELL = {"id": "cell", "kind": "cell", "size": 40, "deadline": "2027-06-30", "when": OFFERS}
FLOOR = {"id": "floor", "kind": "floor", "from": "2027-03-01", "until": "2027-03-31", "reach": 900, "when": PHONE}
CALLS = {"id": "calls", "kind": "capacity", "limit": 20, "window": "calendar day", "when": PHONE}
CAP = {"id": "cap", "kind": "cap", "per": ["party"], "limit": 3, "window": "rolling 7d"}
NIGHTS = {"id": "nights", "kind": "quiet_hours", "closed": {"every day": "18:00-09:00"}}
DAYS = {"id": "days", "kind": "quiet_hours", "closed": {"every day": "09:00-18:00"}}


def made(*rules: dict[str, Any], **fields: Any) -> PolicyDocument:
    """A policy of these rules."""
    return msgspec.convert(document(*rules, **fields), PolicyDocument)


def codes(found: list[Any]) -> list[str]:
    """The codes, but for owners that nobody can reach: those of the builders."""
    return [problem.code for problem in found if problem.code != "unreachable-owner"]


@pytest.mark.parametrize(
    ("code", "rules"),
    [
        ("opposite-consent", [{**OPT_OUT, "when": {"category": "promotional", "channel": "sms"}}]),
        ("wanted-but-never", [NEVER, CELL]),
        ("floor-over-capacity", [CALLS, FLOOR]),
        ("never-open", [NIGHTS, DAYS]),
        ("window-too-long", [{**CAP, "window": "rolling 401d"}]),
    ],
)
def test_a_contradiction_is_told_once(code: str, rules: list[dict[str, Any]]) -> None:
    """The pairs from which the near misses below are made do contradict each other."""
    assert codes(problems(made(*rules))) == [code]


@pytest.mark.parametrize(
    "rules",
    [
        # The opt-out speaks about more than the opt-in, is only tried out, or outlasts it.
        [OPT_OUT],
        [{**OPT_OUT, "when": {"category": "promotional"}, "mode": "shadow"}],
        [{**OPT_OUT, "when": {"category": ["promotional", "service"]}}],
        # The limit of 0 is for others, for a time, in points, for contacts that nobody counts, or none for some.
        [{**NEVER, "when": {"product": "boat"}}, CELL],
        [{**NEVER, "effective": {"until": "2027-01-31"}}, CELL],
        [{**NEVER, "unit": "points"}, CELL],
        [{**NEVER, "when": PHONE, "counts": {"channel": "email"}}, {**CELL, "when": PHONE}],
        [{**NEVER, "mode": "shadow"}, CELL],
        [NEVER, {**CELL, "when": {"category": "regulatory"}}],
        # The capacity is for fewer contacts than the floor, is only tried out, begins too late, or suffices.
        [{**CALLS, "when": {"channel": "phone", "product": "boat"}}, FLOOR],
        [{**CALLS, "mode": "shadow"}, FLOOR],
        [{**CALLS, "effective": {"from": "2027-03-02"}}, FLOOR],
        [CALLS, {**FLOOR, "reach": 620}],
        [CALLS, {**FLOOR, "when": {}}],
        # Ten minutes are left, the hours are closed for a time only, or those of other channels.
        [NIGHTS, {**DAYS, "closed": {"every day": "09:10-18:00"}}],
        [NIGHTS, {**DAYS, "effective": {"until": "2027-08-31"}}],
        [NIGHTS, {**DAYS, "mode": "shadow"}],
        [{**NIGHTS, "when": PHONE}, {**DAYS, "when": {"channel": "email"}}],
        [NIGHTS, {**DAYS, "when": {"product": "boat"}}],
        [NIGHTS, {"id": "feasts", "kind": "blackout", "dates": ["01-01..12-30"]}],
        # Just as long as it may be.
        [{**CAP, "window": "rolling 400d"}],
        [{"id": "late", "kind": "conflict", "after": {"outcome": "complained"}, "within": "400d"}],
        [{**CELL, "effective": {"from": "2027-06-30"}}],
    ],
)
def test_a_near_miss_is_no_contradiction(rules: list[dict[str, Any]]) -> None:
    """What can be true at once, if only now and then, is not told."""
    assert codes(problems(made(*rules))) == []


@pytest.mark.parametrize(
    ("consents", "is_told"),
    [
        ([{"channel": "email"}, {"channel": ["sms", "phone", "mail"]}], False),
        ([{"channel": "email"}, {"channel": ["sms", "phone"]}], True),
        ([{"department": "cards"}, {"department": {"not": "cards"}}], False),
        ([{"department": "cards"}], True),
        ([{"product": "boat"}, {"product": {"not": "boat"}}], True),  # a request without a product matches neither
    ],
)
def test_marketing_may_be_covered_by_several_consent_rules(consents: list[dict[str, Any]], is_told: bool) -> None:
    """Each combination that a department may ask for must meet one of them for sure."""
    rules = [{"id": f"c{n}", "kind": "consent", "basis": "opt_in", "when": when} for n, when in enumerate(consents)]
    filled = document(*rules)
    filled["rules"] = filled["rules"][1:]
    found = problems(msgspec.convert(filled, PolicyDocument))

    assert codes(found) == (["marketing-without-consent"] if is_told else [])


@pytest.mark.parametrize(
    ("spans", "is_told"),
    [
        ([{"until": "2026-12-31"}, {"from": "2027-01-01"}], False),
        ([{"until": "2026-12-31"}, {"from": "2027-01-02"}], True),
        ([{"from": "2026-01-01"}], True),
        ([{"until": "2026-12-31"}], True),
    ],
)
def test_consent_is_asked_for_at_all_times(spans: list[dict[str, str]], is_told: bool) -> None:
    """A day on which no consent rule is in force is told; one rule may take over from another."""
    rules = [{"id": f"c{n}", "kind": "consent", "basis": "opt_in", "effective": span} for n, span in enumerate(spans)]
    filled = document(*rules)
    filled["rules"] = filled["rules"][1:]

    assert bool(problems(msgspec.convert(filled, PolicyDocument))) == is_told


@pytest.mark.parametrize("owner", [
    "ana@bank.example", "Ana <ana@bank.example>", "Ana, ext. 4711", "#contact-desk", "https://bank.example/desk",
    "+351 210 000 000", "Ana",
])  # fmt: skip
def test_an_owner_may_be_reached_in_many_ways(owner: str) -> None:
    """By e-mail, telephone, chat or link, or by a name whose address stands elsewhere."""
    rule = {**CAP, "owner": owner}
    found = lints(made(rule, owner="Ana, tel. 4711"))

    assert [p.message for p in found if p.code == "unreachable-owner" and f"`{owner}`" in p.message] == []


@pytest.mark.parametrize(
    ("comment", "is_told"),
    [
        ("limit: 0 # arbiter: allow limit-zero", False),
        ("limit: 0 # meant so; arbiter: allow all-kept, limit-zero", False),
        ("# arbiter: allow limit-zero\n    limit: 0", False),
        ("# arbiter: allow limit-zero\n\n    limit: 0", True),
        ("limit: 0 # arbiter: allow limit-zeros", True),
        ("limit: 0 # arbiter: allow all-kept", True),
        ("limit: 0 # limit-zero", True),
    ],
)
def test_a_warning_is_accepted_where_it_stands(tmp_path: Path, comment: str, is_told: bool) -> None:
    """By a comment in its line or the line above that names its code."""
    text = (WARNED / "limit-zero" / "policy.yaml").read_text().replace("limit: 0\n", f"{comment}\n", 1)
    (tmp_path / "policy.yaml").write_text(text)
    told = [problem.code for problem in read_policy(tmp_path)[1]]

    assert told == ["limit-zero"] * (1 + is_told)


def test_an_error_cannot_be_accepted(tmp_path: Path) -> None:
    """Only warnings can: what contradicts itself stays refused."""
    text = (WARNED / "limit-zero" / "policy.yaml").read_text()
    (tmp_path / "policy.yaml").write_text(text.replace("limit: 0\n", "limit: -1 # arbiter: allow out-of-range\n", 1))

    assert [problem.code for problem in read_policy(tmp_path)[1]] == ["out-of-range"]
