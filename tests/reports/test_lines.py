"""Files of JSON lines: every kind of record is known by its type or its fields, and what cannot be read is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from arbiter.engine.input_record import InputRecord
from arbiter.messages import (
    CONSENTS,
    OUTCOMES,
    PROFILES,
    REQUESTS,
    ConsentChange,
    ContactRequest,
    Outcome,
    Profile,
    SuppressionChange,
)
from arbiter.reports.policy_diff.lines import Lines, Unread
from arbiter.timing.instants import to_ms
from tests.inputs.traffic import BEGIN, ask, encode

NOW = BEGIN.isoformat()
LINES: list[tuple[dict[str, Any], str, type]] = [
    (json.loads(encode(ask("r1", "c1"))), REQUESTS, ContactRequest),
    ({"type": "request", **json.loads(encode(ask("r2", "c2")))}, REQUESTS, ContactRequest),
    (
        {"department": "cards", "customer_id": "c1", "request_id": "r1", "kind": "sent", "at": NOW},
        OUTCOMES,
        Outcome,
    ),
    ({"customer_id": "c1", "time_zone": "Europe/Lisbon"}, PROFILES, Profile),
    (
        {"type": "consent", "customer_id": "c1", "purpose": "marketing", "state": "granted", "captured_at": NOW},
        CONSENTS,
        ConsentChange,
    ),
    (
        {"type": "suppression", "customer_id": "c1", "list": "deceased", "active": True, "captured_at": NOW},
        CONSENTS,
        SuppressionChange,
    ),
]


def home(name: str) -> int:
    """Two partitions: even and odd customers."""
    return int(name[1:]) % 2


def read(directory: Path, *lines: str) -> list[InputRecord | Unread]:
    """What a file of these lines holds."""
    file = directory / "lines.jsonl"
    file.write_text("\n".join(lines))
    return list(Lines(home).read(file))


def test_every_kind_of_line_is_known(tmp_path: Path) -> None:
    """By its type or its fields; and each has the place and the time that it would have on empty topics."""
    found = read(tmp_path, *(json.dumps(line) for line, _, _ in LINES))

    records = [one for one in found if isinstance(one, InputRecord)]
    assert [one.source[0] for one in records] == [topic for _, topic, _ in LINES]
    assert [isinstance(one.message, line[2]) for one, line in zip(records, LINES, strict=True)] == [True] * len(LINES)
    assert [one.source[1:] for one in records] == [(1, 0), (0, 0), (1, 0), (1, 0), (1, 0), (1, 1)]
    assert {one.received_ms for one in records} == {to_ms(BEGIN)}


def test_a_record_of_kcat_brings_its_time(tmp_path: Path) -> None:
    """The topic says what it is, and its time stamp when it came; so a request needs no time of its own."""
    payload = json.dumps({k: v for k, v in LINES[0][0].items() if k != "requested_at"})
    record = {"topic": REQUESTS, "partition": 3, "offset": 9, "ts": 1_700_000_000_000, "key": "c1", "payload": payload}
    (found,) = read(tmp_path, json.dumps(record))

    assert isinstance(found, InputRecord)
    assert (found.source, found.received_ms) == ((REQUESTS, 1, 0), 1_700_000_000_000)
    assert found.raw == payload.encode()


@pytest.mark.parametrize("said", ["1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "9999-12-31T00:00:00Z"])
def test_a_fact_comes_no_earlier_than_the_requests_before_it(tmp_path: Path, said: str) -> None:
    """Whatever it says of itself, and whatever facts of the past stand between."""
    asked, sent = LINES[0][0], LINES[2][0]
    facts = [json.dumps(sent | {"at": at}) for at in ("2025-12-01T00:00:00Z", said)]
    request, *found = read(tmp_path, json.dumps(asked), *facts)

    assert isinstance(request, InputRecord)
    assert [request.received_ms] * 2 == [one.received_ms for one in found if isinstance(one, InputRecord)]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("{nonsense", "malformed_json", ""),
        ('{"type": "wish"}', "wrong_type", "`wish` is no type; known are request, outcome"),
        ('{"request_id": "r1", "customer_id": "c1"}', "missing_field", "department"),
        (json.dumps({k: v for k, v in LINES[0][0].items() if k != "requested_at"}), "missing_field", "requested_at"),
        ('{"topic": "x", "payload": "{}"}', "misrouted", "`x` is not an input topic"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, line: str, code: str, words: str) -> None:
    """With file, line, the dead letter's code and a sentence; its neighbours are read."""
    good = json.dumps(LINES[0][0])
    before, unread, after = read(tmp_path, good, line, good)

    assert isinstance(before, InputRecord)
    assert isinstance(after, InputRecord)
    assert isinstance(unread, Unread)
    assert (unread.place, unread.code) == (f"{tmp_path / 'lines.jsonl'}:2", code)
    assert words in unread.message


def test_a_packed_file_is_unpacked_and_places_can_be_found_again(tmp_path: Path) -> None:
    """Each record's line begins in the text where it is said to, and what is counted is what lies on the disk."""
    text = "\n".join(json.dumps(line) for line, _, _ in LINES).encode()
    file = tmp_path / "lines.jsonl.gz"
    file.write_bytes(gzip.compress(text))
    lines = Lines(home)
    found = list(lines.read_with_places(file))

    assert [json.loads(text[at:].splitlines()[0]) for at, _ in found] == [line for line, _, _ in LINES]
    assert lines.read_bytes == file.stat().st_size
