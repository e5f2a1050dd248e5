"""No false alarms: what the checker calls idle, unreachable or never open is so, for every request and history."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.engine.rule_inputs import RuleInputs
from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.contacts import ContactState, Kind
from arbiter.ledger.model import Event, Ledger, Member, Suppression, Traits
from arbiter.policy.document import PolicyDocument
from arbiter.policy.match import Matcher
from arbiter.policy.rules import Rule
from arbiter.policy.ruleset import Policy
from arbiter.policy_check.lints import lints
from arbiter.policy_check.openings import never_open
from arbiter.policy_check.problem import Problem
from arbiter.policy_check.reach import Reach
from arbiter.policy_check.stricter import always_stricter
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from arbiter.timing.opening_hours import Closings, parse_closed
from tests.inputs.builders import MONDAY, Desk, document, request

SEGMENTS = {
    "rich": {"owner": "x", "when": {"profile.balance": {"at_least": 50}}},
    "poor": {"owner": "x", "when": {"profile.balance": {"below": 50}}},
}
CUSTOMERS = {"c1": {"balance": 80}, "c2": {"balance": 20, "age": 30}}

one_of = {
    "category": ["promotional", "service", "regulatory"],
    "channel": ["email", "sms", "phone"],
    "department": ["cards", "loans"],
    "product": ["card", "boat"],
    "segment": ["rich", "poor"],
}


FIELDS = [*one_of, "profile.balance"]
hours = st.dictionaries(
    st.sampled_from(["every day", "weekdays", "sat", "sun-mon", "weekend"]),
    st.sampled_from(["all day", "20:00-09:00", "21:00-08:00", "08:00-20:00", "00:00-12:00"]),
    min_size=1,
    max_size=2,
)
PAIRS = 400
"""How many idle rules of each kind are looked at."""


def a_condition(chance: Random, field: str) -> Any:
    """A condition on a field: one value, some, or none of some."""
    if field == "profile.balance":
        return chance.choice([{"at_least": 20}, {"at_least": 50}, {"below": 60}, {"below": 30}])
    some = chance.sample(one_of[field], chance.randint(1, 2))
    return chance.choice([some[0], some, {"not": some}])


def a_when(chance: Random) -> dict[str, Any]:
    """Up to two conditions."""
    return {field: a_condition(chance, field) for field in chance.sample(FIELDS, chance.choice([0, 1, 1, 2]))}


def a_rule(chance: Random, kind: str) -> dict[str, Any]:
    """A rule of a kind, anyhow."""
    made: dict[str, Any] = {"when": a_when(chance)}
    some = chance.choice
    if kind == "cap":
        made |= {"limit": chance.randint(0, 3)}
        made |= {
            "per": some([["party"], ["customer"], ["customer", "channel"], ["party", "product"], ["party", "category"]])
        }
        windows = ["rolling 1d", "rolling 2d", "rolling 7d", "rolling 8d", "calendar day", "calendar week"]
        made |= {"window": some(windows), "unit": some(["contacts", "contacts", "points"])}
        made |= some([{}, {}, {"counts": a_when(chance)}])
        made |= some([{}, {}, {"limit_by": {"segment": {"rich": chance.randint(0, 3)}}}])
        made |= some([{}, {}, {"keep": {"slots": 1, "for": {"product": "boat"}}}])
    elif kind == "suppression":
        made |= {"lists": some([["a"], ["b"], ["a", "b"]]), "scope": some(["party", "customer"])}
        made |= some([{}, {"cool_down": "1d"}, {"cool_down": "9d"}])
    elif kind == "conflict":
        made |= {"after": some([a_when(chance) or {"channel": "email"}, {"outcome": "complained"}])}
        made |= {"within": some(["1d", "9d"]), "per": some(["party", "customer"])}
    else:
        spans = ["all day", "20:00-09:00", "21:00-08:00", "08:00-20:00", "00:00-12:00"]
        made |= {"closed": {day: some(spans) for day in chance.sample(["every day", "weekdays", "sat", "sun-mon"], 2)}}
    return made


def twins(chance: Random, kind: str) -> list[dict[str, Any]]:
    """Two rules of a kind, alike but for one or two fields: there the mistakes are. Each has its number as id."""
    one, other = a_rule(chance, kind), a_rule(chance, kind)
    changed = chance.sample(sorted(other), chance.choice([1, 1, 2]))
    both = [one, {**one, **{name: other[name] for name in changed}}]
    chance.shuffle(both)
    return [{"id": f"rule-{number}", "kind": kind, **rule} for number, rule in enumerate(both, 1)]


def an_ask(chance: Random) -> dict[str, Any]:
    """What somebody may ask, or was contacted for."""
    fields = {field: chance.choice(one_of[field]) for field in ("department", "category", "channel")}
    return {**fields, "product": chance.choice([None, "card", "boat"]), "customer_id": chance.choice(sorted(CUSTOMERS))}


def a_past(chance: Random, ask: dict[str, Any]) -> list[tuple[dict[str, Any], int]]:
    """Contacts like the one asked for, some of them alike but for a field; each with its minutes from now."""
    found = []
    for _ in range(chance.randint(1, 6)):
        other = an_ask(chance)
        changed = chance.sample(sorted(ask), chance.choice([0, 0, 1, 1, 2]))
        found.append(({**ask, **{name: other[name] for name in changed}}, chance.choice([-60, -600, -3000, -12000])))
    return found


def parsed(*rules: dict[str, Any]) -> PolicyDocument:
    """A policy of these rules alone, which need not pass the checks."""
    return msgspec.convert(document(*rules, segments=SEGMENTS), PolicyDocument)


def party(contacts: list[tuple[dict[str, Any], int]]) -> Ledger:
    """A household of both customers with these contacts, some minutes from now; each was complained about."""
    ledger = Ledger()
    for customer, attributes in CUSTOMERS.items():
        ledger.members[customer] = Member(Traits(attributes=attributes))  # type: ignore[arg-type]
    for one, minutes in sorted(contacts, key=lambda entry: entry[1]):
        kind = Kind(one["customer_id"], one["department"], "gold", one["channel"], one["category"], one["product"])
        at_ms = MONDAY + minutes * MINUTE_MS
        ledger.contacts.append(kind, b"12345678", at_ms, at_ms + 1, ContactState.SENT, at_ms)
        ledger.events.append(Event("complained", at_ms, kind))
    ledger.members["c1"].suppressions.append(Suppression("a", MONDAY - DAY_MS, True, MONDAY))
    ledger.members["c2"].suppressions.append(Suppression("b", MONDAY - DAY_MS, True, MONDAY + 2 * DAY_MS))
    return ledger


@pytest.mark.parametrize("kind", ["cap", "suppression", "conflict", "quiet_hours"])
def test_an_idle_rule_never_says_no_alone(kind: str) -> None:
    """Whatever was and whoever asks: where the rule called idle says no, the stricter one does, too."""
    seed = int(os.environ.get("SEED", "20080505"))
    chance = Random(f"{seed} {kind}")
    told = noes = 0
    while told < PAIRS:
        made = parsed(*twins(chance, kind))
        for problem in always_stricter(made, Reach(made)):
            idle, strict = (made.rules[int(path[1])] for path in (problem.path, problem.first or ()))
            if idle.id != "opt-in":
                told += 1
                noes += alone(chance, made, idle, strict, f"seed {seed}: {problem.message}")

    assert noes > PAIRS  # the idle rules did say no; the test is about something


def may_ask(made: PolicyDocument, ask: dict[str, Any]) -> bool:
    """Whether the department may ask for that at all; else the answer is no anyway."""
    department = made.departments[ask["department"]]
    return ask["category"] in department.categories and ask["channel"] in (department.channels or made.channels)


def alone(chance: Random, made: PolicyDocument, idle: Rule, strict: Rule, told: str) -> int:
    """Ask many times, in as many situations; gives how often the idle rule said no. Fails if it did so alone."""
    policy = Policy(made, 1, "")
    noes = 0
    for _ in range(50):
        ask = an_ask(chance)
        if not may_ask(made, ask):
            continue
        desk = Desk(policy)
        desk.ledger = party(a_past(chance, ask))
        answer = desk.ask(request(**ask, dry_run=True), MONDAY + chance.randint(0, 48) * HOUR_MS)
        said = [any(finding.rule == rule.id for finding in answer.findings) for rule in (idle, strict)]
        noes += said[0]

        assert said[1] or not said[0], told
    return noes


def named(made: PolicyDocument, code: str) -> list[Problem]:
    """The warnings with a code."""
    return [problem for problem in lints(made) if problem.code == code]


def test_what_is_unreachable_matches_nothing() -> None:
    """No request that a department may make meets a rule that is said to speak about nobody."""
    seed = int(os.environ.get("SEED", "20080505"))
    chance = Random(seed)
    told = 0
    while told < PAIRS:
        made = parsed({"id": "x", **a_rule(chance, "cap"), "kind": "cap"})
        if not named(made, "unreachable"):
            continue
        told += 1
        policy, matcher = Policy(made, 1, ""), Matcher(made.rules[1].when)
        for fields in (an_ask(chance) for _ in range(40)):
            department = made.departments[fields["department"]]
            if fields["category"] in department.categories and fields["channel"] in (
                department.channels or made.channels
            ):
                e = RuleInputs(policy, party([]), request(**fields), MONDAY, MONDAY, WholeStock())
                is_exempt = "cap" in made.categories[fields["category"]].exempt
                is_met = matcher.shape_matches(e.shape) and matcher.rest_matches(e)

                assert is_exempt or not is_met, f"seed {seed}: {made.rules[1].when}"


@settings(max_examples=200, deadline=None)
@given(st.lists(hours, min_size=1, max_size=3), st.integers(0, 400 * 24))
def test_what_is_never_open_is_always_closed(closed: list[dict[str, str]], hour: int) -> None:
    """At every hour one of the rules that never open together is closed, or closes before a permit is over."""
    made = parsed(*({"id": f"q{n}", "kind": "quiet_hours", "closed": times} for n, times in enumerate(closed)))
    at_ms = MONDAY + hour * HOUR_MS
    told = list(never_open(made, Reach(made), frozenset()))
    machines = [Closings(parse_closed(dict(times)), ("Europe/Lisbon",)) for times in closed]
    is_closed = [
        one.closed_until(at_ms) is not None or one.next_close(at_ms) - at_ms < 10 * MINUTE_MS for one in machines
    ]

    assert any(is_closed) or not told
