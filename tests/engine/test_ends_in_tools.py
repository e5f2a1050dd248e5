"""The ends of the calendar in policies, their tests, and simulations: an answer or an error, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.ledger.contacts import ContactState, Kind
from arbiter.timing.instants import FAR_MS
from tests.inputs.builders import MONDAY, Desk, at, codes, grant, policy, request
from tests.inputs.written import FOR_EVER, SINCE_EVER
from tests.policy_tests.test_policy_tests import FIRM

DATED = """
  - {id: days, kind: cap, owner: x@x.example, why: y, per: [customer], limit: 3, window: calendar day,
     effective: {from: BEGIN, until: END}}
  - {id: frozen, kind: blackout, owner: x@x.example, why: y, when: {campaign: frozen}, from: BEGIN, until: END}
  - {id: start, kind: cell, owner: x@x.example, why: y, when: {campaign: cellular}, size: 3, deadline: END}
  - {id: reach, kind: floor, owner: x@x.example, why: y, when: {campaign: other}, reach: 3, from: BEGIN, until: END}
exceptions:
  - {id: lift, rules: [days], approver: x@x.example, reason: y, from: BEGIN, until: END}
"""
TESTS = """
at: 2026-03-04 10:00
given: {consents: [marketing]}
request: {department: shop, channel: email, category: offer, campaign: a}
tests:
  - name: snoozed
    given: {consents: [{purpose: marketing, at: BEGIN, expires_at: END}], preferences: {snooze_until: END}}
    expect: {outcome: rejected, rules: [customer-preference]}
  - name: listed
    given: {consents: [marketing], suppressions: [{list: do_not_contact, at: BEGIN, expires_at: END}]}
    expect: {outcome: rejected, rules: [stop-means-stop]}
  - name: contacted
    given: {consents: [marketing], contacts: [{at: [BEGIN, END], department: shop}]}
    request: {expires_at: END}
    expect: {outcome: rejected, rules: [one-a-week]}
  - name: later
    request: {send_after: END, expires_at: in 999999999w}
    expect: {outcome: rejected, rules_include: [reserve_ahead]}
"""
PAIRS = [("0001-01-01", "9999-12-31"), ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.9999999Z")]


def arbiter(*arguments: object) -> Result:
    """Run ``arbiter``."""
    return CliRunner().invoke(main, [*map(str, arguments)], env={"COLUMNS": "200"})


def firm(folder: Path, begin: str, end: str, tests: str = TESTS) -> Path:
    """The small firm's policy and tests, with all the dates that there can be."""
    rules = (FIRM / "policy.yaml").read_text() + DATED
    for name, text in (("policy.yaml", rules), ("policy.test.yaml", tests)):
        (folder / name).write_text(text.replace("BEGIN", f'"{begin}"').replace("END", f'"{end}"'))
    return folder


@pytest.mark.parametrize(("begin", "end"), PAIRS)
def test_a_policy_may_last_for_ever(tmp_path: Path, begin: str, end: str) -> None:
    """It is checked, and its tests say what for ever means."""
    folder = firm(tmp_path, begin, end)
    checked, tested = arbiter("policy", "check", folder, "--strict"), arbiter("policy", "test", folder)

    assert (checked.exit_code, checked.exception) == (0, None), checked.output
    assert (tested.exit_code, tested.exception) == (0, None), tested.output


@pytest.mark.parametrize("at", ["9999-12-31", "0001-01-01 10:00"])
def test_no_test_is_made_at_an_end_of_the_calendar(tmp_path: Path, at: str) -> None:
    """An error with its place."""
    tests = TESTS.replace("2026-03-04 10:00", at)
    result = arbiter("policy", "test", firm(tmp_path, *PAIRS[0], tests))

    assert result.exit_code == 1
    assert "policy.test.yaml:2:5: bad-time: " in result.output


def line(what: str, /, **fields: Any) -> str:
    """A line of a file of records."""
    return json.dumps({"type": what, "customer_id": "c1", **fields}) + "\n"


@pytest.mark.parametrize("end", [*FOR_EVER, *SINCE_EVER])
def test_a_simulation_ends_well(tmp_path: Path, end: str) -> None:
    """The sequence that made dead letters: planned, snoozed, asked, withdrawn; and every field at this end."""
    asked = {"department": "shop", "campaign": "a", "channel": "email", "category": "offer"}
    now = "2026-03-02T10:00:00Z"
    lines = [
        line("profile", time_zone="Europe/Berlin"),
        line("consent", purpose="marketing", state="granted", captured_at="2020-01-01T00:00:00Z", expires_at=end),
        line("consent", purpose="marketing", state="granted", captured_at="2020-01-01T00:00:00Z"),
        line("request", request_id="planned", **asked, requested_at=now, send_after="2026-03-02T13:00:00Z"),
        line("preference", captured_at=now, snooze_until=end),
        line("request", request_id="expires", **asked, requested_at=now, expires_at=end),
        line("request", request_id="later", **asked, requested_at=now, send_after=end, expires_at=end),
        line("outcome", department="shop", request_id="planned", kind="responded", at=end),
        line("suppression", list="do_not_contact", active=True, captured_at=end, expires_at=end),
        line("consent", purpose="marketing", state="withdrawn", captured_at=end),
        line("request", request_id="no-time", **asked, requested_at=end),
        line("request", request_id="after", **asked, requested_at=now),
    ]
    (tmp_path / "records.jsonl").write_text("".join(lines))
    result = arbiter("simulate", "--policy", FIRM, "--requests", tmp_path / "records.jsonl", "--out", tmp_path / "out")
    said = [json.loads(one) for one in (tmp_path / "out").read_text().splitlines()]

    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert "records.jsonl:11: missing_field" in result.output
    assert {"planned", "expires", "later", "after"} == {one["request_id"] for one in said}
    assert [one["outcome"] for one in said if one["request_id"] == "after"] == ["rejected"]


def test_a_contact_for_ever_counts() -> None:
    """Whoever said so: it is later than any window begins."""
    desk = Desk(policy({"id": "week", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 7d"}), grant())
    kind = Kind("c1", "cards", "gold", "email", "promotional")
    desk.ledger.contacts.append(kind, b"whatever", FAR_MS, FAR_MS + 1, ContactState.SENT, FAR_MS)

    assert codes(desk.ask(request(), MONDAY)) == ["cap_reached"]


@pytest.mark.parametrize(
    ("dates", "until"),
    [
        ("2026-01-01..9999-12-31", None),
        ("0001-01-01..9999-12-31", None),
        ("0001-01-01..2199-12-31", at("2199-12-31T23:00:00")),
        ("2026-01-01..2026-12-24", at("2026-12-24T23:00:00")),
        ("2026-03-01..2026-03-05", at("2026-03-05T23:00:00")),
    ],
)
def test_a_blackout_may_last_for_long(dates: str, until: int | None) -> None:
    """Its end is found at once."""
    dark = {"id": "dark", "kind": "blackout", "dates": [dates]}
    desk = Desk(policy(dark, timezone="Europe/Berlin"), grant())
    (finding, *_) = desk.ask(request()).findings

    assert (finding.code, finding.until_ms) == ("blackout", until)
