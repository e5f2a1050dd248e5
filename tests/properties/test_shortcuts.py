"""No shortcut changes a decision: rules that need not be asked are asked, and say nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any
from unittest import mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.engine.decide import Hearing
from arbiter.engine.render import decision_of
from arbiter.engine.told import Decided
from arbiter.ledger.facts import Refused
from arbiter.messages import Profile, encoder
from arbiter.policy.case import Case, Spent, shape_of
from arbiter.policy.document import PolicyDocument
from arbiter.policy.exceptions import TemporaryException
from arbiter.policy.frame import Category, Channel, Department, Permit, Recall
from arbiter.policy.plan import Plan, View
from arbiter.policy.rules import KINDS, NEVER_MS, Judge, kind_of
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


class AllRules:
    """What a ``Stretch`` is, without leaving out any rule."""

    cut_ms, cutter = FAR_MS, None

    def __init__(self, view: View, at_ms: int) -> None:
        self._judges = [judge for judge in view.judges if at_ms < judge.until_ms]
        self.cutters = [judge for judge in self._judges if judge.cuts and not judge.shadow]

    def suspects(self, _: Case, at_ms: int) -> list[Judge]:
        """All that are in force."""
        return [judge for judge in self._judges if judge.from_ms <= at_ms]


def _spent(plan: Plan, case: Case) -> dict[Any, list[Spent]]:
    """By each rule that counts contacts what it counts, contact by contact."""
    found: dict[Any, list[Spent]] = {}
    for contact in case.ledger.contacts:
        shape, customer = shape_of(contact.kind), contact.kind.customer
        for judge in plan.own if contact.counts else ():
            if not judge.counts_shape(shape) or not judge.is_shared(plan.shape, shape):
                continue
            if judge.per_customer and customer != case.customer:
                continue
            if not judge.asks_who or judge.counts_of(case, customer):
                found.setdefault(judge, []).append((contact.at_ms, contact.kind, shape))
    return found


def _view(plan: Plan, case: Case) -> View:
    judges = [judge for judge in plan._speaking if judge.when.rest_matches(case.subject)]  # noqa: SLF001 - all of them
    return View(judges, plan.own)


def _peek(hearing: Hearing, now_ms: int) -> int | None:
    look = hearing._look(now_ms, [])  # noqa: SLF001 - all that a peek leaves out
    return None if not look.findings else NEVER_MS if look.rejects else look.until_ms


@contextmanager
def everything_asked() -> Iterator[None]:
    """Every rule of the plan is asked at every look, and every contact is held against every rule."""
    with (
        mock.patch.object(View, "stretch", lambda view, _, at_ms: AllRules(view, at_ms)),
        mock.patch.object(Plan, "view", _view),
        mock.patch.object(Plan, "spent", _spent),
        mock.patch.object(Hearing, "_peek", _peek),
    ):
        yield


def told(written: Written, kills: Any, history: list[Any]) -> tuple[list[bytes], bytes]:
    """Every answer of a history, byte for byte, and the ledger at its end."""
    desk = Desk(compiled(written, kills))
    found: list[bytes] = []
    for now_ms, message in history:
        results = [*desk.tick(now_ms), *desk.send(message, now_ms)]
        found += [_encode(decision_of(one)) for one in results if isinstance(one, Decided)]
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

    assert ("deferred", ["reserved"]) == (decided.answer.outcome, [one.code for one in decided.answer.findings])


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
