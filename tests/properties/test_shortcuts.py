"""No shortcut changes a decision: rules that need not be asked are asked, and say nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.engine.checks import Checks
from arbiter.engine.render import message_of
from arbiter.engine.rule_inputs import RuleInputs
from arbiter.ledger.facts import Refused
from arbiter.ledger.model import Decision
from arbiter.messages import Profile, encoder
from arbiter.policy.document import PolicyDocument
from arbiter.policy.exceptions import TemporaryException
from arbiter.policy.frame import Category, Channel, Department, Permit, Recall
from arbiter.policy.index import ApplicableRules, ShapeRules, Timetable
from arbiter.policy.inputs import Used, shape_of
from arbiter.policy.rules import KINDS, NEVER_MS, NOW_MS, kind_of
from arbiter.policy.rules.base import Effective
from arbiter.policy.rules.cap import Keep
from arbiter.state.codec import pack_ledger
from arbiter.timing.instants import FAR_MS
from tests.inputs.any_history import HistoryWriter
from tests.inputs.any_policy import PolicyWriter, Written, compiled
from tests.inputs.builders import MONDAY, Desk, at, policy, request
from tests.inputs.examples import times
from tests.inputs.strategies import BEGINNINGS, seeds

_encode = encoder().encode


def _interval(timetable: Timetable, at_ms: int, _now_ms: int) -> Any:
    """All that are in force."""
    rules = timetable._index.set_of(-1)  # noqa: SLF001 - all that a request does not need
    return SimpleNamespace(may_object=sum(one.bit for one in rules if one.from_ms <= at_ms < one.until_ms), failed=0)


def _applicable(rules: ShapeRules, e: RuleInputs) -> ApplicableRules:
    there = rules.index.set_of(rules.bits)
    return ApplicableRules(rules, sum(rule.bit for rule in there if rule.when.rest_matches(e)))


def _counted(rules: ShapeRules, e: RuleInputs) -> list[list[Used]]:
    """Rule by rule the contacts that it counts."""
    found: list[list[Used]] = []
    for rule in rules.counting:
        counted = []
        for contact in sorted(e.ledger.contacts, key=lambda contact: contact.at_ms):
            shape, customer = shape_of(contact.kind), contact.kind.customer
            is_counted = contact.counts and rule.counts_shape(shape) and rule.is_shared(e.shape, shape)
            is_whose = not (rule.per_customer and customer != e.customer)
            if is_counted and is_whose and (not rule.asks_who or rule.counts_of(e, customer)):
                counted.append((contact.at_ms, contact.kind, shape))
        found.append(counted)
    return found


def _cutting(checks: Checks, at_ms: int) -> list[Any]:
    rules = checks._index.set_of(checks._applicable.bits & checks._index.enforced)  # noqa: SLF001 - likewise
    asked = [rule for rule in rules if rule.cuts and at_ms < rule.until_ms and rule not in checks.lifted]
    return [*asked, *checks._preferences]  # noqa: SLF001


def _blocked_until(checks: Checks, now_ms: int) -> int:
    """By the findings that would be published."""
    e, policy = checks.inputs, checks.inputs.policy
    at_ms, ahead_ms = max(now_ms, e.send_after_ms), e.send_after_ms - policy.reserve_ahead_ms
    objections = [one for one in checks.objections(at_ms) if not one.rule.shadow]
    found = [checks.explain(one, at_ms) for one in objections]
    ends = [NEVER_MS if one.until_ms is None else one.until_ms for one in found]
    if ahead_ms > now_ms:
        ends.append(ahead_ms)
    permit = checks.permit(at_ms)
    if not ends and (permit.objection or permit.until_ms - at_ms < policy.permit_min_ms):
        finding = checks.too_short(permit, at_ms)
        ends.append(NEVER_MS if finding.until_ms is None else finding.until_ms)
    return max(ends, default=NOW_MS)


@contextmanager
def everything_asked() -> Iterator[None]:
    """Every applicable rule is asked at every instant, and every contact is held against every rule."""
    with (
        mock.patch.object(ApplicableRules, "asked", lambda applicable, *_: applicable.bits),
        mock.patch.object(Timetable, "at", _interval),
        mock.patch.object(ApplicableRules, "cut", return_value=(FAR_MS, None)),
        mock.patch.object(ShapeRules, "applicable", _applicable),
        mock.patch.object(ShapeRules, "counted", _counted),
        mock.patch.object(Checks, "_cutting", _cutting),
        mock.patch.object(Checks, "blocked_until", _blocked_until),
    ):
        yield


def told(written: Written, kills: Any, history: list[Any]) -> tuple[list[bytes], bytes]:
    """Every answer of a history, byte for byte, and the ledger at its end."""
    desk = Desk(compiled(written, kills))
    found: list[bytes] = []
    for now_ms, message in history:
        results = [*desk.tick(now_ms), *desk.send(message, now_ms)]
        found += [_encode(message_of(one)) for one in results if isinstance(one, Decision)]
        found += [one.code.encode() for one in results if isinstance(one, Refused)]
    return found, pack_ledger(desk.ledger)


@settings(max_examples=times(150), deadline=None)
@given(seeds, st.sampled_from(BEGINNINGS))
def test_a_rule_that_is_not_asked_would_have_said_nothing(seed: int, beginning: str) -> None:
    """Any policy, any history: the same decisions and the same state, to the byte, if all rules are always asked."""
    random, now_ms = Random(seed), at(f"{beginning}T12:00")
    writer = PolicyWriter(random, now_ms)
    written, kills = writer.document(), writer.kills()
    history = HistoryWriter(random, now_ms).steps(25)
    shortly = told(written, kills, history)
    with everything_asked():
        fully = told(written, kills, history)

    assert fully[0] == shortly[0]
    assert fully[1] == shortly[1]


def test_headroom_is_kept_of_a_segments_limit_too() -> None:
    """The limit of a segment, less what is kept, is what others may fill."""
    cap = {
        "id": "cap", "kind": "cap", "per": ["customer"], "limit": 5, "window": "rolling 7d",
        "limit_by": {"segment": {"private": 2}}, "keep": {"slots": 1, "for": {"product": "retention"}},
    }  # fmt: skip
    segments = {"private": {"owner": "desk", "when": {"profile.balance": {"at_least": 1}}}}
    desk = Desk(policy(cap, segments=segments))
    desk.send(Profile(customer_id="c1", attributes={"balance": 10}), MONDAY)
    desk.ask(request("a", category="service"))

    decided = desk.ask(request("b", category="service"))

    assert ("deferred", ["reserved"]) == (decided.outcome, [one.code for one in decided.findings])


def _fields(kind: Any) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_policies_that_are_tried_have_every_field() -> None:
    """Every field of the document, and every kind of rule, is there in some of them and left out where it may be."""
    now_ms = at("2026-03-28T12:00")
    documents = [PolicyWriter(Random(seed), now_ms).document() for seed in range(400)]
    seen: dict[str, set[str]] = {}
    for written in documents:
        seen.setdefault("top", set()).update(written)
        for rule in written["rules"]:
            seen.setdefault(rule["kind"], {"kind"}).update(rule)
            seen.setdefault("effective", set()).update(rule.get("effective", ()))
            seen.setdefault("keep", set()).update(rule.get("keep", ()))
        for part, name in (("departments", "department"), ("channels", "channel"), ("categories", "category")):
            seen.setdefault(name, set()).update(*map(set, written[part].values()))
        for exception in written.get("exceptions", ()):
            seen.setdefault("exception", set()).update(exception)

    assert _fields(PolicyDocument) == seen["top"]
    for rule in KINDS:
        tag = kind_of(rule)
        assert _fields(rule) | {"kind"} == seen[tag], tag
    for name, kind in {"effective": Effective, "keep": Keep, "department": Department, "channel": Channel,
                       "category": Category, "exception": TemporaryException}.items():  # fmt: skip
        assert _fields(kind) == seen[name], name
    assert {"min", "max"} == _fields(Permit)
    assert {"margin", "factor"} == _fields(Recall)
