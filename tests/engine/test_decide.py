"""From findings to an answer: entry, expiry, the settled time, the permit, the score."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.policy.index import ApplicableRules
from arbiter.policy.rules import CompiledCap
from arbiter.policy.score import parse_formula
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
ONE_A_DAY = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}


@pytest.mark.parametrize(
    ("fields", "known"),
    [
        ({"department": "card"}, "did you mean `cards`? Known: cards, loans"),
        ({"channel": "telegram"}, "Known: email, mail, phone, sms"),
        ({"category": "promo"}, "Known: promotional, regulatory, service"),
    ],
)
def test_unknown_names(fields: dict[str, str], known: str) -> None:
    """Unknown names are rejected as `invalid` and told the known ones."""
    decided = Desk(policy(), grant()).ask(request(**fields))

    assert ("rejected", ["invalid"]) == (decided.outcome, codes(decided))
    assert known in decided.findings[0].message


def test_not_allowed_is_told_with_everything_else() -> None:
    """A department is told what it may not ask for together with every other "no"."""
    desk = Desk(policy(NIGHT))
    decided = desk.ask(request(department="loans", category="service", channel="sms"), at("2026-03-02T22:00"))

    assert ["not_allowed", "not_allowed", "quiet_hours"] == codes(decided)
    assert "rejected" == decided.outcome


def test_every_failing_rule_is_reported() -> None:
    """There is no first match."""
    desk = Desk(policy(NIGHT, ONE_A_DAY))
    desk.ask(request("a", category="service"))

    assert ["consent_missing", "quiet_hours", "cap_reached"] == codes(desk.ask(request("b"), at("2026-03-02T22:00")))


def test_expired() -> None:
    """At `expires_at` it is over, and so is a request older than ids are remembered."""
    desk = Desk(policy(), grant())

    assert [] == codes(desk.ask(request("a", expires_at=MONDAY + 10 * MINUTE_MS)))
    assert "expired" in codes(desk.ask(request("b", expires_at=MONDAY)))
    assert [] == codes(desk.ask(request("c", requested_at=MONDAY - 30 * DAY_MS)))
    assert ["expired"] == codes(desk.ask(request("d", requested_at=MONDAY - 30 * DAY_MS - 1)))


def test_default_expiry_is_seven_days_after_it_was_asked() -> None:
    """A request that says nothing expires seven days after `requested_at`, or after it was received."""
    desk = Desk(policy(), grant())

    assert ["expired"] == codes(desk.ask(request("a", requested_at=MONDAY - 7 * DAY_MS, expires_at=None)))
    assert [] == codes(desk.ask(request("b", requested_at=MONDAY - 7 * DAY_MS + HOUR_MS, expires_at=None)))


def test_too_early() -> None:
    """`send_after` further ahead than budgets are reserved is deferred to when it is not."""
    desk = Desk(policy(), grant())
    decided = desk.ask(request("a", send_after=MONDAY + 50 * HOUR_MS))

    assert (["too_early"], MONDAY + 2 * HOUR_MS) == (codes(decided), decided.retry_at_ms)
    later = desk.ask(request("b", send_after=MONDAY + 50 * HOUR_MS), MONDAY + 2 * HOUR_MS)
    assert ("approved", MONDAY + 50 * HOUR_MS) == (later.outcome, later.not_before_ms)


def test_settled_time_repeats_until_all_agree() -> None:
    """The budget frees at night, so the promise is the opening after it."""
    desk = Desk(
        policy(NIGHT, {**ONE_A_DAY, "window": "rolling 1d"}, permit={"min": "10m", "max": _max("30m")}), grant()
    )
    desk.ask(request("a"), at("2026-03-02T20:40"))
    decided = desk.ask(request("b"), at("2026-03-02T20:45"))

    finding = decided.findings[0]
    assert at("2026-03-03T20:59:59.999") == finding.until_ms
    assert at("2026-03-04T09:00") == decided.retry_at_ms
    (back,) = desk.tick(at("2026-03-04T09:00"))
    assert ("b", "approved") == (back.request.request_id, back.outcome)


def test_would_expire() -> None:
    """Not before `expires_at` means rejected now, with the time at which it could have been."""
    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("a"))
    frees = MONDAY + 2 * DAY_MS - 1
    decided = desk.ask(request("b", expires_at=frees))

    assert ("rejected", ["cap_reached", "would_expire"]) == (decided.outcome, codes(decided))
    assert frees == decided.next_eligible_at_ms
    # a permit of less than ten minutes is none either
    assert "would_expire" in codes(desk.ask(request("c", expires_at=frees + 10 * MINUTE_MS - 1)))
    assert ["cap_reached"] == codes(desk.ask(request("d", expires_at=frees + 10 * MINUTE_MS)))


def test_deferral_past_the_consents_end_is_a_reject() -> None:
    """What would only be approvable after the consent has run out is not promised."""
    desk = Desk(policy(ONE_A_DAY), grant(expires_at=MONDAY + DAY_MS))
    desk.ask(request("a"))
    decided = desk.ask(request("b"))

    assert ("rejected", ["cap_reached", "consent_expired"]) == (decided.outcome, codes(decided))


def test_permit_lengths() -> None:
    """A permit lasts as long as its channel's longest, or until the request expires."""
    desk = Desk(policy(), grant())

    assert MONDAY + 12 * HOUR_MS == desk.ask(request("a", channel="sms")).valid_until_ms
    assert MONDAY + HOUR_MS == desk.ask(request("b", expires_at=MONDAY + HOUR_MS)).valid_until_ms


def test_score_and_clamping() -> None:
    """The formula, with defaults for what is missing and the department's ceiling, which is reported."""
    desk = Desk(policy(), grant())

    assert 50 * 0.05 * 1 == desk.ask(request("a")).score
    lowered = desk.ask(request("b", priority=100, propensity=0.5, value=10))
    assert (350.0, "priority 100 lowered to 70 (department cards)") == (lowered.score, lowered.score_note)


def test_score_that_is_no_number() -> None:
    """A division by zero gives 0 and says so; it never stops a decision."""
    decided = Desk(policy(score="priority / value"), grant()).ask(request(value=0))

    assert ("approved", 0.0) == (decided.outcome, decided.score)
    assert "no finite number" in (decided.score_note or "")


@pytest.mark.parametrize(
    "text", ["__import__('os')", "priority ** 2", "value if 1 else 2", "x", "priority,", "'a'", "1j"]
)
def test_formula_refused(text: str) -> None:
    """A formula is arithmetic on three terms and nothing else."""
    with pytest.raises(ValueError, match="formula"):
        parse_formula(text)


def test_a_failing_rule_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail closed: a rule that raises is a reject with `rule_error`, in a check and in a permit."""

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    rule = {**ONE_A_DAY, "window": "calendar day"}
    with monkeypatch.context() as patch:
        patch.setattr(CompiledCap, "closes_at", fail)
        assert ["rule_error"] == codes(Desk(policy(rule), grant()).ask(request("a")))
    desk = Desk(policy({**rule, "limit": 2}), grant())
    with monkeypatch.context() as patch:
        # It cannot be told when the rule has room, so it is asked, and answers.
        patch.setattr(CompiledCap, "leaves_at", fail)
        assert [] == codes(desk.ask(request("b")))
        assert [] == codes(desk.ask(request("c")))
        assert ["cap_reached"] == codes(desk.ask(request("d")))
        patch.setattr(CompiledCap, "until", fail)
        assert ["rule_error"] == codes(desk.ask(request("e")))
    assert ["cap_reached"] == codes(desk.ask(request("f")))


def test_never_settling_is_a_reject(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the rules never agree, the search ends and nothing is promised."""

    def explain(judge: CompiledCap, _e: Any, _at_ms: int, until_ms: int) -> Any:
        return judge.no("cap_reached", "not yet", until_ms)

    desk = Desk(policy(ONE_A_DAY), grant())
    desk.ask(request("first"))
    monkeypatch.setattr(CompiledCap, "until", lambda _judge, _e, at_ms: at_ms + 1)
    monkeypatch.setattr(CompiledCap, "explain", explain)

    assert ["cap_reached", "would_expire"] == codes(desk.ask(request()))


def test_a_rule_that_names_a_time_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is approved, nothing comes back at once and for ever, nothing is lost: it is asked again in a minute."""
    desk = Desk(policy(ONE_A_DAY), grant())
    with monkeypatch.context() as patch:
        patch.setattr(CompiledCap, "until", lambda _judge, _e, at_ms: at_ms)
        patch.setattr(CompiledCap, "explain", lambda judge, _e, at_ms, _: judge.no("cap_reached", "until now", at_ms))
        patch.setattr(ApplicableRules, "asked", lambda applicable, *_: applicable.bits)
        asked = desk.ask(request())
        trial = desk.ask(request("trial", dry_run=True))
        (again,) = desk.tick(MONDAY + MINUTE_MS)

    for decided, now_ms in ((asked, MONDAY), (trial, MONDAY), (again, MONDAY + MINUTE_MS)):
        assert ("deferred", now_ms + MINUTE_MS) == (decided.outcome, decided.retry_at_ms)
        assert ["cap_reached", "rule_error"] == codes(decided)
    assert [("approved", 3)] == [(one.outcome, one.n) for one in desk.tick(MONDAY + 2 * MINUTE_MS)]


def _max(span: str) -> dict[str, str]:
    return dict.fromkeys(("email", "sms", "phone", "mail"), span)
