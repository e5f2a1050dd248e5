"""A customer's word is booked, whatever fails while what follows from it is worked out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from arbiter.engine import events, recalls, state
from arbiter.engine.evaluation import Evaluation
from arbiter.engine.events import POSTPONE_MS
from arbiter.engine.state import PartyState
from arbiter.ledger import stored_request
from arbiter.messages import Outcome, SuppressionChange
from arbiter.state.memory import MemoryStore
from arbiter.timing.instants import HOUR_MS, to_datetime
from arbiter.worker.partition import publishing
from tests.harness.partition import CAP
from tests.harness.stepwise import SteppedCluster, told
from tests.inputs.builders import MONDAY, grant, policy, request


def recall_fails(monkeypatch: pytest.MonkeyPatch, where: Any, name: str) -> None:
    """Let something fail that working out the consequences of a withdrawal needs, for customer c1."""

    def failing(*_: Any, **__: Any) -> Any:
        raise OverflowError

    monkeypatch.setattr(where, name, failing)


def approved() -> SteppedCluster:
    """A site on which c1 has an approval that begins in two hours."""
    listed = {"id": "listed", "kind": "suppression", "lists": ["dnc"]}
    site = SteppedCluster(policy(CAP, listed), 1, MONDAY, MemoryStore())
    site.send(grant("c1"))
    site.send(request("a", send_after=MONDAY + 2 * HOUR_MS))
    return site


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (events, "recall_forbidden"),
        (events, "reconsider"),
        (PartyState, "count_cells"),
        (recalls, "_recall_if_forbidden"),
        (Evaluation, "recall_findings"),
        (publishing, "encoded"),
    ],
)
@pytest.mark.parametrize("word", ["withdrawal", "suppression", "unsubscribed"])
async def test_a_withdrawal_is_booked_whatever_fails_afterwards(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, word: str
) -> None:
    """The permit is recalled at the next look at the latest; there is an alarm, and no dead letter."""
    site = approved()
    await site.settle()
    with monkeypatch.context() as failing:
        recall_fails(failing, where, name)
        site.send(
            {
                "withdrawal": grant("c1", captured=MONDAY, state="withdrawn"),
                "suppression": SuppressionChange(
                    customer_id="c1", list="dnc", active=True, captured_at=to_datetime(MONDAY)
                ),
                "unsubscribed": Outcome(
                    customer_id="c1", department="cards", request_id="x", kind="unsubscribed", at=to_datetime(MONDAY)
                ),
            }[word]
        )
        await site.settle()
    site.wait(POSTPONE_MS)
    await site.settle()
    await site.end(0)

    assert [] == site.dead
    assert 1 <= (site.metrics.registry.get_sample_value("arbiter_alarms_total", {"kind": "undecidable"}) or 0)
    assert [("a", "approved"), ("a", "recalled"), ("a", "rejected")] == told(site)


async def test_an_approval_whose_request_cannot_be_read_does_not_keep_the_others_from_being_recalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is recalled in the books, and the log says that its department does not know."""
    site = approved()
    site.send(request("b", campaign="other", send_after=MONDAY + 2 * HOUR_MS))
    await site.settle()
    usual = stored_request.unpack_request

    def unreadable(*stored: Any) -> Any:
        read = usual(*stored)
        if read.request_id == "a":
            raise msgspec.DecodeError
        return read

    await site.end(0)  # another build, which has decoded neither
    monkeypatch.setattr(state, "unpack_request", unreadable)
    site.send(grant("c1", captured=MONDAY, state="withdrawn"))
    await site.settle()
    await site.end(0)

    assert [] == site.dead
    assert [("b", "recalled"), ("b", "rejected")] == told(site)[2:]
    noted = {"what": "recall_untold", "department": "cards"}
    assert 1 == site.metrics.registry.get_sample_value("arbiter_outcome_notes_total", noted)
