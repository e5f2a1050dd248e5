"""Files of records: lines, arrays and CSV hold the same messages; what cannot be read is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.engine.input_record import InputRecord
from arbiter.messages import ContactRequest
from arbiter.reports.policy_diff.files import FileOfRecords
from arbiter.reports.policy_diff.lines import Lines, Unread
from tests.inputs.traffic import BEGIN, ask, encode

FIRM = Path(__file__).resolve().parents[2] / "deploy" / "policies" / "small-firm"
REQUESTS: list[dict[str, Any]] = [json.loads(encode(ask(f"r{n}", f"c{n}"))) for n in range(3)]
REQUESTS[1]["campaign"] = "zweite, „Woche“\nim März"
REQUESTS[2]["attributes"] = {"balance": 50_000, "tier": "007", "vip": True}


def as_csv(delimiter: str = ",", ends: str = "\n") -> str:
    """The requests as a spreadsheet writes them."""
    columns = ["request_id", "customer_id", "department", "campaign", "channel", "category", "requested_at"]
    rows = [[*(json.dumps(one[name], ensure_ascii=False).replace("\\n", "\n") for name in columns)] for one in REQUESTS]
    more = [["", "", ""], ["", "", ""], ["50000", "007", "TRUE"]]
    head = [*columns, "attributes.balance", "attributes.tier", "attributes.vip"]
    return "".join(
        delimiter.join(cells) + ends for cells in [head, *([*a, *b] for a, b in zip(rows, more, strict=True))]
    )


FORMS = {
    "lines": "\n".join(json.dumps(one) for one in REQUESTS),
    "lines, blank ones between": "\n\n".join(json.dumps(one) for one in REQUESTS) + "\r\n",
    "array": json.dumps(REQUESTS),
    "array, indented": json.dumps(REQUESTS, indent=2, ensure_ascii=False),
    "CSV": as_csv(),
    "CSV of a German Excel": as_csv(";", "\r\n"),
    "CSV with tabs": as_csv("\t"),
}


def read(path: Path) -> list[InputRecord | Unread]:
    """All records of a file."""
    return list(Lines(lambda _: 0).read(path))


def messages(path: Path) -> list[dict[str, Any]]:
    """The messages of a file that holds nothing else, by their JSON."""
    found = read(path)
    assert not [one for one in found if isinstance(one, Unread)]
    return [json.loads(encode(one.message)) for one in found if isinstance(one, InputRecord)]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["requests.jsonl", "requests.csv.gz"])
def test_every_form_holds_the_same_messages(tmp_path: Path, name: str, text: str, bom: bytes) -> None:
    """With a byte order mark or without, packed or not; the form is known by what stands there."""
    if name.endswith("csv.gz") and not text.startswith("request_id"):
        name = "requests.json.gz"
    path, content = tmp_path / name, bom + text.encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    assert messages(path) == [json.loads(encode(_request(one))) for one in REQUESTS]


def _request(fields: dict[str, Any]) -> ContactRequest:
    return msgspec.json.decode(json.dumps(fields), type=ContactRequest)


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_record_is_found_again_by_its_offset(tmp_path: Path, text: str) -> None:
    """In every form."""
    path = tmp_path / "requests.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    records = FileOfRecords(path)
    items = list(records.items())

    assert [item.content for item in items] == [records.item_at(item.at) for item in items]
    assert records.read_bytes == path.stat().st_size


def test_csv_of_other_messages(tmp_path: Path) -> None:
    """Profiles, and lists whose parts stand between bars; a field that is text stays text."""
    path = tmp_path / "profiles.csv"
    path.write_text(
        "customer_id,time_zones,household_id,attributes.tier\n"
        "c1,Europe/Lisbon|Atlantic/Azores,12345,gold\n"
        "0042,,,\n"
    )  # fmt: skip

    assert messages(path) == [
        {
            "customer_id": "c1",
            "time_zones": ["Europe/Lisbon", "Atlantic/Azores"],
            "household_id": "12345",
            "attributes": {"tier": "gold"},
        },
        {"customer_id": "0042"},
    ]


GOOD = json.dumps(REQUESTS[0])
BROKEN = {
    "a line of no JSON": (f"{GOOD}\n{{x\n{GOOD}\n", 2, ":2"),
    "an element that is no message": (f"[{GOOD},\n 1,\n{GOOD}]", 2, ":2 (record 2)"),
    "an array that ends in the middle": (f"[{GOOD},\n {GOOD[:40]}", 1, ":2 (record 2)"),
    "something behind an array": (f"[{GOOD}]\n{GOOD}", 1, ":1"),
    "a row that is too long": ("customer_id,time_zone\nc1,Europe/Lisbon,x\nc2,\n", 1, ":2"),
    "a value that is none": ("customer_id,priority,request_id\nc1,high,r1\n", 0, ":2"),
}


@pytest.mark.parametrize(("text", "good", "place"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_is_named_by_its_place(tmp_path: Path, text: str, good: int, place: str) -> None:
    """And the rest is read, as far as it can be."""
    path = tmp_path / "file"
    path.write_text(text)
    found = read(path)
    (unread,) = [one for one in found if isinstance(one, Unread)]

    assert unread.place == f"{path}{place}"
    assert sum(isinstance(one, InputRecord) for one in found) == good


def test_utf_16_is_named(tmp_path: Path) -> None:
    """Not read as nonsense."""
    path = tmp_path / "requests.csv"
    path.write_bytes(as_csv().encode("utf-16"))
    (unread,) = read(path)

    assert isinstance(unread, Unread)
    assert unread.message == "the file is UTF-16; save it as UTF-8"


def test_a_record_from_kafka_is_named_by_its_place_there(tmp_path: Path) -> None:
    """Not by the file, which may be a copy that is gone."""
    path = tmp_path / "requests.jsonl"
    record = {"topic": "contact.requests.v1", "partition": 7, "offset": 81, "ts": 1, "key": None, "payload": "{"}
    path.write_text(json.dumps(record))
    (unread,) = read(path)

    assert isinstance(unread, Unread)
    assert unread.place == "contact.requests.v1/7/81"


@pytest.mark.parametrize(("broken", "named"), [(3, 3), (25, 20)])
def test_simulate_names_what_it_cannot_read(tmp_path: Path, broken: int, named: int) -> None:
    """The first twenty, then how many more; the others are decided, and the exit code says so."""
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{GOOD}\n" + "{x\n" * broken)
    told = CliRunner().invoke(main, ["simulate", "--policy", str(FIRM), "--requests", str(path), "--format", "json"])

    assert told.exit_code == 1
    assert told.stderr.count("malformed_json") == named
    assert (f"and {broken - named} more lines that cannot be read" in told.stderr) == (broken > named)
    assert json.loads(told.stdout)["requests"] == 1


def simulation(tmp_path: Path) -> tuple[Path, Path]:
    """Two requests of one customer under a cap of one a week, and the decisions on them."""
    offers = {"department": "shop", "campaign": "spring", "category": "offer", "channel": "phone"}
    requests = tmp_path / "requests.jsonl"
    consent = {
        "type": "consent", "customer_id": "c0", "purpose": "marketing", "state": "granted",
        "captured_at": BEGIN.isoformat(),
    }  # fmt: skip
    asked = [{**REQUESTS[0], **offers, "request_id": name, "expires_at": None} for name in ("first", "second")]
    for one in asked:
        del one["expires_at"]
    requests.write_text("\n".join(json.dumps(one) for one in [consent, *asked]))
    decisions = tmp_path / "decisions.jsonl"
    told = CliRunner().invoke(
        main, ["simulate", "--policy", str(FIRM), "--requests", str(requests), "--out", str(decisions)]
    )
    assert told.exit_code == 0, told.output
    return requests, decisions


def test_explain_reads_a_simulation(tmp_path: Path) -> None:
    """Without any server: the history, and with requests and policy what would have let it through."""
    requests, decisions = simulation(tmp_path)
    base = ["explain", "second", "--decisions", str(decisions)]
    bare = CliRunner().invoke(main, base)
    whole = CliRunner().invoke(main, [*base, "--requests", str(requests), "--policy", str(FIRM), "--json"])
    step = json.loads(whole.output)["steps"][0]

    assert "Request second of shop for customer c0" in bare.output
    assert "--requests and --policy" in bare.output
    assert step["is_same"] is True
    assert ["one-a-week"] in [one["rules"] for one in step["otherwise"]]
    assert json.loads(whole.output)["request"]["request_id"] == "second"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "no decision on request `nobody`"),
        (["second", "--requests", "requests.jsonl"], "give --requests and --policy together"),
    ],
)
def test_explain_says_what_is_missing(tmp_path: Path, arguments: list[str], words: str) -> None:
    """A request that is not there, options that go together."""
    _, decisions = simulation(tmp_path)
    told = CliRunner().invoke(
        main,
        [
            "explain",
            *(str(tmp_path / one) if ".jsonl" in one else one for one in arguments),
            "--decisions",
            str(decisions),
        ],
    )

    assert told.exit_code in {1, 2}
    assert words in told.stderr


def test_what_would_expire_counts_alike_everywhere(tmp_path: Path) -> None:
    """It follows from the other rules: neither the simulation nor the report counts it as a rule of its own."""
    requests = tmp_path / "requests.jsonl"
    simulation(tmp_path)
    lines = requests.read_text().splitlines()
    late = {**json.loads(lines[2]), "request_id": "third", "expires_at": "2026-03-03T12:00:00Z"}
    requests.write_text("\n".join([*lines, json.dumps(late)]))
    out = tmp_path / "decisions.jsonl"
    run = CliRunner().invoke(
        main,
        ["simulate", "--policy", str(FIRM), "--requests", str(requests), "--out", str(out), "--format", "json"],
    )
    report = CliRunner().invoke(main, ["report", "--decisions", str(out), "--json"])
    codes = {
        finding["code"] for line in out.read_text().splitlines() for finding in json.loads(line).get("findings", [])
    }
    binding = {line["rule"]: line["stopped"] for line in json.loads(report.output)["rules"]}

    assert "would_expire" in codes
    assert json.loads(run.stdout)["held_back_by"] == {rule: count for rule, count in binding.items() if count}
    assert "expires_at" not in json.loads(run.stdout)["held_back_by"]
