"""What a JSON Schema validator finds, in a policy owner's words.

Every finding becomes a path, a code, a sentence and a fix: the field's own name, the nearest known name, the field's
description. No schema keyword, no pointer and no type name of ours is ever shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError
from msgspec import Struct

from arbiter.core.problem import nearest
from arbiter.policy_files.schema import Schema, frame_schema, rule_schemas
from arbiter.policy_files.yaml_tree import Path

SINGULAR = {
    "departments": "department",
    "channels": "channel",
    "categories": "category",
    "segments": "segment",
    "holidays": "holiday calendar",
}
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a group of fields",
}
_TEXT_MAX = 60


NAMED_BY = {"rules": ("rule", "id"), "tests": ("test", "name")}
"""Lists whose entries have names: how a sentence calls one, and the field with its name."""

Told = tuple[str, str, str]
"""Code, message, fix."""
Teller = Callable[[str, Any, Schema, str], Told]
"""Takes how the value is called, the value, what it was held against, and what the field means."""


class Whole(Struct, frozen=True):
    """What a path leads into: the plain value, and how a sentence calls it."""

    value: dict[str, Any]
    name: str = "the policy"


class Shape(Struct, frozen=True):
    """Something of the wrong shape. ``at_key`` says that its name is meant rather than its value.

    ``field`` is the field that is missing, or the one that an unknown field was most likely meant to be.
    """

    path: Path
    code: str
    message: str
    help: str
    at_key: bool = False
    field: str = ""


def wrong_shapes(policy: dict[str, Any]) -> Iterator[Shape]:
    """Everything in a policy's plain value that no policy can have; a misspelt field is not also a missing one."""
    yield from _without_misspelt(list(_all_wrong_shapes(Whole(policy))))


def shapes_against(schema: Schema, whole: Whole) -> Iterator[Shape]:
    """As :func:`wrong_shapes`, for what a schema without references describes."""
    errors = Draft202012Validator(schema).iter_errors(whole.value)
    yield from _without_misspelt([shape for error in errors for shape in _told(error, schema, (), whole)])


def _without_misspelt(found: list[Shape]) -> Iterator[Shape]:
    misspelt = {(shape.path[:-1], shape.field) for shape in found if shape.code == "unknown-field"}
    for shape in found:
        if shape.code != "missing-field" or (shape.path, shape.field) not in misspelt:
            yield shape


def _all_wrong_shapes(policy: Whole) -> Iterator[Shape]:
    frame = frame_schema()
    for error in _frame_validator().iter_errors(policy.value):
        yield from _told(error, frame, (), policy)
    rules = policy.value.get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        yield from _rule(("rules", index), rule, policy)


def _rule(path: Path, rule: Any, whole: Whole) -> Iterator[Shape]:
    kinds = rule_schemas()
    if not isinstance(rule, dict):
        yield Shape(
            path, "wrong-type", f"a rule must be a group of fields, not {_said(rule)}", "begin with `- id: NAME`"
        )
    elif "kind" not in rule:
        yield Shape(path, "missing-field", f"{_owner(path, whole)} has no `kind`", f"add `kind:` and {_one_of(kinds)}")
    elif not isinstance(rule["kind"], str) or rule["kind"] not in kinds:
        kind = rule["kind"]
        message = f"{_owner(path, whole)} has the kind {_said(kind)}, which does not exist"
        yield Shape((*path, "kind"), "unknown-kind", message, nearest(str(kind), kinds))
    else:
        for error in _rule_validator(rule["kind"]).iter_errors(rule):
            yield from _told(error, kinds[rule["kind"]], path, whole)


@cache
def _frame_validator() -> Draft202012Validator:
    return Draft202012Validator(frame_schema())


@cache
def _rule_validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(rule_schemas()[kind])


def _told(error: ValidationError, schema: Schema, base: Path, whole: Whole) -> Iterator[Shape]:
    """The shapes of one finding; ``schema`` is what it was found with, ``base`` where in the policy that begins."""
    *steps, keyword = error.schema_path
    spot = _follow(schema, steps)
    path = (*base, *error.instance_path)
    kind: Any = error.kind
    if kind.name == "anyOf":
        yield from _union(error, schema, base, whole)
    elif kind.name == "additionalProperties":
        for name in kind.unexpected:
            message = f"{_owner(path, whole)} has no field `{name}`"
            known = spot.get("properties", ())
            meant = next(iter(get_close_matches(name, known, n=1)), "")
            yield Shape((*path, name), "unknown-field", message, nearest(name, known), at_key=True, field=meant)
    elif kind.name == "required":
        yield _missing(path, kind.property, spot, whole)
    elif kind.name == "propertyNames":
        name = str(kind.error.instance)
        message = f"`{_plain(name)}` cannot be a name"
        yield Shape((*path, name), "bad-name", message, "use 1 to 64 characters", at_key=True)
    else:
        yield _value(_VALUES[str(keyword)], path, error.instance, spot, _meaning(schema, steps))


def _value(tell: Teller, path: Path, value: Any, schema: Schema, meaning: str) -> Shape:
    if value is None:
        return Shape(path, "empty-value", f"{_called(path)} has no value", "write one, or remove the line", at_key=True)
    return Shape(path, *tell(_called(path), value, schema, meaning))


def _union(error: ValidationError, schema: Schema, base: Path, whole: Whole) -> Iterator[Shape]:
    """What is wrong by the one branch that has the value's type; no branch means that the type is wrong."""
    kind: Any = error.kind
    for errors in kind.context:
        if not any(inner.kind.name == "type" and inner.instance_path == error.instance_path for inner in errors):
            for inner in errors:
                yield from _told(inner, schema, base, whole)
            return
    path = (*base, *error.instance_path)
    types = [name for branch in _follow(schema, error.schema_path) for name in _types(branch)]
    yield _value(_wrong_type, path, error.instance, {"type": types}, _meaning(schema, error.schema_path))


def _missing(path: Path, name: str, schema: Schema, whole: Whole) -> Shape:
    meaning = _meaning(schema, ["properties", name])
    fix = f"add `{name}:`" + (f" - {meaning}" if meaning else "")
    return Shape(path, "missing-field", f"{_owner(path, whole)} has no `{name}`", fix, field=name)


def _meaning(schema: Any, steps: Iterable[str | int]) -> str:
    """The description nearest to the end of these steps, as the end of a sentence."""
    found = ""
    for step in steps:
        schema = schema[step]
        text = schema.get("description", "") if isinstance(schema, dict) else ""
        found = text if isinstance(text, str) and text else found
    return f"{found[0].lower()}{found[1:].rstrip('.')}" if found else ""


def _wrong_type(called: str, value: Any, schema: Schema, meaning: str) -> Told:
    types = _types(schema)
    text = f"{called} must be {_or([_TYPES[name] for name in types])}, not {_said(value)}"
    is_one = not isinstance(value, dict | list)
    return "wrong-type", text, f"write `[{_plain(value)}]`" if types == ["array"] and is_one else meaning


def _unknown_value(called: str, value: Any, schema: Schema, meaning: str) -> Told:  # noqa: ARG001 - one signature
    return "unknown-value", f"{called} cannot be {_said(value)}", nearest(str(value), schema["enum"])


def _bad_text(called: str, value: Any, schema: Schema, meaning: str) -> Told:  # noqa: ARG001 - one signature
    return "bad-text", f"{called} cannot be {_said(value)}", meaning


def _bound(word: str, keyword: str) -> Teller:
    def tell(called: str, value: Any, schema: Schema, meaning: str) -> Told:
        return "out-of-range", f"{called} must be {word} {schema[keyword]:g}, not {_said(value)}", meaning

    return tell


def _size(word: str, keyword: str, one: str, many: str) -> Teller:
    def tell(called: str, value: Any, schema: Schema, meaning: str) -> Told:  # noqa: ARG001 - one signature
        limit = schema[keyword]
        return "wrong-size", f"{called} must have at {word} {limit} {one if limit == 1 else many}", meaning

    return tell


_VALUES: dict[str, Teller] = {
    "type": _wrong_type,
    "enum": _unknown_value,
    "pattern": _bad_text,
    "minimum": _bound("at least", "minimum"),
    "maximum": _bound("at most", "maximum"),
    "minLength": _size("least", "minLength", "character", "characters"),
    "maxLength": _size("most", "maxLength", "character", "characters"),
    "minItems": _size("least", "minItems", "entry", "entries"),
    "maxItems": _size("most", "maxItems", "entry", "entries"),
    "minProperties": _size("least", "minProperties", "entry", "entries"),
}


def _follow(schema: Any, steps: Iterable[str | int]) -> Any:
    for step in steps:
        schema = schema[step]
    return schema


def _types(schema: Schema) -> list[str]:
    types = schema.get("type", ["string"])
    return [types] if isinstance(types, str) else list(types)


def _called(path: Path) -> str:
    """How a sentence calls the value at a path: by its field."""
    if not path:
        return "the policy"
    if isinstance(path[-1], str):
        return f"`{path[-1]}`"
    names = [part for part in path if isinstance(part, str)]
    return f"entry {path[-1] + 1} of `{names[-1]}`" if names else "the policy"


def _owner(path: Path, whole: Whole) -> str:
    """How a sentence calls the thing that has fields: the rule, the department … by name."""
    if not path:
        return whole.name
    if len(path) == 2 and path[0] in NAMED_BY:  # noqa: PLR2004 - the path of an entry
        what, field = NAMED_BY[str(path[0])]
        entry = whole.value[path[0]][path[1]]
        name = entry.get(field) if isinstance(entry, dict) else None
        return f"{what} `{name}`" if isinstance(name, str) else f"this {what}"
    if len(path) == 2 and path[0] in SINGULAR:  # noqa: PLR2004 - a named thing's path
        return f"{SINGULAR[str(path[0])]} `{path[1]}`"
    return _called(path)


def _said(value: Any) -> str:
    """A value as a sentence quotes it."""
    if isinstance(value, dict):
        return "a group of fields"
    if isinstance(value, list):
        return "a list"
    return "empty" if value is None else f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _one_of(names: Iterable[str]) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in sorted(names))
