"""``arbiter policy show`` and ``history``: what is in force, who approved it, and what was done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import rich_click as click
from rich import box
from rich.table import Table

from arbiter.cli.common import EXIT_REFUSED, Failure, with_policies
from arbiter.cli.in_words import tell_folded, tell_sections, write_page
from arbiter.cli.policy_life import unknown_version
from arbiter.cli.policy_notes import tell_ended
from arbiter.cli.whatif import policy_named
from arbiter.policy.document import PolicyDocument
from arbiter.policy.kill_switches import Kill
from arbiter.reports.pages.console import cell, terminal
from arbiter.reports.policy_diff.policies import is_published
from arbiter.reports.policy_words.page import policy_page
from arbiter.reports.policy_words.whole import in_words
from arbiter.state.audit import audit_record
from arbiter.state.policy_store import Activation, AuditEntry, Planned, PolicyRecord, PolicyStore, Shadow
from arbiter.timing.instants import to_datetime

_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="How to print it."
)


class _Seen(msgspec.Struct, frozen=True):
    """What ``show`` found."""

    active: Activation | None
    record: PolicyRecord | None
    plan: list[Planned]
    kills: list[Kill]


@click.command(short_help="Show a version, a folder, or what is in force, in words.")
@click.argument("which", metavar="[VERSION|DIR]", required=False)
@_format
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write it as one page, to be signed.",
)
def show(which: str | None, form: str, html: Path | None) -> None:
    """Show in words the policy in force, a published VERSION, or the one in DIR.

    Told are all that it says: limits, windows, hours, conditions, reasons and owners; of a published one also who
    published and approved it, and what is planned and stopped.
    """
    if which is not None and not is_published(which):
        _show_folder(which, form, html)
        return
    version = None if which in (None, "active") else int(which or 0)

    async def work(policies: PolicyStore) -> _Seen:
        active = await policies.active()
        wanted = version if version is not None else active.version if active else None
        record = None if wanted is None else await policies.fetch(wanted)
        return _Seen(active, record, await policies.plan(), await policies.kills())

    seen = with_policies(work)
    if seen.record is None:
        if version is None:
            raise Failure("no policy is in force; `arbiter policy activate VERSION` puts one in force", EXIT_REFUSED)
        raise unknown_version(version)
    document = msgspec.json.decode(seen.record.document, type=PolicyDocument)
    about = list(_about(seen, seen.record))
    if form == "json":
        plain = {**_as_json(seen, seen.record), "in_words": msgspec.to_builtins(in_words(document))}
        click.echo(json.dumps(plain, ensure_ascii=False))
    else:
        _print(about, document)
    if html is not None:
        write_page(html, policy_page(about[0], about[1:], in_words(document)), form)


def _show_folder(name: str, form: str, html: Path | None) -> None:
    policy = policy_named(name)
    sections, digest = in_words(policy.document), policy.ref[2]
    about = [f"{policy.document.policy}, not published", f"from {name}, digest {digest}"]
    if form == "json":
        plain = {"digest": digest, "document": msgspec.to_builtins(policy.document)}
        click.echo(json.dumps({**plain, "in_words": msgspec.to_builtins(sections)}, ensure_ascii=False))
    else:
        _print(about, policy.document)
    if html is not None:
        write_page(html, policy_page(about[0], about[1:], sections), form)


@click.command(short_help="Show who did what to the policies, when and why.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many, the newest.")
@_format
def history(limit: int, form: str) -> None:
    """Show what was done to the policies: who, what, when, and why. Oldest first."""
    entries = with_policies(lambda policies: policies.history(limit))
    if form == "json":
        click.echo(msgspec.json.encode([audit_record(entry) for entry in entries]).decode())
        return
    table = Table("when (UTC)", "who", "what", "version", "digest", "activation", "why", box=box.SIMPLE)
    for entry in entries:
        number = "" if entry.number is None else str(entry.number)
        version = "" if entry.version is None else str(entry.version)
        when = f"{to_datetime(entry.at_ms):%Y-%m-%d %H:%M:%S}"
        table.add_row(
            when, cell(entry.by), cell(described(entry)), version, entry.digest[:8], number, cell(entry.reason)
        )
    terminal().print(table)


def described(entry: AuditEntry) -> str:
    """An audit entry in words: ``activated until 2026-12-24 18:00 UTC, without approval``."""
    what = entry.action.removeprefix("kill_").replace("_", " ")
    if entry.action in ("shadow_began", "shadow_ended"):
        what = "evaluated in shadow" if entry.action == "shadow_began" else "no longer evaluated in shadow"
    if entry.kill is not None:
        what = f"kill switch {entry.kill} ({_target(entry)}) {'ordered' if entry.action == 'killed' else what}"
    if entry.letters is not None:
        what += f" ({entry.letters} dead letters: {entry.selection})"
    if entry.action == "scheduled" and entry.from_ms is not None:
        what += f" from {_minute(entry.from_ms)}"
    if entry.until_ms is not None:
        what += f" until {_minute(entry.until_ms)}"
    more = [(entry.is_alone, "without approval"), (entry.recalls, "with recall"), (entry.includes_legal, "legal too")]
    return ", ".join([what, *(text for is_so, text in more if is_so)])


def _target(entry: AuditEntry) -> str:
    return "everything" if entry.target == "all" else f"{entry.target} {entry.target_name}"


def _minute(at_ms: int) -> str:
    return f"{to_datetime(at_ms):%Y-%m-%d %H:%M} UTC"


def _second(at_ms: int) -> str:
    return f"{to_datetime(at_ms):%Y-%m-%d %H:%M:%S} UTC"


def _as_json(seen: _Seen, record: PolicyRecord) -> dict[str, Any]:
    approval = record.approval
    approved = {"by": approval.approver, "reason": approval.reason} if approval else None
    return {
        "version": record.version,
        "digest": record.digest,
        "author": record.author,
        "reason": record.reason,
        "published_at": to_datetime(record.published_at_ms).isoformat(),
        "approval": {**approved, "at": to_datetime(approval.at_ms).isoformat()} if approved and approval else None,
        "active": _is_active(seen, record),
        "activation": seen.active.number if seen.active else None,
        "shadow": msgspec.to_builtins(seen.active.shadow) if seen.active else None,
        "planned": [_times(planned) for planned in _to_come(seen)],
        "kill_switches": [
            {**msgspec.to_builtins(kill), "until": to_datetime(kill.until_ms).isoformat()} for kill in seen.kills
        ],
        "document": msgspec.json.decode(record.document),
    }


def _times(planned: Planned) -> dict[str, Any]:
    until = None if planned.until_ms is None else to_datetime(planned.until_ms).isoformat()
    return {"version": planned.version, "from": to_datetime(planned.from_ms).isoformat(), "until": until}


def _to_come(seen: _Seen) -> list[Planned]:
    """What will change by itself: activations that have not begun, and those that will end."""
    return [planned for planned in seen.plan if not planned.has_begun or planned.until_ms is not None]


def _is_active(seen: _Seen, record: PolicyRecord | Shadow) -> bool:
    return seen.active is not None and seen.active.version == record.version


def _about(seen: _Seen, record: PolicyRecord) -> Iterator[str]:
    """Lines about a version: who published and approved it, whether it is in force, what is planned and stopped."""
    yield f"{record.name} version {record.version}, {'in force' if _is_active(seen, record) else 'not in force'}"
    because = f": {record.reason}" if record.reason else ""
    yield f"published {_second(record.published_at_ms)} by {record.author}, digest {record.digest}{because}"
    approval = record.approval
    if approval is None:
        yield "approved by nobody yet"
    else:
        because = f": {approval.reason}" if approval.reason else ""
        yield f"approved {_second(approval.at_ms)} by {approval.approver}{because}"
    for planned in _to_come(seen):
        begins = "is in force" if planned.has_begun else f"will be in force from {_minute(planned.from_ms)}"
        until = "" if planned.until_ms is None else f" until {_minute(planned.until_ms)}"
        yield f"planned: version {planned.version} {begins}{until}"
    beside = seen.active.shadow if seen.active else None
    if beside is not None:
        what = "evaluated beside what is in force; it decides nothing"
        what = "in force itself, so nothing is evaluated beside it" if _is_active(seen, beside) else what
        yield f"shadow policy: version {beside.version}, {what}"
    for kill in seen.kills:
        yield f"kill switch {kill.id} stops {kill.label} until {_minute(kill.until_ms)}, by {kill.by}: {kill.reason}"


def _print(about: Iterable[str], document: PolicyDocument) -> None:
    for line in about:
        tell_folded(line)
    tell_ended(document)
    tell_sections(in_words(document))
