"""The life of a contact: deferrals that come back, arbitration, recall, and what frees is offered again."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.ledger.model import Decision
from arbiter.messages import PreferenceChange, Profile, SuppressionChange
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, to_datetime
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

ONE_A_WEEK = {"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
AUCTION = {"id": "auction", "kind": "arbitration", "hold": "30m", "when": {"category": "promotional"}}


def told(decided: list[Decision]) -> list[tuple[str, str]]:
    """(request id, outcome) of each decision."""
    return [(one.request.request_id, one.outcome) for one in decided]


# waiting


def test_a_deferred_request_comes_back_by_itself() -> None:
    """At `retry_at` it is decided; its decisions are counted, and only the last is final."""
    desk = Desk(policy(NIGHT), grant())
    first = desk.ask(request("a"), at("2026-03-02T22:00"))
    (second,) = desk.tick(at("2026-03-03T09:00"))

    assert ("deferred", 1, False) == (first.outcome, first.n, first.final)
    assert ("approved", 2, True) == (second.outcome, second.n, second.final)
    assert at("2026-03-03T09:00") == second.not_before_ms
    assert [] == desk.ledger.waiting
    again = desk.ask(request("a"), at("2026-03-03T10:00"))
    assert (True, 2) == (again.is_repeat, again.n)


def test_best_score_first() -> None:
    """When the budget frees, the best request that waits has it; the others are told when to look again."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("first"))
    low = desk.ask(request("low", priority=10), MONDAY + 1)
    high = desk.ask(request("high", priority=60), MONDAY + 2)
    frees = MONDAY + DAY_MS - 1 + 7 * DAY_MS

    assert (0, 0) == (low.ahead, high.ahead)
    assert [("high", "approved"), ("low", "deferred")] == told(desk.tick(frees))
    assert (frees + DAY_MS - 1 + 7 * DAY_MS) == desk.ledger.waiting[0].due_ms


def test_ahead_is_told_truly() -> None:
    """`ahead` counts those of the party that wait with a better claim."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("first"))
    aheads = [desk.ask(request(f"p{priority}", priority=priority)).ahead for priority in (30, 20, 40, 10)]

    assert [0, 1, 0, 3] == aheads


def test_ties_go_to_priority_then_to_who_came_first() -> None:
    """Equal scores: the higher priority, then the earlier request."""
    rules = policy(ONE_A_WEEK, score="value")
    desk = Desk(rules, grant())
    desk.ask(request("first"))
    desk.ask(request("late", value=5, priority=50), MONDAY + 5)
    desk.ask(request("early", value=5, priority=50), MONDAY + 6)
    desk.ask(request("prior", value=5, priority=60), MONDAY + 7)
    back = desk.tick(MONDAY + 30 * DAY_MS)

    assert ["prior", "late", "early"] == [name for name, outcome in told(back) if outcome == "approved"]


def test_cancelled_withdraws_what_waits_and_frees_what_was_approved() -> None:
    """A cancelled approval gives its place to the best that waits; a cancelled request is told so, once and for all."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("a"))
    desk.ask(request("b"))
    desk.ask(request("c"))

    assert [("b", "rejected")] == told(desk.tell("b", "cancelled", MONDAY + 1))
    assert [("c", "approved")] == told(desk.tell("a", "cancelled", MONDAY + 2))
    assert [] == desk.ledger.waiting


def test_waiting_is_bounded() -> None:
    """More than the policy lets wait are rejected, with the time at which they would have been heard."""
    desk = Desk(policy(ONE_A_WEEK, waiting_max=2), grant())
    for name in ("a", "b", "c"):
        desk.ask(request(name))
    full = desk.ask(request("d"))

    assert ("rejected", "waiting_full") == (full.outcome, codes(full)[-1])
    assert full.next_eligible_at_ms is not None


def test_what_waits_expires_with_an_answer() -> None:
    """A budget that was taken by a better request may leave no time: that is said, not left open."""
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("a"))
    frees = MONDAY + 8 * DAY_MS - 1
    desk.ask(request("b", expires_at=frees + HOUR_MS))
    desk.ask(request("c", priority=60))
    back = desk.tick(frees)

    assert [("c", "approved"), ("b", "rejected")] == told(back)
    assert "would_expire" in codes(back[1])


def test_withdrawal_rejects_what_waits_and_recalls_what_is_unsent() -> None:
    """The customer's word reaches everything at once; the place counts until the desk confirms that it stopped."""
    desk = Desk(policy(ONE_A_WEEK), grant(captured=1))
    desk.ask(request("a"))
    desk.ask(request("b"))
    out = desk.send(grant(captured=MONDAY + 2, state="withdrawn"), MONDAY + HOUR_MS)

    assert [("a", "recalled"), ("a", "rejected"), ("b", "rejected")] == told(
        [o for o in out if isinstance(o, Decision)]
    )
    desk.send(grant(captured=MONDAY + 3), MONDAY + 2 * HOUR_MS)
    assert ["cap_reached"] == codes(desk.ask(request("c"), MONDAY + 2 * HOUR_MS))
    assert [("c", "approved")] == told(desk.tell("a", "cancelled", MONDAY + 3 * HOUR_MS))


def test_suppression_recalls_too() -> None:
    """A list that the customer enters recalls what is unsent."""
    lists = {"id": "lists", "kind": "suppression", "lists": ["vulnerable"]}
    desk = Desk(policy(lists), grant())
    desk.ask(request("a"))
    entry = SuppressionChange(customer_id="c1", list="vulnerable", active=True, captured_at=to_datetime(MONDAY))
    out = [one for one in desk.send(entry, MONDAY + 1) if isinstance(one, Decision)]

    assert [("a", "recalled"), ("a", "rejected")] == told(out)
    assert ["suppressed"] == codes(out[0])


def test_a_suppression_that_ends_before_the_permit_begins_recalls_nothing() -> None:
    """What may be sent from tomorrow on is judged as of tomorrow."""
    lists = {"id": "lists", "kind": "suppression", "lists": ["holiday"]}
    desk = Desk(policy(lists), grant())
    desk.ask(request("a", send_after=MONDAY + DAY_MS))
    times: Any = {"captured_at": to_datetime(MONDAY), "expires_at": to_datetime(MONDAY + HOUR_MS)}

    assert [] == desk.send(SuppressionChange(customer_id="c1", list="holiday", active=True, **times), MONDAY + 1)


def shortened() -> tuple[Desk, list[Decision]]:
    """An approval that is good for a day, of a customer whose newer grant ends in three hours; what that decides."""
    desk = Desk(policy(), grant())
    desk.ask(request("a"))
    out = desk.send(grant(captured=1, expires_at=MONDAY + 3 * HOUR_MS), MONDAY)
    return desk, [one for one in out if isinstance(one, Decision)]


def test_a_consent_that_is_shortened_recalls_what_would_outlast_it() -> None:
    """It is approved anew, until the consent ends at most, when its department has had time to hear of the recall."""
    desk, out = shortened()
    assert [("a", "recalled"), ("a", "deferred")] == told(out)
    assert [["consent_expired"], ["recalled"]] == [codes(one) for one in out]
    assert MONDAY + 10 * MINUTE_MS == out[1].retry_at_ms
    (again,) = desk.tick(MONDAY + 10 * MINUTE_MS)

    assert ("approved", MONDAY + 3 * HOUR_MS) == (again.outcome, again.valid_until_ms)


def test_a_recall_that_is_confirmed_is_decided_at_once() -> None:
    """`cancelled` says that nothing was sent: the place is free, and the request need not wait."""
    desk, _ = shortened()

    assert [("a", "approved")] == told(desk.tell("a", "cancelled", MONDAY + 1))
    assert ["RELEASED", "APPROVED"] == [contact.state.name for contact in desk.ledger.contacts]


def test_a_changed_fact_is_answered_at_once() -> None:
    """A snooze that is lifted lets go what waited for its end."""
    desk = Desk(policy(), grant())
    wish = PreferenceChange(customer_id="c1", captured_at=to_datetime(1), snooze_until=to_datetime(MONDAY + 9 * DAY_MS))
    desk.send(wish, MONDAY)
    desk.ask(request("a"))
    out = desk.send(PreferenceChange(customer_id="c1", captured_at=to_datetime(2)), MONDAY + 1)

    assert [("a", "approved")] == told([one for one in out if isinstance(one, Decision)])


def test_what_waits_is_not_heard_while_facts_are_read() -> None:
    """A profile must not let go what a withdrawal, not yet read, would stop; afterwards it is heard at once."""
    desk = Desk(policy(NIGHT), grant(captured=1), Profile(customer_id="c1", time_zone="Asia/Tokyo"))
    desk.ask(request("a"), at("2026-03-02T14:00"))  # it is night in Tokyo

    assert [] == desk.read(Profile(customer_id="c1", time_zone="Europe/Lisbon"), at("2026-03-02T15:00"))
    assert [] == desk.read(grant(captured=2, state="withdrawn"), at("2026-03-02T15:00"))
    assert [("a", "rejected")] == told(desk.tick(at("2026-03-02T15:00")))


def test_cancelling_what_is_held_closes_the_hold() -> None:
    """When nobody is left in an arbitration, the next request opens another one."""
    desk = Desk(policy(AUCTION), grant())
    desk.ask(request("a"))
    desk.tell("a", "cancelled", MONDAY + 1)

    assert {} == desk.ledger.holds


# arbitration


def test_arbitration_decides_together_best_first() -> None:
    """The first request opens the hold, later ones do not extend it, and the losers learn who won and by what."""
    desk = Desk(policy(AUCTION, ONE_A_WEEK), grant())
    first = desk.ask(request("low", priority=10))
    second = desk.ask(request("high", department="loans", priority=90), MONDAY + 29 * MINUTE_MS)
    closes = MONDAY + 30 * MINUTE_MS

    assert (["held_for_arbitration"], closes) == (codes(first), first.retry_at_ms)
    assert closes == second.retry_at_ms
    won, lost = desk.tick(closes)
    assert [("high", "approved"), ("low", "deferred")] == told([won, lost])
    assert ["cap_reached", "outranked"] == codes(lost)
    assert "loans won with a score of 4.5" in lost.findings[1].message
    assert {} == desk.ledger.holds


def test_held_once() -> None:
    """A loser waits for its cap and is not held again; the next request opens a new hold."""
    desk = Desk(policy(AUCTION, ONE_A_WEEK), grant())
    desk.ask(request("a", priority=60))
    desk.ask(request("b", priority=10))
    desk.tick(MONDAY + 30 * MINUTE_MS)
    frees = desk.ledger.waiting[0].due_ms

    assert [("b", "approved")] == told(desk.tick(frees))
    held = desk.ask(request("c"), frees)
    assert "held_for_arbitration" in codes(held)
    assert frees + 30 * MINUTE_MS == held.retry_at_ms


@pytest.mark.timeout(10)
def test_a_hold_that_is_opened_anew_keeps_nobody_beyond_its_own_close() -> None:
    """A request that comes while facts are read, when no timer fires, leaves the close of an earlier one as it was."""
    desk = Desk(policy(AUCTION), grant())
    first = desk.ask(request("a"))
    closes_ms = MONDAY + 30 * MINUTE_MS
    assert closes_ms == first.retry_at_ms

    (late,) = desk.read(request("b"), closes_ms + MINUTE_MS)
    assert closes_ms + 31 * MINUTE_MS == late.retry_at_ms
    back = desk.tick(closes_ms + 2 * MINUTE_MS)
    assert [("a", "approved")] == [(one.request.request_id, one.outcome) for one in back]
    assert ["b"] == [desk.party.request_in(one).request_id for one in desk.ledger.waiting]
    assert [("b", "approved")] == [(one.request.request_id, one.outcome) for one in desk.tick(late.retry_at_ms)]


def test_the_impossible_is_not_held() -> None:
    """What can never be approved is rejected at once, and so is what expires before the close."""
    assert "rejected" == Desk(policy(AUCTION)).ask(request()).outcome
    short = Desk(policy(AUCTION), grant()).ask(request(expires_at=MONDAY + 20 * MINUTE_MS))
    assert ("rejected", ["held_for_arbitration", "would_expire"]) == (short.outcome, codes(short))


def test_held_requests_hold_no_place() -> None:
    """Another category is not kept waiting by what is held."""
    desk = Desk(policy(AUCTION, ONE_A_WEEK), grant())
    desk.ask(request("a"))

    assert "approved" == desk.ask(request("b", category="service")).outcome


def test_dry_run_is_never_held() -> None:
    """A dry run is answered at once and opens no hold."""
    desk = Desk(policy(AUCTION), grant())

    assert "approved" == desk.ask(request("a", dry_run=True)).outcome
    assert {} == desk.ledger.holds


# headroom and recall


def test_headroom_is_kept() -> None:
    """One of two places is kept for retention: others are told `reserved`, retention may have both."""
    rule = {**ONE_A_WEEK, "limit": 2, "keep": {"slots": 1, "for": {"product": "retention"}}}
    desk = Desk(policy(rule), grant())

    assert [] == codes(desk.ask(request("a")))
    assert ["reserved"] == codes(desk.ask(request("b")))
    assert [] == codes(desk.ask(request("c", product="retention")))
    assert ["cap_reached"] == codes(desk.ask(request("d", product="retention")))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["recalled", "deferred"]),
        ({"recallable": False}, []),
        ({"priority": 41}, []),  # 60 is less than one and a half times 41
        ({"send_after": MONDAY + 2 * HOUR_MS}, []),  # an hour before it may be sent is too late
    ],
)
def test_recall(fields: dict[str, Any], expected: list[str]) -> None:
    """A much better request takes the place of an approval that cannot have been sent yet."""
    base = {"send_after": MONDAY + 6 * HOUR_MS, "priority": 20}
    desk = Desk(policy(ONE_A_WEEK), grant())
    desk.ask(request("victim", **{**base, **fields}))
    out = [o for o in desk.send(request("best", priority=60), MONDAY + HOUR_MS) if isinstance(o, Decision)]

    assert expected == [outcome for name, outcome in told(out) if name == "victim"]
    assert ("approved" if expected else "deferred") == next(o.outcome for o in out if o.request.request_id == "best")
    if expected:
        finding = out[0].findings[0]
        assert ("week", "week-owner", "recalled") == (finding.rule, finding.owner, finding.code)
        assert "cards (cards-desk)" in finding.message


def test_recall_for_a_request_that_would_expire() -> None:
    """That the budget would free too late by itself is what a recall is for; what else says no stays a no."""
    expires_at = MONDAY + DAY_MS
    for rules, expected in (
        ([ONE_A_WEEK], [("victim", "recalled"), ("best", "approved"), ("victim", "deferred")]),
        ([ONE_A_WEEK, {**NIGHT, "closed": {"mon": "00:00-24:00"}, "when": {"channel": "sms"}}], [("best", "rejected")]),
    ):
        desk = Desk(policy(*rules), grant())
        desk.ask(request("victim", send_after=MONDAY + 40 * HOUR_MS, priority=20))
        best = request("best", priority=60, channel="sms", expires_at=expires_at)
        out = [one for one in desk.send(best, MONDAY + HOUR_MS) if isinstance(one, Decision)]

        assert expected == told(out)
    assert ["would_expire"] == codes(out[-1])[-1:]


def test_recalled_only_once() -> None:
    """A request that was recalled and approved again is safe."""
    desk = Desk(policy({**ONE_A_WEEK, "window": "rolling 1d"}), grant())
    later = {"send_after": MONDAY + 40 * HOUR_MS, "priority": 1}
    desk.ask(request("victim", **later))
    desk.send(request("best", priority=60, send_after=MONDAY + 30 * HOUR_MS), MONDAY)
    desk.tell("best", "cancelled", MONDAY + 1)

    assert desk.ledger.open[0].recalled
    assert "deferred" == desk.ask(request("third", priority=60, send_after=MONDAY + 30 * HOUR_MS), MONDAY + 2).outcome


def test_one_recall_must_clear_everything() -> None:
    """If one recall is not enough, none is made."""
    points = {**ONE_A_WEEK, "limit": 5, "unit": "points"}
    desk = Desk(policy(points), grant())
    for name in ("a", "b"):
        desk.ask(request(name, channel="sms", send_after=MONDAY + 6 * HOUR_MS, priority=1))
    out = desk.send(request("call", channel="phone", priority=60), MONDAY)

    assert [("call", "deferred")] == told([one for one in out if isinstance(one, Decision)])


# other rules that look back


def test_conflict_after_a_contact_and_after_a_complaint() -> None:
    """Never A within N after B, where B is a contact or an outcome."""
    rules = policy(
        {
            "id": "after-loan",
            "kind": "conflict",
            "when": {"product": "card"},
            "after": {"product": "loan"},
            "within": "3d",
        },
        {
            "id": "sore",
            "kind": "conflict",
            "when": {"product": "card"},
            "after": {"outcome": "complained"},
            "within": "30d",
        },
    )
    desk = Desk(rules, grant())
    assert [] == codes(desk.ask(request("a", product="card")))
    desk.ask(request("b", product="loan"))
    after_loan = desk.ask(request("c", product="card"))
    assert (["conflict"], MONDAY + DAY_MS - 1 + 3 * DAY_MS) == (codes(after_loan), after_loan.retry_at_ms)
    desk.tell("b", "complained", MONDAY + HOUR_MS)
    sore = desk.ask(request("d", product="card"), MONDAY + HOUR_MS)
    assert MONDAY + HOUR_MS + 30 * DAY_MS == sore.retry_at_ms


def test_holdout_is_stable() -> None:
    """The same share of customers is held out every time."""
    rules = policy({"id": "control", "kind": "holdout", "share": 0.2, "salt": "spring"})
    names = [f"c{number}" for number in range(1000)]
    held = [n for n in names if Desk(rules, grant(n)).ask(request(customer_id=n)).outcome == "rejected"]

    assert 160 < len(held) < 240
    assert held == [n for n in names if codes(Desk(rules, grant(n)).ask(request("x", customer_id=n))) == ["holdout"]]


# the table
