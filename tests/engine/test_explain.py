"""What would have let a request through: each rule dropped alone, on the ledger as it was."""

from __future__ import annotations

from copy import deepcopy
from random import Random

import pytest
from msgspec.structs import replace

from arbiter.engine.evaluation import decide
from arbiter.engine.explain import Counterfactuals, DecidedRequest, counterfactuals
from arbiter.engine.render import message_of
from arbiter.ledger.model import Decision, Ledger
from arbiter.messages import ConsentChange, OwnMaximum, PreferenceChange, SuppressionChange
from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import Policy
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, grant, policy, request

NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
ONE_A_DAY = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}
TWO_A_WEEK = {"id": "two", "kind": "cap", "per": ["party"], "limit": 2, "window": "rolling 7d"}
LATE = at("2026-03-02T22:00")


def told(decided: Decision, received_ms: int | None = None) -> DecidedRequest:
    """The published decision with its request."""
    decision = message_of(decided)
    return DecidedRequest(decision, decided.request, decided.decided_at_ms if received_ms is None else received_ms)


def explained(desk: Desk, decided: Decision) -> Counterfactuals:
    """What would have let it through, asked of the ledger as it is now."""
    found = counterfactuals(desk.policy, desk.ledger, told(decided))
    assert found is not None
    return found


def outcomes(found: Counterfactuals) -> dict[str, str]:
    """Rule → how the request would have ended without it."""
    return {one.rules[0]: one.outcome for one in found.dropped}


def test_the_only_rule_in_the_way_would_have_let_it_through() -> None:
    """Dropped alone, it gives an approval at the time of the decision."""
    desk = Desk(policy(NIGHT, ONE_A_DAY), grant())
    desk.ask(request("a"))
    (cap,) = explained(desk, desk.ask(request("b"), MONDAY + HOUR_MS)).dropped

    assert (("one",), "approved", MONDAY + HOUR_MS, ()) == (cap.rules, cap.outcome, cap.at_ms, cap.still)
    assert cap.may_be_lifted


def test_two_rules_in_the_way() -> None:
    """Neither alone is enough: told is what still holds it and until when; together they are enough."""
    desk = Desk(policy(NIGHT, ONE_A_DAY), grant())
    desk.ask(request("a", channel="phone"))
    found = explained(desk, desk.ask(request("b"), LATE))
    night, cap = found.dropped

    # The call's permit of four hours ends at 14:00; a day later there is room again.
    assert ("deferred", ("one",)) == (night.outcome, night.still)
    assert ("deferred", ("night",), at("2026-03-03T09:00")) == (cap.outcome, cap.still, cap.at_ms)
    assert found.together is not None
    assert ("approved", ("night", "one")) == (found.together.outcome, found.together.rules)
    assert found.is_same


def test_consent_is_told_and_marked() -> None:
    """That nothing but consent was in the way is true, and that nobody may lift it, too."""
    desk = Desk(policy(NIGHT))
    (consent,) = explained(desk, desk.ask(request())).dropped

    assert ("opt-in", "approved", False) == (consent.rules[0], consent.outcome, consent.may_be_lifted)


def test_together_never_drops_consent() -> None:
    """What may be lifted is dropped together; consent stays and still says no."""
    desk = Desk(policy(NIGHT, ONE_A_DAY))
    desk.ask(request("a", category="service"))
    found = explained(desk, desk.ask(request("b"), LATE))

    assert found.together is not None
    assert (("night", "one"), "rejected", ("opt-in",)) == (
        found.together.rules,
        found.together.outcome,
        found.together.still,
    )


def test_the_customers_own_wish() -> None:
    """It is no rule of the policy; what it alone stopped is told, and that nobody may lift it."""
    wish = PreferenceChange(customer_id="c1", captured_at=to_datetime(0), refused_channels=["email"])
    desk = Desk(policy(), grant(), wish)
    (own,) = explained(desk, desk.ask(request())).dropped

    assert (("customer-preference",), "approved", False) == (own.rules, own.outcome, own.may_be_lifted)


@pytest.mark.parametrize("decided_at", [MONDAY + HOUR_MS, MONDAY])
def test_what_came_later_is_left_out(decided_at: int) -> None:
    """A later contact, grant, list and wish change nothing, and neither does the request's own approval."""
    desk = Desk(policy(ONE_A_DAY, {"id": "dnc", "kind": "suppression", "lists": ["do_not_contact"]}), grant())
    first = desk.ask(request("a"))
    second = desk.ask(request("b"), decided_at)
    before = explained(desk, second)
    desk.tell("a", "sent", MONDAY + 2 * HOUR_MS)
    desk.tick(MONDAY + 5 * DAY_MS)
    later = to_datetime(MONDAY + 5 * DAY_MS)
    desk.send(
        SuppressionChange(customer_id="c1", list="do_not_contact", active=True, captured_at=later), at("2026-03-08")
    )
    desk.send(
        ConsentChange(customer_id="c1", purpose="marketing", state="withdrawn", captured_at=later), at("2026-03-08")
    )

    assert before == explained(desk, second)
    assert {"one": "approved"} == outcomes(before)
    assert before.is_same
    assert counterfactuals(desk.policy, desk.ledger, told(first)) is None


def test_an_approval_for_later_was_there_before() -> None:
    """A contact to be sent in two days was approved before the decision that it stopped."""
    desk = Desk(policy(TWO_A_WEEK), grant())
    desk.ask(request("a", send_after=MONDAY + 2 * DAY_MS))
    desk.ask(request("b"))
    found = explained(desk, desk.ask(request("c"), MONDAY + HOUR_MS))

    assert {"two": "approved"} == outcomes(found)
    assert found.is_same


def test_an_answer_that_does_not_come_out_again_is_said_to() -> None:
    """Where something was forgotten since, it is told that the rest is uncertain."""
    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("a"))
    second = desk.ask(request("b"), MONDAY + HOUR_MS)
    desk.tell("a", "cancelled", MONDAY + 2 * HOUR_MS)

    assert not explained(desk, second).is_same


def test_a_bounce_after_the_decision_had_not_happened_yet() -> None:
    """A contact whose place was given back later still stood in the way."""
    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("a"))
    second = desk.ask(request("b"), MONDAY + HOUR_MS)
    desk.tell("a", "bounced", MONDAY + 2 * HOUR_MS)

    assert explained(desk, second).is_same


def test_a_hold_is_a_rule_in_the_way() -> None:
    """Without the arbitration the request would have been approved at once; without another rule it is held."""
    hold = {"id": "half-hour", "kind": "arbitration", "hold": "30m"}
    desk = Desk(policy(hold, NIGHT), grant())
    day = explained(desk, desk.ask(request("a")))
    desk.tick(MONDAY + HOUR_MS)
    night = explained(desk, desk.ask(request("b"), LATE))

    assert {"half-hour": "approved"} == outcomes(day)
    assert {"half-hour": "deferred", "night": "deferred"} == outcomes(night)
    assert night.together is not None
    assert night.together.lets_through
    assert {LATE + 30 * MINUTE_MS, at("2026-03-03T09:00")} == {one.at_ms for one in night.dropped}


def test_capacity_is_as_it_was_told() -> None:
    """All places were given out then, whatever is left now."""
    desk = Desk(
        policy({"id": "calls", "kind": "capacity", "limit": 1, "window": "calendar week"}, NIGHT), grant(), grant("c2")
    )
    desk.ask(request("a"))
    full = desk.ask(request("b", customer_id="c2"), MONDAY + HOUR_MS)
    late = desk.ask(request("c", customer_id="c2"), LATE)

    assert {"calls": "approved"} == outcomes(explained(desk, full))
    assert {"calls": "deferred", "night": "deferred"} == outcomes(explained(desk, late))
    assert explained(desk, late).is_same


def test_shadow_rules_and_settings_are_no_candidates() -> None:
    """What did not stop it cannot let it through, and a setting of the policy is no rule."""
    desk = Desk(policy({**ONE_A_DAY, "mode": "shadow"}), grant())
    desk.ask(request("a"))
    decided = desk.ask(request("b", department="loans", channel="sms"))

    assert ["not_allowed"] == [finding.code for finding in decided.findings]
    assert () == explained(desk, decided).dropped


def test_a_full_queue() -> None:
    """A request for which too many waited is let through by what it would have waited for."""
    desk = Desk(policy(ONE_A_DAY, waiting_max=1), grant())
    for name in "ab":
        desk.ask(request(name))
    found = explained(desk, desk.ask(request("c")))

    assert ({"one": "approved"}, True) == (outcomes(found), found.is_same)


def test_a_kill_switch_is_a_rule_in_the_way() -> None:
    """Without it the request would have been approved, although the policy version knows nothing of it."""
    plain = policy(NIGHT)
    _, version, digest = plain.ref
    kill = Kill(7, "campaign", "gold", MONDAY + DAY_MS, False, "rui", "wrong prices")
    desk = Desk(Policy(plain.document, version, digest, [kill]), grant())
    decided = told(desk.ask(request()))
    found = counterfactuals(plain, desk.ledger, decided)
    assert found is not None

    assert [("kill/7", "approved", True)] == [(one.rules[0], one.outcome, one.may_be_lifted) for one in found.dropped]
    assert found.is_same


def test_an_exception_of_the_policy_is_minded() -> None:
    """What it lifts did not stop the request, and what stopped it is told as ever."""
    lifted = {"id": "spring", "rules": ["night"], "approver": "eva", "reason": "launch", "until": "2026-12-31"}
    desk = Desk(policy(NIGHT, ONE_A_DAY, exceptions=[lifted]), grant())
    desk.ask(request("a"))
    found = explained(desk, desk.ask(request("b"), LATE))

    assert ({"one": "approved"}, True) == (outcomes(found), found.is_same)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_claimed_is_true(seed: int) -> None:
    """On random histories, looked back at from their end: the ledger of the very moment, kept aside, says the same."""
    random = Random(seed)
    desk = Desk(policy(NIGHT, ONE_A_DAY, TWO_A_WEEK), *([grant()] if random.random() < 0.8 else []))
    if random.random() < 0.3:
        most = OwnMaximum(limit=1, window="rolling 7d")
        desk.send(PreferenceChange(customer_id="c1", captured_at=to_datetime(0), maximum=most), MONDAY)
    now_ms, moments = MONDAY, []
    for number in range(12):
        now_ms += random.randrange(12) * HOUR_MS
        desk.tick(now_ms)
        fields = {"category": random.choice(["promotional", "service"]), "channel": random.choice(["email", "phone"])}
        before = deepcopy(desk.ledger)
        decided = desk.ask(request(f"r{number}", **fields), now_ms)
        moments.append((before, decided))
        if decided.outcome == "approved" and random.random() < 0.5:
            now_ms += HOUR_MS
            desk.tell(f"r{number}", "sent", now_ms)

    for before, decided in moments:
        found = counterfactuals(desk.policy, desk.ledger, told(decided))
        if decided.outcome == "approved":
            assert found is None
            continue
        assert found is not None
        assert found.is_same
        for one in found.dropped:
            truth = decided_without(desk, before, decided, one.rules)
            assert (truth.outcome, truth.retry_at_ms or truth.not_before_ms) == (one.outcome, one.at_ms)
            assert {finding.rule for finding in truth.findings} == set(one.still)


def decided_without(desk: Desk, before: Ledger, decided: Decision, rules: tuple[str, ...]) -> Decision:
    """What the core decides on the ledger of the moment without these rules."""
    document = desk.policy.document
    document = replace(document, rules=[rule for rule in document.rules if rule.id not in rules])
    if "customer-preference" in rules:
        before.members["c1"].preferences = None
    at_ms = decided.decided_at_ms
    return decide(Policy(document, 1, ""), before, decided.request, at_ms, at_ms, desk.stock)
