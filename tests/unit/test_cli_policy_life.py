"""The commands of a policy's life and of kill switches: what they refuse, what they print, what the audit keeps."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main, published_tests

ROOT = Path(__file__).resolve().parents[2]
BANK = str(ROOT / "deploy" / "policies" / "retail-bank")
FIRM = str(ROOT / "deploy" / "policies" / "small-firm")
BAD = ROOT / "tests" / "policies" / "bad"

ALONE = ("--reason", "trial", "--activate", "--without-approval")


@pytest.fixture(autouse=True)
def registry(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis without policies, in an installation that wants two people."""
    monkeypatch.setenv("ARBITER_REDIS", valkey_url)
    monkeypatch.setenv("ARBITER_REDIS_PREFIX", f"cli-{uuid4().hex}")
    monkeypatch.delenv("ARBITER_ACTIVATE_ALONE", raising=False)


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation in which one person is enough."""
    monkeypatch.setenv("ARBITER_ACTIVATE_ALONE", "true")


def arbiter(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, arguments)


def publish(folder: str = FIRM, author: str = "ana") -> Result:
    """Publish a policy."""
    return arbiter("policy", "publish", folder, "--author", author, "--reason", "fewer letters")


def history() -> list[dict[str, object]]:
    """The audit."""
    entries: list[dict[str, object]] = json.loads(arbiter("policy", "history", "--format", "json").output)
    return entries


def test_two_people_put_a_policy_in_force() -> None:
    """Published, approved by somebody else, activated: each step says what comes next, and `show` tells it all."""
    published = publish()
    early = arbiter("policy", "activate", "1", "--by", "ana")
    own = arbiter("policy", "approve", "1", "--approver", " Ana")
    approved = arbiter("policy", "approve", "1", "--approver", "rui", "--reason", "caps as agreed")
    activated = arbiter("policy", "activate", "1", "--by", "ana")
    shown = arbiter("policy", "show").output

    assert published.output.startswith("small-firm version 1 (digest ")
    assert "arbiter policy approve 1" in published.output
    assert (early.exit_code, own.exit_code) == (1, 1)
    assert "not approved" in early.stderr
    assert "its author cannot approve it" in own.stderr
    assert "is approved by rui" in approved.output
    assert activated.output.startswith("version 1 is in force (activation 1)")
    assert shown.startswith("small-firm version 1, in force\npublished ")
    assert "by ana, digest " in shown
    assert "by rui: caps as agreed\n" in shown
    assert "not-at-night" in shown


def test_versions_are_kept_apart() -> None:
    """An unchanged policy keeps its version, another gets the next, and one can be shown without being in force."""
    first, again, second = publish(), publish(author="rui"), publish(BANK)

    assert again.output == first.output
    assert second.output.startswith("retail-bank version 2 ")
    assert arbiter("policy", "show").exit_code == 1
    assert arbiter("policy", "show", "2").output.startswith("retail-bank version 2, not in force\n")
    record = json.loads(arbiter("policy", "show", "2", "--format", "json").output)
    assert (record["version"], record["active"], record["document"]["policy"]) == (2, False, "retail-bank")
    assert (record["author"], record["reason"], record["approval"]) == ("ana", "fewer letters", None)


def test_a_reason_is_required() -> None:
    """Without one nothing is published; blank names and reasons are none."""
    missing = arbiter("policy", "publish", FIRM)
    blank = arbiter("policy", "publish", FIRM, "--reason", "  ")

    assert (missing.exit_code, blank.exit_code) == (2, 2)
    assert "--reason" in missing.stderr
    assert arbiter("policy", "show", "1").exit_code == 2


@pytest.mark.usefixtures("alone")
def test_one_person_is_enough_where_the_installation_says_so() -> None:
    """In one command, loudly, and the audit says so."""
    result = arbiter("policy", "publish", BANK, *ALONE)

    assert result.exit_code == 0
    assert "WITHOUT the approval of a second person" in result.output
    assert arbiter("policy", "show").output.startswith("retail-bank version 1, in force\n")
    assert history()[-1]["without_approval"] is True


def test_one_person_is_not_enough_elsewhere() -> None:
    """Neither in one command nor in two; nothing is published by the attempt."""
    at_once = arbiter("policy", "publish", BANK, *ALONE)
    hidden = arbiter("policy", "publish", BANK, "--reason", "r", "--activate")
    publish()
    later = arbiter("policy", "activate", "1", "--without-approval")

    assert (at_once.exit_code, hidden.exit_code, later.exit_code) == (1, 2, 1)
    assert "ARBITER_ACTIVATE_ALONE" in at_once.stderr
    assert [entry["action"] for entry in history()] == ["published"]


@pytest.mark.usefixtures("alone")
def test_a_bad_policy_is_not_published() -> None:
    """Exit code 1, the problems are told, and nothing is kept."""
    result = arbiter("policy", "publish", str(BAD / "tab"), *ALONE)

    assert result.exit_code == 1
    assert "policy.yaml:9:1: tab: " in result.stdout
    assert "not published" in result.stderr
    assert arbiter("policy", "show", "1").exit_code == 2


def test_an_unknown_version_is_told() -> None:
    """Neither approved, activated nor shown, exit code 2."""
    results = [arbiter("policy", *words, "7") for words in (("activate",), ("show",), ("approve", "--approver", "x"))]

    assert [result.exit_code for result in results] == [2, 2, 2]
    assert all("there is no version 7" in result.stderr for result in results)


def test_tests_are_published_with_the_policy_and_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept beside the document, run before it is put in force, and a failure keeps it out."""
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "policy.yaml").write_text((Path(FIRM) / "policy.yaml").read_text())
    (folder / "night.test.yaml").write_text("it: is night\n")
    seen: list[dict[str, str]] = []

    def run(document: object, tests: object) -> list[str]:
        assert getattr(document, "policy", None) == "small-firm"
        seen.append(dict(tests))  # type: ignore[call-overload]
        return ["night.test.yaml: expected deferred, got approved"] if len(seen) == 1 else []

    published = publish(str(folder))
    arbiter("policy", "approve", "1", "--approver", "rui")
    without = arbiter("policy", "activate", "1")
    monkeypatch.setattr(published_tests, "run_tests", run)
    failed, passed = arbiter("policy", "activate", "1"), arbiter("policy", "activate", "1")

    assert "with 1 test file" in published.output
    assert (without.exit_code, failed.exit_code, passed.exit_code) == (1, 1, 0)
    assert "cannot run" in without.output
    assert "night.test.yaml: expected deferred" in failed.output
    assert seen == [{"night.test.yaml": "it: is night\n"}] * 2


def test_tests_that_cannot_be_read_are_not_left_out(tmp_path: Path) -> None:
    """Published without them the policy would be less safe than it looks."""
    (tmp_path / "policy.yaml").write_text((Path(FIRM) / "policy.yaml").read_text())
    (tmp_path / "night.test.yaml").write_bytes(b"\xff")
    result = publish(str(tmp_path))

    assert result.exit_code == 1
    assert "night.test.yaml:1:1: not-utf8" in result.stdout
    assert "its tests cannot be read" in result.stderr
    assert arbiter("policy", "show", "1").exit_code == 2


@pytest.mark.usefixtures("alone")
def test_an_activation_can_be_planned_and_cancelled() -> None:
    """Times are in the policy's zone; `show` lists what is to come."""
    publish()
    publish(BANK)
    arbiter("policy", "activate", "1", "--without-approval")
    span = ("--from", "2099-12-01 08:00", "--until", "2099-12-24")
    planned = arbiter("policy", "activate", "2", *span, "--without-approval")
    shown = arbiter("policy", "show").output
    cancelled = arbiter("policy", "cancel", "2", "--reason", "not this year")

    text = "version 2 will be in force from 2099-12-01 08:00 (Europe/Lisbon) until 2099-12-25 00:00 (Europe/Lisbon)"
    assert text in planned.output
    assert "planned: version 2 will be in force from 2099-12-01 08:00 UTC until 2099-12-25 00:00 UTC" in shown
    assert cancelled.exit_code == 0
    assert "planned" not in arbiter("policy", "show").output


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        (("--from", "2020-01-01"), "has passed already", 1),
        (("--until", "2020-01-01"), "would end before it begins", 1),
        (("--until", "2099-01-01"), "nothing would be in force when it ends", 1),
        (("--from", "tomorrow"), "--from: `tomorrow` is not a date or time", 2),
        (("--by", " "), "--by is empty", 2),
    ],
)
def test_a_senseless_activation_is_refused(words: tuple[str, ...], text: str, code: int) -> None:
    """Each with the reason."""
    publish()
    result = arbiter("policy", "activate", "1", "--without-approval", *words)

    assert (result.exit_code, text in result.stderr) == (code, True)


@pytest.mark.usefixtures("alone")
def test_rollback_is_one_command() -> None:
    """The version before is in force again; where there is none, that is said."""
    publish()
    publish(BANK)
    for version in ("1", "2"):
        arbiter("policy", "activate", version, "--without-approval")
    back = arbiter("policy", "rollback", "--by", "eva", "--reason", "too strict")
    further = arbiter("policy", "rollback", "--by", "eva")

    assert back.output.startswith("version 1 is in force again instead of 2 (activation 3)")
    assert (further.exit_code, "no other version" in further.stderr) == (1, True)
    last = history()[-1]
    assert (last["action"], last["by"], last["reason"], last["activation"]) == ("rolled_back", "eva", "too strict", 3)


def test_a_switch_is_ordered_listed_and_lifted() -> None:
    """It says what it stops, until when, and how to end it; the list and the audit have it."""
    ordered = arbiter(
        "kill", "--campaign", "spring", "--for", "2h", "--reason", "wrong rate", "--by", "ops@bank.example"
    )
    listed = arbiter("kill", "list")
    (one,) = json.loads(arbiter("kill", "list", "--format", "json").output)
    lifted, twice = arbiter("kill", "lift", "1", "--by", "ops"), arbiter("kill", "lift", "1")

    assert ordered.output.startswith("kill switch 1 stops campaign spring until ")
    assert "arbiter kill lift 1" in ordered.output
    assert all(text in listed.output for text in ("campaign spring", "ops@bank.example", "wrong rate"))
    assert (one["id"], one["target"], one["name"], one["includes_legal"]) == (1, "campaign", "spring", False)
    assert (lifted.exit_code, twice.exit_code) == (0, 1)
    assert arbiter("kill", "list").output == "no kill switch is in force\n"
    assert [entry["action"] for entry in history()] == ["killed", "kill_lifted"]
    assert "kill switch 1 (campaign spring) ordered until" in arbiter("policy", "history").output


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--for", "2h"), "say what to stop"),
        (("--campaign", "a", "--all", "--for", "2h"), "say what to stop"),
        (("--channel", "", "--for", "2h"), "say what to stop"),
        (("--all",), "say when it ends"),
        (("--all", "--for", "2h", "--until", "2099-01-01"), "say when it ends"),
        (("--all", "--for", "soon"), "--for: `soon` is not a duration"),
        (("--all", "--until", "soon"), "--until: `soon` is not a date"),
        (("--all", "--until", "2099-01-01"), "within 30 days"),
        (("--all", "--until", "2020-01-01"), "has ended already"),
    ],
)
def test_a_senseless_switch_is_refused(words: tuple[str, ...], text: str) -> None:
    """Each with the reason, and nothing is stopped."""
    result = arbiter("kill", *words, "--reason", "r")

    assert result.exit_code in (1, 2)
    assert text in result.stderr
    assert arbiter("kill", "list").output == "no kill switch is in force\n"


def test_a_switch_needs_a_reason() -> None:
    """Every decision that it touches quotes it."""
    result = arbiter("kill", "--all", "--for", "2h")

    assert (result.exit_code, "--reason" in result.stderr) == (2, True)


@pytest.mark.usefixtures("alone")
def test_a_misspelt_name_is_noticed() -> None:
    """The switch is ordered all the same: in an emergency nobody argues."""
    arbiter("policy", "publish", FIRM, *ALONE)
    odd = arbiter("kill", "--channel", "e-mail", "--for", "2h", "--reason", "r")
    good = arbiter("kill", "--channel", "email", "--for", "2h", "--reason", "r")

    assert (odd.exit_code, good.exit_code) == (0, 0)
    assert "knows no channel `e-mail`" in odd.stderr
    assert good.stderr == ""
