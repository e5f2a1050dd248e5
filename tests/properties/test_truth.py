"""What decisions say is so."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbiter.engine.evaluation import decide
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest
from arbiter.reports.explain.sentences import LOOKED_AT_AGAIN
from arbiter.timing.instants import DAY_MS, to_datetime
from tests.inputs.any_history import HistoryWriter
from tests.inputs.any_policy import PolicyWriter, compiled
from tests.inputs.builders import Desk, at
from tests.inputs.examples import times
from tests.inputs.strategies import BEGINNINGS, seeds
from tests.oracle.truth import Facts, untrue


def unending(desk: Desk, decided: Decision, received_ms: int) -> list[str]:
    """The findings whose rule still says the same when it is told to say yes."""
    answer, found = decided, []
    for finding in answer.findings if answer.outcome != "approved" and not decided.is_repeat else ():
        if finding.until_ms is None or finding.code in LOOKED_AT_AGAIN:
            continue
        then_ms = finding.until_ms
        asked = replace(decided.request, expires_at=to_datetime(then_ms + 900 * DAY_MS))
        verdict = decide(desk.policy, desk.ledger, asked, received_ms, then_ms, desk.stock, is_new=False)
        if (finding.rule, finding.code, finding.message) in {
            (one.rule, one.code, one.message) for one in verdict.findings
        }:
            found.append(f"`{finding.rule}` still says `{finding.message}` when it is told to say yes")
    return found


def falsehoods(random: Random, beginning: str) -> list[str]:
    """What is untrue in the decisions of a history."""
    now_ms = at(f"{beginning}T12:00")
    writer = PolicyWriter(random, now_ms)
    desk = Desk(compiled(writer.document(), writer.kills()))
    received: dict[str, int] = {}
    found: list[str] = []
    for at_ms, message in HistoryWriter(random, now_ms).steps(25):
        results = desk.tick(at_ms)
        if isinstance(message, ContactRequest):
            received.setdefault(message.request_id, at_ms)
        results += [one for one in desk.send(message, at_ms) if isinstance(one, Decision)]
        for decided in results[-1:] if isinstance(message, ContactRequest) else ():
            found += unending(desk, decided, at_ms)
        for decided in results:
            request, answer = decided.request, decided
            for finding in (*answer.findings, *answer.shadow):
                facts = Facts(finding, answer, request, received[request.request_id], desk.policy, desk.ledger, {})
                found += untrue(facts)
    return found


@settings(max_examples=times(150), deadline=None)
@given(seeds, st.sampled_from(BEGINNINGS))
def test_every_sentence_of_a_decision_is_true(seed: int, beginning: str) -> None:
    """Under any policy and after any history each sentence holds against the facts of its case."""
    assert falsehoods(Random(seed), beginning) == []
