"""The command line: exit codes, what is printed where, and what is never printed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.worker.kafka import topics

ROOT = Path(__file__).resolve().parents[2]
BANK = str(ROOT / "deploy" / "policies" / "retail-bank")
FIRM = ROOT / "deploy" / "policies" / "small-firm"
BAD = ROOT / "tests" / "policies" / "bad"
NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    for name in ("KAFKA", "REDIS", "REDIS_PREFIX", "TOPIC_PREFIX", "PARTITIONS"):
        monkeypatch.delenv(f"ARBITER_{name}", raising=False)


def arbiter(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, arguments)


def test_help_names_every_command() -> None:
    """One line each, the demonstration among them."""
    result = arbiter("--help")

    assert result.exit_code == 0
    for command in ("demo", "kill", "policy", "schemas", "settings", "simulate", "topics", "worker"):
        assert f"│ {command} " in result.output


def test_a_check_needs_neither_faust_nor_the_demonstration() -> None:
    """Commands start without what only others need."""
    program = (
        "import sys; from arbiter.cli import main\n"
        f"main(['policy', 'check', {BANK!r}], standalone_mode=False)\n"
        "print(sorted({'faust', 'arbiter.demo', 'arbiter.worker.process'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.splitlines()[-1] == "[]"


def test_a_good_policy_passes() -> None:
    """Exit code 0, and a line with the number of rules and the digest."""
    result = arbiter("policy", "check", BANK)

    assert result.exit_code == 0
    assert result.output.startswith("retail-bank: ")
    assert "no errors, digest " in result.output


def test_a_bad_policy_is_explained() -> None:
    """Exit code 1, the problems, and how many there are."""
    result = arbiter("policy", "check", str(BAD / "unknown-kind"))

    assert result.exit_code == 1
    assert "policy.yaml:11:11: unknown-kind: " in result.output
    assert result.output.endswith("3 errors in 1 file\n")


def test_a_check_can_be_read_by_programs() -> None:
    """As JSON: whether it is good, and each problem in parts."""
    good = json.loads(arbiter("policy", "check", str(FIRM), "--format", "json").output)
    result = arbiter("policy", "check", str(BAD / "bad-zone-and-score"), "--format", "json")
    bad = json.loads(result.output)

    assert (good["ok"], good["policy"], good["problems"], len(good["digest"])) == (True, "small-firm", [], 64)
    assert (result.exit_code, bad["ok"], len(bad["problems"])) == (1, False, 3)
    first = bad["problems"][0]
    assert (first["line"], first["column"], first["code"], first["severity"]) == (3, 11, "bad-zone", "error")
    assert first["file"].endswith("policy.yaml")


def test_wrong_usage_is_told() -> None:
    """Exit code 2 for a missing folder argument and for a command that is not there."""
    assert arbiter("policy", "check").exit_code == 2
    assert arbiter("policies").exit_code == 2


def test_missing_settings_are_named() -> None:
    """Exit code 2 and the variable; what a command does not need is not asked for."""
    result, worker = arbiter("policy", "activate", "1"), arbiter("worker")

    assert (result.exit_code, worker.exit_code) == (2, 2)
    assert "ARBITER_REDIS: missing" in result.stderr
    assert "ARBITER_KAFKA" not in result.stderr
    assert "ARBITER_KAFKA: missing" in worker.stderr


def test_an_absent_redis_is_one_line_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3; the address and the variable to look at, and nothing secret."""
    monkeypatch.setenv("ARBITER_REDIS", f"redis://ana:s3cret@{NOBODY}/0")
    result = arbiter("policy", "publish", str(FIRM), "--author", "ana", "--reason", "r")

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert NOBODY in result.stderr
    assert "ARBITER_REDIS" in result.stderr
    assert "s3cret" not in result.output


def test_an_absent_kafka_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Exit code 3; the address and the variable to look at, and librdkafka says nothing by itself."""
    monkeypatch.setenv("ARBITER_KAFKA", NOBODY)
    monkeypatch.setattr(topics, "TIMEOUT_SECONDS", 0.5)
    result = arbiter("topics", "create")

    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert NOBODY in result.stderr
    assert "ARBITER_KAFKA" in result.stderr
    assert capfd.readouterr().err == ""


def test_topics_are_made_once(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, with the number of partitions asked for; a second run makes none."""
    monkeypatch.setenv("ARBITER_KAFKA", kafka_bootstrap)
    monkeypatch.setenv("ARBITER_TOPIC_PREFIX", f"cli-{uuid4().hex}-")
    first, second = arbiter("topics", "create", "--partitions", "3"), arbiter("topics", "create")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert first.output.count("made ") == 12
    assert first.output.splitlines()[-1] == second.output.rstrip() == "all 12 topics are there, each with 3 partitions"


def test_topics_keep_their_number_of_partitions(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number is refused, whether an option or the environment asks for it, and nothing is made."""
    monkeypatch.setenv("ARBITER_KAFKA", kafka_bootstrap)
    monkeypatch.setenv("ARBITER_TOPIC_PREFIX", f"cli-{uuid4().hex}-")
    assert arbiter("topics", "create", "--partitions", "4").exit_code == 0
    by_option = arbiter("topics", "create", "--partitions", "8")
    monkeypatch.setenv("ARBITER_PARTITIONS", "8")
    by_environment = arbiter("topics", "create")

    assert (by_option.exit_code, by_environment.exit_code) == (3, 3)
    assert "8 partitions were asked for, but" in by_option.stderr
    assert "contact.requests.v1 has 4" in by_environment.stderr


def test_settings_are_listed() -> None:
    """As Markdown where it is not a terminal: the page of the documentation."""
    assert arbiter("settings").output == (ROOT / "docs" / "settings.md").read_text()


def test_schemas_are_written_and_checked(tmp_path: Path) -> None:
    """Missing files are named with exit code 1, written, and then there is nothing left to do."""
    root = ("--root", str(tmp_path))
    before, written, after = arbiter("schemas", "--check", *root), arbiter("schemas", *root), arbiter("schemas", *root)

    assert before.exit_code == 1
    assert "schemas/policy.schema.json: differs from the code; run `arbiter schemas`" in before.stderr
    assert "schemas/asyncapi.yaml" in written.output.splitlines()
    assert after.output == "nothing has changed\n"
    assert arbiter("schemas", "--check", *root).exit_code == 0
