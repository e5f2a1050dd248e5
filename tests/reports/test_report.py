"""Departments over a period: how requests ended, how long they waited, who claims, who starves, which rules bind."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from arbiter.cli import main
from arbiter.engine.render import message_of
from arbiter.ledger.identity import identity
from arbiter.messages import DecisionMessage, FieldNote, Finding, encoder
from arbiter.reports.departments.build import build, earlier
from arbiter.reports.departments.document import Line, Material, Report
from arbiter.reports.departments.page import page
from arbiter.reports.departments.tally import Tally, read_decision
from arbiter.timing.instants import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, to_datetime
from tests.harness.pages import Page
from tests.inputs.builders import MONDAY, Desk, grant, policy, request
from tests.servers.processes import ROOT

ONE_A_DAY = {"id": "one", "kind": "cap", "per": ["party"], "limit": 1, "window": "rolling 1d"}
NIGHT = {"id": "night", "kind": "quiet_hours", "closed": {"every day": "21:00-09:00"}}
END = MONDAY + 30 * DAY_MS
ZONE = "Europe/Lisbon"


def history(desk: Desk, *asked: tuple[str, int, dict[str, Any]], until: int = END) -> list[DecisionMessage]:
    """What is published when these are asked at their times, and time goes on until then."""
    decided = []
    for name, at_ms, fields in asked:
        decided += desk.tick(at_ms)
        decided.append(desk.ask(request(name, **fields), at_ms))
    return [message_of(one) for one in [*decided, *desk.tick(until)]]


def tallied(decisions: Iterable[DecisionMessage], since: int | None = None, until: int | None = None) -> Tally:
    """Counted as they are read: as bytes."""
    tally = Tally(since, until)
    encode = encoder().encode
    for decision in decisions:
        tally.add(read_decision(encode(decision)))
    return tally


def reported(tally: Tally, since: int = MONDAY, until: int = END) -> Report:
    """The report."""
    counts = {"decisions": tally.decisions, "repeated": tally.repeated, "outside": tally.outside}
    more = {"dry_runs": tally.dry_runs, "unreadable": 0, "earlier": earlier(tally)}
    return build(tally, since, until, ZONE, Material(source="here", claims="there", **counts, **more))


def ends(line: Line) -> tuple[int, int, int, int]:
    """At once, later, waiting, rejected."""
    return line.approved_at_once, line.approved_later, line.waiting, line.rejected


def named(lines: Sequence[Line], name: str) -> Line:
    """The line of this name."""
    return next(line for line in lines if line.name == name)


def test_how_requests_end() -> None:
    """Approved at once, after a wait, still waiting, rejected; each counted once, under its department and channel."""
    desk = Desk(policy(ONE_A_DAY), grant())
    decisions = history(
        desk,
        ("a", MONDAY, {}),
        ("b", MONDAY + HOUR_MS, {"department": "loans"}),
        ("c", MONDAY + 2 * HOUR_MS, {"expires_at": MONDAY + 3 * HOUR_MS}),
        ("d", MONDAY + 2 * DAY_MS, {"channel": "sms"}),
        until=MONDAY + 2 * DAY_MS,
    )
    report = reported(tallied(decisions))

    assert (1, 1, 1, 1) == ends(report.total)
    assert (1, 0, 1, 1) == ends(named(report.departments, "cards"))
    assert (0, 1, 0, 0) == ends(named(report.departments, "loans"))
    assert {"would_expire": 1, "cap_reached": 1} == report.total.rejected_by_code
    assert {"email": 3, "sms": 1} == {line.name: line.asked for line in report.channels}
    assert [("gold", "cards", 3), ("gold", "loans", 1)] == [(c.name, c.department, c.asked) for c in report.campaigns]
    # The e-mail may be sent for a day; a day later there is room again.
    assert (2 * DAY_MS - HOUR_MS) / SECOND_MS == pytest.approx(named(report.departments, "loans").wait_median_s, abs=1)


def test_which_rules_bind() -> None:
    """What stopped first answers, alone or with others; that it would expire is no rule; and what became of them."""
    desk = Desk(policy(NIGHT, ONE_A_DAY, {**ONE_A_DAY, "id": "watch", "mode": "shadow"}), grant())
    late = MONDAY + 12 * HOUR_MS
    decisions = history(
        desk,
        ("a", MONDAY, {}),
        ("b", MONDAY + HOUR_MS, {"expires_at": MONDAY + 2 * HOUR_MS}),
        ("c", late, {}),
    )
    rules = {line.rule: line for line in reported(tallied(decisions)).rules}

    assert {"one", "night", "watch"} == set(rules)
    told = [(r.stopped, r.alone, r.approved_later, r.rejected) for r in (rules["one"], rules["night"])]
    assert [(2, 1, 1, 1), (1, 0, 1, 0)] == told
    assert (2, 0, True) == (rules["watch"].stopped, rules["watch"].alone, rules["watch"].is_shadow)
    assert ("one-owner", "cap") == (rules["one"].owner, rules["one"].kind)


def test_who_starves_and_for_whom() -> None:
    """A department with less than the overall share is named, and whose contacts used the budgets that stopped it."""
    desk = Desk(policy(ONE_A_DAY), grant())
    asked: list[tuple[str, int, dict[str, Any]]] = [(f"c{n}", MONDAY + n * 3 * DAY_MS, {}) for n in range(3)]
    soon = {"department": "loans", "expires_at": MONDAY + 7 * DAY_MS}
    asked += [(f"l{n}", MONDAY + 6 * DAY_MS + n * MINUTE_MS + 1, soon) for n in range(2)]
    report = reported(tallied(history(desk, *asked)))
    (starving,) = report.starving

    assert ("loans", 0.0, 2, 0, 2) == (
        starving.department,
        starving.approval_share,
        starving.stopped,
        starving.by_own,
        starving.by_others,
    )
    assert [("loans", "cards", 2, 2)] == [
        (one.department, one.by, one.contacts, one.requests) for one in report.in_the_way
    ]


def test_repeats_and_trials_are_not_counted() -> None:
    """A record that stands twice on the topic counts once, a dry run not at all."""
    desk = Desk(policy(ONE_A_DAY), grant())
    decisions = history(desk, ("a", MONDAY, {}), ("b", MONDAY + 1, {}), ("t", MONDAY + 2, {"dry_run": True}))
    tally = tallied([*decisions, *decisions])

    assert (len(decisions) - 1, len(decisions) - 1, 2) == (tally.decisions, tally.repeated, tally.dry_runs)
    assert reported(tally).total == reported(tallied(decisions)).total


def test_what_senders_did_wrong_is_told_by_field() -> None:
    """Requests that were not taken, each record once, and fields that nobody knows; none of it counts as asked."""
    (good,) = history(Desk(policy(ONE_A_DAY), grant()), ("a", MONDAY, {}))
    unknown = FieldNote("sendAfter", "unknown_field", "it is none", "did you mean `send_after`?", "send_after")
    wrong = FieldNote("priority", "wrong_type", "it is text", "send a number")
    finding = Finding("request", "policy", "invalid_wrong_type", "reject", "o", "w", "m")
    untaken = replace(good, decision_id="00:0", outcome="rejected", findings=(finding,), notes=(wrong,))
    report = reported(
        tallied([replace(good, notes=(unknown,)), untaken, untaken, replace(untaken, decision_id="01:0")])
    )
    told = [(one.department, one.code, one.field, one.meant, one.records) for one in report.mistakes]

    assert told == [
        ("cards", "invalid_wrong_type", "priority", "", 2),
        ("cards", "unknown_field", "sendAfter", "send_after", 1),
    ]
    assert (1, 1) == (report.total.asked, report.material.repeated)
    assert "What senders did wrong" in page(report)
    assert "sendAfter → send_after" in page(report)


def test_a_request_counts_in_the_period_of_its_first_answer() -> None:
    """What was asked before is only counted as such; what is decided after the end has not happened yet."""
    decisions = history(Desk(policy(ONE_A_DAY), grant()), ("a", MONDAY, {}), ("b", MONDAY + HOUR_MS, {}))
    early = reported(tallied(decisions, MONDAY, MONDAY + DAY_MS))
    late = reported(tallied(decisions, MONDAY + DAY_MS, END))

    assert ((1, 0, 1, 0), 0) == (ends(early.total), early.material.earlier)
    assert ((0, 0, 0, 0), 1) == (ends(late.total), late.material.earlier)


def test_a_recall_undoes_an_approval() -> None:
    """The request is counted as recalled, and as what it is in the end."""
    (decision,) = history(Desk(policy(), grant()), ("a", MONDAY, {}))
    recalled = replace(decision, decision_id=decision.decision_id[:-1] + "2", outcome="recalled", final=False)
    again = replace(
        decision, decision_id=decision.decision_id[:-1] + "3", decided_at=decision.decided_at + timedelta(1)
    )
    between, after = (reported(tallied(told)).total for told in ([decision, recalled], [decision, recalled, again]))

    assert ((0, 0, 1, 0), 1) == (ends(between), between.recalled)
    assert ((0, 1, 0, 0), 1) == (ends(after), after.recalled)
    assert 86_400 == after.wait_median_s


def test_claims_are_shares_of_what_is_known() -> None:
    """A priority of 100 is counted for the requests that the report counts, and for no other."""
    desk = Desk(policy(), grant())
    tally = tallied(history(desk, ("a", MONDAY, {}), ("b", MONDAY + 1, {}), ("c", MONDAY + 2, {})))
    for name, priority in (("a", 100.0), ("b", 70.0), ("x", 100.0)):
        tally.claim(int.from_bytes(identity(request(name))[:8], "big"), priority)
    total = reported(tally).total

    assert (2, 1) == (total.claims_known, total.claims_of_100)


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_partitions_does_not_matter(seed: int) -> None:
    """However the records of different requests are mixed, and even if one's own come in the wrong order."""
    desk = Desk(policy(NIGHT, ONE_A_DAY), grant())
    random = Random(seed)
    desks = ("cards", "loans")
    asked = [(f"r{n}", MONDAY + n * 5 * HOUR_MS, {"department": random.choice(desks)}) for n in range(12)]
    decisions = history(desk, *asked)
    straight = reported(tallied(decisions))
    random.shuffle(decisions)
    mixed = reported(tallied(decisions))

    assert straight.departments == mixed.departments
    assert straight.rules == mixed.rules
    assert 12 == sum(line.asked for line in mixed.departments) == sum(sum(ends(line)) for line in mixed.departments)


def test_days_are_those_of_the_zone() -> None:
    """A request at half past eleven in the evening in Lisbon is of that day, in summer too."""
    (decision,) = history(Desk(policy(), grant()), ("a", MONDAY, {}))
    summer = replace(decision, decided_at=to_datetime(MONDAY) + timedelta(days=120, hours=13))
    (day,) = reported(tallied([summer])).days

    assert "2026-07-01" == day.day.isoformat()


def samples(tmp_path: Path) -> tuple[Path, list[DecisionMessage]]:
    """A file of decisions, one line of it spoiled."""
    desk = Desk(policy(NIGHT, ONE_A_DAY), grant())
    asked = [(f"r{n}", MONDAY + n * 5 * HOUR_MS, {"campaign": "<b>&gold</b>"}) for n in range(12)]
    decisions = history(desk, *asked)
    file = tmp_path / "decisions.jsonl"
    file.write_bytes(b"{}\n" + b"".join(encoder().encode(one) + b"\n" for one in decisions))
    return file, decisions


def arbiter(*arguments: object, columns: int = 120) -> Result:
    """Run ``arbiter report``."""
    return CliRunner().invoke(main, ["report", *map(str, arguments)], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("columns", [80, 120])
def test_the_text_fits(tmp_path: Path, columns: int) -> None:
    """No line is longer than the terminal is wide, and what matters is there."""
    file, _ = samples(tmp_path)
    told = arbiter("--decisions", file, columns=columns)

    assert told.exit_code == 0, told.output
    assert max(map(len, told.stdout.splitlines())) <= columns
    assert {"cards", "one", "night"} <= set(told.stdout.split())
    assert "12 requests approved" in told.stdout
    assert "one-owner" in told.stdout
    assert "records that could not be read: 1" in told.stdout.replace("\n", " ")


def test_json_fits_its_schema(tmp_path: Path) -> None:
    """As ``--json`` prints it, from a packed file, too; and the claims of a file of requests."""
    file, _ = samples(tmp_path)
    packed, asked = tmp_path / "decisions.jsonl.gz", tmp_path / "requests.jsonl"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    claims = [request(f"r{n}", priority=100, requested_at=MONDAY, campaign="<b>&gold</b>") for n in range(3)]
    asked.write_bytes(b"\n".join(map(msgspec.json.encode, claims)))
    told = arbiter("--decisions", packed, "--requests", asked, "--json")
    report = json.loads(told.stdout)
    schema = json.loads((ROOT / "schemas" / "report.schema.json").read_text())

    assert [] == [error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(report)]
    assert (12, 3, 3) == tuple(report["total"][name] for name in ("asked", "claims_known", "claims_of_100"))


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """Every element is closed, nothing is loaded, and no name is taken for HTML."""
    _, decisions = samples(tmp_path)
    tally = tallied(decisions)
    for n in range(12):
        tally.claim(int.from_bytes(identity(request(f"r{n}"))[:8], "big"), 100.0)
    text = page(reported(tally))
    read = Page(text)

    assert ([], []) == (read.open, read.loads)
    assert not re.search(r"url\(|@import|<script|<link|<img", text)
    assert "<b>&gold" not in text
    assert "<b>&gold</b> (cards)" in read.words
    assert 4 == text.count("<svg")
    assert {"Over time", "Which rules bind", "one-owner", "Who claims priority 100"} <= set(read.words)


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    """An empty period says when there is something, a file of no decisions that there are none; each names the fix."""
    file, _ = samples(tmp_path)
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text("")
    empty = arbiter("--decisions", file, "--since", "2026-05-01")
    none = arbiter("--decisions", nothing)
    wrong = arbiter("--decisions", file, "--since", "soon")
    zone = arbiter("--decisions", file, "--zone", "Lisbon")
    alone = arbiter("--requests", file)
    missing = arbiter("--decisions", file, "--html", tmp_path / "no" / "where.html")

    assert (1, True) == (empty.exit_code, "those found are from 2026-03-02 to 2026-03-" in empty.stderr)
    assert (1, True) == (none.exit_code, "no decisions in" in none.stderr)
    assert (2, True) == (wrong.exit_code, "--since: `soon` is not a date" in wrong.stderr)
    assert (2, True) == (zone.exit_code, "--zone: `Lisbon` is not a time zone" in zone.stderr)
    assert (2, True) == (alone.exit_code, "--requests goes with --decisions" in alone.stderr)
    assert (2, True) == (missing.exit_code, "no such file or directory" in missing.stderr)
