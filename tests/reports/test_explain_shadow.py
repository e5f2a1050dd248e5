"""What ``arbiter explain`` tells of shadows: of the policy beside the one in force, and of single rules."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from msgspec.structs import replace

from arbiter.engine.render import message_of
from arbiter.ledger.model import Decision
from arbiter.messages import PreferenceChange, ShadowDecision
from arbiter.policy.rules.cap import CompiledCap
from arbiter.reports.explain.document import Explanation, InShadow
from arbiter.reports.explain.shadow import beside
from arbiter.timing.instants import HOUR_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, grant, policy, request
from tests.reports.test_explain_sentences import ZONE, explained
from tests.servers.processes import ROOT

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
TWO = {**ONE, "id": "two", "limit": 2}
NEVER = {**ONE, "id": "never", "limit": 0}
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
BEFORE = "The shadow policy, test version 7 (00000000), decided nothing; it "
LATE = MONDAY + 12 * HOUR_MS


def second(
    rules: list[dict[str, Any]], shadow: list[dict[str, Any]], now_ms: int = MONDAY + HOUR_MS
) -> tuple[Desk, Decision]:
    """The decision on the customer's second offer under these rules, with a policy of those in shadow."""
    desk = Desk(policy(*rules, shadow=policy(*shadow, version=7)), grant())
    desk.ask(request("a"))
    return desk, desk.ask(request("b"), now_ms)


def told(rules: list[dict[str, Any]], shadow: list[dict[str, Any]], now_ms: int = MONDAY + HOUR_MS) -> InShadow:
    """What is told of the shadow policy."""
    said = beside(message_of(second(rules, shadow, now_ms)[1]), ZONE)
    assert said is not None
    return said


def shown(desk: Desk, decided: Decision) -> tuple[Explanation, str]:
    """The explanation, checked against its schema, and its text in one line, checked to fit 80 columns."""
    told, text = explained(desk, decided)
    schema = json.loads((ROOT / "schemas" / "explanation.schema.json").read_text())
    found = json.loads(msgspec.json.encode(told))
    assert [] == [error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(found)]
    assert max(map(len, text.splitlines())) <= 80
    return told, " ".join(text.split())


def test_without_one_nothing_is_told() -> None:
    """Neither in the text nor in the JSON."""
    desk = Desk(policy(ONE), grant())
    told, text = shown(desk, desk.ask(request("a")))

    assert (None, False) == (told.steps[0].shadow_policy, "shadow" in text)


@pytest.mark.parametrize(
    ("rules", "shadow", "now_ms", "answer"),
    [
        ([TWO], [TWO], MONDAY, "alike: approved."),
        ([ONE], [ONE, TWO], MONDAY, "alike, for the same reasons: deferred until 2026-03-10 10:00 by `one`."),
        ([NEVER], [NEVER], MONDAY, "alike, for the same reasons: rejected by `never`."),
        ([NEVER], [{**NEVER, "id": "none"}], MONDAY, "alike, but not for the same reasons: rejected by `none`."),
        ([ONE, NIGHT], [ONE, NIGHT], LATE,
         "alike, for the same reasons: deferred until 2026-03-10 09:00 by `one` and `night`."),
        ([ONE, TWO], [{**ONE, "id": "1"}, TWO], MONDAY,
         "alike, but not for the same reasons: deferred until 2026-03-10 10:00 by `1`."),
    ],
)  # fmt: skip
def test_an_answer_alike(rules: list[dict[str, Any]], shadow: list[dict[str, Any]], now_ms: int, answer: str) -> None:
    """Is called so, with the answer, the time and the rules; other reasons are called others."""
    said = told(rules, shadow, now_ms)

    assert (True, f"{BEFORE}would have answered {answer}") == (said.is_alike, said.sentence)


@pytest.mark.parametrize(
    ("rules", "shadow", "answer"),
    [
        ([ONE], [TWO], "approved."),
        ([TWO], [ONE], "deferred until 2026-03-10 10:00 by `one`."),
        ([TWO], [NEVER, ONE], "rejected by `never` and `one`."),
        ([{**ONE, "window": "rolling 1d"}], [ONE], "deferred, too, but until 2026-03-10 10:00 by `one`."),
    ],
)
def test_another_answer(rules: list[dict[str, Any]], shadow: list[dict[str, Any]], answer: str) -> None:
    """Which, until when, by which rules; that it is put off all the same, but longer, too."""
    said = told(rules, shadow)

    assert (False, f"{BEFORE}would have answered otherwise: {answer}") == (said.is_alike, said.sentence)


def test_the_text_has_what_the_policy_in_force_does_not_say() -> None:
    """In words, with owner and reason; what both say and what only that one says by name."""
    told, text = shown(*second([ONE, NIGHT], [NEVER, NIGHT], LATE))
    (step,) = told.steps

    assert step.shadow_policy == InShadow(
        is_alike=False,
        sentence=f"{BEFORE}would have answered otherwise: rejected by `never` and `night`.",
        reasons=["`never` (cap) would say no: no such contact is allowed: the limit is 0."],
        likewise=["night"],
        unsaid=["one"],
    )
    assert (
        "Decided under test version 1 (00000000). "
        f"◦ {step.shadow_policy.sentence} "
        "◦ `never` (cap) would say no: no such contact is allowed: the limit is 0. "
        "Why: because of never. Ask never-owner. "
        "◦ `night` says no as in the policy in force. "
        "◦ Of `one`, which says no in force, it says nothing. "
    ) in text


def test_where_both_say_the_same_it_is_said_once() -> None:
    """The sentence has the rules already."""
    _, text = shown(*second([ONE], [ONE]))

    assert "for the same reasons: deferred until 2026-03-10 10:00 by `one`. How “without”" in text


def test_the_customers_own_wish_is_called_that() -> None:
    """At the beginning of a sentence, too; and what is not said of is told of several in the plural."""
    wish = PreferenceChange(customer_id="c1", captured_at=to_datetime(0), refused_channels=["email"])
    desk = Desk(policy(ONE, TWO, NEVER, shadow=policy(NIGHT, version=7)), grant(), wish)
    _, text = shown(desk, desk.ask(request("a"), LATE))

    assert "rejected by `night` and the customer's own wish. " in text
    assert "◦ The customer's own wish says no as in the policy in force. ◦ Of `never`, which says no" in text


def test_a_rule_of_it_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody takes that for an opinion; the other rules are told by name."""

    def failing(self: CompiledCap, *_: Any) -> None:
        assert self.id != "one", "broken"

    monkeypatch.setattr(CompiledCap, "until", failing)
    told, text = shown(*second([NIGHT], [ONE, NIGHT], LATE))
    said = told.steps[0].shadow_policy

    assert said is not None
    assert (False, ["night"], []) == (said.is_alike, said.likewise, said.unsaid)
    assert (
        f"{BEFORE}failed on this request, and what it would have answered is not known. "
        "◦ `one` (cap) would say no: the rule failed: AssertionError. Why: because of one. Ask one-owner. "
        "◦ `night` says no as in the policy in force. "
    ) in text


def test_all_of_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no rule to be named, and that the rules in force are not among its own says nothing."""
    shadow = policy(ONE, version=7)
    monkeypatch.setattr(shadow, "terms", lambda *_: 1 // 0)
    desk = Desk(policy(NEVER, shadow=shadow), grant())
    _, text = shown(desk, desk.ask(request("a")))

    assert "is not known. ◦ The policy failed: ZeroDivisionError. Ask contact-policy. " in text
    assert "says nothing" not in text


def test_a_decision_that_was_too_long() -> None:
    """What its shadow policy put otherwise is not in it: nothing is claimed of the reasons."""
    decision = message_of(second([ONE], [{**ONE, "why": "other"}])[1])
    would = decision.shadow_policy
    assert would is not None
    assert beside(decision, ZONE).sentence.startswith(f"{BEFORE}would have answered alike, but not")  # type: ignore[union-attr]
    said = beside(replace(decision, shadow_policy=replace(would, findings=[]), findings_omitted=1), ZONE)

    assert said == InShadow(
        is_alike=True, sentence=f"{BEFORE}would have answered alike: deferred until 2026-03-10 10:00 by `one`."
    )


def test_an_arbitration_in_force_is_not_missed_in_the_shadow() -> None:
    """It holds none, so that it says nothing of one is no news."""
    hold = {"id": "best", "kind": "arbitration", "hold": "1h"}
    desk = Desk(policy(hold, ONE, shadow=policy(ONE, version=7)), grant())
    for name, priority in (("a", 60), ("b", 10)):
        desk.ask(request(name, priority=priority))
    lost = next(one for one in desk.tick(MONDAY + HOUR_MS) if one.request.request_id == "b")
    decision = message_of(lost)
    said = beside(decision, ZONE)

    assert said is not None
    assert (["outranked"], []) == (
        [finding.code for finding in decision.findings if finding.kind == "arbitration"],
        said.unsaid,
    )


def test_the_page_shows_what_is_printed() -> None:
    """The example in the documentation, to the letter."""
    page = (ROOT / "docs" / "explain-and-report.md").read_text()
    (example,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    owner = "customer-experience@bank.example"
    cap = {**ONE, "owner": owner, "why": "17 offers in three weeks lost us the customer"}
    weekly, daily = {**cap, "id": "one-a-week"}, {**cap, "id": "one-a-day", "window": "rolling 1d"}
    night = {**NIGHT, "id": "night", "owner": "compliance@bank.example", "why": "nobody is reached at night"}
    beside = policy(weekly, night, version=13, policy="retail-bank")
    desk = Desk(policy(daily, night, version=12, policy="retail-bank", shadow=beside), grant())
    desk.ask(request("a", department="loans", channel="phone"))
    _, text = explained(desk, desk.ask(request("b"), LATE))

    assert example in text


def test_rules_in_shadow_mode_are_told_with_their_owner() -> None:
    """What a rule that only watches would say, why there is such a rule, and whom to ask."""
    desk = Desk(policy(TWO, {**ONE, "mode": "shadow"}), grant())
    desk.ask(request("a"))
    told, text = shown(desk, desk.ask(request("b"), MONDAY + HOUR_MS))

    assert ["`one` (cap) would say not now: "] == [reason[:31] for reason in told.steps[0].watching]
    assert "◦ Only watching, in shadow mode: `one` (cap) would say not now: 1 of 1 contacts used" in text
    assert "there is room again at 2026-03-10 10:00. Why: because of one. Ask one-owner." in text


def test_an_end_that_the_message_does_not_tell_is_told_as_a_wish() -> None:
    """A rule that stops nothing does not say yes at some time either; it would."""
    desk = Desk(policy(TWO, {**ONE, "mode": "shadow"}), grant())
    desk.ask(request("a"))
    decision = message_of(desk.ask(request("b"), MONDAY + HOUR_MS))
    finding = replace(decision.shadow[0], message="full")
    would = ShadowDecision(decision.policy, "deferred", ("one",), finding.until, (finding,))
    said = beside(replace(decision, shadow_policy=would), ZONE)

    assert said is not None
    assert ["`one` (cap) would say not now: full; it would say yes from 2026-03-10 10:00 on."] == said.reasons
