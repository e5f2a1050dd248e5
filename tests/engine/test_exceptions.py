"""Temporary exceptions: what they lift and what never, for how long, and that every decision says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine.render import message_of
from arbiter.ledger.capacity import WholeStock
from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import Kill
from arbiter.policy.ruleset import PolicyError
from arbiter.policy_check.checks import problems
from arbiter.policy_check.ended import ended
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from tests.inputs.builders import MONDAY, Desk, at, codes, document, grant, policy, request

NONE = {"id": "none", "kind": "cap", "per": ["party"], "limit": 0, "window": "rolling 7d"}
ONE = {**NONE, "id": "one", "limit": 1}
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
AUCTION = {"id": "auction", "kind": "arbitration", "hold": "30m"}
HOLDOUT = {"id": "control", "kind": "holdout", "share": 0.999999, "salt": "s"}
CENTRE = {"id": "centre", "kind": "capacity", "limit": 1, "window": "calendar week"}
TUESDAY = at("2026-03-03T10:00")


def exception(*rules: str, **fields: Any) -> dict[str, Any]:
    """An exception from these rules until Tuesday at ten."""
    base = {"id": "relief", "rules": list(rules), "approver": "head@bank.example", "reason": "a recall of the card"}
    return {**base, "until": "2026-03-03 10:00", **fields}


def desk(*rules: dict[str, Any], **fields: Any) -> Desk:
    """A party with consent under these rules and exceptions."""
    return Desk(policy(*rules, exceptions=fields.pop("exceptions"), **fields), grant())


def test_a_lifted_rule_does_not_stop_and_the_decision_says_so() -> None:
    """Approved, with the exception's id; the record on the topic has it, too."""
    decided = desk(NONE, exceptions=[exception("none")]).ask(request("a"))

    assert ("approved", ("relief",)) == (decided.outcome, decided.exceptions)
    assert ("relief",) == message_of(decided).exceptions


def test_an_exception_that_makes_no_difference_is_not_named() -> None:
    """It is told where it was needed."""
    one = desk(ONE, exceptions=[exception("one")])
    decided = [one.ask(request(name)) for name in ("a", "b")]

    assert [(), ("relief",)] == [d.exceptions for d in decided]
    assert b"exceptions" not in msgspec.json.encode(message_of(decided[0]))


def test_contacts_under_an_exception_count() -> None:
    """What was let through uses the budget when the exception is over, and of everybody else."""
    relief = exception("one", when={"campaign": "gold"})
    one = desk(ONE, exceptions=[relief])
    for name in ("a", "b"):
        one.ask(request(name))
    other = one.ask(request("c", campaign="silver"))
    (finding,) = other.findings

    assert ("deferred", "cap_reached", 2) == (other.outcome, finding.code, finding.used)
    assert ["cap_reached"] == codes(one.ask(request("d"), TUESDAY))


def test_it_is_for_what_it_names_only() -> None:
    """Other rules, and other requests, are as ever."""
    relief = exception("none", when={"channel": "email", "attributes.urgent": True})
    urgent = {"attributes": {"urgent": True}}
    plain = desk(NONE, exceptions=[relief]).ask(request("a"))
    both = desk(NONE, {**NONE, "id": "other"}, exceptions=[relief]).ask(request("a", **urgent))
    fits = desk(NONE, exceptions=[relief]).ask(request("a", **urgent))

    assert (["cap_reached"], ()) == (codes(plain), plain.exceptions)
    assert (["other"], ("relief",)) == ([f.rule for f in both.findings], both.exceptions)
    assert "approved" == fits.outcome


@pytest.mark.parametrize("rule", [HOLDOUT, NIGHT, NONE, CENTRE | {"limit": 0}])
def test_every_kind_of_no_can_be_lifted(rule: dict[str, Any]) -> None:
    """A reject as well as a defer; of a capacity that is given out no place is taken."""
    decided = desk(rule, exceptions=[exception(rule["id"])]).ask(request("a"), at("2026-03-02T22:00"))

    assert ("approved", ("relief",)) == (decided.outcome, decided.exceptions)


def test_what_is_given_out_is_not_taken_once_more() -> None:
    """Past its limit a capacity counts no further, whoever is let through."""
    one = desk(CENTRE, exceptions=[exception("centre")])
    for name in ("a", "b"):
        one.ask(request(name))
    (draw,) = one.ledger.draws[one.ledger.contacts[0].ref]
    level = one.stock.level(draw, 1)

    assert [1, 0] == [len(one.ledger.draws.get(contact.ref, [])) for contact in one.ledger.contacts]
    assert level is not None
    assert 1 == level.used


def test_a_permit_does_not_outlive_its_exception() -> None:
    """After its end the rule would say no again; with less than the shortest permit left it is not approved at all."""
    whole = desk(NONE, exceptions=[exception("none")]).ask(request("a"), TUESDAY - HOUR_MS)
    late = desk(NONE, exceptions=[exception("none")]).ask(request("a"), TUESDAY - 5 * MINUTE_MS)

    assert ("approved", TUESDAY) == (whole.outcome, whole.valid_until_ms)
    assert ("rejected", ["cap_reached"]) == (late.outcome, codes(late))


def test_a_permit_lasts_through_what_is_lifted() -> None:
    """The closing that would have cut it does not; the decision names the exception."""
    plain = desk(NIGHT, exceptions=[]).ask(request("a"))
    lifted = desk(NIGHT, exceptions=[exception("night")]).ask(request("a"))

    assert (at("2026-03-02T21:00"), ()) == (plain.valid_until_ms, plain.exceptions)
    assert (TUESDAY, ("relief",)) == (lifted.valid_until_ms, lifted.exceptions)


def test_a_lifted_closing_is_still_a_closing_for_others() -> None:
    """What was let through at night does not open the night for anybody else."""
    one = desk(NIGHT, exceptions=[exception("night", when={"campaign": "gold"})])
    night = at("2026-03-02T23:00")

    assert "approved" == one.ask(request("a"), night).outcome
    assert "deferred" == one.ask(request("b", campaign="silver"), night + HOUR_MS).outcome


def test_it_begins_and_ends_by_itself() -> None:
    """Before it begins the request is told its beginning, and is approved then; after its end the rule holds."""
    relief = exception("night", **{"from": "2026-03-03 01:00"})
    one = desk(NIGHT, exceptions=[relief])
    early = one.ask(request("a"), at("2026-03-02T22:00"))
    (back,) = one.tick(at("2026-03-03T01:00"))
    later = one.ask(request("b"), at("2026-03-03T22:00"))

    assert ("deferred", at("2026-03-03T01:00"), ()) == (early.outcome, early.retry_at_ms, early.exceptions)
    assert ("approved", ("relief",)) == (back.outcome, back.exceptions)
    assert ("deferred", at("2026-03-04T09:00"), ()) == (later.outcome, later.retry_at_ms, later.exceptions)


def test_an_arbitration_can_be_waived() -> None:
    """The request is decided at once, and the decision names the exception."""
    held = desk(AUCTION, exceptions=[]).ask(request("a"))
    waived = desk(AUCTION, exceptions=[exception("auction", when={"campaign": "gold"})]).ask(request("a"))

    assert ("deferred", "approved") == (held.outcome, waived.outcome)
    assert ("relief",) == waived.exceptions


def test_of_several_the_longest_is_named() -> None:
    """One is enough, and the permit is as long as it can be."""
    both = [exception("none"), exception("none", id="longer", until="2026-03-04")]
    answer = desk(NONE, exceptions=both).ask(request("a"))

    assert (("longer",), MONDAY + DAY_MS) == (answer.exceptions, answer.valid_until_ms)


def test_nothing_lifts_a_kill_switch_consent_or_a_failing_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception cannot name the first two, and what cannot be judged is not approved."""
    kill = Kill(1, "all", "", MONDAY + HOUR_MS, False, "ops", "stop")
    stopped = Desk(policy(NONE, kills=[kill], exceptions=[exception("none")]), grant()).ask(request("a"))
    unasked = Desk(policy(NONE, exceptions=[exception("none")])).ask(request("a"))
    broken = policy(NONE, exceptions=[exception("none")])

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("arbiter.policy.rules.cap.CompiledCap.until", fail)
    failed = Desk(broken, grant()).ask(request("a"))

    assert (["kill_switch"], ["consent_missing"], ["rule_error"]) == (codes(stopped), codes(unasked), codes(failed))


def test_a_rule_in_shadow_reports_as_ever() -> None:
    """It stops nothing, so there is nothing to lift."""
    answer = desk({**NONE, "mode": "shadow"}, exceptions=[exception("none")]).ask(request("a"))

    assert ("approved", (), 1) == (answer.outcome, answer.exceptions, len(answer.shadow))


def test_simulated_and_repeated_answers_are_the_same() -> None:
    """A dry run names the exception, and a repeated request is told the same again."""
    one = desk(NONE, exceptions=[exception("none")])
    dry, first, again = one.ask(request("d", dry_run=True)), one.ask(request("a")), one.ask(request("a"))

    assert ("relief",) == dry.exceptions
    assert (again.is_repeat, message_of(first)) == (True, message_of(again))


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"rules": ["nine"]}, "unknown-rule", "exceptions[0].rules[0]"),
        ({"rules": ["none", "opt-in"]}, "cannot-lift", "exceptions[0].rules[1]"),
        ({"rules": ["dnc"]}, "cannot-lift", "exceptions[0].rules[0]"),
        ({"rules": ["base"]}, "cannot-lift", "exceptions[0].rules[0]"),
        ({"until": "soon"}, "bad-date", "exceptions[0].until"),
        ({"from": "soon"}, "bad-date", "exceptions[0].from"),
        ({"from": "2026-03-03 10:00"}, "empty-span", "exceptions[0].until"),
        ({"when": {"colour": "red"}}, "unknown-field", "exceptions[0].when.colour"),
        ({"when": {"channel": "fax"}}, "unknown-channel", "exceptions[0].when.channel"),
    ],
)
def test_a_senseless_exception_is_an_error(fields: dict[str, Any], code: str, where: str) -> None:
    """Found by `check`, with its place."""
    dates = {"from": "2026-01-01", "until": "2026-12-31"}
    others: list[dict[str, Any]] = [
        {"id": "dnc", "kind": "suppression", "lists": ["dnc"]},
        {"id": "base", "kind": "floor", "reach": 5, **dates},
    ]
    rules: list[dict[str, Any]] = [NONE, *others]
    found = problems(msgspec.convert(document(*rules, exceptions=[exception("none", **fields)]), PolicyDocument))

    assert [(code, where)] == [(problem.code, problem.where) for problem in found]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"rules": ["dnc"]}, "exception `relief`: nothing lifts `dnc`, a rule of the kind `suppression`"),
        ({"rules": ["none", "opt-in"]}, "exception `relief`: nothing lifts `opt-in`, a rule of the kind `consent`"),
        ({"until": "soon"}, "the policy cannot be compiled: `soon` is not a date"),
        ({"when": {"colour": "red"}}, "the policy cannot be compiled: requests have no field `colour`"),
    ],
)
def test_a_worker_refuses_what_lifts_a_protection_or_cannot_be_compiled(fields: dict[str, Any], expected: str) -> None:
    """Even if nobody checked the policy."""
    suppression = {"id": "dnc", "kind": "suppression", "lists": ["dnc"]}
    with pytest.raises(PolicyError, match=expected):
        policy(NONE, suppression, exceptions=[exception("none", **fields)])


def test_two_exceptions_need_two_names() -> None:
    """A decision names them by their id."""
    twice = msgspec.convert(document(NONE, exceptions=[exception("none")] * 2), PolicyDocument)

    assert ["duplicate-id"] == [problem.code for problem in problems(twice)]


def test_ended_exceptions_are_known() -> None:
    """From their last instant on they do nothing."""
    written = msgspec.convert(document(NONE, exceptions=[exception("none")]), PolicyDocument)

    (note,) = ended(written, TUESDAY)

    assert note.startswith("exception `relief` has ended")
    assert ended(written, TUESDAY - 1) == []


def test_exceptions_change_nothing_for_a_policy_without_them() -> None:
    """No field, no bytes."""
    decided = Desk(policy(NONE), grant(), stock=WholeStock()).ask(request("a"))

    assert b"exceptions" not in msgspec.json.encode(message_of(decided))
