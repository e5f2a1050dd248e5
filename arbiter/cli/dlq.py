"""``arbiter dlq``: dead letters listed, shown, sent again after mending, or set aside."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import rich_click as click

from arbiter.cli.common import (
    EXIT_REFUSED,
    EXIT_USAGE,
    Failure,
    instant,
    servers_may_be_away,
    settings_for,
    user,
    with_policies,
)
from arbiter.cli.dlq_text import groups, outcome, shown, tell_groups, tell_letter, tell_letters, tell_outcome
from arbiter.cli.scanning import scan_bar
from arbiter.printable import raw
from arbiter.settings import Settings
from arbiter.worker.kafka.scan import TopicReader
from arbiter.worker.letters.letter import Letter
from arbiter.worker.letters.mending import mending
from arbiter.worker.letters.selection import Selection, letters, span_of, topics_of
from arbiter.worker.letters.sending import Fate, Orders, Replayer, counted, park

TRIES = 3
Options = dict[str, Any]

_json = click.option("--json", "is_json", is_flag=True, help="One JSON object.")
_yes = click.option("--yes", "is_done", is_flag=True, help="Do it. Without this it only says what it would do.")
_by = click.option("--by", default=user, show_default="you", metavar="NAME", help="Who does it; the audit keeps it.")
_reason = click.option("--reason", default="", metavar="TEXT", help="Why; the audit keeps it. Needed with --yes.")


def _selecting(command: Callable[..., None]) -> Callable[..., None]:
    """The options that select letters."""
    for option in (
        click.option("--until", metavar="TIME", help="Written before the end of this day (or before this time, UTC)."),
        click.option("--since", metavar="TIME", help="Written on this day (or at this time, UTC) or later."),
        click.option("--sender", metavar="NAME", help="Whose department or source the letter itself names."),
        click.option("--code", metavar="CODE", help="With this error code."),
        click.option("--topic", metavar="NAME", help="Of this input topic: `contact.requests.v1`."),
    ):
        command = option(command)
    return command


@click.group(short_help="List, show, replay or park dead letters.")
def dlq() -> None:
    """Records that could not be taken. `list` says which there are, `show` why, `replay` sends them again."""


@dlq.command("list", short_help="Count dead letters by topic, code and sender.")
@_selecting
@click.option("--each", is_flag=True, help="List single letters, the newest, instead of counting.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many lines at most.")
@_json
def list_(each: bool, limit: int, is_json: bool, **options: Any) -> None:
    """Count the dead letters by topic, code and sender, with what became of them and the time between first and last.

    The sender is what the letter says of itself: the department in its value, or else the source in its headers.
    """
    settings = settings_for("kafka")
    wanted = _selection(settings, (), options)
    with servers_may_be_away(settings), TopicReader(settings) as kafka:
        found = _letters(settings, kafka, wanted)
    if is_json:
        lines: Any = [shown(letter) for letter in _newest(found, limit)] if each else groups(found)[:limit]
        click.echo(msgspec.json.encode({"letters": len(found), "each" if each else "groups": lines}).decode())
    elif each:
        tell_letters(_newest(found, limit), len(found))
    else:
        tell_groups(groups(found), limit)


@dlq.command(short_help="Show one letter: its reason, place, headers and value.")
@click.argument("place", metavar="PLACE")
@click.option("--raw", "is_raw", is_flag=True, help="Only the value, byte for byte; for a file or a pipe.")
@_json
def show(place: str, is_raw: bool, is_json: bool) -> None:
    """Show the letter at PLACE (topic/partition/offset, as `list` prints it)."""
    settings = settings_for("kafka")
    wanted = _selection(settings, (place,), {})
    with servers_may_be_away(settings), TopicReader(settings) as kafka:
        found = _letters(settings, kafka, wanted)
        if len(found) != 1:
            raise Failure(f"{len(found)} letters stand at {place}; `arbiter dlq list --each` has their places", 1)
        (letter,) = found
        record = kafka.record(letter.topic, letter.partition, letter.offset)
    if record is None:
        raise Failure(f"the letter at {place} was deleted just now", EXIT_REFUSED)
    if is_raw:
        _tell_raw(record.value or b"")
    else:
        tell_letter(letter, record, is_json=is_json)


@dlq.command(short_help="Send letters again to the topics that they came from.")
@click.argument("places", metavar="[PLACE]...", nargs=-1)
@_selecting
@click.option("--mend", metavar="PROGRAM", help="Gets each value on its standard input, writes the mended one.")
@click.option("--tries", type=click.IntRange(1, 100), default=TRIES, show_default=True, help="Then a letter is parked.")
@click.option("--parked", "with_parked", is_flag=True, help="Also letters that are parked.")
@_yes
@_by
@_reason
@_json
def replay(
    places: tuple[str, ...], mend: str | None, tries: int, with_parked: bool, is_done: bool, by: str, reason: str,
    is_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Send letters again to the topics that they came from, with their keys. First without --yes: it says what it does.

    What is not mended stays: each letter is read as a worker reads it, and only what a worker can take is sent. What
    became a letter again after so many tries is parked. If it is interrupted, do it again: nothing is lost.
    """
    orders = Orders(by=by.strip(), reason=reason.strip(), tries=tries, mend=_mending(mend))
    settings = _settings(orders, is_done=is_done)
    wanted = _selection(settings, places, options)
    states = ("open", "parked") if with_parked else ("open",)
    with servers_may_be_away(settings), TopicReader(settings) as kafka:
        found = [letter for letter in _letters(settings, kafka, wanted) if letter.state in states]
        replayer = Replayer(settings, kafka, orders, int(time.time() * 1_000))
        if is_done and found:
            _note("replay_began", orders, wanted, len(found))
            fates = list(_told(replayer.send(found), len(found)))
            _note("replay_ended", orders, wanted, counted(fates)["send"])
        else:
            fates = list(_told(replayer.fates(found), len(found)))
    result = outcome(fates, is_done=is_done)
    if is_json:
        click.echo(msgspec.json.encode(result).decode())
    else:
        tell_outcome(result, str(wanted))


@dlq.command("park", short_help="Set letters aside, with a reason.")
@click.argument("places", metavar="[PLACE]...", nargs=-1)
@_selecting
@_yes
@_by
@_reason
@_json
def park_(places: tuple[str, ...], is_done: bool, by: str, reason: str, is_json: bool, **options: Any) -> None:
    """Set letters aside that will not be sent again. They stay where they are; `replay --parked` still sends them."""
    orders = Orders(by=by.strip(), reason=reason.strip(), tries=TRIES)
    settings = _settings(orders, is_done=is_done)
    wanted = _selection(settings, places, options)
    with servers_may_be_away(settings), TopicReader(settings) as kafka:
        found = [letter for letter in _letters(settings, kafka, wanted) if letter.state == "open"]
        if is_done and found:
            _note("letters_parked", orders, wanted, len(found))
            park(settings, found, orders.by, orders.reason)
    if is_json:
        click.echo(msgspec.json.encode({"dry_run": not is_done, "parked": len(found)}).decode())
    else:
        told = "parked" if is_done else "would be parked; add --yes and --reason to do it"
        click.echo(f"{len(found):,} letters ({wanted}) {told}")


def _tell_raw(value: bytes) -> None:
    stream = raw(sys.stdout)
    if stream.isatty():
        raise Failure("--raw may do anything to a terminal; write it to a file or a pipe", EXIT_USAGE)
    stream.buffer.write(value)
    stream.flush()


def _settings(orders: Orders, *, is_done: bool) -> Settings:
    if is_done and not (orders.by and orders.reason):
        raise Failure("say why with --reason (and who with --by): the audit keeps both", EXIT_USAGE)
    return settings_for("kafka", "redis") if is_done else settings_for("kafka")


def _selection(settings: Settings, places: tuple[str, ...], options: Options) -> Selection:
    times = {name: options.get(name) for name in ("since", "until")}
    since, until = times["since"], times["until"]
    topic = options.get("topic")
    try:
        spans = tuple(map(span_of, places))
    except ValueError as error:
        raise Failure(str(error), EXIT_USAGE) from None
    wanted = Selection(
        places=spans,
        topic=None if topic is None else settings.topic(topic.removeprefix(settings.topic_prefix)),
        code=options.get("code"),
        sender=options.get("sender"),
        since_ms=None if since is None else instant(since, "UTC", "start", "--since"),
        until_ms=None if until is None else instant(until, "UTC", "end", "--until"),
    )
    if not topics_of(wanted, settings.topic_prefix):
        raise Failure(f"no input topic has such letters ({wanted}); `arbiter dlq list` names the topics", EXIT_USAGE)
    return wanted


def _letters(settings: Settings, kafka: TopicReader, wanted: Selection) -> list[Letter]:
    with scan_bar("reading dead letters", "letters") as tell:
        return letters(kafka, wanted, topics_of(wanted, settings.topic_prefix), tell)


def _newest(found: list[Letter], limit: int) -> list[Letter]:
    return sorted(found, key=lambda letter: letter.at_ms)[-limit:]


def _mending(command: str | None) -> Any:
    try:
        return None if command is None else mending(command)
    except ValueError as error:
        raise Failure(f"--mend: {error}", EXIT_USAGE) from None


def _told(fates: Any, count: int) -> Any:
    with scan_bar("letters", "letters") as tell:
        for number, fate in enumerate(fates, 1):
            tell(number, count)
            yield without_record(fate)


def without_record(fate: Fate) -> Fate:
    """The fate without the bytes: there may be many."""
    return msgspec.structs.replace(fate, record=None)


def _note(action: Any, orders: Orders, wanted: Selection, count: int) -> None:
    with_policies(
        lambda policies: policies.note(action, orders.by, orders.reason, selection=str(wanted), letters=count)
    )
