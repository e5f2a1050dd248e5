"""The commands of a policy's life and of kill switches: what they refuse, what they print, what the audit keeps."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.policy.document import PolicyDocument
from arbiter.policy_check.files import digest_of, document_bytes
from arbiter.state.codec import pack_ledger
from arbiter.state.redis_store import connect
from arbiter.state.store import Commit, CommitResult
from arbiter.timing.instants import DAY_MS
from tests.inputs.builders import Desk, document, policy, request

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


@pytest.mark.usefixtures("alone")
def test_a_version_with_errors_is_not_put_in_force() -> None:
    """However it came into the store: the version is checked when it is activated, since workers only compile it."""
    free = {"id": "free", "kind": "consent", "basis": "opt_out", "when": {"channel": "email"}}
    cap = {"id": "none", "kind": "cap", "per": ["party"], "limit": 3, "window": "rolling 900d"}

    async def put() -> None:
        store = connect(os.environ["ARBITER_REDIS"], os.environ["ARBITER_REDIS_PREFIX"])
        content = document_bytes(msgspec.convert(document(free, cap), PolicyDocument))
        await store.policies.publish("test", digest_of(content), "ana", content)
        await store.close()

    asyncio.run(put())
    refused = arbiter("policy", "activate", "1", "--without-approval")

    assert 1 == refused.exit_code
    assert "window-too-long: the window `rolling 900d` is longer than contacts are remembered" in refused.output
    assert "version 1 is not put in force: the policy has errors" in refused.stderr


def test_an_unknown_version_is_told() -> None:
    """Neither approved, activated nor shown, exit code 2."""
    results = [arbiter("policy", *words, "7") for words in (("activate",), ("show",), ("approve", "--approver", "x"))]

    assert [result.exit_code for result in results] == [2, 2, 2]
    assert all("there is no version 7" in result.stderr for result in results)


def test_tests_are_published_with_the_policy_and_decide(tmp_path: Path) -> None:
    """They are kept beside the document, run before it is put in force, and a failure keeps it out."""
    for file in Path(FIRM).iterdir():
        shutil.copy(file, tmp_path)
    good = publish(str(tmp_path))
    (tests,) = tmp_path.glob("*.test.yaml")
    tests.write_text(tests.read_text().replace("outcome: deferred", "outcome: approved"))
    bad = publish(str(tmp_path))
    tests.write_text("tests: [it is night]\n")
    unclear = publish(str(tmp_path))
    for version in ("1", "2", "3"):
        arbiter("policy", "approve", version, "--approver", "rui")
    passed, failed, unread = (arbiter("policy", "activate", version) for version in ("1", "2", "3"))

    assert all("with 1 test file\n" in published.output for published in (good, bad, unclear))
    assert (passed.exit_code, failed.exit_code, unread.exit_code) == (0, 1, 1)
    assert "policy.test.yaml:" in failed.output
    assert "approved" in failed.output
    assert "its own tests fail" in failed.stderr
    assert "policy.test.yaml:1:9: " in unread.output
    assert "version 1, in force" in arbiter("policy", "show").output


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


@pytest.mark.usefixtures("alone")
def test_who_is_over_a_new_cap_is_counted_before_it_is_in_force() -> None:
    """Over all ledgers of all partitions: how many parties used more than it allows, and how many all of it."""
    cap = {"id": "few", "kind": "cap", "per": ["party"], "limit": 10, "window": "rolling 7d"}
    now_ms = time.time_ns() // 1_000_000

    def used(count: int) -> bytes:
        desk = Desk(policy(cap))
        for number in range(count):
            desk.ask(request(f"r{number}", category="service", expires_at=now_ms + 30 * DAY_MS), now_ms)
        return pack_ledger(desk.ledger)

    async def fill() -> None:
        store = connect(os.environ["ARBITER_REDIS"], os.environ["ARBITER_REDIS_PREFIX"])
        for number in (0, 1):
            await store.claim(number, "a", 1)
            ledgers = {f"c:{number}-{count}": used(count) for count in range(6)}
            commit = Commit(1, "a", 1, 0, now_ms, {}, ledgers, {}, 60_000, {}, b"")
            assert (await store.commit(number, commit))[0] is CommitResult.OK
        for limit in (10, 3):
            content = document_bytes(msgspec.convert(document({**cap, "limit": limit}), PolicyDocument))
            await store.policies.publish("test", digest_of(content), "ana", content)
        await store.close()

    asyncio.run(fill())
    first = arbiter("policy", "activate", "1", "--without-approval", "--count-over")
    second = arbiter("policy", "activate", "2", "--without-approval", "--count-over")
    same = arbiter("policy", "activate", "2", "--without-approval", "--count-over")

    assert first.output.startswith("nothing is in force")
    assert second.output.splitlines()[0] == "few: 4 of 12 parties are over it at once, 2 at it"
    assert same.output.startswith("no cap is new or changed; 12 parties were looked at\n")
    assert (first.exit_code, second.exit_code, same.exit_code) == (0, 0, 0)


# The shadow policy


@pytest.mark.usefixtures("alone")
def test_a_version_is_judged_in_shadow_and_no_longer() -> None:
    """Published is enough; `show` and `history` tell of it, with who and why, and it is no activation."""
    arbiter("policy", "publish", FIRM, *ALONE)
    publish(BANK)
    begun = arbiter("policy", "shadow", "2", "--by", "ana", "--reason", "what would a bank say?")
    shown, as_json = arbiter("policy", "show"), json.loads(arbiter("policy", "show", "--format", "json").output)
    ended = arbiter("policy", "shadow", "--off", "--by", "rui")
    told = arbiter("policy", "history").output

    assert [0, 0, 0] == [begun.exit_code, shown.exit_code, ended.exit_code]
    assert "version 2" in begun.output
    assert (
        "is evaluated beside what is in force (activation 2); running workers take it over within two" in begun.output
    )
    assert "shadow policy: version 2, evaluated beside what is in force; it decides nothing" in shown.output
    assert (1, True, 2) == (as_json["version"], as_json["active"], as_json["shadow"]["version"])
    assert "no shadow policy is evaluated any more (activation 3)" in ended.output
    assert "evaluated in shadow" in told
    assert "no longer evaluated in shadow" in told
    assert "what would a bank say?" in told
    assert [("shadow_began", "ana", 2), ("shadow_ended", "rui", 3)] == [
        (one["action"], one["by"], one["activation"]) for one in history()[-2:]
    ]


@pytest.mark.usefixtures("alone")
def test_another_shadow_takes_the_place_of_the_first() -> None:
    """One at a time; the version in force may stand beside, too, for after a rollback."""
    arbiter("policy", "publish", FIRM, *ALONE)
    publish(BANK)
    arbiter("policy", "shadow", "2")
    other = arbiter("policy", "shadow", "1")

    assert "instead of version 2" in other.output
    assert "version 1 is in force itself: nothing is evaluated beside it until another one is" in other.output
    assert "in force itself, so nothing is evaluated beside it" in arbiter("policy", "show").output


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "give either a VERSION or --off"),
        (("1", "--off"), 2, "give either a VERSION or --off"),
        (("7",), 2, "there is no version 7"),
        (("1",), 1, "no policy is in force that it could be evaluated beside"),
        (("--off",), 1, "no shadow policy is evaluated"),
        (("1", "--by", " "), 2, "--by is empty"),
    ],
)
def test_a_shadow_that_cannot_be_is_refused(arguments: tuple[str, ...], code: int, text: str) -> None:
    """With what to do instead."""
    publish()
    refused = arbiter("policy", "shadow", *arguments)

    assert code == refused.exit_code
    assert text in refused.stderr
