"""The demonstration's books: what was asked, answered, kept and broken, counted from topics; and how it is shown."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace
from rich.console import Console

from arbiter.demo import account as account_module
from arbiter.demo import capacities, report, stories
from arbiter.demo import caps as caps_module
from arbiter.demo.account import Account, Books, Totals
from arbiter.demo.aftermath import outcome_of
from arbiter.demo.capacities import Window, Wish, windows
from arbiter.demo.caps import KIND, NOBODY, Approval, Breach, Customer, People, breaches, read_policy
from arbiter.messages import DECISIONS, OUTCOMES, PROFILES, REQUESTS

MONDAY = datetime(2026, 3, 2, 10, tzinfo=UTC)
WEEK = Window("calls", "week of 2026-03-02", limit=2, asked=3, admitted=2, put_off=1)
TOO_FULL = Window("calls", "week of 2026-03-09", limit=2, asked=1, admitted=3, put_off=0)


def policy(**rule: Any) -> dict[str, Any]:
    """A policy with one cap."""
    cap = {"id": "cap", "kind": "cap", "per": ["customer"], "limit": 1, "window": "rolling 7d", **rule}
    return {
        "timezone": "Europe/Lisbon",
        "channels": {"sms": {"points": 2}, "email": {}},
        "categories": {"promotional": {"purpose": "marketing"}, "legal": {"purpose": "legal", "exempt": ["cap"]}},
        "segments": {"rich": {"when": {"profile.balance": {"at_least": 1000}}}},
        "rules": [cap, {"id": "hours", "kind": "quiet_hours"}],
    }


def approvals(*days: float, **fields: str | None) -> list[Approval]:
    """Approved contacts of one customer, so many days after a Monday."""
    usual = {"department": "cards", "campaign": "a", "channel": "sms", "category": "promotional"}
    kind = tuple((usual | fields).get(name) for name in KIND)
    times = [MONDAY + timedelta(days=day) for day in days]
    return [
        Approval(place, kind, (50.0, 100.0, None), "c1", at - timedelta(hours=1), at) for place, at in enumerate(times)
    ]


@pytest.mark.parametrize(
    ("rule", "days", "over"),
    [
        ({}, (0, 6.99), [1]),
        ({}, (0, 7), []),
        ({}, (6.99, 0), [1]),
        ({"limit": 2}, (0, 4, 8, 8), [3]),
        ({"window": "calendar week"}, (0, 6.5, 7), [1]),
        ({"window": "calendar month"}, (0, 29, 30), [1]),
        ({"window": "calendar day"}, (0, 0.5, 1), [1]),
        ({"window": "calendar quarter"}, (0, 28, 30), [1]),
        ({"unit": "points", "limit": 3}, (0, 1), [1]),
        ({"mode": "shadow"}, (0, 1), []),
        ({"when": {"channel": "email"}}, (0, 1), []),
        ({"when": {"channel": ["sms", "push"]}}, (0, 1), [1]),
        ({"when": {"channel": {"not": "email"}}}, (0, 1), [1]),
        ({"when": {"value": {"below": 200}}}, (0, 1), [1]),
        ({"when": {"value": {"below": 100}}, "counts": {}}, (0, 1), []),
        ({"when": {"profile.age": {"at_least": 18}}}, (0, 1), []),
        ({"effective": {"until": "2026-03-02"}}, (0, 1), []),
        ({"effective": {"from": "2026-03-03"}}, (0, 1), [1]),
    ],
)
def test_an_approval_over_a_cap_is_found(rule: dict[str, Any], days: tuple[float, ...], over: list[int]) -> None:
    """Rolling and calendar windows, points, conditions and dates are counted again from approvals alone."""
    found = breaches(policy(**rule), approvals(*days), {})

    assert [breach.place for breach in found] == over


def test_caps_follow_the_customer() -> None:
    """A segment's own limit and the customer's zone count."""
    rich = {"c1": Customer("Atlantic/Azores", {"balance": 1000})}
    strict = policy(limit=2, limit_by={"segment": {"rich": 1}})
    midnight = [13.5 / 24, 14.5 / 24]

    assert breaches(strict, approvals(0, 1), {}) == []
    assert [breach.limit for breach in breaches(strict, approvals(0, 1), rich)] == [1]
    assert breaches(policy(window="calendar day"), approvals(*midnight), {"c1": NOBODY}) == []
    assert len(breaches(policy(window="calendar day"), approvals(*midnight), rich)) == 1


def test_a_household_is_one_party() -> None:
    """Two members' contacts add up where the cap is the party's, in the zone that both share, and not otherwise."""
    one, two = approvals(0), [replace(approval, customer="c2", place=7) for approval in approvals(1)]
    lisbon, azores = "Europe/Lisbon", "Atlantic/Azores"
    together = {name: Customer(azores, {}, "h") for name in ("c1", "c2")}
    apart = {"c1": Customer(lisbon, {}, "h"), "c2": Customer(azores, {}, "h")}
    midnight = approvals(13.5 / 24) + [replace(a, customer="c2", place=7) for a in approvals(14.5 / 24)]

    assert breaches(policy(per=["customer"]), one + two, together) == []
    assert breaches(policy(per=["party"]), one + two, {}) == []
    assert [breach.place for breach in breaches(policy(per=["party"]), one + two, together)] == [7]
    assert len(breaches(policy(per=["party"], window="calendar day"), midnight, together)) == 1
    assert breaches(policy(per=["party"], window="calendar day"), midnight, apart) == []


def wishes(*days: float, **fields: str | None) -> list[Wish]:
    """Requests, or approved contacts, so many days after a Monday."""
    return [Wish(one.kind, one.numbers, "c1", one.at) for one in approvals(*days, **fields)]


def test_how_full_a_capacity_was() -> None:
    """Asked, admitted and put off, by calendar window of the business zone; what is exempt, off or too early is not."""
    rule = {"id": "calls", "kind": "capacity", "when": {"channel": "sms"}, "limit": 2, "window": "calendar week"}
    rules = [rule, {**rule, "id": "off", "mode": "off"}, {**rule, "id": "later", "effective": {"from": "2026-03-12"}}]
    text = {**policy(), "rules": rules}
    text["categories"]["legal"]["exempt"] = ["capacity"]
    asked = [*wishes(0, 1, 2, 9), *wishes(3, category="legal"), *wishes(4, channel="email")]
    told = [("calls", "r1", MONDAY), ("calls", "r1", MONDAY + timedelta(days=1)), ("calls", "r2", MONDAY)]

    assert windows(text, People(text, {}), asked, wishes(0, 7, 8, 9), told) == [
        Window("calls", "week of 2026-03-02", 2, 3, 1, 2),
        Window("calls", "week of 2026-03-09", 2, 1, 3, 0),
    ]
    assert [0, 1] == [window.over for window in windows(text, People(text, {}), asked, wishes(0, 7, 8, 9), told)]


def test_a_capacity_asks_who_the_customer_is_and_counts_hours() -> None:
    """Conditions on segments hold, and the second number per hour is counted too."""
    rule = {"id": "calls", "kind": "capacity", "when": {"segment": "rich"}, "limit": 9, "window": "calendar day"}
    text = {**policy(), "rules": [{**rule, "hourly": 1}]}
    rich = {"c1": Customer(None, {"balance": 5_000})}
    given = wishes(0, 0.01)

    assert windows(text, People(text, {}), given, given, []) == []
    assert [("day 2026-03-02", 2, 0), ("hour 2026-03-02-10", 2, 1)] == [
        (window.label, window.admitted, window.over) for window in windows(text, People(text, rich), given, given, [])
    ]


def test_who_is_exempt_counts_but_does_not_obey() -> None:
    """A legal notice takes nobody over a cap; an offer after it does."""
    notice, offer = approvals(0, category="legal"), approvals(1)

    assert breaches(policy(), [*notice, *notice], {}) == []
    assert len(breaches(policy(), [*notice, *offer], {})) == 1


def test_buckets_are_told_apart() -> None:
    """A cap per department does not add up two departments."""
    both = [*approvals(0), *approvals(0, department="loans")]

    assert breaches(policy(per=["customer", "department"]), both, {}) == []
    assert len(breaches(policy(), both, {})) == 1


def test_a_policy_is_read_from_all_its_files(tmp_path: Path) -> None:
    """Rules of several files are one list, groups are one group, tests are left out."""
    (tmp_path / "a.yaml").write_text("policy: p\nchannels: {sms: {}}\nrules: [{id: a}]\n")
    (tmp_path / "b.yaml").write_text("channels: {email: {}}\nrules: [{id: b}]\n")
    (tmp_path / "c.test.yaml").write_text("rules: [{id: c}]\n")

    assert read_policy(tmp_path) == {
        "policy": "p",
        "channels": {"sms": {}, "email": {}},
        "rules": [{"id": "a"}, {"id": "b"}],
    }


@pytest.mark.parametrize("module", [account_module, caps_module, capacities, stories])
def test_the_account_shares_no_code_with_the_worker(module: ModuleType) -> None:
    """What counts imports nothing of ours but what counts."""
    lines = Path(module.__file__ or "").read_text().splitlines()
    ours = {line.split()[1] for line in lines if line.startswith(("import arbiter", "from arbiter"))}

    assert ours <= {"arbiter.demo.caps", "arbiter.demo.capacities", "arbiter.demo.stories"}


def request(number: int, **more: Any) -> bytes:
    """A request as it stands on the topic."""
    fields = {
        "request_id": f"r{number}", "customer_id": "c1", "department": "cards", "campaign": "a", "channel": "sms",
        "category": "promotional", "requested_at": "2026-03-02T10:00:00Z", **more,
    }  # fmt: skip
    return json.dumps(fields).encode()


def decision(number: int, outcome: str = "approved", n: int = 1, **more: Any) -> bytes:
    """A decision as it stands on the topic."""
    permit = {"not_before": "2026-03-02T10:00:00Z", "valid_until": "2026-03-02T12:00:00Z"}
    return request(
        number, decision_id=f"{number:032x}:{n}", outcome=outcome, decided_at="2026-03-02T10:00:00Z",
        policy={"name": "p", "version": 1, "digest": "d"}, **(permit if outcome == "approved" else {}), **more,
    )  # fmt: skip


FINDING = {
    "rule": "three-a-week", "kind": "cap", "code": "cap_reached", "effect": "defer", "owner": "customer-experience",
    "why": "enough is enough", "message": "3 of 3 used", "used": 3, "limit": 3, "window": "rolling 7d",
    "until": "2026-03-05T09:00:00Z",
    "contacts": [{"department": "loans", "channel": "phone", "at": "2026-02-26T09:00:00Z"}],
}  # fmt: skip


@pytest.fixture
def account() -> Account:
    """Four requests: approved, deferred, unreadable, and one that nobody answered."""
    books = Account()
    for offset, value in enumerate((request(0), request(1), b"{", request(3))):
        books.take(REQUESTS, 0, offset, value)
    books.take(DECISIONS, 0, 0, decision(0))
    books.take(DECISIONS, 0, 1, decision(1, "deferred", findings=[FINDING], retry_at="2026-03-05T09:00:00Z"))
    headers = {"arbiter-topic": REQUESTS, "arbiter-partition": "0", "arbiter-offset": "2", "arbiter-error-code": "bad"}
    books.take(f"{REQUESTS}.dlq", 0, 0, b"{", {name: text.encode() for name, text in headers.items()})
    books.take(PROFILES, 0, 0, b'{"customer_id": "c1", "time_zone": "Atlantic/Azores", "attributes": {"balance": 5}}')
    return books


def test_what_nobody_answered_is_lost(account: Account) -> None:
    """Published is decided, dead-lettered and lost together."""
    assert account.totals(0) == Totals(
        published=4, decided=2, dead_lettered=1, lost=1, over_cap=0, approved=1, deferred=1, rejected=0
    )


def test_the_answer_to_a_dead_letter_is_no_decision(account: Account) -> None:
    """Its sender is told, and the account has a dead letter as before."""
    before = account.totals(0)
    told = json.loads(decision(7, "rejected", final=True)) | {"decision_id": "00:0"}
    account.take(DECISIONS, 0, 9, json.dumps(told).encode())

    assert account.totals(0) == before
    assert account.answered_letters == {"00:0"}
    assert account.settled == 3


def test_repeats_count_once(account: Account) -> None:
    """The same records again change nothing in the books."""
    before = account.totals(0)
    account.take(REQUESTS, 0, 0, request(0))
    account.take(DECISIONS, 0, 9, decision(0))

    assert account.totals(0) == before
    assert account.contradictions == []


def test_the_latest_decision_stands(account: Account) -> None:
    """A request that was deferred and then approved is approved, whatever comes late."""
    account.take(DECISIONS, 0, 3, decision(1, "approved", n=2))
    account.take(DECISIONS, 0, 4, decision(1, "deferred", findings=[FINDING], retry_at="2026-03-05T09:00:00Z"))

    assert (account.totals(0).approved, account.totals(0).deferred) == (2, 0)


def test_two_contents_under_one_id_are_told(account: Account) -> None:
    """A decision id stands for one content."""
    account.take(DECISIONS, 0, 3, decision(0, "rejected"))

    assert account.contradictions == [f"decision {0:032x}:1 was published with two contents"]


def test_a_decision_that_nobody_asked_for_is_told(account: Account, tmp_path: Path) -> None:
    """It does not make up for a lost request."""
    account.take(DECISIONS, 0, 3, decision(7))
    (tmp_path / "p.yaml").write_text(json.dumps(policy(limit=9)))
    books = account.check(tmp_path)

    assert (books.totals.lost, books.over) == (1, [])
    assert account.contradictions == ["decision on cards/c1/r7, which nobody asked for"]


def test_an_approval_counts_once_however_many_caps_it_breaks(account: Account, tmp_path: Path) -> None:
    """Over the cap are approvals, not pairs of approval and cap."""
    account.take(DECISIONS, 0, 3, decision(3))
    two = policy()
    two["rules"].append({**two["rules"][0], "id": "again"})
    (tmp_path / "p.yaml").write_text(json.dumps(two))
    books = account.check(tmp_path)

    assert (books.totals.over_cap, sorted(breach.rule for breach in books.over)) == (1, ["again", "cap"])


def outcome(number: int, kind: str, at: str = "2026-03-02T11:00:00Z") -> bytes:
    """An outcome as it stands on the topic."""
    return json.dumps(
        {"department": "cards", "customer_id": "c1", "request_id": f"r{number}", "kind": kind, "at": at}
    ).encode()


def test_what_was_given_back_uses_no_budget(account: Account) -> None:
    """A bounced or cancelled contact leaves the caps; one that was sent counts when it was."""
    account.take(DECISIONS, 0, 3, decision(3))
    account.take(OUTCOMES, 0, 0, outcome(0, "bounced"))
    account.take(OUTCOMES, 0, 1, outcome(3, "sent"))

    assert [MONDAY + timedelta(hours=1)] == [approval.at for approval in account.approvals()]


def test_a_capacity_that_was_exceeded_is_over(account: Account, tmp_path: Path) -> None:
    """Each contact too many in a window counts, unless it was cancelled; a bounced one was made."""
    calls = {"id": "calls", "kind": "capacity", "when": {"channel": "sms"}, "limit": 1, "window": "calendar week"}
    (tmp_path / "p.yaml").write_text(json.dumps({**policy(), "rules": [calls]}))
    for number in (1, 3):
        account.take(DECISIONS, 0, number + 5, decision(number, n=2))
    over = [account.check(tmp_path).totals.over_cap]
    for kind in ("bounced", "cancelled"):
        account.take(OUTCOMES, 0, 0, outcome(3, kind))
        over.append(account.check(tmp_path).totals.over_cap)

    assert [2, 2, 1] == over


def test_what_the_customer_stopped_counts_until_it_is_cancelled(account: Account) -> None:
    """A desk may have made the contact before it heard; one that gave way to something better is free at once."""
    for number in (0, 3):
        account.take(DECISIONS, 0, 3, decision(number))
    account.take(DECISIONS, 0, 4, decision(0, "recalled", n=2, findings=[{**FINDING, "code": "suppressed"}]))
    account.take(DECISIONS, 0, 5, decision(3, "recalled", n=2, findings=[{**FINDING, "code": "recalled"}]))
    left = [approval.place for approval in account.approvals()]
    account.take(OUTCOMES, 0, 0, outcome(0, "cancelled"))

    assert ([1], []) == (left, account.approvals())


def test_who_waited_is_followed(account: Account) -> None:
    """How waits ended, which came earlier than promised, and why others were given up."""
    account.take(DECISIONS, 0, 3, decision(1, "approved", n=2, final=True))
    account.take(DECISIONS, 0, 4, decision(3, "deferred", findings=[FINDING], retry_at="2026-03-05T09:00:00Z"))
    late = {**FINDING, "code": "would_expire", "effect": "reject"}
    account.take(DECISIONS, 0, 5, decision(3, "rejected", n=2, final=True, findings=[late]))

    assert ({"approved": 1, "rejected": 1}, 1) == (account.came_back, account.came_early)
    assert {"would_expire": 1} == account.gave_up
    assert ["deferred", "approved"] == [step.outcome for step in (account.stories.longest_wait() or ("", []))[1]]


def scene_decision(number: int, outcome: str, n: int, code: str | None, **more: Any) -> bytes:
    """A decision with one finding of this code."""
    findings = [] if code is None else [{**FINDING, "code": code}]
    return decision(number, outcome, n, findings=findings, **more)


def test_the_scenes_are_seen(account: Account) -> None:
    """An auction with its winner and the outranked, a recall with both names, a household with its members."""
    account.take(PROFILES, 0, 1, b'{"customer_id": "c1", "household_id": "h1"}')
    account.take(PROFILES, 0, 2, b'{"customer_id": "c2", "household_id": "h1"}')
    for number, customer in ((11, "c1"), (12, "c2"), (13, "c1"), (14, "c2")):
        account.take(REQUESTS, 0, number, request(number, customer_id=customer, campaign=f"camp{number}"))
    for number, customer in ((11, "c1"), (12, "c2")):
        held = {"customer_id": customer, "campaign": f"camp{number}"}
        account.take(DECISIONS, 0, number, scene_decision(number, "deferred", 1, "held_for_arbitration", **held))
        ended = ("approved", None) if number == 11 else ("deferred", "outranked")
        account.take(DECISIONS, 0, number, scene_decision(number, ended[0], 2, ended[1], score=90.0 - number, **held))
    victim, winner = {"campaign": "camp13"}, {"campaign": "camp14", "customer_id": "c2"}
    account.take(DECISIONS, 0, 21, scene_decision(13, "approved", 1, None, score=5.0, **victim))
    account.take(DECISIONS, 0, 22, scene_decision(13, "recalled", 2, "recalled", score=5.0, **victim))
    account.take(DECISIONS, 0, 23, scene_decision(14, "approved", 1, None, score=50.0, **winner))
    account.take(DECISIONS, 0, 24, scene_decision(13, "deferred", 3, "cap_reached", score=5.0, **victim))
    console = Console(file=io.StringIO(), width=100)
    report.show(console, account, Books(account.totals(0), [], []), 2.0)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    bids, *none = account.stories.auctions(account.party)
    (recall,) = account.stories.recalls(account.party)

    assert ([("r11", "approved", False), ("r12", "deferred", True)], []) == (
        [(bid.key[2], bid.outcome, bid.is_outranked) for bid in bids], none
    )  # fmt: skip
    assert ("r13", "r14", 5.0, 50.0) == (
        recall.key[2],
        (recall.winner or ("", "", ""))[2],
        recall.score,
        recall.winner_score,
    )
    for part in ("An auction", "deferred, outranked", "A recall", "camp13", "camp14", "A household", "h1:"):
        assert part in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_the_terminal(account: Account, width: int) -> None:
    """Every part is there, in plain text where it is not a terminal, and no line is wider than it."""
    console = Console(file=io.StringIO(), width=width)
    over = [Breach("three-a-week", "c1", 0, MONDAY, 4, 3)]
    report.show(console, account, Books(account.totals(1), over, [WEEK, TOO_FULL]), 2.0)
    text = console.file.getvalue()  # type: ignore[attr-defined]

    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for part in ("cards", "customer-experience", "c1", "enough is enough", "loans by phone", "lost 1", "over the cap"):
        assert part in text
    for part in ("A full calls", "week of 2026-03-02", "over the capacity calls, week of 2026-03-09: 3 of 2"):
        assert part in text


def test_what_becomes_of_an_approval_is_told_within_its_permit() -> None:
    """Most desks say nothing; a planned contact is left alone; what is told is the same each time."""
    made_up = [json.loads(decision(number)) for number in range(1_000)]
    told = [(one, fact) for one in made_up if (fact := outcome_of(one)) is not None]
    outcomes = [json.loads(fact.value) for _, fact in told]
    planned = [{**one, "not_before": "2026-03-02T11:00:00Z"} for one in made_up]

    assert 50 < len(told) < 200
    assert {"sent", "bounced", "cancelled"} <= {outcome["kind"] for outcome in outcomes}
    assert all(
        one["not_before"] <= out["at"] < one["valid_until"] for (one, _), out in zip(told, outcomes, strict=True)
    )
    assert [outcome_of(one) for one, _ in told] == [fact for _, fact in told]
    assert [outcome_of(one) for one in planned] == [None] * len(planned)
