"""``capacity``: one number that all customers draw on, per calendar window and per hour."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.engine.evaluation import Evaluation
from arbiter.engine.households import merge, split
from arbiter.ledger.capacity import CapacityJournal, Draw, Level, WholeStock
from arbiter.ledger.identity import answer_key
from arbiter.ledger.model import Decision
from arbiter.messages import SuppressionChange
from arbiter.policy.ruleset import NO_STOCK, PolicyError
from arbiter.timing.instants import DAY_MS, HOUR_MS, to_datetime
from tests.engine.test_life import told
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request

CALLS = {"id": "calls", "kind": "capacity", "when": {"channel": "phone"}, "limit": 2, "window": "calendar week"}
NEXT_WEEK = at("2026-03-09T00:00")
WEEK = Draw("calls/week", at("2026-03-02T00:00"), NEXT_WEEK)


class Parked(WholeStock):
    """A stock whose places are all set aside elsewhere, until they come back."""

    is_parked = True

    def level(self, draw: Draw, limit: int) -> Level:
        """Nothing here while they are parked, though not all is used."""
        return Level(0, limit - 1) if self.is_parked else super().level(draw, limit)


def desks(stock: WholeStock, *names: str, rule: dict[str, Any] = CALLS, **fields: Any) -> list[Desk]:
    """A desk per customer, all drawing on one stock."""
    return [Desk(policy(rule, **fields), grant(name), stock=stock) for name in names]


def call(name: str, customer: str, **fields: Any) -> Any:
    """A phone call to a customer."""
    return request(name, customer_id=customer, channel="phone", **fields)


def test_all_customers_draw_on_one_number() -> None:
    """The third call of the week waits for the next week, whoever it is to."""
    one, two, three = desks(WholeStock(), "c1", "c2", "c3")
    assert [[], []] == [codes(one.ask(call("a", "c1"))), codes(two.ask(call("b", "c2")))]
    third = three.ask(call("c", "c3"))

    assert ("deferred", NEXT_WEEK) == (third.outcome, third.retry_at_ms)
    (finding,) = third.findings
    assert ("capacity_exhausted", "calls-owner", 2, 2, "calendar week") == (
        finding.code, finding.owner, finding.used, finding.limit, finding.window
    )  # fmt: skip
    assert "the next week begins at 2026-03-09 00:00 (Europe/Lisbon)" in finding.message
    assert [("c", "approved")] == told(three.tick(NEXT_WEEK))


def test_other_channels_draw_on_nothing() -> None:
    """Only what matches `when` takes a place."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1")
    desk.ask(request("mail"))

    assert not stock.taken


def test_the_permit_ends_with_the_window() -> None:
    """A call approved on Sunday night may not be made on Monday with Sunday's place."""
    (desk,) = desks(WholeStock(), "c1")
    sunday = at("2026-03-08T22:00")

    assert NEXT_WEEK == desk.ask(call("a", "c1"), sunday).valid_until_ms


def test_per_hour() -> None:
    """A second number per hour spreads the week's: the next hour has places again, and both are taken."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1", rule={**CALLS, "limit": 5, "hourly": 1})
    desk.ask(call("a", "c1"))
    second = desk.ask(call("b", "c1"))

    assert MONDAY + HOUR_MS == second.retry_at_ms
    assert "calendar hour" == second.findings[0].window
    assert [("b", "approved")] == told(desk.tick(MONDAY + HOUR_MS))
    assert {WEEK: 2, "first hour": 1, "second hour": 1} == {
        draw if draw == WEEK else ("first hour" if draw.start_ms == MONDAY else "second hour"): taken
        for draw, taken in stock.taken.items()
    }


def test_limit_of_none() -> None:
    """A limit of 0 means never."""
    (desk,) = desks(WholeStock(), "c1", rule={**CALLS, "limit": 0})
    answer = desk.ask(call("a", "c1"))

    assert ("rejected", None) == (answer.outcome, answer.next_eligible_at_ms)


def test_set_aside_elsewhere_waits_for_the_next_window() -> None:
    """While places are set aside but not used, a request waits like any other, and is woken if one comes back."""
    (desk,) = desks(Parked(), "c1")
    answer = desk.ask(call("a", "c1", expires_at=NEXT_WEEK + DAY_MS))
    (asked,) = desk.ledger.waiting

    assert ("deferred", NEXT_WEEK) == (answer.outcome, answer.retry_at_ms)
    assert "are being given out; the next week begins at" in answer.findings[0].message
    assert [WEEK.key] == asked.awaits


def test_set_aside_elsewhere_is_not_refused_before_its_last_instant() -> None:
    """Without a next window in its time a request waits for a place to come back as long as it could be approved."""
    (desk,) = desks(Parked(), "c1")
    last_ms = MONDAY + DAY_MS - desk.policy.permit_min_ms
    answer = desk.ask(call("a", "c1", expires_at=MONDAY + DAY_MS))

    assert ("deferred", last_ms) == (answer.outcome, answer.retry_at_ms)
    assert [("a", "rejected")] == told(desk.tick(last_ms))


def test_waits_for_the_window_that_is_full() -> None:
    """Where the hour is full and the week is not, nobody is woken for a place of the week."""
    (desk,) = desks(WholeStock(), "c1", rule={**CALLS, "limit": 9, "hourly": 1})
    desk.ask(call("a", "c1"))
    desk.ask(call("b", "c1"))
    (asked,) = desk.ledger.waiting

    assert [f"calls/hour:{MONDAY}:{MONDAY + HOUR_MS}"] == asked.awaits


def test_a_permit_that_would_be_too_short_waits_for_no_place() -> None:
    """There are places; the window is nearly over. Woken for one, it would only be told the same again."""
    (desk,) = desks(WholeStock(), "c1")
    desk.ask(call("a", "c1"), NEXT_WEEK - 60_000)
    (asked,) = desk.ledger.waiting

    assert [] == asked.awaits


def test_what_is_held_for_an_auction_waits_for_no_place() -> None:
    """It is decided at the close, whatever comes back before."""
    hold = {"id": "auction", "kind": "arbitration", "hold": "10m"}
    desk = Desk(policy(CALLS, hold), grant(), stock=Parked())
    desk.ask(call("a", "c1"))
    (asked,) = desk.ledger.waiting

    assert ("auction", []) == (asked.held, asked.awaits)


def test_set_aside_and_another_rule() -> None:
    """What waits for another rule as well waits for a place too; once there is one, for that other rule alone."""
    night = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "08:00-12:00"}}
    stock = Parked()
    desk = Desk(policy(CALLS, night), grant(), stock=stock)
    assert NEXT_WEEK == desk.ask(call("a", "c1")).retry_at_ms
    stock.is_parked = False
    (woken,) = desk.wake(MONDAY + HOUR_MS)
    (asked,) = desk.ledger.waiting

    assert ("deferred", at("2026-03-02T12:00"), []) == (woken.outcome, woken.retry_at_ms, asked.awaits)


def test_without_a_stock_nothing_is_approved() -> None:
    """What cannot be counted is not given out."""
    desk = Desk(policy(CALLS), grant(), stock=NO_STOCK)

    assert ["capacity_exhausted"] == codes(desk.ask(call("a", "c1")))


@pytest.mark.parametrize(
    ("outcome", "left"), [("cancelled", 0), ("bounced", 1), ("not_reached", 1), ("sent", 1), ("responded", 1)]
)
def test_only_cancelled_gives_it_back(outcome: str, left: int) -> None:
    """A cancelled call frees its place at once; a bounced one cost the agents' time."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1")
    desk.ask(call("a", "c1"))
    desk.tell("a", outcome, MONDAY + 1)
    desk.tell("a", outcome, MONDAY + 2)

    assert left == stock.taken[WEEK]


def test_a_place_moves_with_its_customer() -> None:
    """A contact takes its place along to another ledger, where it can be given back, once."""
    stock = WholeStock()
    one, household = desks(stock, "c1", "c2")
    one.ask(call("a", "c1"))
    part = split(one.party, "c1")
    assert ({}, [[WEEK]]) == (one.ledger.draws, list(part.ledger.draws.values()))
    merge(household.party, part)
    one.tell("a", "cancelled", MONDAY + 1)
    assert 1 == stock.taken[WEEK]
    household.tell("a", "cancelled", MONDAY + 1)

    assert 0 == stock.taken[WEEK]


def test_what_is_freed_goes_to_what_waits() -> None:
    """Of one party, the best that waits takes the place in the same commit."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1", rule={**CALLS, "limit": 1})
    for name, priority in (("a", 50), ("b", 10), ("c", 60)):
        desk.ask(call(name, "c1", priority=priority))
    freed = desk.tell("a", "cancelled", MONDAY + 1)

    assert [("c", "approved")] == [one for one in told(freed) if one[1] == "approved"]
    assert 1 == stock.taken[WEEK]


def test_recall_gives_it_back() -> None:
    """A much better request of the party takes over the place of one that cannot have been made yet."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1", rule={**CALLS, "limit": 1})
    desk.ask(call("victim", "c1", priority=10, send_after=MONDAY + 6 * HOUR_MS))
    out = desk.send(call("best", "c1", priority=60), MONDAY)

    decided = [one for one in out if isinstance(one, Decision)]
    assert [("victim", "recalled"), ("best", "approved"), ("victim", "deferred")] == told(decided)
    assert 1 == stock.taken[WEEK]


def test_a_recall_that_helps_nobody_takes_nothing() -> None:
    """A trial recall that does not clear the way leaves the place where it was."""
    stock = WholeStock()
    cap = {"id": "points", "kind": "cap", "per": ["party"], "limit": 5, "unit": "points", "window": "rolling 7d"}
    desk = Desk(policy({**CALLS, "when": {}, "limit": 2}, cap), grant(), stock=stock)
    for name in ("a", "b"):
        desk.ask(request(name, channel="sms", priority=1, send_after=MONDAY + 6 * HOUR_MS))
    desk.ask(call("best", "c1", priority=60))

    assert 2 == stock.taken[WEEK]
    assert ["approved", "approved"] == [
        desk.answers[answer_key("c1", asked.identity)].outcome for asked in desk.ledger.open
    ]


def test_withdrawn_consent_counts_until_it_is_cancelled() -> None:
    """The customer's word stops the call; the place is free once the desk says that it was not made."""
    stock = WholeStock()
    lists = {"id": "lists", "kind": "suppression", "lists": ["vulnerable"]}
    desk = Desk(policy(CALLS, lists), grant(), stock=stock)
    desk.ask(call("a", "c1"))
    desk.send(
        SuppressionChange(customer_id="c1", list="vulnerable", active=True, captured_at=to_datetime(MONDAY)), MONDAY + 1
    )
    assert 1 == stock.taken[WEEK]
    desk.tell("a", "cancelled", MONDAY + 2)

    assert 0 == stock.taken[WEEK]


def test_silence_gives_it_back_where_its_channel_says_so() -> None:
    """A permit that ran out on a channel with `on_silence: release` took no place."""
    stock = WholeStock()
    channels = {"email": {}, "sms": {}, "mail": {}, "phone": {"on_silence": "release"}}
    (desk,) = desks(stock, "c1", channels=channels)
    valid_until = desk.ask(call("a", "c1")).valid_until_ms
    assert valid_until is not None
    desk.tick(valid_until)

    assert 0 == stock.taken[WEEK]


def test_dry_run_takes_nothing() -> None:
    """A dry run is told what would be, and leaves the place."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1", rule={**CALLS, "limit": 1})

    assert "approved" == desk.ask(call("a", "c1", dry_run=True)).outcome
    assert not stock.taken
    desk.ask(call("b", "c1"))
    assert ["capacity_exhausted"] == codes(desk.ask(call("c", "c1", dry_run=True)))


def test_shadow_reports_and_counts() -> None:
    """In shadow mode nothing is stopped, what it would have stopped counts, and each decision says so."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1", rule={**CALLS, "mode": "shadow", "limit": 1})
    answers = [desk.ask(call(name, "c1")) for name in ("a", "b", "c")]

    assert ["approved"] * 3 == [answer.outcome for answer in answers]
    assert [0, 1, 1] == [len(answer.shadow) for answer in answers]
    assert 3 == stock.taken[WEEK]


def test_exempt_takes_nothing() -> None:
    """A category that is exempt from capacity neither waits for a place nor takes one."""
    stock = WholeStock()
    categories = {"promotional": {"purpose": "marketing"}, "service": {"purpose": "service", "exempt": ["capacity"]},
                  "regulatory": {"purpose": "legal"}}  # fmt: skip
    (desk,) = desks(stock, "c1", rule={**CALLS, "limit": 0}, categories=categories)

    assert [] == codes(desk.ask(call("a", "c1", category="service")))
    assert not stock.taken


def test_sending_later_takes_a_place_of_then() -> None:
    """`send_after` in the next week draws on the next week."""
    stock = WholeStock()
    (desk,) = desks(stock, "c1", reserve_ahead="8d")
    desk.ask(call("a", "c1", send_after=NEXT_WEEK + DAY_MS))

    assert [NEXT_WEEK] == [draw.start_ms for draw in stock.taken]
    (want,) = Evaluation(desk.policy, desk.ledger, call("b", "c1"), NEXT_WEEK, NEXT_WEEK, NO_STOCK).wants(NEXT_WEEK)
    assert (2, NEXT_WEEK) == (want.limit, want.draw.start_ms)


def test_places_are_forgotten_when_the_window_is_over() -> None:
    """What can no longer be given back is not kept in the ledger."""
    (desk,) = desks(WholeStock(), "c1")
    desk.ask(call("a", "c1"))
    assert desk.ledger.draws
    desk.ask(request("b"), NEXT_WEEK)

    assert {} == desk.ledger.draws


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"window": "rolling 7d"}, "rules[1], `calls`: `rolling 7d` is not a calendar window"),
        ({"window": "calendar fortnight"}, "rules[1], `calls`: `calendar fortnight` is not a calendar window"),
    ],
)
def test_bad_capacities(rule: dict[str, Any], expected: str) -> None:
    """A capacity needs a calendar window."""
    with pytest.raises(PolicyError, match=expected.replace("[", r"\[").replace("]", r"\]")):
        policy({**CALLS, **rule})


def test_a_purse_shows_again_what_it_showed() -> None:
    """A failed step is undone; led through its steps once more, a party sees what it saw, and takes nothing twice."""
    stock = WholeStock()
    journal = CapacityJournal(stock)
    journal.begin()
    assert Level(2, 0) == journal.level(WEEK, 2)
    journal.take(WEEK)
    journal.begin()
    journal.take(WEEK)
    stock.take(WEEK)  # somebody else
    journal.rewind()

    assert 2 == stock.taken[WEEK]
    assert Level(2, 0) == journal.level(WEEK, 2)
    journal.take(WEEK)
    assert 2 == stock.taken[WEEK]
    journal.begin()
    assert stock.level(WEEK, 2) == journal.level(WEEK, 2)
