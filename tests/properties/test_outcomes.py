"""What is told of one contact: the same budgets are used, in whatever order it is told."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbiter.ledger.contacts import Contact
from arbiter.messages import Outcome, SuppressionChange
from arbiter.state.codec import pack_ledger, unpack_ledger
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, grant, policy, request
from tests.inputs.examples import times

HEARD = MONDAY + 3 * DAY_MS
KINDS = ["sent", "bounced", "not_reached", "cancelled", "responded", "complained", "unsubscribed"]
TIMES = [
    at("1970-01-01"), MONDAY - 2 * DAY_MS, MONDAY - MINUTE_MS, MONDAY, MONDAY + HOUR_MS, MONDAY + 2 * HOUR_MS,
    MONDAY + DAY_MS - 1, MONDAY + DAY_MS, MONDAY + 2 * DAY_MS, HEARD, HEARD + MINUTE_MS, at("2099-01-01"),
]  # fmt: skip
CAP = {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
LISTS = {"id": "lists", "kind": "suppression", "lists": ["pause"]}

told = st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(TIMES)), min_size=1, max_size=4)


def desk_with(state: str) -> Desk:
    """A desk whose request ``a`` was never asked, waits, is approved, or was recalled and waits or is approved anew."""
    desk = Desk(policy({**CAP, "window": "rolling 1d"} if state == "twice" else CAP, LISTS), grant())
    if state == "waiting":
        desk.tell("other", "sent", MONDAY, category="promotional")
    if state != "unknown":
        desk.ask(request("a"))
    if state in ("recalled", "twice"):
        end_ms = MONDAY + (HOUR_MS if state == "twice" else 20 * DAY_MS)
        ends: Any = {"captured_at": to_datetime(MONDAY), "expires_at": to_datetime(end_ms)}
        desk.send(SuppressionChange(customer_id="c1", list="pause", active=True, **ends), MONDAY + MINUTE_MS)
    if state == "twice":
        assert "approved" == desk.tick(MONDAY + 2 * DAY_MS)[-1].outcome
    return desk


def stands(state: str, outcomes: list[tuple[str, int]]) -> tuple[list[Any], int]:
    """How budgets stand after these outcomes, all received at one time, and how many requests wait."""
    desk = desk_with(state)
    for kind, at_ms in outcomes:
        said: Any = {"customer_id": "c1", "department": "cards", "kind": kind, "at": to_datetime(at_ms)}
        desk.send(Outcome(request_id="a", **said), HEARD)
        desk.ledger = unpack_ledger(pack_ledger(desk.ledger))
    return [shown(contact) for contact in desk.ledger.contacts], len(desk.ledger.waiting)


def shown(contact: Contact) -> tuple[Any, ...]:
    """What of a contact uses budgets, or may yet."""
    return contact.ref, contact.state, contact.counts, contact.at_ms, contact.evidence


@pytest.mark.parametrize("state", ["unknown", "waiting", "approved", "recalled", "twice"])
def test_every_order_of_its_outcomes_is_alike(state: str) -> None:
    """Sent, bounced, cancelled, reactions, with possible and impossible times: all orders end alike."""

    @settings(max_examples=times(60), deadline=None)
    @given(told)
    def check(outcomes: list[tuple[str, int]]) -> None:
        wanted = stands(state, outcomes)
        for order in permutations(outcomes):
            assert wanted == stands(state, list(order)), order

    check()
