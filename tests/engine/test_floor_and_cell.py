"""``floor`` raises the scores of what is behind; ``cell`` starts a campaign only when enough customers wait for it."""

from __future__ import annotations

from typing import Any

import pytest

from arbiter.engine.evaluation import Evaluation
from arbiter.ledger.capacity import WholeStock
from arbiter.messages import ContactRequest
from arbiter.policy.ruleset import NO_STOCK, PolicyError
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS
from tests.engine.test_life import ONE_A_WEEK, told
from tests.inputs.builders import Desk, at, codes, grant, policy, request

FLOOR = {
    "id": "spring",
    "kind": "floor",
    "when": {"campaign": "gold"},
    "reach": 10,
    "from": "2026-03-02",
    "until": "2026-03-11",
    "ceiling": 3,
}
HALF = at("2026-03-07T00:00")
"""Half of the ten days are over."""

CELL = {"id": "trial", "kind": "cell", "when": {"campaign": "gold"}, "size": 3, "deadline": "2026-03-06"}
DEADLINE = at("2026-03-07T00:00")
MONDAY = at("2026-03-02T10:00")


def score(desk: Desk, now_ms: int, **fields: Any) -> float:
    """What a request would score, without asking for it."""
    answer = desk.ask(request("probe", dry_run=True, **fields), now_ms)
    assert answer.score is not None
    return answer.score


# floor


@pytest.mark.parametrize(
    ("done", "now", "expected"),
    [
        (0, HALF, 3.0),
        (1, HALF, 1 + 2 * 0.8),
        (4, HALF, 1 + 2 * 0.2),
        (5, HALF, 1.0),
        (9, HALF, 1.0),
        (0, at("2026-03-01T23:59"), 1.0),
        (0, at("2026-03-02T00:00"), 1.0),
        (0, at("2026-03-12T00:00"), 1.0),
    ],
)
def test_boost(done: int, now: int, expected: float) -> None:
    """The further behind a straight line to its goal, the more its requests count; outside the dates not at all."""
    stock = WholeStock()
    desk = Desk(policy(FLOOR), grant(), stock=stock)
    (want,) = Evaluation(desk.policy, desk.ledger, request("a"), HALF, HALF, NO_STOCK).wants(HALF)
    stock.taken[want.draw] = done
    plain = score(desk, now, campaign="other")

    assert pytest.approx(expected * plain) == score(desk, now)


def test_what_was_approved_counts_and_what_was_cancelled_does_not() -> None:
    """All customers' contacts add up; the decision says why a score is higher than its formula."""
    stock = WholeStock()
    one = Desk(policy(FLOOR), grant("c1"), stock=stock)
    two = Desk(policy(FLOOR), grant("c2"), stock=stock)
    raised = one.ask(request("a"), HALF)
    two.ask(request("b", customer_id="c2"), HALF)
    assert [2] == list(stock.taken.values())
    one.tell("a", "cancelled", HALF + 1)

    assert [1] == list(stock.taken.values())
    assert raised.score_note == "raised 3 times by `spring`, which is behind"


def test_the_raised_score_goes_first() -> None:
    """What is behind wins over what scores more by itself, also when it waits already."""
    desk = Desk(policy(FLOOR, ONE_A_WEEK), grant())
    desk.ask(request("first", campaign="other"), MONDAY)
    desk.ask(request("behind", priority=20), MONDAY)
    desk.ask(request("other", priority=40, campaign="other"), MONDAY)
    (won, _) = desk.tick(at("2026-03-10T10:00"))

    assert [("behind", "approved")] == told([won])


def test_shadow_raises_nothing() -> None:
    """A floor on trial counts, and changes no score."""
    desk = Desk(policy({**FLOOR, "mode": "shadow"}), grant())

    assert score(desk, HALF, campaign="other") == score(desk, HALF)


# cell


def customers(count: int, *rules: dict[str, Any], **fields: Any) -> list[Desk]:
    """So many customers on one stock, each with a request for the campaign."""
    stock = WholeStock()
    desks = [Desk(policy(CELL, *rules), grant(f"c{number}"), stock=stock) for number in range(count)]
    for desk in desks:
        desk.ask(wish(desk, "first", **fields), MONDAY)
    return desks


def wish(desk: Desk, name: str, **fields: Any) -> ContactRequest:
    """A request of this desk's customer for the campaign."""
    (customer,) = desk.ledger.members
    return request(name, customer_id=customer, **fields)


def outcome(desk: Desk, name: str = "first") -> str:
    """How a request stands."""
    answers = {answered.source[2]: answered.outcome for answered in desk.answers.values()}
    return answers[min(answers)] if name == "first" else answers[max(answers)]


def test_a_cell_opens_for_good() -> None:
    """With the third customer it opens; all three are decided again, and whoever comes later just passes."""
    one, two, three = customers(3)
    assert ["deferred"] * 3 == [outcome(desk) for desk in (one, two, three)]
    finding = one.ask(wish(one, "again"), MONDAY).findings
    assert [] == list(finding)
    for desk in (one, two, three):
        desk.wake(MONDAY + 1)

    assert ["approved"] * 3 == [outcome(desk) for desk in (one, two, three)]
    assert {} == one.ledger.cells
    late = Desk(one.policy, grant("c9"), stock=one.stock)
    assert [] == codes(late.ask(wish(late, "late"), DEADLINE + DAY_MS))


def test_a_closed_cell_says_how_many_there_are() -> None:
    """The finding tells how many customers wait, and until when."""
    (one, _) = customers(2)
    again = one.ask(wish(one, "again"), MONDAY)
    (finding,) = again.findings

    assert ("cell_too_small", 2, 3) == (finding.code, finding.used, finding.limit)
    assert DEADLINE == again.retry_at_ms
    assert "2 do" in finding.message


def test_customers_are_counted_once_each() -> None:
    """Two requests of one customer fill one place, and one of them cancelled does not empty it."""
    one, two = customers(2)
    one.ask(wish(one, "second"), MONDAY)
    assert [2] == list(one.stock.taken.values())  # type: ignore[attr-defined]
    one.tell("first", "cancelled", MONDAY + 1, customer_id="c0")
    assert [2] == list(one.stock.taken.values())  # type: ignore[attr-defined]
    one.tell("second", "cancelled", MONDAY + 2, customer_id="c0")

    assert [1] == list(two.stock.taken.values())  # type: ignore[attr-defined]


def test_whoever_waits_for_something_else_too_is_not_counted() -> None:
    """Only those count of whom the cell is the only "no"; at the end of the night they do."""
    night = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "08:00-12:00"}}
    one, two, three = customers(3, night)
    assert not list(one.stock.taken.values())  # type: ignore[attr-defined]
    assert DEADLINE == one.ledger.waiting[0].due_ms
    for desk in (one, two, three):
        desk.wake(MONDAY + 3 * HOUR_MS)
    one.wake(MONDAY + 3 * HOUR_MS)

    assert "approved" == outcome(one)


def test_a_cell_that_stays_small_is_dropped() -> None:
    """At the deadline what waits is rejected, and so is what comes later."""
    one, two = customers(2)
    back = one.tick(DEADLINE)

    assert [("first", "rejected")] == told(back)
    assert ["cell_too_small"] == codes(back[0])
    late = two.ask(wish(two, "late"), DEADLINE + 1)
    assert ("rejected", None) == (late.outcome, late.next_eligible_at_ms)


def test_a_request_may_expire_before_the_cell_does() -> None:
    """It waits for the cell as long as it can, and is rejected just before it expires."""
    (one,) = customers(1, expires_at=MONDAY + HOUR_MS)
    last = MONDAY + HOUR_MS - 10 * MINUTE_MS  # the shortest permit
    assert last == one.ledger.waiting[0].due_ms
    (back,) = one.tick(last)

    assert ("rejected", ["cell_too_small"]) == (back.outcome, codes(back))


def test_a_dry_run_is_not_counted() -> None:
    """It is told of the cell, and fills no place."""
    desk = Desk(policy(CELL), grant())

    assert ["cell_too_small"] == codes(desk.ask(request("a", dry_run=True)))
    assert not list(desk.stock.taken.values())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({**FLOOR, "from": "soon"}, r"rules\[1\], `.*`: `soon` is not a date"),
        ({**FLOOR, "ceiling": 0.5}, "ceiling"),
        ({**CELL, "deadline": "never"}, r"rules\[1\], `.*`: `never` is not a date"),
        ({**CELL, "size": 0}, "size"),
    ],
)
def test_bad_rules(rule: dict[str, Any], expected: str) -> None:
    """Dates must be dates, numbers in their range."""
    with pytest.raises(PolicyError, match=expected):
        policy(rule)
