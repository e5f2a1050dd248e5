"""Properties of shadow policies, for every history."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbiter.ledger.capacity import WholeStock
from arbiter.ledger.model import Decision
from arbiter.policy.ruleset import Policy
from arbiter.state.codec import pack_ledger
from arbiter.timing.instants import DAY_MS, MINUTE_MS, to_ms
from tests.inputs.builders import Desk, grant, policy, request
from tests.properties.test_core import START, asks, caps, rules

CALLS = {"id": "calls", "kind": "capacity", "limit": 6, "window": "calendar week", "when": {"channel": "phone"}}
HOLD = {"id": "best", "kind": "arbitration", "hold": "6h", "when": {"channel": "sms"}}
CELL = {"id": "trial", "kind": "cell", "size": 2, "deadline": "2026-04-01", "when": {"channel": "sms"}}
CLOSED = {"id": "wait", "kind": "blackout", "dates": ["2026-04-02"]}
MORE: tuple[dict[str, Any], ...] = (CALLS, HOLD, CELL, {**CALLS, "limit": 3}, CLOSED)

extras = st.lists(st.sampled_from(MORE), max_size=3, unique_by=lambda rule: rule["id"])
priorities = st.lists(st.integers(0, 70), min_size=25, max_size=25)


def compiled(cap: tuple[int, str, str], more: list[Any], shadow: Policy | None = None) -> Policy:
    """A policy of a cap, nights and some more, in which better requests take the places of others."""
    recall = {"margin": "1h", "factor": 1.2}
    return policy(*rules(*cap), *more, version=9 if shadow is None else 1, shadow=shadow, recall=recall)


def lived(under: Policy, asked: list[Any], ranks: list[int]) -> tuple[list[Decision], Desk]:
    """All that is told to a party that asks, cancels now and then and lets time go by; and how it stands then."""
    desk, out = Desk(under, grant(), stock=WholeStock()), []
    for number, (minute, channel, ahead, _where) in enumerate(sorted(asked, key=lambda ask: ask[0])):
        now = START + minute * MINUTE_MS
        after = None if ahead is None else now + ahead * MINUTE_MS
        out += desk.tick(now)
        message = request(f"r{number}", channel=channel, send_after=after, priority=ranks[number])
        out += [one for one in desk.send(message, now) if isinstance(one, Decision)]
        if number % 4 == 3:
            out += desk.tell(f"r{number - 2}", "cancelled", now)
    out += desk.tick(START + 40 * DAY_MS)
    return out, desk


def bare(answer: Decision) -> Decision:
    """An answer without what the shadow policy said, by any version."""
    return replace(answer, shadow_policy=None, policy=("", 0, ""))


@settings(max_examples=100, deadline=None)
@given(caps, caps, extras, extras, asks, priorities)
def test_it_never_changes_what_is_answered(
    cap: Any, other: Any, more: list[Any], others: list[Any], asked: list[Any], ranks: list[int]
) -> None:
    """The same answers in the same order, the same ledger byte by byte, and the same capacity, with and without one."""
    alone, one = lived(compiled(cap, more), asked, ranks)
    watched, two = lived(compiled(cap, more, compiled(other, others)), asked, ranks)

    assert [bare(decided) for decided in alone] == [bare(decided) for decided in watched]
    assert pack_ledger(one.ledger) == pack_ledger(two.ledger)
    assert one.stock.taken == two.stock.taken  # type: ignore[attr-defined]


@settings(max_examples=100, deadline=None)
@given(caps, extras, asks, priorities)
def test_the_same_policy_says_the_same(cap: Any, more: list[Any], asked: list[Any], ranks: list[int]) -> None:
    """A shadow that equals the policy in force never differs: outcome, time and rules; arbitrations name themselves."""
    out, _ = lived(compiled(cap, more, compiled(cap, more)), asked, ranks)

    for decided in out:
        said, verdict = decided, decided.shadow_policy
        if verdict is not None:
            named = {finding.rule for finding in said.findings} - {"best"}
            retry_at_ms = None if verdict.retry_at is None else to_ms(verdict.retry_at)
            assert (said.outcome, said.retry_at_ms) == (verdict.outcome, retry_at_ms), msgspec.to_builtins(said)
            assert named == set(verdict.rules)
            assert () == verdict.findings


@settings(max_examples=50, deadline=None)
@given(caps, asks, priorities)
def test_every_answer_is_judged_but_those_that_are_none(cap: Any, asked: list[Any], ranks: list[int]) -> None:
    """Only recalls, and what a department withdrew itself, go without."""
    out, _ = lived(compiled(cap, [], compiled(cap, [])), asked, ranks)

    assert {True} >= {
        (decided.shadow_policy is not None)
        == (decided.outcome != "recalled" and all(f.code != "withdrawn" for f in decided.findings))
        for decided in out
    }


def test_the_histories_are_rich_enough() -> None:
    """What the properties speak about happens in them: recalls, deferrals, capacity and arbitrations."""
    asked = [(minute * 60, channel, ahead, 0.5) for minute in range(9, 15) for channel in ("phone", "sms", "email")
             for ahead in (30 * 60, None)]  # fmt: skip
    out, _ = lived(compiled((3, "rolling 7d", "contacts"), [CALLS, HOLD]), asked[:25], list(range(0, 75, 3)))
    seen = {finding.code for decided in out for finding in decided.findings}

    assert {"approved", "deferred", "recalled", "rejected"} == {decided.outcome for decided in out}
    assert {"recalled", "cap_reached", "held_for_arbitration"} <= seen
