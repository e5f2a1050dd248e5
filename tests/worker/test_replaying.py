"""A replay is cut into stretches: by time, and where facts and requests follow each other."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from arbiter.cli import main
from arbiter.engine.input_record import InputRecord, Message
from arbiter.messages import REQUESTS
from arbiter.timing.instants import HOUR_MS, MINUTE_MS, to_datetime
from arbiter.worker.replaying import stretches
from tests.inputs.builders import MONDAY, grant, request

SERVERS = {"ARBITER_KAFKA": "localhost:1", "ARBITER_REDIS": "redis://localhost:1"}


def record(message: Message, received_ms: int = MONDAY) -> InputRecord:
    """A record as it is read of a file."""
    return InputRecord(message, (REQUESTS, 0, 0), received_ms, msgspec.json.encode(message))


def ask(name: str, minute: int) -> InputRecord:
    """A request so many minutes after Monday, ten o'clock."""
    return record(request(name, requested_at=MONDAY + minute * MINUTE_MS))


def cut(*records: InputRecord) -> list[list[str]]:
    """What goes together."""
    return [
        [getattr(one.message, "request_id", "fact") for one in stretch.records]
        for stretch in stretches(records, HOUR_MS)
    ]


def test_requests_of_one_hour_go_together() -> None:
    """The hour begins with the first request of a stretch; the very end of it still belongs there."""
    assert [["a", "b", "c"], ["d"], ["e"]] == cut(ask("a", 0), ask("b", 59), ask("c", 60), ask("d", 61), ask("e", 200))


def test_a_fact_is_decided_on_before_the_requests_behind_it() -> None:
    """Facts go together, too, and never with a request."""
    fact = record(grant())
    assert [["fact", "fact"], ["a"], ["fact"], ["b"]] == cut(fact, fact, ask("a", 0), fact, ask("b", 1))


def test_a_record_without_a_time_of_its_own_has_that_of_its_line() -> None:
    """Then it was asked when the record was made."""
    late = record(request("b"), MONDAY + 2 * HOUR_MS)
    assert [["a"], ["b"]] == cut(ask("a", 0), late)


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [([], {}, "ARBITER_CLOCK=event"), (["--ahead", "soon"], {"ARBITER_CLOCK": "event"}, "--ahead: ")],
)
def test_what_it_needs_is_said(tmp_path: Path, options: list[str], environment: dict[str, str], says: str) -> None:
    """Where workers go by the wall clock it would ask for real contacts; a bound is a duration."""
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps({"request_id": "r", "requested_at": to_datetime(MONDAY).isoformat()}))
    arguments = ["replay", "--requests", str(file), *options]
    done = CliRunner().invoke(main, arguments, env={**SERVERS, **environment})

    assert (2, True) == (done.exit_code, says in done.output)
