"""Whether today's schemas of messages keep the promises of those that were released: additions, and nothing else.

A message that others write must stay valid: whatever the old schema accepts, the new one accepts. A message that
others read must stay readable: whatever the new schema allows, the old one allows, but for new fields, which readers
pass over. In both no field goes away, and no default changes, since what is left out means the default.

This compares the part of JSON Schema that :mod:`arbiter.generated.schemas` writes, and refuses any other keyword.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from arbiter.generated.asyncapi import VERSION
from arbiter.generated.schemas import MESSAGES, READ, message_schema

RELEASED: Final = Path("schemas") / "released"
"""A folder for each version of the messages that was released."""

SUFFIX: Final = ".schema.json"

OPEN: Final = frozenset({("audit-record", "action")})
"""Fields of what others read whose list of values may grow: a reader passes over a value that it does not know."""

_LOWEST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_HIGHEST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = ("pattern", "format")
_WORDS: Final = frozenset({"title", "description", "default", "examples", "$schema", "$defs", "$comment"})
_KNOWN: Final = frozenset(
    {*_LOWEST, *_HIGHEST, *_SAME, *_WORDS, "type", "enum", "const", "anyOf", "$ref", "properties", "required", "items",
     "additionalProperties"}
)  # fmt: skip

Schema = Mapping[str, Any]


class Break(Struct, frozen=True):
    """A promise that is broken: of which release, in which message, where in it, and how."""

    version: str
    message: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.message}: `{self.path or 'the message'}` {self.what} (released in {self.version})"


def breaks(root: Path) -> list[Break]:
    """Where today's schemas break a promise of any release under ``root``."""
    found = []
    for file in sorted((root / RELEASED).glob(f"*/*{SUFFIX}")):
        name, version = file.name.removesuffix(SUFFIX), file.parent.name
        old = json.loads(file.read_text(encoding="utf-8"))
        if name not in MESSAGES:
            found.append(Break(version, name, "", "is no message any more"))
            continue
        is_written = MESSAGES[name] in READ
        new = message_schema(MESSAGES[name])
        found += [Break(version, name, path, what) for path, what in compared(name, old, new, is_written=is_written)]
    return found


def compared(name: str, old: Schema, new: Schema, *, is_written: bool) -> Iterator[tuple[str, str]]:
    """Where a message breaks what was released, and how. ``is_written`` says that others write it."""
    yield from _lost(old, new, old, new, "")
    wide, given = (new, old) if is_written else (old, new)
    for path, what in _unfit(given, wide, given, wide, ""):
        is_open = (name, path) in OPEN and what.startswith(VALUES)
        if not is_open:
            yield path, what if is_written else f"{what}, for those who read it"


def unreleased(root: Path) -> str:
    """Why the version of the messages has to grow; empty if it need not."""
    folder = root / RELEASED / VERSION
    if not folder.is_dir():
        return ""
    released = {file.name.removesuffix(SUFFIX): json.loads(file.read_text()) for file in folder.glob(f"*{SUFFIX}")}
    changed = [name for name, kind in MESSAGES.items() if released.get(name) != message_schema(kind)]
    if not changed:
        return ""
    return f"{', '.join(changed)}: not as released in {VERSION}; raise VERSION in arbiter/generated/asyncapi.py"


def release(root: Path) -> list[str]:
    """Keep today's schemas as those of this version; gives their paths. ``ValueError`` if that breaks a promise."""
    folder = root / RELEASED / VERSION
    if reason := "; ".join(map(str, breaks(root))) or unreleased(root):
        raise ValueError(reason)
    folder.mkdir(parents=True, exist_ok=True)
    paths = {folder / f"{name}{SUFFIX}": message_schema(kind) for name, kind in MESSAGES.items()}
    for path, schema in paths.items():
        path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [str(path.relative_to(root)) for path in paths]


# Fields that went away, and defaults

VALUES: Final = "may have other values"


def _lost(old: Schema, new: Schema, old_root: Schema, new_root: Schema, path: str) -> Iterator[tuple[str, str]]:
    for before, after in _pairs(old, new, old_root, new_root):
        known, now = before.get("properties", {}), after.get("properties", {})
        for name, field in known.items():
            inner = f"{path}.{name}" if path else name
            if name not in now:
                yield inner, "went away"
                continue
            if field.get("default") != now[name].get("default"):
                yield inner, f"has the default {now[name].get('default')!r}, it was {field.get('default')!r}"
            yield from _lost(field, now[name], old_root, new_root, inner)
        if "items" in before and "items" in after:
            yield from _lost(before["items"], after["items"], old_root, new_root, f"{path}[]")


def _pairs(old: Schema, new: Schema, old_root: Schema, new_root: Schema) -> Iterator[tuple[Schema, Schema]]:
    """The objects and lists of both, one beside the other."""
    for kind in ("object", "array"):
        before = [one for one in _alternatives(old, old_root) if one.get("type") == kind]
        after = [one for one in _alternatives(new, new_root) if one.get("type") == kind]
        yield from zip(before, after, strict=False)


# What is accepted


def _unfit(given: Schema, wide: Schema, given_root: Schema, wide_root: Schema, path: str) -> Iterator[tuple[str, str]]:
    """Why something that ``given`` accepts is not accepted by ``wide``."""
    options = _alternatives(wide, wide_root)
    for one in _alternatives(given, given_root):
        tries = [[*_one(one, option, given_root, wide_root, path)] for option in options]
        if all(tries):
            yield from min(tries, key=len, default=[(path, "is not accepted any more")])


def _one(given: Schema, wide: Schema, given_root: Schema, wide_root: Schema, path: str) -> Iterator[tuple[str, str]]:
    if strange := sorted({*given, *wide} - _KNOWN):
        raise ValueError(f"{path}: {', '.join(strange)} cannot be compared; teach arbiter/generated/compatibility.py")
    if not _is_of_type(given, wide):
        yield path, f"is not always of type {wide.get('type')}, it may be {given.get('type', 'anything')}"
        return
    yield from _values(given, wide, path)
    yield from _limits(given, wide, path)
    yield from _fields(given, wide, given_root, wide_root, path)
    if "items" in wide:
        yield from _unfit(given.get("items", {}), wide["items"], given_root, wide_root, f"{path}[]")


def _is_of_type(given: Schema, wide: Schema) -> bool:
    kinds = given.get("type"), wide.get("type")
    return kinds[1] is None or kinds[0] == kinds[1] or kinds == ("integer", "number")


def _values(given: Schema, wide: Schema, path: str) -> Iterator[tuple[str, str]]:
    allowed = wide.get("enum", [wide["const"]] if "const" in wide else None)
    if allowed is None:
        return
    values = given.get("enum", [given["const"]] if "const" in given else None)
    if values is None:
        yield path, f"may have any value, {allowed} are known"
    elif more := [value for value in values if value not in allowed]:
        yield path, f"{VALUES}: {', '.join(map(repr, more))}"


def _limits(given: Schema, wide: Schema, path: str) -> Iterator[tuple[str, str]]:
    for word in _LOWEST:
        if word in wide and (word not in given or given[word] < wide[word]):
            yield path, f"has the {word} {wide[word]}, it was {given.get(word, 'none')}"
    for word in _HIGHEST:
        if word in wide and (word not in given or given[word] > wide[word]):
            yield path, f"has the {word} {wide[word]}, it was {given.get(word, 'none')}"
    for word in _SAME:
        if word in wide and wide[word] != given.get(word):
            yield path, f"has the {word} {wide[word]}, it was {given.get(word, 'none')}"


def _fields(given: Schema, wide: Schema, given_root: Schema, wide_root: Schema, path: str) -> Iterator[tuple[str, str]]:
    known, fields = wide.get("properties", {}), given.get("properties", {})
    for name in wide.get("required", ()):
        if name not in given.get("required", ()):
            yield f"{path}.{name}" if path else name, "is required, and was not always there"
    for name in known.keys() & fields.keys():
        inner = f"{path}.{name}" if path else name
        yield from _unfit(fields[name], known[name], given_root, wide_root, inner)
    rest = wide.get("additionalProperties", True)
    if rest is False and fields.keys() - known.keys():
        yield path, f"takes no other fields, as {', '.join(sorted(fields.keys() - known.keys()))}"
    elif isinstance(rest, Mapping):
        other = given.get("additionalProperties", {})
        yield from _unfit(other if isinstance(other, Mapping) else {}, rest, given_root, wide_root, f"{path}.*")


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    """The schema as schemas of one type each, without references."""
    if "$ref" in schema:
        return _alternatives(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        rest = {word: value for word, value in schema.items() if word != "anyOf" and word not in _WORDS}
        return [{**rest, **option} for one in schema["anyOf"] for option in _alternatives(one, root)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]
