"""What people read is escaped at the edge: logs, terminals, pages and JSON alike."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator

import pytest
from rich.table import Table

from arbiter.cli.common import Failure
from arbiter.logs import log_to_stderr
from arbiter.printable import SafeStream, in_html, in_line, in_text
from arbiter.reports.pages.console import cell, paragraph, terminal
from arbiter.reports.pages.shell import document, table
from arbiter.settings import load

HOSTILE = {
    "ESC": "\x1b[2J\x1b]0;owned\x07",
    "C1": "\x9b2J\x90\x9c",
    "line ends": "a\nb\r\nc\x85d\u2028e\u2029f\x0bg\x0ch",
    "bidirectional": "\u202eevil\u202c \u2066x\u2069 \u200f \u061c",
    "invisible": "a\u200bb\ufeffc\u2060d\U000e0041e\xadf\u034fg\u115fh\u3164i\uffa0j\u17b4k\U0001d173",
    "NUL and backspace": "\x00\x08\x7f",
    "half a pair": "\ud800",
}
HARMFUL = re.compile(
    "[\xad\u034f\u115f\u17b4\u3164\uffa0\U0001d173\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_escaped_text_harms_nothing_and_loses_nothing(text: str) -> None:
    """Every harmful character is gone; read as the inside of a JSON string it is the same text again."""
    escaped = in_line(text)

    assert not HARMFUL.search(escaped)
    assert "\n" not in escaped
    assert json.loads(f'"{escaped}"') == text


@pytest.mark.parametrize(
    "text", ["café", "naïve", "שלום", "مرحبا", "नमस्ते क्\u200dष", "👩\u200d👩\u200d👧", "日本語", "–−×’", "a\\nb"]
)
def test_words_of_all_languages_stay(text: str) -> None:
    """Letters, marks and the joiners that words and emoji are made with are no controls."""
    assert in_line(text) == text


def test_text_keeps_its_lines() -> None:
    """Line ends and tabs are what a paragraph is made of."""
    assert in_text("a\n\tb\r\x1b") == "a\n\tb\\u000d\\u001b"


@pytest.fixture
def logged(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Standard error with the arbiter's log on it, in the format that the test names."""
    root, stream = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", stream)
    settings = load(
        {"ARBITER_KAFKA": "k:1", "ARBITER_REDIS": "redis://r", "ARBITER_LOG_FORMAT": getattr(request, "param", "text")}
    )
    log_to_stderr(settings)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])


FORGED = "x\n2026-03-02 09:00:00,000 ERROR   arbiter: forged"


def test_a_name_in_a_log_line_is_no_line_of_its_own(logged: io.StringIO) -> None:
    """Nor does it reach the terminal as a control."""
    logging.getLogger("arbiter").error("department %s", FORGED + "\x1b[2J\u202e")

    assert logged.getvalue().count("\n") == 1
    assert not HARMFUL.search(logged.getvalue())


def test_a_traceback_is_indented(logged: io.StringIO) -> None:
    """A line end in an exception's text begins no line that looks like an event."""
    try:
        raise ValueError(FORGED)
    except ValueError:
        logging.getLogger("arbiter").exception("cannot decide")

    first, *rest = logged.getvalue().splitlines()
    assert first.endswith("cannot decide")
    assert any("forged" in line for line in rest)
    assert all(line.startswith("    ") for line in rest)


@pytest.mark.parametrize("logged", ["json"], indirect=True)
def test_a_json_log_keeps_the_name(logged: io.StringIO) -> None:
    """One line, no controls, and the same name when it is read as JSON."""
    name = FORGED + "\x1b[2J\x9b\u202e"
    logging.getLogger("arbiter").error("%s", name)

    (line,) = logged.getvalue().splitlines()
    assert not HARMFUL.search(line)
    assert json.loads(line)["message"] == name


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("stream_type", [io.StringIO, _Terminal])
def test_a_console_prints_names_harmlessly(
    stream_type: type[io.StringIO], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In tables and paragraphs; on a terminal only rich's own colours remain."""
    stream = stream_type()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    console = terminal()
    cells = Table("name", "n")
    cells.add_row(text, "1")
    console.print(cells)
    paragraph(console, f"asked by {text}", "bold")
    console.print(text, markup=False, highlight=False)

    assert not HARMFUL.search(re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()))
    assert "\x1b[2J" not in stream.getvalue()


def test_nothing_is_folded_or_cut_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe or a file gets whole lines."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.delenv("COLUMNS", raising=False)
    names = Table("campaign", "owner")
    names.add_row("c" * 90, "o" * 90)
    terminal().print(names)

    assert "c" * 90 in stream.getvalue()
    assert "o" * 90 in stream.getvalue()


def test_a_stream_is_guarded_whoever_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure's text names what it was given, and does nothing to the terminal."""
    with pytest.raises(SystemExit):
        raise Failure("no request `\x1b[2J\x1b[31m\u202e`", 2)

    assert capsys.readouterr().err == "arbiter: no request `\\u001b[2J\\u001b[31m\\u202e`\n"


def test_a_terminal_keeps_the_colours_of_the_help() -> None:
    """Colours pass, everything else does not."""
    stream = _Terminal()
    SafeStream(stream).write("\x1b[1mUsage\x1b[0m \x1b[2J\x1b]0;x\x07")

    assert stream.getvalue() == "\x1b[1mUsage\x1b[0m \\u001b[2J\\u001b]0;x\\u0007"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_pages_show_names_as_text(text: str) -> None:
    """In a table, a title and an attribute."""
    page = document(text, [table(["name"], [[text + "<script>alert(1)</script>"]])])

    assert not HARMFUL.search(page)
    assert "<script>" not in page
    assert in_html('"') == "&quot;"


def test_a_page_may_load_and_run_nothing() -> None:
    """A content security policy says so to the browser."""
    page = document("report", [])

    assert "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'" in page


@pytest.mark.parametrize("name", ["a\nERROR arbiter: forged", "see [/runbook]", "[bold red]x", "\x1b[2J"])
def test_a_name_in_a_cell_is_one_line_and_no_markup(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it looks like, it is printed as it was written."""
    shown = Table(box=None)
    shown.add_row(cell(name))
    terminal().print(shown)

    assert in_line(name) == capsys.readouterr().out.strip()
