"""A shadow policy: what it says beside every decision, and that it changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine.render import DECISION_BYTES_MAX, encoded, message_of
from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.model import Decision
from arbiter.messages import ConsentChange, PolicyRef, ShadowDecision
from arbiter.policy.rules.cap import CompiledCap
from arbiter.policy.ruleset import Policy
from arbiter.state.answers import unpack_decision
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from tests.engine.test_life import told
from tests.inputs.builders import MONDAY, Desk, grant, policy, request
from tests.state.test_answers import DEFERRED, STORED_1

ONE = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
TWO = {**ONE, "id": "two", "limit": 2}
NEVER = {**ONE, "id": "never", "limit": 0}
CALLS = {"id": "calls", "kind": "capacity", "limit": 2, "window": "calendar week"}
HOLD = {"id": "best", "kind": "arbitration", "hold": "1h"}
LATER = MONDAY + HOUR_MS


def live(*rules: dict[str, Any], shadow: Policy, **fields: Any) -> Policy:
    """The policy in force, with the other one beside it."""
    return policy(*rules, shadow=shadow, **fields)


def beside(*rules: dict[str, Any], **fields: Any) -> Policy:
    """A shadow policy, version 7."""
    return policy(*rules, version=7, **fields)


def would(desk: Desk, request_id: str, now_ms: int = MONDAY, **fields: Any) -> tuple[str, ShadowDecision]:
    """What is answered to a request, and what the shadow policy would have answered."""
    answer = desk.ask(request(request_id, **fields), now_ms)
    assert answer.shadow_policy is not None
    return answer.outcome, answer.shadow_policy


def test_it_judges_what_really_happened() -> None:
    """A contact that it would have stopped counts for the next one, since it was made."""
    desk = Desk(live(TWO, shadow=beside(ONE)), grant())
    said = [would(desk, name) for name in ("a", "b", "c")]

    assert [("approved", "approved"), ("approved", "deferred"), ("deferred", "deferred")] == [
        (outcome, verdict.outcome) for outcome, verdict in said
    ]
    assert [(), ("one",), ("one",)] == [verdict.rules for _, verdict in said]
    assert {PolicyRef("test", 7, "0" * 64)} == {verdict.policy for _, verdict in said}


def test_only_what_differs_is_told_in_words() -> None:
    """A "no" that both policies say alike stands in the decision once; contacts are not listed twice."""
    desk = Desk(live(ONE, shadow=beside(ONE, TWO)), grant())
    desk.ask(request("a"))
    outcome, alike = would(desk, "b")
    other = Desk(live(TWO, shadow=beside(ONE, TWO)), grant())
    other.ask(request("a"))
    _, unlike = would(other, "b")

    assert ("deferred", "deferred", ("one",), ()) == (outcome, alike.outcome, alike.rules, alike.findings)
    assert [("one", "one-owner", 1, ())] == [(f.rule, f.owner, f.used, f.contacts) for f in unlike.findings]
    assert unlike.retry_at == unlike.findings[0].until


def test_without_one_nothing_is_told() -> None:
    """The bytes of a decision are what they were before there were shadow policies."""
    decided = Desk(policy(ONE), grant()).ask(request("a"))

    assert decided.shadow_policy is None
    assert b"shadow_policy" not in encoded(decided)[1]


def test_what_is_published_again_is_judged_again() -> None:
    """With what is known then: by its `retry_at` it lets the request pass, too."""
    desk = Desk(live(ONE, shadow=beside(NEVER)), grant())
    desk.ask(request("a"))
    desk.ask(request("b"), LATER)
    (back,) = desk.tick(MONDAY + 30 * DAY_MS)
    verdict = back.shadow_policy

    assert [("b", "approved")] == told([back])
    assert verdict is not None
    assert ("rejected", ("never",)) == (verdict.outcome, verdict.rules)


def test_a_repeat_is_told_what_was_told() -> None:
    """Byte for byte, though another shadow policy, or none, stands beside by then."""
    desk = Desk(live(TWO, shadow=beside(NEVER)), grant())
    first = encoded(desk.ask(request("a")))
    desk.policy = policy(TWO)
    again = encoded(desk.ask(request("a"), LATER))

    assert first == again
    assert first[0].shadow_policy is not None


def test_answers_of_before_can_be_read() -> None:
    """A stored decision without the field is one without a shadow policy."""
    content, row = msgspec.msgpack.decode(bytes.fromhex(STORED_1)[1:])
    older = b"\x01" + msgspec.msgpack.encode([content, row[:-1]])

    assert 20 == len(row)
    assert DEFERRED == unpack_decision(older)


def test_recalls_and_withdrawals_are_not_judged() -> None:
    """They are no answers to the question whether this may be sent."""
    desk = Desk(live(TWO, shadow=beside(NEVER)), grant())
    desk.ask(request("a", send_after=MONDAY + DAY_MS))
    change = ConsentChange(customer_id="c1", purpose="marketing", state="withdrawn", captured_at=grant().captured_at)
    out = desk.send(msgspec.structs.replace(change, captured_at=request(requested_at=MONDAY).requested_at), LATER)
    said = [(one.outcome, one.shadow_policy is not None) for one in out if isinstance(one, Decision)]

    assert [("recalled", False), ("rejected", True)] == said


def test_a_dry_run_is_not_judged() -> None:
    """It is a department's own question, and counts nowhere."""
    desk = Desk(live(TWO, shadow=beside(NEVER)), grant())

    assert desk.ask(request("a", dry_run=True)).shadow_policy is None


def test_while_held_nothing_is_judged_and_at_the_close_everything() -> None:
    """Of an arbitration of the policy in force it sees the end; its own hold nothing."""
    desk = Desk(live(HOLD, ONE, shadow=beside({**HOLD, "id": "other"}, NEVER)), grant())
    held = desk.ask(request("a"))
    desk.ask(request("b", priority=10), MONDAY + MINUTE_MS)
    back = desk.tick(MONDAY + 2 * HOUR_MS)

    assert ("deferred", None) == (held.outcome, held.shadow_policy)
    assert [("approved", "rejected"), ("deferred", "rejected")] == [
        (one.outcome, one.shadow_policy.outcome) for one in back if one.shadow_policy
    ]


def test_capacity_is_what_really_was_used() -> None:
    """Under its own number, of the window that is counted; of others nobody knows, and nothing is drawn."""
    stock = WholeStock()
    mine = {**CALLS, "id": "mine", "limit": 1}
    desk = Desk(live(CALLS, shadow=beside({**CALLS, "limit": 1}, mine)), grant(), stock=stock)
    said = [would(desk, name) for name in ("a", "b", "c")]
    roomy = Desk(live(CALLS, shadow=beside({**CALLS, "limit": 3})), grant("c2"), stock=stock)
    more = would(roomy, "d", customer_id="c2")

    assert [("approved", ()), ("approved", ("calls",)), ("deferred", ("calls",))] == [
        (outcome, verdict.rules) for outcome, verdict in said
    ]
    assert ("deferred", "approved") == (more[0], more[1].outcome)
    assert {"calls/week": 2} == {draw.name: count for draw, count in stock.taken.items()}


def test_cells_of_its_own_are_open() -> None:
    """Who would have waited for one that nobody counts is not known."""
    cell = {"id": "trial", "kind": "cell", "when": {"campaign": "gold"}, "size": 3, "deadline": "2026-03-06"}
    own = Desk(live(shadow=beside(cell)), grant())
    shared = Desk(live(cell, shadow=beside(cell)), grant())

    assert ("approved", "approved") == (would(own, "a")[0], would(own, "b")[1].outcome)
    assert ("deferred", ("trial",)) == (would(shared, "a")[0], would(shared, "b")[1].rules)


def test_as_many_may_wait_as_wait() -> None:
    """Its `waiting_max` is held against the requests that really wait."""
    desk = Desk(live(ONE, shadow=beside(ONE, waiting_max=1)), grant())
    for name in ("a", "b"):
        desk.ask(request(name))
    outcome, verdict = would(desk, "c")

    assert ("deferred", "rejected", ("one", "waiting_max")) == (outcome, verdict.outcome, verdict.rules)


def test_a_rule_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own outcome, so that nobody takes it for an opinion; the decision in force does not change."""
    compiled = live(TWO, shadow=beside(ONE))

    def failing(self: CompiledCap, *_: Any) -> None:
        assert self.id != "one", "broken"

    monkeypatch.setattr(CompiledCap, "until", failing)
    desk = Desk(compiled, grant())
    desk.ask(request("a"))
    outcome, verdict = would(desk, "b")

    assert ("approved", "rule_error", ("one",)) == (outcome, verdict.outcome, verdict.rules)
    assert ["rule_error"] == [finding.code for finding in verdict.findings]


def test_a_shadow_policy_that_fails_as_a_whole_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is: the request gets the answer that it would have got anyway."""
    shadow = beside(ONE)
    monkeypatch.setattr(shadow, "terms", lambda *_: 1 // 0)
    desk = Desk(live(TWO, shadow=shadow), grant())
    outcome, verdict = would(desk, "a")

    assert ("approved", "rule_error", ()) == (outcome, verdict.outcome, verdict.rules)
    assert "ZeroDivisionError" in verdict.findings[0].message


def test_names_that_only_one_policy_knows() -> None:
    """A channel that the shadow policy no longer has is rejected by it alone."""
    channels = {"sms": {"points": 2}, "phone": {"points": 5}}
    permit = {"min": "10m", "max": {"sms": "12h", "phone": "4h"}}
    desks = {"cards": {"owner": "cards-desk", "categories": ["promotional", "service", "regulatory"]}}
    fewer = beside(channels=channels, permit=permit, departments=desks)
    outcome, verdict = would(Desk(live(shadow=fewer), grant()), "a")

    assert ("approved", "rejected", ("channels",)) == (outcome, verdict.outcome, verdict.rules)


def test_it_is_left_out_of_a_decision_that_is_too_long() -> None:
    """Its findings are; its verdict and the ids of its rules stay."""
    many = [{**NEVER, "id": f"never-{number}", "why": "w" * 500} for number in range(900)]
    decided = Desk(live(shadow=beside(*many)), grant()).ask(request("a"))
    decision, value = encoded(decided)

    assert decision.shadow_policy is not None
    assert len(message_of(decided).shadow_policy.findings) == 900  # type: ignore[union-attr]
    assert ("approved", 900, 900) == (decision.outcome, len(decision.shadow_policy.rules), decision.findings_omitted)
    assert len(value) <= DECISION_BYTES_MAX
