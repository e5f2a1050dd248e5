"""Dead letters for people and, as JSON, for programs. Whatever a letter holds does nothing to a terminal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import rich_click as click
from rich import box
from rich.table import Table

from arbiter.messages import DLQ_SUFFIX
from arbiter.printable import in_line
from arbiter.reports.pages.console import cell, terminal
from arbiter.timing.instants import to_datetime
from arbiter.worker.kafka.scan import Stored
from arbiter.worker.letters.letter import Letter
from arbiter.worker.letters.sending import Fate

VALUE_BYTES: Final = 4_096
HEADERS_TOLD: Final = 50
HEADER_BYTES: Final = 400
EXAMPLES: Final = 10
LINE_MAX: Final = 300


def groups(letters: Sequence[Letter]) -> list[dict[str, Any]]:
    """The letters counted by topic, code and sender; the largest group first."""
    found: dict[tuple[str, str, str], list[Letter]] = {}
    for letter in letters:
        found.setdefault((letter.topic.removesuffix(DLQ_SUFFIX), letter.code, letter.sender), []).append(letter)
    lines = []
    for (topic, code, sender), own in found.items():
        states = Counter(letter.state for letter in own)
        times = [letter.at_ms for letter in own]
        counts: dict[str, Any] = {"open": states["open"], "replayed": states["replayed"], "parked": states["parked"]}
        span = {"first": _when(min(times)), "last": _when(max(times))}
        newest = max(own, key=lambda letter: letter.at_ms).place
        named = {"topic": topic, "code": code, "sender": sender}
        lines.append(named | counts | span | {"newest": newest})
    return sorted(lines, key=lambda line: (-line["open"], line["topic"], line["code"], line["sender"]))


def tell_groups(lines: Sequence[dict[str, Any]], limit: int) -> None:
    """Print the counts as a table."""
    if not lines:
        click.echo("no dead letters")
        return
    titles = ("topic", "code", "sender, as it says", "open", "replayed", "parked", "first (UTC)", "last (UTC)")
    table = Table(*titles, "the newest", box=box.SIMPLE)
    for line in lines[:limit]:
        table.add_row(*(cell(str(value)) for value in line.values()))
    terminal().print(table)
    if len(lines) > limit:
        click.echo(f"and {len(lines) - limit:,} more lines; see them with --limit")
    click.echo(f"{sum(line['open'] for line in lines):,} are open; `arbiter dlq show PLACE` shows one")


def shown(letter: Letter) -> dict[str, Any]:
    """A letter without its value, for programs."""
    topic, partition, offset = letter.source
    return {
        "place": letter.place,
        "at": _when(letter.at_ms),
        "code": letter.code,
        "message": letter.message,
        "sender": letter.sender,
        "state": letter.state,
        "because": letter.because,
        "replays": letter.attempts,
        "source": {"topic": topic, "partition": partition, "offset": offset, "last_offset": letter.last_offset},
    }


def tell_letters(letters: Sequence[Letter], count: int) -> None:
    """Print single letters as a table."""
    table = Table("place", "at (UTC)", "code", "sender, as it says", "state", "replays", "message", box=box.SIMPLE)
    for letter in letters:
        words = (letter.place, _when(letter.at_ms), letter.code, letter.sender, letter.state, str(letter.attempts))
        table.add_row(*map(cell, words), cell(letter.message[:LINE_MAX]))
    terminal().print(table)
    click.echo(f"{len(letters):,} of {count:,} letters")


def tell_letter(letter: Letter, record: Stored, *, is_json: bool) -> None:
    """Print one letter with its key, headers and value."""
    value = record.value or b""
    if is_json:
        own = {"key": _text(record.key or b"", HEADER_BYTES), "bytes": len(value), "value": _text(value, VALUE_BYTES)}
        headers = [{"name": name, "value": _text(text or b"", HEADER_BYTES)} for name, text in record.headers]
        own["headers"] = headers[:HEADERS_TOLD]
        click.echo(msgspec.json.encode({**shown(letter), **own}).decode())
        return
    topic, partition, offset = letter.source
    last = "" if letter.last_offset is None else f" to {letter.last_offset}"
    lines = [
        ("letter", f"{letter.place}, written {_when(letter.at_ms)}"),
        ("reason", f"{letter.code}: {letter.message}"),
        ("record", f"{topic}, partition {partition}, offset {offset}{last}"),
        ("sender", f"{letter.sender} (it says so itself)"),
        ("state", f"{letter.state}, replayed {letter.attempts} times{_because(letter)}"),
        ("key", _text(record.key or b"", HEADER_BYTES) or "none"),
    ]
    for name, text in lines:
        click.echo(f"{name:<8}{in_line(text)}")
    click.echo(f"headers {len(record.headers)}")
    for name, header in record.headers[:HEADERS_TOLD]:
        click.echo(in_line(f"  {str(name)[:HEADER_BYTES]}: {_text(header or b'', HEADER_BYTES)}"))
    if len(record.headers) > HEADERS_TOLD:
        click.echo(f"  and {len(record.headers) - HEADERS_TOLD:,} more")
    click.echo(f"value   {len(value):,} bytes{' (the letter was cut)' if letter.is_cut else ''}")
    # Each line is indented, so that no line of a value looks like one of ours.
    for line in _readable(value).splitlines():
        click.echo(f"  {in_line(line)}")
    if len(value) > VALUE_BYTES:
        click.echo(f"  … `arbiter dlq show --raw {letter.place}` gives all of it")


def outcome(fates: Sequence[Fate], *, is_done: bool) -> dict[str, Any]:
    """What became of letters, or would become of them, counted, with the first examples of those not sent."""
    counts = Counter(fate.what for fate in fates)
    refused = Counter(fate.code for fate in fates if fate.what == "refused")
    kept = Counter(in_line(fate.why)[:LINE_MAX] for fate in fates if fate.what == "keep")
    left = [fate for fate in fates if fate.what != "send"][:EXAMPLES]
    examples = [{"place": fate.letter.place, "what": fate.what, "code": fate.code, "why": fate.why} for fate in left]
    return {
        "dry_run": not is_done,
        "letters": len(fates),
        "sent": counts["send"],
        "parked": counts["park"],
        "refused_again": dict(refused),
        "kept": dict(kept.most_common(EXAMPLES)),
        "not_sent": examples,
    }


def tell_outcome(result: dict[str, Any], selection: str) -> None:
    """Print it in sentences."""
    is_dry, sent, parked = result["dry_run"], result["sent"], result["parked"]
    click.echo(f"{result['letters']:,} letters ({in_line(selection)})")
    click.echo(f"{sent:,} {'would be' if is_dry else 'were'} sent to their topics")
    if parked:
        click.echo(f"{parked:,} {'would be' if is_dry else 'were'} parked: they were tried too often")
    for code, count in result["refused_again"].items():
        click.echo(f"{count:,} would become letters again: {in_line(code)}; mend them with --mend")
    for why, count in result["kept"].items():
        click.echo(f"{count:,} stay: {why}")
    for one in result["not_sent"]:
        click.echo(f"  {one['place']}: {in_line(one['why'])[:LINE_MAX]}")
    if is_dry:
        click.echo("nothing was sent; add --yes and --reason to do it")


def _because(letter: Letter) -> str:
    return f" ({letter.because})" if letter.because else ""


def _when(at_ms: int) -> str:
    return f"{to_datetime(max(at_ms, 0)):%Y-%m-%d %H:%M:%S}"


def _text(value: bytes, size: int) -> str:
    return value[:size].decode("utf-8", "backslashreplace")


def _readable(value: bytes) -> str:
    """JSON in lines, if it is short enough to be read; anything else as it stands, what is no text escaped."""
    if len(value) <= VALUE_BYTES:
        try:
            return json.dumps(json.loads(value), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return _text(value, VALUE_BYTES)
