"""What is promised holds: a time that a decision names is one at which every rule says yes, and the first such."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arbiter.engine.evaluation import decide
from arbiter.ledger.model import Decision
from arbiter.messages import ContactRequest
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.timing.instants import DAY_MS, MINUTE_MS, to_datetime
from tests.inputs.any_history import HistoryWriter
from tests.inputs.any_policy import PolicyWriter, compiled
from tests.inputs.builders import Desk, at
from tests.inputs.examples import times
from tests.inputs.strategies import BEGINNINGS, seeds

OTHERS_DECIDE = ("held_for_arbitration", "cell_too_small", "recalled")
"""Codes of a "no" that may end at any time: what is named is then when it is looked at again."""


class Watched(Desk):
    """A desk that remembers how things stood when a request came."""

    def decision(self, asked: ContactRequest, now_ms: int, then: Any) -> Decision:
        """What the rules say to a request alike that does not expire, at ``now``, things standing as they did."""
        ledger, stock = then
        lasting = replace(asked, expires_at=to_datetime(now_ms + 3_000 * DAY_MS), dry_run=True)
        return decide(self.policy, ledger, lasting, now_ms, now_ms, stock, is_new=False)

    def standing(self) -> Any:
        """The ledger and what all share, as they are now."""
        return unpack_ledger(pack_ledger(self.ledger)), copy.deepcopy(self.stock)


def check(desk: Watched, random: Random, asked: ContactRequest, now_ms: int) -> int:
    """Ask, and hold what is promised against the rules; gives how many promises there were."""
    then = desk.standing()
    (decided, *_) = desk.send(asked, now_ms)
    if not isinstance(decided, Decision) or decided.is_repeat:
        return 0
    answer = decided
    promised_ms = answer.retry_at_ms if answer.outcome == "deferred" else answer.next_eligible_at_ms
    if answer.outcome == "deferred":
        assert promised_ms is not None
        assert promised_ms > now_ms
    if promised_ms is None or any(finding.code in OTHERS_DECIDE for finding in answer.findings):
        return 0
    verdict = desk.decision(asked, promised_ms, then)
    if answer.outcome == "deferred" and {finding.kind for finding in verdict.findings} == {"cell"}:
        return 0  # the cell may fill until then
    assert verdict.outcome == "approved", answer
    before = [promised_ms - 1, promised_ms - MINUTE_MS, now_ms]
    before += [random.randrange(now_ms, promised_ms) // MINUTE_MS * MINUTE_MS for _ in range(40)]
    for at_ms in before:
        if at_ms >= now_ms and not (answer.outcome == "rejected" and at_ms == promised_ms):
            assert desk.decision(asked, at_ms, then).outcome != "approved", (at_ms, answer)
    return 1


@settings(max_examples=times(200), deadline=None)
@given(seeds, st.sampled_from(BEGINNINGS))
def test_what_is_promised_is_the_first_time_at_which_every_rule_says_yes(seed: int, beginning: str) -> None:
    """A deferral's ``retry_at`` and a rejection's ``next_eligible_at``, under any policy and after any history."""
    random, now_ms = Random(seed), at(f"{beginning}T12:00")
    writer = PolicyWriter(random, now_ms)
    desk = Watched(compiled(writer.document(), writer.kills()))
    for at_ms, message in HistoryWriter(random, now_ms).steps(25):
        desk.tick(at_ms)
        if isinstance(message, ContactRequest):
            check(desk, random, message, at_ms)
        else:
            desk.send(message, at_ms)
