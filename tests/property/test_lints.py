"""No false alarms: what the checker calls idle, unreachable or never open is so, for every request and history."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from arbiter.core.document import PolicyDocument
from arbiter.core.hours import Closings, parse_closed
from arbiter.core.instants import HOUR_MS, MINUTE_MS
from arbiter.core.lints import lints
from arbiter.core.match import Matcher
from arbiter.core.model import Contact, ContactState, Event, Kind, Ledger, Member, Traits
from arbiter.core.openings import never_open
from arbiter.core.policy import Policy, compile_rule
from arbiter.core.problem import Problem
from arbiter.core.reach import Reach
from arbiter.core.stock import WholeStock
from arbiter.core.stricter import always_stricter
from tests.builders import MONDAY, document, request

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


def conditions(field: str) -> st.SearchStrategy[Any]:
    """A condition on a field: one value, some, or none of some."""
    values = st.sampled_from(one_of[field])
    some = st.lists(values, min_size=1, max_size=2, unique=True)
    return st.one_of(values, some, st.fixed_dictionaries({"not": some}))


balance = st.one_of(
    st.fixed_dictionaries({"at_least": st.sampled_from([20, 50])}), st.fixed_dictionaries({"below": st.just(60)})
)
when = st.fixed_dictionaries(
    {}, optional={**{field: conditions(field) for field in one_of}, "profile.balance": balance}
)
counts = st.one_of(st.none(), when)
scopes = st.sampled_from(
    [["party"], ["customer"], ["customer", "channel"], ["party", "product"], ["party", "category"]]
)
windows = st.sampled_from(["rolling 1d", "rolling 7d", "rolling 8d", "calendar day", "calendar week", "calendar month"])
caps = st.fixed_dictionaries(
    {"when": when, "per": scopes, "limit": st.integers(0, 3), "window": windows},
    optional={
        "counts": when,
        "unit": st.just("points"),
        "limit_by": st.fixed_dictionaries({"segment": st.dictionaries(st.sampled_from(["rich"]), st.integers(0, 3))}),
    },
)
keeps = st.one_of(st.none(), st.just({"slots": 1, "for": {"product": "boat"}}))
hours = st.dictionaries(
    st.sampled_from(["every day", "weekdays", "sat", "sun-mon", "weekend"]),
    st.sampled_from(["all day", "20:00-09:00", "21:00-08:00", "08:00-20:00", "00:00-12:00"]),
    min_size=1,
    max_size=2,
)
suppressions = st.fixed_dictionaries(
    {"when": when, "lists": st.lists(st.sampled_from(["a", "b"]), min_size=1, unique=True)},
    optional={"scope": st.just("party"), "cool_down": st.sampled_from(["1d", "9d"])},
)
conflicts = st.fixed_dictionaries(
    {"when": when, "after": st.one_of(when.filter(bool), st.just({"outcome": "complained"})),
     "within": st.sampled_from(["1d", "9d"])}, optional={"per": st.just("customer")},
)  # fmt: skip
kinds = {"cap": caps, "suppression": suppressions, "conflict": conflicts}
kinds["quiet_hours"] = st.fixed_dictionaries({"when": when, "closed": hours})
pairs = st.sampled_from(sorted(kinds)).flatmap(lambda kind: st.tuples(st.just(kind), kinds[kind], kinds[kind]))

shapes = st.fixed_dictionaries(
    {field: st.sampled_from(one_of[field]) for field in ("department", "category", "channel")}
)
asked = st.builds(
    lambda shape, product, customer: {**shape, "product": product, "customer_id": customer},
    shapes, st.sampled_from([None, "card", "boat"]), st.sampled_from(sorted(CUSTOMERS)),
)  # fmt: skip
past = st.lists(st.tuples(asked, st.integers(-9 * 24 * 60, 60)), max_size=8)


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
        ledger.contacts.append(Contact(kind, b"12345678", at_ms, at_ms + 1, ContactState.SENT, at_ms))
        ledger.events.append(Event("complained", at_ms, kind))
    return ledger


@settings(max_examples=600, deadline=None)
@given(pairs, keeps, past, st.lists(asked, min_size=1, max_size=6))
def test_an_idle_rule_never_says_no_alone(
    pair: tuple[str, dict[str, Any], dict[str, Any]], keep: Any, contacts: Any, asks: Any
) -> None:
    """Whatever was and whoever asks: where the rule called idle says no, the stricter one does, too."""
    kind, one, other = pair
    fields = {} if keep is None or kind != "cap" else {"keep": keep}
    made = parsed({"id": "one", "kind": kind, **one}, {"id": "other", "kind": kind, **other, **fields})
    told = [problem for problem in always_stricter(made, Reach(made)) if problem.path[1] != 0]
    assume(told)
    policy = Policy(made, 1, "")
    for problem in told:
        idle, strict = (made.rules[int(path[1])] for path in (problem.path, problem.first or ()))
        judges = [compile_rule(rule, made) for rule in (idle, strict)]
        for fields in asks:
            question = request(**fields)
            case = policy.case(question, party(contacts), WholeStock())
            if question.category not in made.departments[question.department].categories:
                continue
            speaking = [
                judge.when.shape_matches(case.shape) and judge.when.rest_matches(case.subject) for judge in judges
            ]
            exempt = kind in made.categories[question.category].exempt
            if exempt or not speaking[0]:
                continue
            rules = {judge.id: judge for judge in case.plan.judges(case)}
            said = [case_says_no(rules, judge.id, case) for judge in judges]

            assert speaking[1]
            assert said[1] or not said[0], problem.message


def case_says_no(rules: dict[str, Any], name: str, case: Any) -> bool:
    """Whether a rule stops the contact; one that the plan leaves out has room for it."""
    return name in rules and rules[name].check(case, MONDAY) is not None


def named(made: PolicyDocument, code: str) -> list[Problem]:
    """The warnings with a code."""
    return [problem for problem in lints(made) if problem.code == code]


@settings(max_examples=300, deadline=None)
@given(when, st.lists(asked, min_size=5, max_size=20))
def test_what_is_unreachable_matches_nothing(condition: dict[str, Any], asks: list[dict[str, Any]]) -> None:
    """No request that a department may make meets a rule that is said to speak about nobody."""
    made = parsed({"id": "x", "kind": "cap", "when": condition, "per": ["party"], "limit": 1, "window": "rolling 1d"})
    assume(named(made, "unreachable"))
    policy, matcher = Policy(made, 1, ""), Matcher(made.rules[1].when)
    for fields in asks:
        question = request(**fields)
        department = made.departments[question.department]
        if question.category in department.categories and question.channel in (department.channels or made.channels):
            case = policy.case(question, party([]), WholeStock())
            exempt = "cap" in made.categories[question.category].exempt

            assert exempt or not (matcher.shape_matches(case.shape) and matcher.rest_matches(case.subject))


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
