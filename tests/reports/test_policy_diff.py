"""Two policies on the same requests: who moves, by what, who is over a new cap, told as text and as one page."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.messages import Outcome, Profile
from arbiter.policy.document import PolicyDocument
from arbiter.policy.ruleset import Policy, load
from arbiter.policy_check.files import digest_of, document_bytes, read_policy
from arbiter.reports.policy_diff.compare import Comparison, compare
from arbiter.reports.policy_diff.examples import Example, examples_of
from arbiter.reports.policy_diff.page import page
from arbiter.reports.policy_diff.run import Material
from arbiter.reports.policy_diff.sides import Order, Side, simulate_side
from arbiter.timing.instants import DAY_MS, MINUTE_MS, to_datetime
from tests.harness.pages import Page
from tests.inputs.builders import MONDAY, document, grant, request
from tests.inputs.traffic import Traffic, bank, encode
from tests.servers.processes import ROOT

CAP = {"id": "week", "kind": "cap", "per": ["party"], "limit": 3, "window": "rolling 7d"}
FIRM = ROOT / "deploy" / "policies" / "small-firm"


def ask(name: str, minute: float, **fields: Any) -> Any:
    """A request so many minutes after Monday."""
    return request(name, requested_at=MONDAY + int(minute * MINUTE_MS), **fields)


def lines(path: Path, messages: Iterable[Any]) -> Path:
    """A file of messages."""
    path.write_bytes(b"".join(encode(message) + b"\n" for message in messages))
    return path


def policy_of(content: dict[str, Any]) -> Policy:
    """A policy with the digest of its document, as a folder's has."""
    packed = document_bytes(msgspec.convert(content, PolicyDocument))
    return load(packed, 0, digest_of(packed))


def compared(
    folder: Path, old: dict[str, Any], new: dict[str, Any], messages: Iterable[Any], **material: Any
) -> tuple[Comparison, list[Example]]:
    """The comparison of two documents on these messages, in this process."""
    policies = policy_of(old), policy_of(new)
    packed = [document_bytes(policy.document) for policy in policies]
    files = Material(lines(folder / "requests.jsonl", messages), **material)
    made: list[Side] = []
    for number, policy in enumerate(policies):
        other = (packed[1], policies[1].ref) if number == 0 else None
        order = Order(packed[number], policy.ref, other, files, folder / f"said-{number}")
        made.append(simulate_side(order, lambda *_: None))
    sides = made[0], made[1]
    comparison = compare(*sides, (policies[0].document, policies[1].document))
    return comparison, examples_of(comparison.examples, *sides, files.files, "Europe/Lisbon")


FOUR = [grant(), *(ask(f"r{n}", n, department=d, expires_at=None) for n, d in enumerate(("cards", "cards", "loans")))]


def test_a_stricter_cap_takes_from_the_last(tmp_path: Path) -> None:
    """Of three requests two remain: whose it was, which rule held it back, and how it ended."""
    new = document({**CAP, "limit": 2})
    c, (example, *rest) = compared(tmp_path, document(CAP), new, FOUR)
    departments = {line.name: (line.old, line.new, line.gained, line.lost) for line in c.lines["department"]}
    (rule,) = [line for line in c.rules if line.rule == "week"]

    assert (c.requests, c.approved, c.gained, c.lost) == (3, (3, 2), 0, 1)
    assert departments == {"cards": (2, 2, 0, 0), "loans": (1, 0, 0, 1)}
    assert c.lines["department"][0].name == "loans"
    assert (rule.status, rule.held_old, rule.held_new, rule.stopped_old, rule.stopped_new) == ("changed", 0, 1, 0, 1)
    assert dict(c.ends) == {("approved", "approved"): 2, ("approved", "rejected"): 1}
    assert (c.parties, c.parties_more, c.parties_fewer) == (1, 0, 1)
    assert rest == []
    assert example.title == "loans: gold, email"
    assert example.about == "request r2 of 2026-03-02 10:02, customer c1, promotional"
    assert example.old.sentence == "approved from 2026-03-02 10:02"
    assert example.new.sentence == "rejected at 2026-03-02 10:02"
    assert "2 of 2 contacts used in rolling 7d" in example.new.reasons[0].message


def test_segments_are_told_as_the_new_policy_has_them(tmp_path: Path) -> None:
    """Who is rich loses, the others do not; a customer in no segment has a line, too."""
    segments = {"rich": {"owner": "o", "when": {"profile.balance": {"at_least": 5}}}}
    new = document({**CAP, "limit_by": {"segment": {"rich": 1}}}, segments=segments)
    messages = [
        *(grant(name) for name in ("c1", "c2")),
        Profile(customer_id="c1", attributes={"balance": 9}),
        *(ask(f"r{n}", n, customer_id=f"c{1 + n % 2}", expires_at=None) for n in range(4)),
    ]
    c, _ = compared(tmp_path, document(CAP), new, messages)

    assert [(line.name, line.old, line.new) for line in c.lines["segment"]] == [("rich", 2, 1), ("(none)", 2, 2)]


def test_the_other_way_round_it_is_gained(tmp_path: Path) -> None:
    """Old and new swapped, gain and loss are swapped."""
    c, _ = compared(tmp_path, document({**CAP, "limit": 2}), document(CAP), FOUR)

    assert (c.approved, c.gained, c.lost, c.parties_more) == ((2, 3), 1, 0, 1)


def test_later_and_sooner_are_told_apart_from_lost(tmp_path: Path) -> None:
    """A request that only has to wait is not lost; the waiting is measured from when it was asked."""
    quiet = {"id": "quiet", "kind": "quiet_hours", "closed": {"every day": "09:00-12:00"}}
    c, (example,) = compared(tmp_path, document(), document(quiet), [grant(), ask("r1", 0)])

    assert (c.gained, c.lost, c.later, c.sooner) == (0, 0, 1, 0)
    assert [waiting.tenth_ms for waiting in c.waiting] == [0, 120 * MINUTE_MS]
    assert example.new.sentence == "deferred, then approved from 2026-03-02 12:00"


def test_an_equal_policy_changes_nothing(tmp_path: Path) -> None:
    """Whatever the traffic, a policy against itself moves nobody."""
    traffic = Traffic(seed=5, customers=60)
    messages = [*traffic.first_facts(), *traffic.requests(600)]
    c, examples = compared(tmp_path, bank(), bank(), messages, partitions=4)

    assert (c.gained, c.lost, c.later, c.sooner, c.changed, c.removed, c.over, examples) == (0, 0, 0, 0, [], [], [], [])
    assert c.requests == len({msgspec.json.decode(encode(m)).get("request_id") for m in messages} - {None})
    assert not [line for line in c.rules if line.is_moved]


def test_sums_agree_in_every_dimension(tmp_path: Path) -> None:
    """Whichever way the requests are parted, they are all there; what is lost and gained makes the difference."""
    traffic = Traffic(seed=6, customers=60)
    messages = [*traffic.first_facts(), *traffic.requests(800)]
    c, examples = compared(tmp_path, bank(), bank(limit=1), messages)
    old, new = c.approved

    assert c.lost > 0
    assert old - c.lost + c.gained == new
    for table in c.lines.values():
        assert sum(line.requests for line in table) == c.requests
        assert (sum(line.old for line in table), sum(line.new for line in table)) == (old, new)
    assert c.ends.total() == c.first.total() == c.requests
    assert 3 <= len(examples) <= 10
    assert len({example.about for example in examples}) == len(examples)


def test_who_is_over_a_new_cap_at_once(tmp_path: Path) -> None:
    """Counted by the contacts that were made when it came into force: over it, and with nothing left."""
    customers = {"c1": 3, "c2": 2, "c3": 1}
    messages: list[Any] = [grant(name) for name in customers]
    for name, count in customers.items():
        for number in range(count):
            messages.append(ask(f"{name}-{number}", number, customer_id=name))
            at = to_datetime(MONDAY + number * MINUTE_MS)
            messages.append(
                Outcome(department="cards", customer_id=name, request_id=f"{name}-{number}", kind="sent", at=at)
            )
    new = {**CAP, "id": "new-week", "limit": 2, "why": "because"}
    points = {**CAP, "id": "points", "unit": "points", "limit": 3, "mode": "shadow", "when": {"value": {"below": 9}}}
    points["counts"] = {"category": "promotional"}
    elsewhere = {**CAP, "id": "calls", "when": {"channel": "phone"}, "limit": 0}
    c, _ = compared(tmp_path, document(CAP), document(CAP, new, points, elsewhere), messages)

    assert [(one.rule, one.mode, one.parties, one.full) for one in c.over] == [
        ("new-week", "enforce", 1, 1),
        ("points", "shadow", 0, 1),
        ("calls", "enforce", 0, 0),
    ]


def test_a_contact_that_left_the_window_is_not_over(tmp_path: Path) -> None:
    """Only what counts at the moment of activation matters."""
    messages = [grant(), ask("r1", 0), ask("r2", 1), grant("c2"), ask("r3", 9 * DAY_MS / MINUTE_MS, customer_id="c2")]
    c, _ = compared(tmp_path, document(), document({**CAP, "limit": 1}), messages)

    assert [(one.rule, one.parties, one.full) for one in c.over] == [("week", 0, 1)]


def test_the_page_needs_nothing_else(tmp_path: Path) -> None:
    """It loads nothing, every element is closed, names are escaped, and the figures of the text are in it."""
    names = {"department": "loans", "campaign": "<b>&summer</b>"}
    messages = [grant(), *(ask(f"r{n}", n, expires_at=None, **names) for n in range(3))]
    c, examples = compared(tmp_path, document(CAP), document({**CAP, "limit": 2}), messages)
    text = page(c, examples, "Europe/Lisbon")
    read = Page(text)

    assert (read.open, read.loads) == ([], [])
    assert not re.search(r"url\(|@import|<script|<link|<img", text)
    assert text.count("://") == text.count('xmlns="http://www.w3.org/2000/svg"')
    assert "<b>&summer" not in text
    assert "<b>&summer</b>" in read.words
    assert text.count("<svg") == 6
    assert {"−1", "By department", "week", "changed"} <= set(read.words)


def arbiter(*arguments: object) -> Result:
    """Run ``arbiter policy diff``."""
    return CliRunner().invoke(main, ["policy", "diff", *map(str, arguments)], env={"COLUMNS": "160"})


@pytest.fixture
def stricter(tmp_path: Path) -> Path:
    """The small firm's policy with a cap of one in two weeks."""
    folder = tmp_path / "stricter"
    folder.mkdir()
    text = (FIRM / "policy.yaml").read_text()
    assert "rolling 7d" in text
    (folder / "policy.yaml").write_text(text.replace("rolling 7d", "rolling 14d"))
    return folder


def test_the_command_compares_two_folders(tmp_path: Path, stricter: Path) -> None:
    """In two processes, from a packed file; the result as text, and the same as a page."""
    offers = {"department": "shop", "category": "offer", "expires_at": None}
    messages = [grant(), *(ask(f"r{n}", n * 9 * 24 * 60, **offers) for n in range(3))]
    asked = tmp_path / "requests.jsonl.gz"
    asked.write_bytes(gzip.compress(b"".join(encode(one) + b"\n" for one in messages) + b"{nonsense\n"))
    report = tmp_path / "report.html"
    result = arbiter(FIRM, stricter, "--requests", asked, "--html", report)

    assert result.exit_code == 0, result.output
    assert "3 requests, 2026-03-02 to 2026-03-20" in result.output
    assert "requests that gain an approval: 0, that lose it: 1; sooner: 0, later: 1" in result.output
    assert "one-a-week" in result.output
    assert "r1 of 2026-03-11 10:00, customer c1" in result.output
    assert "left out: 1 unreadable lines, 0 dead letters" in result.output
    assert f"{asked}:5: malformed_json" in result.stderr
    assert report.read_text().startswith("<!doctype html>")


def test_wrong_usage_is_told(tmp_path: Path, stricter: Path) -> None:
    """Both sources, a policy with errors, no requests: each in one line."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    both = arbiter(FIRM, stricter, "--requests", empty, "--topic")
    bad = arbiter(FIRM, ROOT / "tests" / "policies" / "bad" / "tab", "--requests", empty)
    nothing = arbiter(FIRM, stricter, "--requests", empty)
    absent = arbiter(FIRM, tmp_path / "nowhere", "--requests", empty)

    assert (both.exit_code, "either --requests FILE or --topic" in both.stderr) == (2, True)
    assert (bad.exit_code, "tab: the policy has errors" in bad.stderr) == (1, True)
    assert (nothing.exit_code, "there are no requests to compare" in nothing.stderr) == (1, True)
    assert (absent.exit_code, "no-such-folder" in absent.stderr) == (1, True)


def test_simulate_sums_up_and_writes_every_decision(tmp_path: Path) -> None:
    """As JSON for programs, as text for people; decisions go to a file or to standard output."""
    offers = {"department": "shop", "category": "offer", "expires_at": None}
    facts = lines(tmp_path / "facts.jsonl", [grant()])
    asked = lines(tmp_path / "requests.jsonl", [ask(f"r{n}", n * 60, **offers) for n in range(3)])
    base = ["simulate", "--policy", str(FIRM), "--facts", str(facts), "--requests", str(asked)]
    out = tmp_path / "decisions.jsonl"
    told = CliRunner().invoke(main, [*base, "--out", str(out), "--format", "json"])
    text = CliRunner().invoke(main, [*base, "--keep-waiting"])
    summary = json.loads(told.output)
    decisions = [json.loads(line) for line in out.read_bytes().splitlines()]
    document_, _ = read_policy(FIRM)
    assert document_ is not None

    assert (summary["requests"], summary["approved"], summary["rejected"], summary["waiting"]) == (3, 1, 2, 0)
    assert summary["held_back_by"] == {"one-a-week": 2}
    assert [said["outcome"] for said in decisions] == ["approved", "rejected", "rejected"]
    assert decisions[0]["policy"] == {
        "name": "small-firm",
        "version": 0,
        "digest": digest_of(document_bytes(document_)),
    }
    assert text.exit_code == 0
    assert "3 requests" in text.output
    assert "one-a-week" in text.output
