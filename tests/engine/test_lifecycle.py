"""The tables of the lifecycle are what the engine does: without a line, what the line says does not happen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from arbiter.engine.lifecycle import PERMIT, REQUEST, IllegalMove, diagrams, may
from arbiter.messages import SuppressionChange
from arbiter.state.memory import MemoryStore
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.harness.stepwise import SteppedCluster, told
from tests.inputs.builders import MONDAY, Desk, grant, policy, request

ONE_A_WEEK = {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
LISTS = {"id": "lists", "kind": "suppression", "lists": ["stop"]}
LINES = [(table, state, event) for table in (REQUEST, PERMIT) for state, moves in table.items() for event in moves]


def listed(at_ms: int, **fields: Any) -> SuppressionChange:
    """The customer is on a list from now on."""
    return SuppressionChange(customer_id="c1", list="stop", active=True, captured_at=to_datetime(at_ms), **fields)


def permits() -> list[object]:
    """Every way from one state of a permit to another, and what is seen of it."""
    seen: list[object] = []
    for stopped in (False, True):
        for words in (["sent"], ["bounced"], ["cancelled"], ["cancelled", "sent"], ["sent", "bounced", "sent"]):
            desk = Desk(policy(ONE_A_WEEK, LISTS, {**LISTS, "id": "other", "lists": ["other"]}), grant())
            desk.ask(request("a", send_after=MONDAY if stopped else None))
            if stopped:
                desk.send(listed(MONDAY), MONDAY)
            for minute, word in enumerate([*words, words[-1]], 1):
                seen += [one.outcome for one in desk.tell("a", word, MONDAY + minute * MINUTE_MS)]
                seen += desk.notes
                seen += [(contact.state, contact.at_ms) for contact in desk.ledger.contacts]
    return seen


def recalls() -> list[object]:
    """A lesser approval gives way to a better request; then what was recalled is told of."""
    seen: list[object] = []
    for word in ("cancelled", "sent", "bounced"):
        desk = Desk(policy(ONE_A_WEEK, recall={"factor": 2, "margin": "1h"}), grant())
        desk.ask(request("low", priority=10, send_after=MONDAY + 5 * HOUR_MS, recallable=True))
        desk.ask(request("high", priority=60))
        desk.tell("low", word, MONDAY + MINUTE_MS)
        seen += desk.notes
        seen += [contact.state for contact in desk.ledger.contacts]
        seen += [one.outcome for one in desk.tick(MONDAY + 9 * DAY_MS)]
    return seen


def silence() -> list[object]:
    """A permit on a channel that is released by silence runs out."""
    channels = {name: {"points": 1, "on_silence": "release"} for name in ("email", "sms", "phone", "mail")}
    desk = Desk(policy(ONE_A_WEEK, channels=channels), grant())
    desk.ask(request("a"))
    desk.ask(request("b"))
    told = desk.tick(MONDAY + 30 * DAY_MS)
    return [(one.request.request_id, one.outcome) for one in told] + [contact.state for contact in desk.ledger.contacts]


def waiting() -> list[object]:
    """A request that waits is put off again, approved, rejected when it expires, or withdrawn."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    seen: list[object] = [desk.ask(request("first")).outcome]
    for name, days in (("second", 60), ("third", 60), ("fourth", 60), ("late", 9)):
        seen.append(desk.ask(request(name, expires_at=MONDAY + days * DAY_MS)).outcome)
    seen.append(desk.ask(request("none", channel="pigeon")).outcome)
    seen += [one.outcome for one in desk.tell("third", "cancelled", MONDAY + HOUR_MS)]
    seen += desk.notes
    return seen + [one.outcome for one in desk.tick(MONDAY + 30 * DAY_MS)]


def strike(monkeypatch: pytest.MonkeyPatch, table: dict[Any, Any], state: Any, event: str) -> None:
    """Take one line out of a table for the time of a test."""
    monkeypatch.setitem(table, state, {name: after for name, after in table[state].items() if name != event})


def history() -> list[object]:
    """All that was seen, up to what the lifecycle does not allow."""
    seen: list[object] = []
    for part in (permits, recalls, silence, waiting):
        try:
            seen.append(part())
        except IllegalMove as error:
            seen.append(str(error))
    return seen


@pytest.mark.parametrize(("table", "state", "event"), LINES, ids=lambda one: getattr(one, "name", str(one)[:9]))
def test_what_the_table_does_not_list_does_not_happen(
    monkeypatch: pytest.MonkeyPatch, table: dict[Any, Any], state: Any, event: str
) -> None:
    """Each line is used: struck out, it makes another history."""
    usual = history()
    strike(monkeypatch, table, state, event)

    assert usual != history()


def test_an_outcome_that_is_not_listed_changes_nothing_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a cancellation of what was sent."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("a"))
    strike(monkeypatch, PERMIT, desk.ledger.contacts[0].state, "cancel")
    before = desk.ledger.contacts[0].state
    desk.tell("a", "cancelled", MONDAY + MINUTE_MS)

    assert (before, ["outcome_illegal"]) == (desk.ledger.contacts[0].state, desk.notes)


async def test_a_decision_that_is_not_listed_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker fails closed: nobody is told of it, and no contact is booked."""
    site = SteppedCluster(policy(ONE_A_WEEK), 1, MONDAY, MemoryStore())
    site.send(grant("c1"))
    site.send(request("a"))
    strike(monkeypatch, REQUEST, "received", "approve")
    await site.settle()
    await site.end(0)
    (ledger,) = (await site.ledgers(["c:c1"])).values()

    assert ([("a", "rejected")], []) == (told(site), [*ledger.contacts])
    assert site.decisions[0]["decision_id"].endswith(":0")
    assert ["undecidable"] == [dict(letter.headers)["arbiter-error-code"].decode() for letter in site.dead]


def test_the_drawing_is_made_of_the_tables() -> None:
    """Every line is in it, and what is decided follows the request's."""
    request_drawn, permit_drawn = diagrams()

    assert "approved --> recalled: recall" in request_drawn
    assert "sent --> released: bounce" in permit_drawn
    assert len(LINES) == sum(drawn.count(": ") for drawn in (request_drawn, permit_drawn))
    assert may("recalled", "deferred")
    assert not may("rejected", "approved")


def test_a_decision_is_a_walk_through_the_table() -> None:
    """What a desk is told of one request follows the table from state to state."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("first"))
    told = [desk.ask(request("second")), *desk.tick(MONDAY + 30 * DAY_MS)]
    walk = ["received", *(one.outcome for one in told)]

    assert ["received", "deferred", "approved"] == walk
    assert all(may(before, after) for before, after in pairwise(walk))
