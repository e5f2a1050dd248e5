"""How long a record may be: files are read, and decisions written, within a worker's bounds and with its words."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.messages import REQUESTS, DecisionMessage
from arbiter.reports.policy_diff.lines import BYTES_MAX, Lines, Unread
from arbiter.settings import Settings
from arbiter.worker.kafka.reader import DeadLetter, Reader
from tests.inputs.builders import document
from tests.inputs.traffic import ask, encode

ASKED: dict[str, Any] = json.loads(encode(ask("r1", "c1")))
MUCH = "x" * (BYTES_MAX + 1)
BIG = json.dumps({**ASKED, "attributes": {"note": MUCH}})
BY_KCAT = {"topic": REQUESTS, "partition": 0, "offset": 7, "ts": 1_900_000_000_000, "key": "c1"}


BOUND = 4_000


def refused_by_a_worker(value: str, key: str = "c1", headers: tuple[tuple[str, bytes], ...] = ()) -> DeadLetter:
    """The dead letter that the record becomes."""
    record = SimpleNamespace(
        topic=REQUESTS, partition=0, offset=7, timestamp=-1, key=key.encode(), value=value.encode(), headers=headers
    )
    letter = Reader(REQUESTS, Settings(kafka="k:1", redis="redis://r").record_bytes, is_wall_clock=True).read(record, 0)
    assert isinstance(letter, DeadLetter)
    assert letter.code == "oversized"
    return letter


def kcat(payload: str = json.dumps(ASKED), **fields: Any) -> str:
    """A whole record, as ``kcat -J`` prints it."""
    return json.dumps({**BY_KCAT, "payload": payload, **fields})


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (BIG, refused_by_a_worker(BIG)),
        (f"[{BIG}]", refused_by_a_worker(BIG)),
        ("{" + MUCH, refused_by_a_worker("{" + MUCH)),
        (f'{{"type": 5, "x": "{MUCH}"}}', refused_by_a_worker(f'{{"type": 5, "x": "{MUCH}"}}')),
        (f'{{"type": "wish", "x": "{MUCH}"}}', refused_by_a_worker(f'{{"type": "wish", "x": "{MUCH}"}}')),
        (kcat(BIG), refused_by_a_worker(BIG)),
        (kcat(key=MUCH), refused_by_a_worker("{}", MUCH)),
        (kcat(headers=["h", MUCH, "n", None]), refused_by_a_worker("{}", "c1n", (("h", MUCH.encode()),))),
    ],
    ids=["line", "array", "no JSON", "odd type", "unknown type", "kcat", "kcat's key", "kcat's headers"],
)
def test_what_is_too_long_is_refused_as_by_a_worker(tmp_path: Path, text: str, letter: DeadLetter) -> None:
    """Before anything else is looked at, in the same words; what comes after it is read."""
    file = tmp_path / "records.json"
    file.write_text(text)
    (found,) = Lines(lambda _: 0).read(file)

    assert isinstance(found, Unread)
    assert (found.code, found.message) == (letter.code, letter.message)


def test_so_is_a_row_of_a_table(tmp_path: Path) -> None:
    """Whatever the library that reads tables finds too long for a cell."""
    file, row = tmp_path / "records.csv", {**ASKED, "attributes.note": MUCH}
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, [*row])
        writer.writeheader()
        writer.writerow(row)
    (found,) = Lines(lambda _: 0).read(file)

    assert isinstance(found, Unread)
    assert (found.code, "at most 262,144 are read" in found.message) == ("oversized", True)


def test_what_simulate_writes_is_as_on_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision with more findings than a record may hold is cut as a worker cuts it, and says so."""
    monkeypatch.setattr("arbiter.engine.render.DECISION_BYTES_MAX", BOUND)
    never = {
        "kind": "cap",
        "owner": "o@x.example",
        "why": "w" * 400,
        "per": ["party"],
        "limit": 0,
        "window": "rolling 1d",
    }
    rules = [{"id": f"never-{number}", **never} for number in range(20)]
    (tmp_path / "policy.yaml").write_text(json.dumps(document(*rules)))
    asked, out = tmp_path / "records.jsonl", tmp_path / "out"
    asked.write_text(json.dumps({**ASKED, "department": "cards", "category": "service"}))
    arguments = ["simulate", "--policy", str(tmp_path), "--requests", str(asked), "--out", str(out)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (line,) = out.read_bytes().splitlines()
    decision = msgspec.json.decode(line, type=DecisionMessage)

    assert len(line) <= BOUND
    assert (len(decision.findings) + decision.findings_omitted, decision.findings_omitted > 0) == (20, True)
