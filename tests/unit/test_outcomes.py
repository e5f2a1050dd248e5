"""What became of contacts: confirmations, refunds, silence, and what nobody had approved."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.core.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from arbiter.core.model import ContactState
from arbiter.messages import SuppressionChange
from tests.builders import MONDAY, Desk, codes, grant, policy, request

ONE = {
    "id": "one",
    "kind": "cap",
    "per": ["party"],
    "limit": 1,
    "window": "rolling 7d",
    "when": {"category": "promotional"},
}
LATER = MONDAY + 2 * HOUR_MS


def desk_with_one(**fields: Any) -> Desk:
    """A party whose only place is taken by request ``a``."""
    desk = Desk(policy(ONE, **fields), grant())
    desk.ask(request("a"))
    return desk


def free_at(desk: Desk, now_ms: int) -> int:
    """When the next place frees; ``now_ms`` if there is one."""
    answer = desk.ask(request("probe", dry_run=True), now_ms).answer
    return now_ms if answer.outcome == "approved" else answer.retry_at_ms or 0


def test_sent_counts_from_when_it_was_sent() -> None:
    """Confirmed, it counts at its sending time, so the place frees earlier than for silence."""
    desk = desk_with_one()
    assert MONDAY + DAY_MS - 1 + 7 * DAY_MS == free_at(desk, MONDAY)
    desk.tell("a", "sent", LATER)

    assert LATER + 7 * DAY_MS == free_at(desk, LATER)
    assert [] == desk.notes


@pytest.mark.parametrize(("kind", "frees"), [("bounced", True), ("cancelled", True), ("not_reached", False)])
def test_refunds(kind: str, frees: bool) -> None:
    """A bounce and a cancellation give the place back, a call that nobody answered does not."""
    desk = desk_with_one()
    desk.tell("a", kind, LATER)

    assert frees == (free_at(desk, LATER) == LATER)


def test_a_bounce_may_follow_a_sending() -> None:
    """Sent and then bounced gives the place back."""
    desk = desk_with_one()
    desk.tell("a", "sent", LATER)
    desk.tell("a", "bounced", LATER + MINUTE_MS)

    assert LATER == free_at(desk, LATER)


def test_told_backwards() -> None:
    """The sending is told after the bounce that followed it: the place stays free."""
    desk = desk_with_one()
    desk.tell("a", "bounced", LATER)
    desk.tell("a", "sent", LATER - MINUTE_MS)

    assert ["outcome_out_of_order"] == desk.notes
    assert LATER == free_at(desk, LATER)


def test_told_twice() -> None:
    """The second time changes nothing and is counted."""
    for kind in ("sent", "bounced", "cancelled", "complained"):
        desk = desk_with_one()
        desk.tell("a", kind, LATER)
        before = free_at(desk, LATER)
        desk.tell("a", kind, LATER)
        assert (["outcome_repeated"], before) == (desk.notes, free_at(desk, LATER))


@pytest.mark.parametrize(
    ("kind", "when", "note"),
    [
        ("cancelled", LATER, "unapproved_released"),
        (None, MONDAY + DAY_MS, "unapproved_late"),
        (None, MONDAY - 1, "unapproved_early"),
    ],
)
def test_sent_without_a_valid_approval(kind: str | None, when: int, note: str) -> None:
    """What reached the customer counts, and is reported."""
    desk = desk_with_one()
    if kind:
        desk.tell("a", kind, LATER)
    desk.tell("a", "sent", when)

    assert [note] == desk.notes
    assert when + 7 * DAY_MS == free_at(desk, max(when, MONDAY))


def test_sent_after_a_recall() -> None:
    """A desk that sends what was recalled uses the budget all the same."""
    desk = desk_with_one()
    desk.send(grant(captured=2, state="withdrawn"), MONDAY + 1)
    desk.tell("a", "sent", LATER)

    assert ["unapproved_recalled"] == desk.notes


def test_unknown_sending_counts_everywhere() -> None:
    """A contact that nobody asked for counts in every cap, for all that is known of it."""
    desk = Desk(policy(ONE), grant())
    desk.tell("nobody-asked", "sent", LATER)

    assert ["unapproved_unknown"] == desk.notes
    assert LATER + 7 * DAY_MS == free_at(desk, LATER)
    desk.tell("nobody-asked", "sent", LATER)
    assert ["outcome_repeated"] == desk.notes


def test_sent_while_it_waits() -> None:
    """A desk that does not wait for its answer: the contact counts as what was asked for, and is not approved again."""
    desk = desk_with_one()
    desk.ask(request("b", channel="sms"))
    (ended,) = desk.tell("b", "sent", LATER)

    assert ["unapproved_waiting"] == desk.notes
    assert ("rejected", ["withdrawn"]) == (ended.answer.outcome, codes(ended))
    assert ["email", "sms"] == [contact.kind.channel for contact in desk.ledger.contacts]
    assert [] == desk.tick(MONDAY + 30 * DAY_MS)


def test_cancelled_confirms_what_was_recalled_though_it_waits_again() -> None:
    """After a suppression with an end the request waits for it, and its first place is free once the desk confirms."""
    lists = {"id": "lists", "kind": "suppression", "lists": ["pause"]}
    desk = Desk(policy(ONE, lists), grant())
    desk.ask(request("a"))
    times: Any = {"captured_at": to_datetime(MONDAY), "expires_at": to_datetime(MONDAY + 2 * DAY_MS)}
    desk.send(SuppressionChange(customer_id="c1", list="pause", active=True, **times), LATER)
    assert ["a"] == [asked.n == 3 and "a" for asked in desk.ledger.waiting]
    desk.tell("a", "cancelled", LATER + 1)

    assert [ContactState.RELEASED] == [contact.state for contact in desk.ledger.contacts]
    assert [("a", "approved")] == [
        (one.request.request_id, one.answer.outcome) for one in desk.tick(MONDAY + 2 * DAY_MS)
    ]


def test_unknown_refunds_are_counted() -> None:
    """A bounce or a cancellation of nothing frees nothing."""
    desk = desk_with_one()
    for kind in ("bounced", "cancelled"):
        desk.tell("nobody-asked", kind, LATER)
        assert ["outcome_unknown"] == desk.notes


def test_silence_counts_unless_the_channel_releases() -> None:
    """With no word the contact is presumed sent; a channel may give its place back instead."""
    assert MONDAY + 8 * DAY_MS - 1 == free_at(desk_with_one(), MONDAY + 2 * DAY_MS)

    channels = {"email": {"on_silence": "release"}, "sms": {}, "phone": {}, "mail": {}}
    desk = desk_with_one(channels=channels)
    desk.ask(request("b"))
    (back,) = desk.tick(MONDAY + DAY_MS)
    assert ("b", "approved") == (back.request.request_id, back.answer.outcome)


def test_complaint_opens_its_suppression() -> None:
    """After a complaint the customer is on the complaint list until somebody closes it."""
    rule = {"id": "sore", "kind": "suppression", "lists": ["complaint"]}
    desk = Desk(policy(rule), grant())
    desk.ask(request("a"))
    desk.tell("a", "complained", LATER)

    assert ["suppressed"] == codes(desk.ask(request("b"), LATER))


def test_unsubscribe_opens_its_withdrawal() -> None:
    """An unsubscription withdraws consent for that purpose by that channel, and rejects what waits for it."""
    desk = Desk(policy(ONE), grant())
    desk.ask(request("a"))
    desk.ask(request("b"))
    back = desk.tell("a", "unsubscribed", LATER)

    assert [("b", "rejected")] == [(one.request.request_id, one.answer.outcome) for one in back]
    assert ["consent_withdrawn"] == codes(desk.ask(request("c", category="promotional"), LATER))[:1]
    assert [] == codes(desk.ask(request("d", channel="sms"), LATER + 8 * DAY_MS))
