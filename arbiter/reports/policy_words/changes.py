"""The differences between the texts of two policies, field by field: ``limit 4 → 2``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec
from msgspec import Struct

from arbiter.policy.document import PolicyDocument
from arbiter.policy.phrases import number
from arbiter.policy_check.files.schema import condition_fields
from arbiter.reports.policy_words.whole import Entry, in_words

NAMED = {"departments": "department", "channels": "channel", "categories": "category", "segments": "segment",
         "holidays": "holiday calendar", "rules": "rule", "exceptions": "exception"}  # fmt: skip
"""Groups of things with names, and what one of them is called."""
ORDERED = ("rules", "exceptions")
ARROW = "\N{RIGHTWARDS ARROW}"


class Difference(Struct, frozen=True):
    """A field that differs. ``None`` on a side means that the field is not there."""

    field: str
    before: Any
    after: Any

    @property
    def sides(self) -> tuple[str, str, str]:
        """The field, and what it says before and after."""
        nothing = (
            "any" if condition_fields() & set(self.field.split()) else "all" if self.field == "channels" else "none"
        )
        return self.field, _said(self.before, nothing), _said(self.after, nothing)

    @property
    def text(self) -> str:
        """``limit 4 → 2``."""
        field, before, after = self.sides
        return f"{field} {before} {ARROW} {after}"


class Change(Struct, frozen=True):
    """A part of the policy that was added, removed or changed; ``sentences`` describe what was added or removed."""

    what: str
    name: str
    kind: Literal["added", "removed", "changed"]
    differences: list[Difference] = []
    sentences: list[str] = []

    @property
    def title(self) -> str:
        """``rule three-a-week``; of the policy as a whole ``the policy``."""
        return f"{self.what} {self.name}" if self.what != "policy" else "the policy"


def changes(old: PolicyDocument, new: PolicyDocument) -> list[Change]:
    """All differences, part by part, in the order of the new policy; removed parts come last."""
    before, after = _plain(old), _plain(new)
    found: list[Change] = []
    top = {name: value for name, value in after.items() if name not in NAMED}
    differences = list(_differences({name: before.get(name) for name in top}, top))
    if differences:
        found.append(Change("policy", new.policy, "changed", differences))
    for group, what in NAMED.items():
        found += _group(what, before[group], after[group], _entries(old), _entries(new))
    for group in ORDERED:
        if [name for name in before[group] if name in after[group]] != [n for n in after[group] if n in before[group]]:
            order = Difference(f"order of {group}", "as it was", "another")
            found.append(Change("policy", new.policy, "changed", [order]))
    return found


def as_plain(change: Change) -> dict[str, Any]:
    """A change for JSON."""
    fields = [{**msgspec.to_builtins(one), "text": one.text} for one in change.differences]
    plain = {"what": change.what, "name": change.name, "change": change.kind}
    return {**plain, "fields": fields} if change.kind == "changed" else {**plain, "sentences": change.sentences}


Entries = dict[tuple[str, str], Entry]


def _entries(document: PolicyDocument) -> Entries:
    titles = {"Who may ask": "department", "Channels": "channel", "Categories": "category", "Segments": "segment",
              "Holidays": "holiday calendar", "Rules": "rule", "Exceptions": "exception"}  # fmt: skip
    sections = [section for section in in_words(document) if section.title in titles]
    return {(titles[section.title], entry.name): entry for section in sections for entry in section.entries}


def _group(
    what: str, before: dict[str, Any], after: dict[str, Any], said_before: Entries, said_after: Entries
) -> Iterator[Change]:
    for name, value in after.items():
        if name not in before:
            yield Change(what, name, "added", sentences=_sentences(said_after[what, name]))
        elif before[name] != value:
            differences = list(_differences(before[name], value, "" if isinstance(value, dict) else "days"))
            yield Change(what, name, "changed", differences)
    for name in before:
        if name not in after:
            yield Change(what, name, "removed", sentences=_sentences(said_before[what, name]))


def _sentences(entry: Entry) -> list[str]:
    why = [f"Why: {entry.why}."] if entry.why else []
    return [*entry.sentences, *why, *([f"Whom to ask: {entry.owner}."] if entry.owner else [])]


def _plain(document: PolicyDocument) -> dict[str, Any]:
    """The document as plain values, with defaults written out and rules by name."""
    whole: dict[str, Any] = _written_out(document)
    for group in ORDERED:
        whole[group] = {one["id"]: one for one in whole[group]}
    return whole


def _written_out(value: Any) -> Any:
    if isinstance(value, Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        fields = {encoded: _written_out(getattr(value, name)) for name, encoded in names}
        tag = value.__struct_config__.tag
        return {"kind": str(tag), **fields} if tag is not None else fields
    if isinstance(value, dict):
        return {name: _written_out(item) for name, item in value.items()}
    return [_written_out(item) for item in value] if isinstance(value, list) else value


def _differences(before: Any, after: Any, field: str = "") -> Iterator[Difference]:
    """The fields in which two values differ, at any depth."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*after, *(name for name in before if name not in after)]:
            yield from _differences(before.get(name), after.get(name), f"{field} {name}".strip())
    elif _is_group(before, after) or _is_group(after, before):
        # A group on one side only: each of its fields was, or is, there.
        yield from _differences(before or {}, after or {}, field)
    elif before != after or type(before) is not type(after):
        yield Difference(field, before, after)


def _is_group(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and bool(one) and (other is None or other == {})


def _said(value: Any, nothing: str = "none") -> str:
    if value is None or value in ({}, []):
        return "none" if value == [] else nothing
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_said, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_said(item)}" for name, item in value.items() if item is not None)
    return number(value) if isinstance(value, int | float) else f"{value}"
