"""The log: every call is an event of the catalogue, one line of JSON each; single requests are told at debug only."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from arbiter import log_events
from arbiter.log_events import EVENTS, LogEvent
from arbiter.logs import RESERVED, log_to_stderr
from arbiter.settings import Settings
from tests.harness.stepwise import SteppedCluster
from tests.inputs.builders import MONDAY, grant, policy, request

SOURCE = Path(__file__).resolve().parents[2] / "arbiter"
THE_LOG = ("logs.py", "log_events.py")
NAMES = {name: event for name, event in vars(log_events).items() if isinstance(event, LogEvent)}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
CALLS = [
    (path, node)
    for path in sorted(SOURCE.rglob("*.py"))
    if path.name not in THE_LOG
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
]
"""Every call of a name's attribute in the source: ``log.info(…)``, ``log_events.POLICY_IN_FORCE(…)``."""


def called(path: Path, node: ast.Call) -> str:
    """Where a call stands, and what it calls."""
    return f"{path.relative_to(SOURCE.parent)}:{node.lineno}: {ast.unparse(node.func)}"


def test_nothing_is_logged_but_events() -> None:
    """A call to a logger has no name that stays: add an event to ``arbiter/log_events.py`` and call that."""
    free = [
        called(path, node)
        for path, node in CALLS
        if node.func.attr in LEVELS and node.func.value.id in {"log", "logger", "logging"}  # type: ignore[attr-defined]
    ]

    assert free == []


def test_every_call_gives_the_fields_of_its_event() -> None:
    """No more and no fewer; those that a dictionary brings along are checked where they are logged."""
    wrong = []
    for path, node in CALLS:
        event = NAMES.get(node.func.attr)  # type: ignore[attr-defined]
        if event is not None and node.func.value.id == "log_events":  # type: ignore[attr-defined]
            given = {keyword.arg for keyword in node.keywords} - {"exc_info"}
            if not (given == set(event.fields) or (None in given and given - {None} <= set(event.fields))):
                wrong.append(f"{called(path, node)} gives {given}, not {event.fields}")

    assert wrong == []


def test_every_event_is_logged_somewhere() -> None:
    """What nobody logs does not belong on the page."""
    used = {node.attr for path in SOURCE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Attribute)}  # fmt: skip

    assert set(NAMES) - used == set()


def test_names_are_stable_and_fields_their_own() -> None:
    """A name is words in small letters with a dot between; no field hides one that every line has."""
    assert [*EVENTS.values()] == [*NAMES.values()]
    assert [name for name in EVENTS if not re.fullmatch(r"[a-z]+(\.[a-z_]+)?", name)] == []
    assert [event.name for event in EVENTS.values() if set(event.fields) & {*RESERVED}] == []


@pytest.fixture
def lines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error with the log on it in JSON, from the level on that the test names."""
    root, stream = logging.getLogger(), io.StringIO()
    ours = logging.getLogger("arbiter")
    before = root.handlers[:], root.level, ours.level
    monkeypatch.setattr(sys, "stderr", stream)
    level: Any = getattr(request, "param", "info")
    log_to_stderr(Settings(kafka="k:1", redis="redis://r", log_format="json", log_level=level))
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


def test_an_event_is_one_line_of_json(lines: io.StringIO) -> None:
    """Its fields stand beside the sentence, with their types; a traceback is in a field."""
    log_events.POLICY_IN_FORCE(policy="bank\n", version=3, activation=9)
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        log_events.PARTITION_FAILED(partition=7, exc_info=True)
        log_events.TROUBLE_BEGAN(trouble="store", why=error)
    logging.getLogger("aiohttp").warning("a library's %s", "word")
    told, failed, began, library = (json.loads(line) for line in lines.getvalue().splitlines())

    assert ("policy.in_force", "info", "arbiter") == (told["event"], told["level"], told["logger"])
    assert ("bank\n", 3, 9) == (told["policy"], told["version"], told["activation"])
    assert datetime.fromisoformat(told["time"]).utcoffset() is not None
    assert told["time"].endswith("Z")
    assert (7, "partition 7 failed") == (failed["partition"], failed["message"])
    assert "ValueError: two\nlines" in failed["exception"]
    assert "two\nlines" == began["why"]
    assert ("library", "aiohttp", "a library's word") == (library["event"], library["logger"], library["message"])


async def decide() -> None:
    """Two requests, decided."""
    site = SteppedCluster(policy(), 1, MONDAY)
    site.send(grant())
    site.send(request("a"))
    site.send(request("b"))
    await site.settle()
    await site.end(0)


@pytest.mark.parametrize("lines", ["info"], indirect=True)
async def test_a_request_is_not_told_at_info(lines: io.StringIO) -> None:
    """A worker that decides writes nothing, however many requests come."""
    await decide()

    assert "" == lines.getvalue()


@pytest.mark.parametrize("lines", ["debug"], indirect=True)
async def test_each_decision_is_told_at_debug(lines: io.StringIO) -> None:
    """By its id and the place of its request; the customer is not named."""
    await decide()
    told = [entry for entry in map(json.loads, lines.getvalue().splitlines()) if entry["event"] == "decision"]

    assert [("approved", 0), ("approved", 1)] == [(entry["outcome"], entry["offset"]) for entry in told]
    assert {*RESERVED} - {"exception"} | {*log_events.DECISION.fields} == {*told[0]}
    assert "c1" not in json.dumps(told)
