"""The demonstration: what it generates from the bank's file, and its command."""

from __future__ import annotations

import json
import signal
import subprocess
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from arbiter import demo
from arbiter.demo import bank, customers, generate, run
from arbiter.demo.account import Account, Books, Totals
from arbiter.demo.households import households
from arbiter.demo.propensity import Propensity
from arbiter.dev.processes import running
from arbiter.embedded import EmbeddedError
from arbiter.messages import CONSENTS, PROFILES

CALLS = 124_956


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
    assert list(customers.facts(few, 7, {})) == list(customers.facts(few, 7, {}))
    assert households(clients, 7) == households(clients, 7) != households(clients, 8)


def test_a_client_says_the_same_in_a_shorter_demonstration(clients: list[bank.Client]) -> None:
    """What one client allows does not depend on who else takes part."""
    homes = households(clients, 7)
    alone = list(customers.facts([clients[41]], 7, homes))

    assert [
        fact for fact in customers.facts(clients[:100], 7, homes) if fact.customer_id == clients[41].customer_id
    ] == alone


def test_facts_are_there_before_the_first_request(clients: list[bank.Client], made: list[dict[str, Any]]) -> None:
    """Everything that clients said was captured before anybody asked, and is labelled as generated."""
    changes = [json.loads(fact.value) for fact in customers.facts(clients, 1, {}) if fact.topic == CONSENTS]

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


def test_households_could_be(clients: list[bank.Client]) -> None:
    """Two married clients of about one age, with grown-up children at most; and their profiles say who made them up."""
    homes = households(clients, 1)
    members: dict[str, list[bank.Client]] = {}
    for client in clients:
        if client.customer_id in homes:
            members.setdefault(homes[client.customer_id], []).append(client)
    parents = [sorted(c.age for c in home if c.marital == "married") for home in members.values()]
    children = [(c.age, min(m.age for m in home)) for home in members.values() for c in home if c.marital == "single"]
    profiles = [json.loads(f.value) for f in customers.facts(clients, 1, homes) if f.topic == PROFILES]

    assert len(members) > 2_000
    assert all(len(ages) == 2 and ages[1] - ages[0] <= 6 for ages in parents)
    assert children
    assert all(age <= 27 for age, _ in children)
    assert {p["customer_id"]: p["household_id"] for p in profiles if "household_id" in p} == homes
    assert all(("household_id" in p) == p["attributes"].get("household_generated", False) for p in profiles)


def test_there_is_something_to_gather_and_to_recall(made: list[dict[str, Any]]) -> None:
    """Paydays bring several desks' messages within ten minutes; a guide is planned ahead, and then a brochure."""
    bids: dict[str, list[datetime]] = {}
    planned: dict[str, list[str]] = {}
    for one in made:
        at = datetime.fromisoformat(one["requested_at"])
        if one["campaign"] in {"cash-back", "travel-insurance", "stay-with-us"}:
            bids.setdefault(one["customer_id"], []).append(at)
        if "send_after" in one:
            planned.setdefault(one["customer_id"], []).append(one["campaign"])
            assert timedelta(hours=1) < datetime.fromisoformat(one["send_after"]) - at < timedelta(hours=48)

    assert len(bids) > 1_000
    assert all(len(times) > 1 and max(times) - min(times) < timedelta(minutes=10) for times in bids.values())
    assert {tuple(campaigns) for campaigns in planned.values()} == {
        ("app-guide",), ("app-guide", "house-brochure"), ("app-guide", "boat-brochure")
    }  # fmt: skip


def test_the_command_ends_with_the_account_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json the last line is the account, and a lost request makes the exit code 1."""
    totals = Totals(4, 2, 1, lost=1, over_cap=0, approved=1, deferred=1, rejected=0)
    result = run.Result(Account(), Books(totals, [], []), 1.0)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_worker_starts_leaves_no_worker(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes when the process is there and nobody has it yet."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **options))
        signal.raise_signal(number)
        return started[0]

    monkeypatch.setattr("arbiter.dev.processes.subprocess.Popen", interrupted)
    before = signal.signal(number, signal.default_int_handler)  # a background job ignores SIGINT
    settings = {"ARBITER_KAFKA": "127.0.0.1:1", "ARBITER_REDIS": "redis://127.0.0.1:1", "ARBITER_HTTP": "127.0.0.1:0"}
    try:
        with pytest.raises(KeyboardInterrupt), running("worker", settings, tmp_path / "log"):
            raise AssertionError("the block is not reached")
        assert started[0].poll() is not None
    finally:
        signal.signal(number, before)
        started[0].kill()
        started[0].wait()
