"""What became of contacts: confirmations, refunds, silence, and what nobody had approved."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.engine.state import Anomaly
from arbiter.ledger.contacts import ContactState
from arbiter.messages import Outcome, SuppressionChange
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

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
    answer = desk.ask(request("probe", dry_run=True), now_ms)
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
    assert ("rejected", ["withdrawn"]) == (ended.outcome, codes(ended))
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
    assert [("a", "approved")] == [(one.request.request_id, one.outcome) for one in desk.tick(MONDAY + 2 * DAY_MS)]


def test_unknown_refunds_are_counted() -> None:
    """A bounce or a cancellation of nothing frees nothing."""
    desk = desk_with_one()
    for kind in ("bounced", "cancelled"):
        desk.tell("nobody-asked", kind, LATER)
        assert ["outcome_unknown"] == desk.notes


def test_a_reaction_does_not_date_the_contact() -> None:
    """It proves that the contact was made by then, and at the end of its permit at the latest; nobody is to blame."""
    for kind in ("responded", "complained", "unsubscribed", "not_reached"):
        desk = desk_with_one()
        desk.tell("a", kind, MONDAY + 20 * DAY_MS)

        assert ([], [MONDAY + DAY_MS - 1]) == (desk.notes, [contact.at_ms for contact in desk.ledger.contacts])
    desk = desk_with_one()
    desk.tell("a", "responded", LATER)
    assert LATER + 7 * DAY_MS == free_at(desk, LATER)


def test_a_sending_told_late_replaces_the_guess() -> None:
    """Whether the customer's reaction is heard before it or after it."""
    for kinds in (["responded", "sent"], ["sent", "responded"]):
        desk = desk_with_one()
        for kind in kinds:
            desk.tell("a", kind, LATER if kind == "responded" else LATER - HOUR_MS)
            assert [] == desk.notes
        assert LATER - HOUR_MS + 7 * DAY_MS == free_at(desk, LATER)


def test_a_reaction_stands_against_a_bounce() -> None:
    """Whoever reacted was reached, in whatever order it is heard."""
    for kinds in (["responded", "bounced"], ["bounced", "responded"]):
        desk = desk_with_one()
        for kind in kinds:
            desk.tell("a", kind, LATER)
        assert LATER + 7 * DAY_MS == free_at(desk, LATER)


def test_sent_again_after_a_bounce() -> None:
    """The second sending counts; the bounce was of the first one."""
    for kinds in (["sent", "bounced", "sent"], ["bounced", "sent", "sent"], ["sent", "sent", "bounced"]):
        desk, times = desk_with_one(), iter([LATER, LATER + 2 * HOUR_MS])
        for kind in kinds:
            desk.tell("a", kind, LATER + HOUR_MS if kind == "bounced" else next(times))
        assert LATER + 2 * HOUR_MS + 7 * DAY_MS == free_at(desk, LATER + 2 * HOUR_MS)


FAR = [at("1970-01-01"), at("0001-01-01"), MONDAY - 30 * DAY_MS, MONDAY + 30 * DAY_MS, at("2099-01-01")]


@pytest.mark.parametrize("said", FAR)
def test_an_impossible_time_voids_no_cap(said: int) -> None:
    """A lost clock says that it was sent long ago, or will be: the nearest instant that can be true counts."""
    desk = desk_with_one()
    desk.tell("a", "sent", LATER, at=to_datetime(said))

    assert ["impossible_time"] == desk.notes
    nearest = MONDAY - 5 * MINUTE_MS if said < MONDAY else LATER + 5 * MINUTE_MS
    assert [nearest] == [contact.at_ms for contact in desk.ledger.contacts]
    assert nearest + 7 * DAY_MS == free_at(desk, LATER)


@pytest.mark.parametrize(("kind", "taken"), [("sent", "09:55"), ("responded", "12:00")])
def test_an_impossible_time_is_told_with_what_it_said(kind: Any, taken: str) -> None:
    """The note has the time of the record and the one that is taken."""
    desk, lost = desk_with_one(), to_datetime(at("1970-01-01"))
    said = Outcome(request_id="a", department="cards", customer_id="c1", kind=kind, at=lost)
    (note,) = [one for one in desk.send(said, LATER) if isinstance(one, Anomaly)]

    assert f"it says 1970-01-01T00:00:00+00:00, taken as 2026-03-02T{taken}:00+00:00" == note.detail


@pytest.mark.parametrize(("said", "counted"), [
    (at("1970-01-01"), LATER), (at("2099-01-01"), LATER + 5 * MINUTE_MS), (MONDAY - 30 * DAY_MS, MONDAY - 30 * DAY_MS),
])  # fmt: skip
def test_an_impossible_time_of_what_nobody_asked_for(said: int, counted: int) -> None:
    """What is older than all that is remembered comes from a lost clock and is taken for new; history may be told."""
    desk = Desk(policy(ONE), grant())
    desk.tell("nobody-asked", "sent", LATER, at=to_datetime(said))

    assert [counted] == [contact.at_ms for contact in desk.ledger.contacts]


@pytest.mark.parametrize("said", [at("1970-01-01"), at("2099-01-01")])
def test_an_impossible_time_of_a_complaint(said: int) -> None:
    """What looks back at it counts from when it was received; the customer's word holds, and can be taken back."""
    rest = {"id": "rest", "kind": "conflict", "after": {"outcome": "complained"}, "within": "30d"}
    desk = Desk(policy(rest), grant())
    desk.ask(request("a"))
    heard = MONDAY + 20 * DAY_MS
    desk.tell("a", "complained", heard, at=to_datetime(said))

    assert heard + 30 * DAY_MS == free_at(desk, heard)
    assert [heard] == [one.captured_at_ms for one in desk.ledger.members["c1"].suppressions]


def test_an_unsubscription_from_a_lost_clock_withdraws_consent() -> None:
    """It is not older than the grant that it takes back."""
    desk = Desk(policy(ONE), grant(captured=MONDAY))
    desk.ask(request("a"))
    desk.tell("a", "unsubscribed", LATER, at=to_datetime(at("1970-01-01")))

    assert ["consent_withdrawn"] == codes(desk.ask(request("b"), LATER))[:1]


def test_an_impossible_time_of_a_bounce() -> None:
    """One from the past is not of the sending that was told; one from the future is, and not of one told later."""
    desk = desk_with_one()
    desk.tell("a", "sent", LATER)
    desk.tell("a", "bounced", LATER, at=to_datetime(at("1970-01-01")))
    assert LATER + 7 * DAY_MS == free_at(desk, LATER)
    desk.tell("a", "bounced", LATER, at=to_datetime(at("2099-01-01")))
    assert LATER == free_at(desk, LATER)
    desk.tell("a", "sent", LATER + HOUR_MS)
    assert LATER + HOUR_MS + 7 * DAY_MS == free_at(desk, LATER + HOUR_MS)


def test_what_bounced_without_an_approval_is_remembered() -> None:
    """A sending told after its bounce uses no budget, also where nobody had asked."""
    desk = Desk(policy(ONE), grant())
    desk.tell("nobody-asked", "bounced", LATER)
    desk.tell("nobody-asked", "sent", LATER - MINUTE_MS)

    assert LATER == free_at(desk, LATER)


def test_more_is_told_of_what_nobody_asked_for() -> None:
    """What one outcome leaves out, another may tell."""
    desk = Desk(policy(ONE), grant())
    desk.tell("nobody-asked", "responded", LATER)
    desk.tell("nobody-asked", "sent", LATER, campaign="gold", channel="sms", category="service")
    (contact,) = desk.ledger.contacts

    assert ("gold", "sms", "service") == (contact.kind.campaign, contact.kind.channel, contact.kind.category)


def test_silence_counts_unless_the_channel_releases() -> None:
    """With no word the contact is presumed sent; a channel may give its place back instead."""
    assert MONDAY + 8 * DAY_MS - 1 == free_at(desk_with_one(), MONDAY + 2 * DAY_MS)

    channels = {"email": {"on_silence": "release"}, "sms": {}, "phone": {}, "mail": {}}
    desk = desk_with_one(channels=channels)
    desk.ask(request("b"))
    (back,) = desk.tick(MONDAY + DAY_MS)
    assert ("b", "approved") == (back.request.request_id, back.outcome)


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

    assert [("b", "rejected")] == [(one.request.request_id, one.outcome) for one in back]
    assert ["consent_withdrawn"] == codes(desk.ask(request("c", category="promotional"), LATER))[:1]
    assert [] == codes(desk.ask(request("d", channel="sms"), LATER + 8 * DAY_MS))


@pytest.mark.parametrize("purpose", ["Marketing", "werbung"])
def test_an_unsubscription_from_what_nobody_knows_is_not_without_effect(purpose: str) -> None:
    """It stops marketing, whatever the policy calls it, and never what is legally due."""
    categories = {"promotional": {"purpose": purpose}, "regulatory": {"purpose": "legal", "exempt": ["cap"]}}
    rule = {"id": "by-law", "kind": "consent", "basis": "opt_out", "when": {"category": "regulatory"}}
    departments = {"cards": {"owner": "cards-desk", "categories": ["promotional", "regulatory"]}}
    desk = Desk(policy(rule, categories=categories, departments=departments), grant(purpose=purpose))
    desk.tell("nobody-asked", "unsubscribed", LATER)

    assert ["consent_withdrawn"] == codes(desk.ask(request("a"), LATER))
    assert "approved" == desk.ask(request("b", category="regulatory"), LATER).outcome


@pytest.mark.parametrize(("kind", "first"), [("sent", ContactState.SENT), ("bounced", ContactState.RELEASED)])
def test_an_outcome_tells_of_the_approval_of_its_time(kind: Any, first: ContactState) -> None:
    """Approved, recalled, approved again: what became of the first one is told late, and the second may yet be sent."""
    lists = {"id": "lists", "kind": "suppression", "lists": ["pause"]}
    desk = Desk(policy({**ONE, "window": "rolling 1d"}, lists), grant())
    desk.ask(request("a"))
    ends: Any = {"captured_at": to_datetime(MONDAY), "expires_at": to_datetime(MONDAY + HOUR_MS)}
    desk.send(SuppressionChange(customer_id="c1", list="pause", active=True, **ends), MONDAY + MINUTE_MS)
    again = MONDAY + 2 * DAY_MS
    assert "approved" == desk.tick(again)[-1].outcome
    said: Any = {"customer_id": "c1", "department": "cards", "request_id": "a", "kind": kind}
    out = desk.send(Outcome(at=to_datetime(MONDAY + 30_000), **said), again + HOUR_MS)

    assert [first, ContactState.APPROVED] == [one.state for one in desk.ledger.contacts]
    assert "impossible_time" not in [one.what for one in out if isinstance(one, Anomaly)]
    assert "cap_reached" in codes(desk.ask(request("b"), again + 2 * HOUR_MS))
