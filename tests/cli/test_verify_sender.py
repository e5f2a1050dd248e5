"""``arbiter verify-sender``: what would be refused, noted or ignored, with place, field and fix; from files."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner, Result

from arbiter.cli import main
from arbiter.messages import REQUESTS
from tests.servers.processes import ROOT

GOOD = {
    "request_id": "r1",
    "customer_id": "c1",
    "department": "cards",
    "campaign": "spring",
    "channel": "email",
    "category": "promotional",
}
SENT = {"department": "cards", "customer_id": "c1", "request_id": "r1", "kind": "sent", "at": "2026-01-01T00:00:00Z"}
SAMPLE = ROOT / "deploy" / "policies" / "retail-bank"


def verify(*words: str | Path, **environment: str) -> Result:
    """The command."""
    return CliRunner(env={"COLUMNS": "400", **environment}).invoke(main, ["verify-sender", *map(str, words)])


@pytest.fixture
def lines(tmp_path: Path) -> Any:
    """Writes a file of JSON lines."""

    def write(*said: dict[str, Any] | str, name: str = "published.jsonl") -> Path:
        file = tmp_path / name
        file.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in said))
        return file

    return write


def told(result: Result) -> list[tuple[str, str, str, str, int]]:
    """What, kind, code, field, and the line of the first place, of each finding."""
    report = json.loads(result.stdout)
    schema = json.loads((ROOT / "schemas" / "sender-report.schema.json").read_text())
    assert jsonschema_rs.Draft202012Validator(schema).is_valid(report)
    return [
        (one["what"], one["kind"], one["code"], one.get("field", ""), int(one["places"][0].rpartition(":")[2]))
        for one in report["findings"]
    ]


def test_each_mistake_is_told_with_its_place_field_and_fix(lines: Any) -> None:
    """Refused, noted and ignored ones, of every kind; as text and as JSON."""
    file = lines(
        GOOD,
        {**GOOD, "request_id": "r2", "sendAfter": "2026-01-01T00:00:00Z"},
        {**GOOD, "request_id": "r3", "priority": "high"},
        {"requestId": "r4", **{name: value for name, value in GOOD.items() if name != "request_id"}},
        {**GOOD, "campaign": "autumn"},
        {**SENT, "remark": "x"},
        {"type": "consent", "customer_id": "c1", "purpose": "marketing", "state": "given",
         "captured_at": "2026-01-01T00:00:00Z"},
        {"customer_id": "c1", "timezone": "Europe/Lisbon"},
        "garbage",
    )  # fmt: skip
    found, text = verify(file, "--json"), verify(file)

    assert sorted(told(found)) == [
        ("ignored", "outcome", "unknown_field", "remark", 6),
        ("ignored", "profile", "unknown_field", "timezone", 8),
        ("noted", "request", "unknown_field", "sendAfter", 2),
        ("refused", "consent", "wrong_type", "state", 7),
        ("refused", "request", "missing_field", "request_id", 4),
        ("refused", "request", "request_id_reused", "request_id", 5),
        ("refused", "request", "unknown_field", "requestId", 4),
        ("refused", "request", "wrong_type", "priority", 3),
        ("refused", "unreadable", "malformed_json", "", 9),
    ]
    assert found.exit_code == text.exit_code == 1
    assert json.loads(found.stdout)["counts"]["request"] == {"records": 5, "refused": 3, "noted": 1, "ignored": 0}
    assert "→ did you mean `send_after`?" in text.stdout
    assert "→ rename `requestId` to `request_id`" in text.stdout
    assert "request: 5 records, 3 refused, 1 noted" in text.stdout


def test_what_is_as_it_should_be_is_exit_code_0(lines: Any) -> None:
    """Every kind, also in forms that are not the usual ones: a withdrawal without an offset, a `null`."""
    file = lines(
        GOOD | {"product": None},
        GOOD,
        SENT,
        {"type": "consent", "customer_id": "c1", "purpose": "x", "state": "Withdrawn", "captured_at": "2026-01-01"},
        {"type": "suppression", "customer_id": "c1", "list": "dnc", "active": True,
         "captured_at": "2026-01-01T00:00:00Z"},
        {"type": "preference", "customer_id": "c1", "captured_at": "2026-01-01T00:00:00Z"},
        {"customer_id": "c1", "time_zone": "Europe/Lisbon"},
        {"type": "request", **GOOD, "request_id": "r9"},
    )  # fmt: skip
    found = verify(file, "--strict")

    assert found.exit_code == 0, found.output
    assert "request: 3 records, all are as they should be" in found.stdout


def test_notes_fail_only_when_asked(lines: Any) -> None:
    """And what is noted in one installation is refused in another."""
    file = lines({**GOOD, "colour": "blue"})

    assert verify(file).exit_code == 0
    assert verify(file, "--strict").exit_code == 1
    assert verify(file, "--unknown-fields", "refuse").exit_code == 1
    assert verify(file, ARBITER_UNKNOWN_FIELDS="refuse").exit_code == 1
    assert [one[0] for one in told(verify(file, "--json", ARBITER_UNKNOWN_FIELDS="refuse"))] == ["refused"]


def test_equal_mistakes_are_one_finding(lines: Any) -> None:
    """With how many records have it, and the first places."""
    file = lines(*({**GOOD, "request_id": f"r{number}", "priority": f"p{number}"} for number in range(30)))
    (finding,) = json.loads(verify(file, "--json").stdout)["findings"]
    text = verify(file).stdout

    assert (finding["records"], len(finding["places"])) == (30, 10)
    assert f"{file}:1, {file}:2, {file}:3 and 27 more" in text


def test_names_are_compared_with_a_policy(lines: Any) -> None:
    """What the policy would reject at once: a name that it does not have, a category that is not the department's."""
    file = lines(
        {**GOOD, "channel": "emial"},
        {**GOOD, "request_id": "r2", "department": "nobody"},
        {**GOOD, "request_id": "r3", "category": "regulatory"},
    )
    found = verify(file, "--policy", SAMPLE, "--json")

    assert {(code, field, line) for _, _, code, field, line in told(found)} >= {
        ("invalid", "channel", 1),
        ("invalid", "department", 2),
        ("not_allowed", "department", 3),
    }
    assert "did you mean `email`?" in found.stdout


def test_records_of_kcat_and_envelopes_are_read(lines: Any) -> None:
    """The topic says what it is; an event in structured mode is looked into, also when it is cut off."""
    kcat = {
        "topic": f"t.{REQUESTS}",
        "partition": 2,
        "offset": 7,
        "key": "c1",
        "payload": json.dumps({"request_id": 1}),
    }
    event = {"specversion": "1.0", "type": "x", "source": "s", "id": "1", "data": {**GOOD, "priority": 101}}
    found = verify(lines(kcat, event), "--json", ARBITER_TOPIC_PREFIX="t.")
    report = json.loads(found.stdout)

    assert {one["field"] for one in report["findings"]} >= {"request_id", "customer_id", "priority"}
    assert any(f"(t.{REQUESTS}/2/7)" in one["places"][0] for one in report["findings"])
    assert report["counts"]["request"]["records"] == 2


def test_all_lines_can_be_of_one_kind(lines: Any) -> None:
    """Where the fields do not say."""
    found = verify(lines({"customer_id": "c1"}), "--kind", "request", "--json")

    assert {one[1] for one in told(found)} == {"request"}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give files, or --topic"),
        (["{file}", "--topic", REQUESTS], "give files, or --topic"),
        (["{file}", "--last", "5"], "--last and --since go with --topic"),
        (["--topic", "contact.decisions.v1"], "is not an input; there are contact.requests.v1"),
        (["--topic", REQUESTS, "--since", "yesterday"], "--since"),
        (["nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_wrong_use_is_exit_code_2(lines: Any, words: list[str], why: str) -> None:
    """With what was expected."""
    file = lines(GOOD)
    found = verify(*[word.format(file=file) for word in words], ARBITER_KAFKA="127.0.0.1:1")

    assert found.exit_code == 2
    assert why in found.output


def test_what_no_library_writes_is_told(lines: Any) -> None:
    """JSON that is nested too deeply, and half of a pair of surrogates in a name."""
    half = json.dumps({**GOOD, "priority": "high", "x\ud800": 1})
    result = verify(lines('{"a":' + "[" * 5_000, half), "--json")

    assert {(code, field) for _, _, code, field, _ in told(result)} == {
        ("malformed_json", ""),
        ("wrong_type", "priority"),
        ("unknown_field", "x?"),
    }


def test_an_empty_file_says_so(lines: Any) -> None:
    """It is no proof of anything."""
    assert "there are no records" in verify(lines()).stdout


def test_the_commands_of_the_page_for_files(lines: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there."""
    lines(GOOD)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "verify-sender.md").read_text().replace("deploy/policies", str(SAMPLE.parent))
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if "--topic" not in line]
    done = [CliRunner().invoke(main, shlex.split(line)[1:]) for line in commands]

    assert len(done) == 3
    assert [one.exit_code for one in done] == [0, 0, 0], [one.output for one in done]
