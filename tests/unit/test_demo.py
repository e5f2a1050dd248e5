"""The demonstration: what it generates from the bank's file, how it counts, what it shows."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from rich.console import Console

from arbiter import demo
from arbiter.demo import account as account_module
from arbiter.demo import bank, customers, generate, report, run
from arbiter.demo import caps as caps_module
from arbiter.demo.account import Account, Totals
from arbiter.demo.caps import KIND, NOBODY, Approval, Breach, Customer, breaches, read_policy
from arbiter.demo.propensity import Propensity
from arbiter.embedded import EmbeddedError
from arbiter.messages import CONSENTS, DECISIONS, PROFILES, REQUESTS

CALLS = 124_956
MONDAY = datetime(2026, 3, 2, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def clients() -> list[bank.Client]:
    """The bank's file."""
    return bank.clients()


@pytest.fixture(scope="module")
def made(clients: list[bank.Client]) -> list[dict[str, Any]]:
    """All requests, as a reader of the topic sees them."""
    return [json.loads(request.value) for request in generate.requests(clients, 1)]


def test_the_file_is_read_with_its_years(clients: list[bank.Client]) -> None:
    """Its rows run from May 2008 to November 2010."""
    days = [datetime.fromordinal(client.day).date().isoformat() for client in (clients[0], clients[-1])]

    assert len(clients) == 45_211
    assert days == ["2008-05-05", "2010-11-17"]
    assert [client.day for client in clients] == sorted(client.day for client in clients)


def test_every_call_of_the_bank_is_one_request(clients: list[bank.Client], made: list[dict[str, Any]]) -> None:
    """The phone desk asks as often as the bank called, client by client."""
    asked = Counter(request["customer_id"] for request in made if request["department"] == "phone-desk")

    assert asked == {client.customer_id: client.calls for client in clients}
    assert asked.total() == CALLS


def test_what_did_not_happen_is_labelled(made: list[dict[str, Any]]) -> None:
    """The requests of the other desks say that they are generated; those of the phone desk do not."""
    labels = {(r["department"] == "phone-desk", r.get("attributes", {}).get("generated", False)) for r in made}

    assert labels == {(True, False), (False, True)}


def test_requests_have_an_identity_each_and_come_by_time(made: list[dict[str, Any]]) -> None:
    """No request is asked twice, and a reader sees time pass."""
    times = [request["requested_at"] for request in made]

    assert len({(r["department"], r["customer_id"], r["request_id"]) for r in made}) == len(made)
    assert times == sorted(times)


def test_no_call_is_made_after_the_file_says(clients: list[bank.Client], made: list[dict[str, Any]]) -> None:
    """A client's last call is on the file's date, in Lisbon."""
    last = {r["customer_id"]: r["requested_at"] for r in made if r["department"] == "phone-desk"}
    days = {name: datetime.fromisoformat(at).astimezone(generate.ZONE).date().toordinal() for name, at in last.items()}

    assert days == {client.customer_id: client.day for client in clients}


def test_the_same_seed_makes_the_same_records(clients: list[bank.Client]) -> None:
    """A run can be repeated; another seed makes other offers."""
    few = clients[:500]

    assert generate.requests(few, 7) == generate.requests(few, 7)
    assert generate.requests(few, 7) != generate.requests(few, 8)
    assert list(customers.facts(few, 7)) == list(customers.facts(few, 7))


def test_a_client_says_the_same_in_a_shorter_demonstration(clients: list[bank.Client]) -> None:
    """What one client allows does not depend on who else takes part."""
    alone = list(customers.facts([clients[41]], 7))

    assert [fact for fact in customers.facts(clients[:100], 7) if fact.customer_id == clients[41].customer_id] == alone


def test_facts_are_there_before_the_first_request(clients: list[bank.Client], made: list[dict[str, Any]]) -> None:
    """Everything that clients said was captured before anybody asked, and is labelled as generated."""
    changes = [json.loads(fact.value) for fact in customers.facts(clients, 1) if fact.topic == CONSENTS]

    assert max(change["captured_at"] for change in changes) < made[0]["requested_at"]
    assert {change["source"] for change in changes} == {"generated"}


def test_propensity_knows_nothing_of_the_same_month(clients: list[bank.Client]) -> None:
    """Turning every result from a month on around changes no propensity up to that month."""
    month = bank.month_number(2009, 4)
    other = [client if client.month < month else replace(client, bought=not client.bought) for client in clients]
    ours, theirs = Propensity(clients), Propensity(other)
    sample = clients[::97]

    assert [ours.of(c, month) for c in sample] == [theirs.of(c, month) for c in sample]
    assert [ours.of(c, month + 1) for c in sample] != [theirs.of(c, month + 1) for c in sample]
    assert ours.of(sample[0], bank.month_number(2008, 5)) is None


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


@pytest.mark.parametrize("module", [account_module, caps_module])
def test_the_account_shares_no_code_with_the_worker(module: ModuleType) -> None:
    """What counts imports nothing of ours but what counts."""
    lines = Path(module.__file__ or "").read_text().splitlines()
    ours = {line.split()[1] for line in lines if line.startswith(("import arbiter", "from arbiter"))}

    assert ours <= {"arbiter.demo.caps"}


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
    totals, over = account.check(tmp_path)

    assert (totals.lost, over) == (1, [])
    assert account.contradictions == ["decision on cards/c1/r7, which nobody asked for"]


def test_an_approval_counts_once_however_many_caps_it_breaks(account: Account, tmp_path: Path) -> None:
    """Over the cap are approvals, not pairs of approval and cap."""
    account.take(DECISIONS, 0, 3, decision(3))
    two = policy()
    two["rules"].append({**two["rules"][0], "id": "again"})
    (tmp_path / "p.yaml").write_text(json.dumps(two))
    totals, over = account.check(tmp_path)

    assert (totals.over_cap, sorted(breach.rule for breach in over)) == (1, ["again", "cap"])


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_the_terminal(account: Account, width: int) -> None:
    """Every part is there, in plain text where it is not a terminal, and no line is wider than it."""
    console = Console(file=io.StringIO(), width=width)
    over = [Breach("three-a-week", "c1", 0, MONDAY, 4, 3)]
    report.show(console, account, account.totals(1), over, 2.0)
    text = console.file.getvalue()  # type: ignore[attr-defined]

    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for part in ("cards", "customer-experience", "c1", "enough is enough", "loans by phone", "lost 1", "over the cap"):
        assert part in text


def test_the_command_ends_with_the_account_in_one_line(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json the last line is the account, and a lost request makes the exit code 1."""
    result = run.Result(account, account.totals(0), [], 1.0)
    monkeypatch.setattr(run, "run", lambda *_: result)
    ended = CliRunner().invoke(demo.command, ["--json"])

    assert ended.exit_code == 1
    assert list(json.loads(ended.stdout.splitlines()[-1]).items()) == [
        ("published", 4), ("decided", 2), ("dead_lettered", 1), ("lost", 1),
        ("over_cap", 0), ("approved", 1), ("deferred", 1), ("rejected", 0),
    ]  # fmt: skip


def test_without_the_embedded_servers_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is one sentence, not a stack trace."""

    def missing(*_: object) -> None:
        raise EmbeddedError("run `pip install 'arbiter[embedded]'`")

    monkeypatch.setattr(run, "run", missing)
    ended = CliRunner().invoke(demo.command, [])

    assert ended.exit_code == 1
    assert "pip install 'arbiter[embedded]'" in ended.stderr
