"""`arbiter policy check` in its formats: what people, scripts, GitHub and code scanning get, and the exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.cli.report import github
from arbiter.cli.report import sarif as as_sarif
from arbiter.policy_check.files import FileProblem
from arbiter.policy_check.files.catalogue import CODES
from tests.policies.accept import BAD, WARNED, cases

ROOT = Path(__file__).resolve().parents[2]
BANK = ROOT / "deploy" / "policies" / "retail-bank"
ODD = FileProblem(
    file="a, b/100%:x.yaml", line=3, column=7, code="tab", message="50% of\nit: a, b", help="so", severity="warning"
)
POLICIES = [*(BAD / name for name in cases(BAD)), *(WARNED / name for name in cases(WARNED)), BANK]


def check(folder: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["policy", "check", str(folder), *options])


@pytest.mark.parametrize(
    ("folder", "options", "exit_code"),
    [
        (BANK, (), 0),
        (BANK, ("--strict",), 0),
        (WARNED / "owners", (), 0),
        (WARNED / "owners", ("--strict",), 1),
        (BAD / "tab", (), 1),
        (BAD / "no-files", (), 1),
        (BAD / "nowhere", (), 1),
        (BANK, ("--format", "xml"), 2),
        (BANK, ("--lenient",), 2),
    ],
)
@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_the_exit_code_tells_what_it_came_to(folder: Path, options: tuple[str, ...], exit_code: int, form: str) -> None:
    """0 for a policy that can be published, 1 for one that cannot, 2 for a wrong command, whatever the format."""
    assert check(folder, "--format", form, *options).exit_code == exit_code


def test_exit_codes_are_in_the_help_and_the_documentation() -> None:
    """Each with its meaning."""
    shown = CliRunner().invoke(main, ["policy", "check", "--help"]).output
    page = (ROOT / "docs" / "policy-check.md").read_text()

    for exit_code, words in {0: "can be published", 1: "has errors", 2: "was not understood"}.items():
        assert re.search(
            rf"{exit_code}  the policy {words}|{exit_code}  it {words}|{exit_code}  the command {words}", shown
        )
        assert re.search(rf"\| {exit_code} \| .*{words}", page)


def test_a_summary_counts_errors_and_warnings() -> None:
    """Of a bad policy the errors and their files; of a suspicious one the rules, the warnings, the digest."""
    bad, warned = check(BAD / "two-files-broken").output, check(WARNED / "headroom").output
    strict = check(WARNED / "hold-too-long", "--strict").output

    assert bad.endswith("7 errors in 3 files\n")
    assert re.search(r"\nshop: 4 rules, no errors, 3 warnings, digest [0-9a-f]{16}\n$", warned)
    assert strict.endswith(" - not accepted, because of --strict\n")


def test_one_place_is_shown_once() -> None:
    """Several mistakes at one place share the line and the caret; a blank line is between places."""
    blocks = check(BAD / "two-files-broken").output.split("\n\n")

    assert len(blocks) == 4  # one for each file, and the summary
    assert blocks[1].count("- {id: x, kind: cap}") == 1
    assert blocks[1].count(": missing-field: ") == 5


def test_json_has_what_a_script_needs() -> None:
    """Whether it passes, the digest, and each problem in parts; strictness changes whether it passes."""
    lenient, strict = (json.loads(check(WARNED / "owners", "--format", "json", *o).output) for o in ((), ("--strict",)))

    assert (lenient["ok"], strict["ok"]) == (True, False)
    assert lenient["problems"] == strict["problems"]
    assert lenient["digest"] == strict["digest"] is not None
    assert {problem["severity"] for problem in lenient["problems"]} == {"warning"}


def test_github_annotates_lines() -> None:
    """One command per problem, then the summary for the log."""
    *commands, summary = check(BAD / "unknown-kind", "--format", "github").output.splitlines()

    assert summary == "3 errors in 1 file"
    assert len(commands) == 3
    assert re.fullmatch(
        r"::error file=tests/policies/bad/unknown-kind/policy\.yaml,title=unknown-kind,line=11,col=11::"
        r"rule `one-a-week` has the kind `capp`, which does not exist%0Ahelp: did you mean `cap`\?",
        commands[0],
    )


def test_github_commands_cannot_be_broken_out_of() -> None:
    """Line breaks and percent signs are escaped everywhere, colons and commas in properties."""
    (command,) = github([ODD])

    assert command == ("::warning file=a%2C b/100%25%3Ax.yaml,title=tab,line=3,col=7::50%25 of%0Ait: a, b%0Ahelp: so")


@pytest.mark.parametrize(
    "folder", [*(BAD / name for name in cases(BAD)), *(WARNED / name for name in cases(WARNED)), BANK]
)
def test_sarif_is_sarif(folder: Path, sarif: dict[str, Any]) -> None:
    """Every policy's report fits the schema of SARIF 2.1.0, and each result's rule is the one it names."""
    log = json.loads(check(folder, "--format", "sarif").output)
    problems = json.loads(check(folder, "--format", "json").output)["problems"]

    assert [error.message for error in jsonschema_rs.Draft4Validator(sarif).iter_errors(log)] == []
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [name for name in CODES if name in {p["code"] for p in problems}]
    assert [places(result, rules) for result in run["results"]] == [
        (p["code"], p["severity"], max(p["line"], 1), max(p["column"], 1)) for p in problems
    ]


def places(result: dict[str, Any], rules: list[dict[str, Any]]) -> tuple[str, str, int, int]:
    """The rule, level and place of a result; its rule must be the one that its index says."""
    region = result["locations"][0]["physicalLocation"]["region"]

    assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    return result["ruleId"], result["level"], region["startLine"], region["startColumn"]


def test_sarif_paths_are_addresses(tmp_path: Path) -> None:
    """Below the working directory relative and escaped, elsewhere a file address."""
    inside = FileProblem(file=str(Path.cwd() / "a b.yaml"), line=1, column=1, code="tab", message="m")
    outside = FileProblem(file=str(tmp_path / "x.yaml"), line=1, column=1, code="tab", message="m")
    results = as_sarif([inside, outside, ODD])["runs"][0]["results"]
    addresses = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]

    assert addresses == ["a%20b.yaml", (tmp_path / "x.yaml").as_uri(), "a%2C%20b/100%25%3Ax.yaml"]


@pytest.mark.parametrize("width", [70, 80, 200])
def test_a_terminal_gets_lines_that_fit(width: int) -> None:
    """On a terminal everything is folded to its width, in colours, and each caret stands below its place."""
    text = on_a_terminal(width, "policy", "check", "many-at-once", cwd=BAD)
    warned = on_a_terminal(width, "policy", "check", "always-stricter", cwd=WARNED)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)

    assert text != plain
    assert max(map(len, plain.splitlines())) <= width
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", warned).splitlines())) <= width
    shown, caret = re.search(r"\n( +)window: rolling week\n( +)\^\n", plain).groups()  # type: ignore[union-attr]
    assert len(caret) == len(shown) + len("window: ")
    assert " ".join(plain.split()).endswith("`party`, `product` 5 errors in 1 file")


def on_a_terminal(width: int, *arguments: str, cwd: Path) -> str:
    """What a command prints on a terminal of this width."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(width), "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-m", "arbiter", *arguments], stdout=theirs, cwd=cwd, env=environment
    ) as process:
        os.close(theirs)
        printed = b""
        while chunk := read(ours):
            printed += chunk
        process.wait()
    os.close(ours)
    return printed.decode().replace("\r\n", "\n")


def read(terminal: int) -> bytes:
    """The next bytes; none once the other end is closed, which Linux tells as an error."""
    try:
        return os.read(terminal, 4096)
    except OSError:
        return b""
