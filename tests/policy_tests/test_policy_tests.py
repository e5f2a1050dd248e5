"""Tests that policy owners write: the samples' pass, failures are told in words, mistakes with file, line and fix."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.policy.ruleset import Policy
from arbiter.policy_check.files import read_policy
from arbiter.policy_tests import run
from arbiter.policy_tests.read import read_test_file, read_tests
from arbiter.policy_tests.run import run_test, silent_rules
from tests.policies.accept import BAD_TESTS, EXPECTED, bad_tests, said_about_tests

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "deploy" / "policies"
FIRM = SAMPLES / "small-firm"
BANK = SAMPLES / "retail-bank"
HEAD = """
at: 2026-03-04 10:00
given: {consents: [marketing]}
request: {department: shop, channel: email, category: offer}
tests:
"""


def arbiter(*arguments: object) -> Result:
    """Run ``arbiter policy test``."""
    return CliRunner().invoke(main, ["policy", "test", *map(str, arguments)], env={"COLUMNS": "200"})


def firm(folder: Path, tests: str, more: str = "", head: str = HEAD) -> Path:
    """The small firm's policy with these tests, and maybe more rules."""
    (folder / "policy.yaml").write_text((FIRM / "policy.yaml").read_text() + more)
    (folder / "policy.test.yaml").write_text(head + tests)
    return folder


def ran(folder: Path, tests: str, more: str = "") -> list[run.Result]:
    """The results of tests of the small firm's policy."""
    document, _ = read_policy(firm(folder, tests, more))
    assert document is not None
    read, problems = read_tests(folder, document)
    assert problems == []
    return [run_test(Policy(document, 1, ""), test) for test in read]


@pytest.mark.parametrize(("folder", "count_min"), [(BANK, 80), (FIRM, 9)])
def test_the_samples_tests_pass(folder: Path, count_min: int) -> None:
    """All of them, and every rule of the policy that is not off has one that makes it say no."""
    document, _ = read_policy(folder)
    assert document is not None
    tests, problems = read_tests(folder, document)
    policy = Policy(document, 1, "")
    results = [run_test(policy, test) for test in tests]

    assert problems == []
    assert [result.test.case.name for result in results if not result.is_good] == []
    assert len(results) >= count_min
    assert silent_rules(policy, results) == []


@pytest.mark.parametrize("name", bad_tests())
def test_bad_tests_are_explained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mistake is told with place, line and fix; `python -m tests.policies.accept` rewrites the texts."""
    monkeypatch.chdir(BAD_TESTS)

    assert said_about_tests(name) == (BAD_TESTS / f"{name}.{EXPECTED}").read_text()


def test_good_tests_end_well() -> None:
    """Exit code 0, a line per test, and how many there were."""
    result = arbiter(FIRM)

    assert result.exit_code == 0
    assert "who never asked gets none" in result.output
    assert result.output.splitlines()[-1] == "small-firm: 9 tests, 9 passed, 0 failed"


def test_a_failure_is_told_in_words(tmp_path: Path) -> None:
    """Exit code 1; what was expected, what came, which rule said no, whose it is and why."""
    tests = """
  - {name: wrong, given: {contacts: [{at: 3d ago}]}, expect: {outcome: approved, rules: [not-at-night]}}
  - {name: right, expect: {outcome: approved}}
"""
    result = arbiter(firm(tmp_path, tests))

    assert result.exit_code == 1
    assert f"wrong ({tmp_path}/policy.test.yaml:7)" in result.output
    assert "expected  approved\n    but       deferred" in result.output
    assert "expected  `not-at-night` says no\n    but       `not-at-night` has no objection" in result.output
    assert "expected  nothing more\n    but       `one-a-week` (Ana) says no: 1 of 1 contacts used" in result.output
    assert "2 tests, 1 passed, 1 failed" in result.output
    assert "no test makes these rules say no: ask-first, stop-means-stop, not-at-night" in result.output


def test_what_departments_would_read_is_shown_on_demand(tmp_path: Path) -> None:
    """With --explain: the sentence, owner and reason of every rule that says no, in shadow mode too."""
    trial = (
        "  - {id: trial, kind: cap, owner: Rui, why: to see, mode: shadow, per: [party], limit: 0, window: rolling 1d} "
        "# arbiter: allow limit-zero\n"
    )
    folder = firm(tmp_path, "\n  - {name: late, at: 2026-03-04 21:00, expect: {outcome: approved}}\n", trial)
    told = arbiter(folder, "--explain").output
    (test,) = json.loads(arbiter(folder, "--format", "json").output)["tests"]

    assert "late: approved\n  trial (shadow): no such contact is allowed: the limit is 0\n    Rui: to see\n" in told
    assert "trial (shadow)" not in arbiter(folder).output
    assert [] == test["findings"]
    assert [{"rule": "trial", "code": "cap_reached", "owner": "Rui", "why": "to see"}] == [
        {name: value for name, value in one.items() if name != "message"} for one in test["shadow"]
    ]


def test_results_for_a_ci(tmp_path: Path) -> None:
    """JUnit: a suite per file, a test case per test with its place, a failure with the difference."""
    tests = '\n  - {name: "a <b>", expect: {outcome: rejected}}\n  - {name: c, expect: {outcome: approved}}\n'
    report = tmp_path / "report.xml"
    result = arbiter(firm(tmp_path, tests), "--junit", report)

    (suite,) = ET.parse(report).getroot()  # noqa: S314 - we wrote it
    assert result.exit_code == 1
    assert {name: suite.get(name) for name in ("tests", "failures")} == {"tests": "2", "failures": "1"}
    failed, passed = suite
    assert (failed.get("name"), failed.get("line"), len(passed)) == ("a <b>", "7", 0)
    assert failed[0].text == "outcome: expected rejected, but approved"


def test_results_for_programs(tmp_path: Path) -> None:
    """As JSON; and one test can be run alone."""
    tests = "\n  - {name: One, expect: {outcome: rejected}}\n  - {name: two, expect: {outcome: approved}}\n"
    told = json.loads(arbiter(firm(tmp_path, tests), "--only", "one", "--format", "json").output)

    assert (told["passed"], told["failed"], len(told["tests"])) == (0, 1, 1)
    assert told["tests"][0]["problems"] == ["outcome: expected rejected, but approved"]
    assert arbiter(tmp_path, "--only", "three").exit_code == 2


def test_without_tests_or_with_a_bad_policy_nothing_passes(tmp_path: Path) -> None:
    """Exit code 1, and the fix."""
    (tmp_path / "policy.yaml").write_text((FIRM / "policy.yaml").read_text())
    empty = arbiter(tmp_path)
    bad = arbiter(ROOT / "tests" / "policies" / "bad" / "tab")

    assert (empty.exit_code, bad.exit_code) == (1, 1)
    assert "no-tests: the folder has no *.test.yaml files" in empty.output
    assert "the policy in" in bad.output


GIVEN: dict[str, tuple[str, str]] = {
    "an approval that is not confirmed counts at its permit's end": (
        "contacts: [{at: 7d ago, state: approved, valid_until: 6d ago}]",
        "outcome: deferred, rules: [one-a-week], retry_at: 2026-03-05T09:59:59.999Z",
    ),
    "a list of times is a contact of each": (
        "contacts: [{at: [8d ago, 3d ago, 1d ago]}]",
        "outcome: deferred, rules: [one-a-week], retry_at: in 6d",
    ),
    "an outcome leaves its mark, its contact does not count": (
        "consents: [marketing], outcomes: [{kind: unsubscribed, at: 1d ago}]",
        "outcome: rejected, rules: [ask-first]",
    ),
    "a request before takes its place": (
        "requests: [{at: 2d ago}]",
        "outcome: deferred, rules: [one-a-week], retry_at: 2026-03-10T09:59:59.999Z",
    ),
    "a household shares": (
        "household: {spouse: {}}, contacts: [{at: 1d ago, customer: spouse}]",
        "outcome: deferred, rules: [one-a-week]",
    ),
    "the customer's own maximum": (
        "preferences: {maximum: {limit: 0, window: rolling 7d}}",
        "outcome: rejected, codes: [customer_preference]",
    ),
    "what all share is used up": (
        "used: {post: 5}",
        "outcome: deferred, rules: [post], codes: [capacity_exhausted], retry_at: 2026-03-09",
    ),
    "what all share is nearly used up": ("used: {post: 4}", "outcome: approved, valid_until: in 24h"),
}
POST = (
    "  - {id: post, kind: capacity, owner: Ana, why: paper, when: {channel: email}, limit: 5, window: calendar week}\n"
)


@pytest.mark.parametrize("name", GIVEN)
def test_what_is_given_is_so(tmp_path: Path, name: str) -> None:
    """Every part of `given` does to the answer what it would do in life."""
    given, expect = GIVEN[name]
    (result,) = ran(tmp_path, f'\n  - {{name: "{name}", given: {{{given}}}, expect: {{{expect}}}}}\n', POST)

    assert result.differences == ()
    assert result.is_good


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("given: {contacts: [{at: 1d ago, customer: nobody}]}", "`nobody` is no member of the household"),
        ("given: {requests: [{at: in 1h}]}", "made at `in 1h`, which is after the test's `at`"),
        ("given: {preferences: {closed: {never: 1}}}", ""),
    ],
)
def test_what_cannot_be_is_told(tmp_path: Path, case: str, problem: str) -> None:
    """A test that contradicts itself fails with the reason."""
    folder = firm(tmp_path, f"\n  - {{name: one, {case}, expect: {{outcome: approved}}}}\n")
    result = arbiter(folder)

    assert result.exit_code == 1
    assert problem in result.output


def test_an_answer_later_on_can_be_looked_at(tmp_path: Path) -> None:
    """With `after`, it is the latest answer by then that counts."""
    tests = """
  - name: at once
    given: {contacts: [{at: 6d ago}]}
    expect: {outcome: deferred, retry_at: in 1d}
  - name: a day later
    given: {contacts: [{at: 6d ago}]}
    after: 1d
    expect: {outcome: approved, not_before: in 1d}
"""
    assert [result.is_good for result in ran(tmp_path, tests)] == [True, True]


def test_a_test_says_only_what_differs_from_the_top(tmp_path: Path) -> None:
    """Each field of `given` and `request` replaces that of the top, and nothing else."""
    document, _ = read_policy(
        firm(tmp_path, "\n  - {name: a, request: {channel: phone}, expect: {outcome: approved}}\n")
    )
    assert document is not None
    (test,), problems = read_test_file(tmp_path / "policy.test.yaml", document)
    request: Any = test.request

    assert problems == []
    assert (request.department, request.channel, request.category) == ("shop", "phone", "offer")
    assert test.given.consents == ["marketing"]
