"""The errors of a JSON Schema validator in a policy owner's words.

Every error becomes a path, a code, a sentence and a fix, with the field's own name, the nearest known name and the
field's description. No schema keyword, pointer or internal type name is ever shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError
from msgspec import Struct

from arbiter.ledger.names import nearest
from arbiter.policy_check.files.schema import Schema, common_schema, frame_schema, rule_schemas
from arbiter.policy_check.files.values import (
    DESCRIBERS,
    WHOLE,
    Describer,
    Value,
    name_of,
    not_whole,
    quoted,
    shortened,
    types_of,
    wrong_type,
)
from arbiter.policy_check.files.yaml_tree import Path, Place

SINGULAR = {
    "departments": "department",
    "channels": "channel",
    "categories": "category",
    "segments": "segment",
    "holidays": "holiday calendar",
}
COMMA = "if it belongs to the number before it, write that number without a comma"
NAMED_BY = {"rules": ("rule", "id"), "tests": ("test", "name")}
"""List whose entries have names → what one is called, and the field with its name."""


class Whole(Struct, frozen=True):
    """What is checked: the plain value, the places of its parts, and what a sentence calls it."""

    value: dict[str, Any]
    places: Mapping[Path, Place] = {}
    name: str = "the policy"


class Shape(Struct, frozen=True):
    """A value of the wrong shape. ``at_key`` points at its name instead of its value.

    ``field`` is the field that is missing, or the one that an unknown field was most likely meant to be.
    """

    path: Path
    code: str
    message: str
    help: str
    at_key: bool = False
    field: str = ""


def wrong_shapes(whole: Whole) -> Iterator[Shape]:
    """Every error of shape in a policy's plain value. A misspelt field is not also a missing one."""
    yield from _without_misspelt(list(_all_wrong_shapes(whole)))


def shapes_against(schema: Schema, whole: Whole) -> Iterator[Shape]:
    """As :func:`wrong_shapes`, against a schema without references."""
    errors = Draft202012Validator(schema).iter_errors(whole.value)
    found = [shape for error in errors for shape in _shapes(error, schema, (), whole)]
    yield from _without_misspelt([*found, *_fractions(schema, whole.value, (), whole)])


def _without_misspelt(found: list[Shape]) -> Iterator[Shape]:
    unclear = {shape.path for shape in found if shape.code == "not-whole"}
    found = [shape for shape in found if shape.code in ("not-whole", "unknown-field") or shape.path not in unclear]
    misspelt = {(shape.path[:-1], shape.field) for shape in found if shape.code == "unknown-field"}
    for shape in found:
        if shape.code != "missing-field" or (shape.path, shape.field) not in misspelt:
            yield shape


def _all_wrong_shapes(policy: Whole) -> Iterator[Shape]:
    frame = frame_schema()
    for error in _frame_validator().iter_errors(policy.value):
        yield from _shapes(error, frame, (), policy)
    yield from _fractions(frame, policy.value, (), policy)
    rules = policy.value.get("rules")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        yield from _rule(("rules", index), rule, policy)


def _rule(path: Path, rule: Any, whole: Whole) -> Iterator[Shape]:
    kinds = rule_schemas()
    if not isinstance(rule, dict):
        yield Shape(
            path, "wrong-type", f"a rule must be a group of fields, not {quoted(rule)}", "begin with `- id: NAME`"
        )
    elif "kind" not in rule:
        fix = f"add `kind:` and {_one_of(kinds)}"
        yield Shape(path, "missing-field", f"{_owner(path, whole)} has no `kind`", fix, field="kind")
        yield from _judged(common_schema(), path, rule, whole)
    elif not isinstance(rule["kind"], str) or rule["kind"] not in kinds:
        kind = rule["kind"]
        message = f"{_owner(path, whole)} has the kind {quoted(kind)}, which does not exist"
        yield Shape((*path, "kind"), "unknown-kind", message, nearest(str(kind), kinds))
        meant = near_kind(kind)
        yield from _judged(kinds[meant] if meant else common_schema(), path, {**rule, "kind": meant}, whole)
    else:
        yield from _judged(kinds[rule["kind"]], path, rule, whole)


def near_kind(kind: Any) -> str:
    """The kind that was most likely meant by one that does not exist; empty if none is near."""
    return next(iter(get_close_matches(str(kind), rule_schemas(), n=1)), "")


def _judged(schema: Schema, path: Path, rule: dict[str, Any], whole: Whole) -> Iterator[Shape]:
    for error in _validator(schema["title"]).iter_errors(rule):
        yield from _shapes(error, schema, path, whole)
    yield from _fractions(schema, rule, path, whole)


def _fractions(schema: Any, value: Any, path: Path, whole: Whole) -> Iterator[Shape]:
    """Whole numbers with a point or comma: ``1.000`` is a thousand to some readers and one to others."""
    kind = schema.get("type")
    if kind == "integer" and isinstance(value, int | float) and not isinstance(value, bool) and value == int(value):
        written = Value(path, value, whole.places.get(path))
        if isinstance(value, float) or (written.place is not None and not WHOLE.fullmatch(written.written)):
            yield Shape(path, *not_whole(written, schema, ""))
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _fractions(schema["items"], item, (*path, index), whole)
    elif isinstance(value, dict):
        others = schema.get("additionalProperties") or {}
        for name, item in value.items():
            yield from _fractions(schema.get("properties", {}).get(name, others), item, (*path, name), whole)
    for branch in schema.get("anyOf", ()):
        yield from _fractions(branch, value, path, whole)


@cache
def _frame_validator() -> Draft202012Validator:
    return Draft202012Validator(frame_schema())


@cache
def _validator(title: str) -> Draft202012Validator:
    """The validator of the schema with this title: a rule kind's, or that of what all rules have."""
    schemas = (*rule_schemas().values(), common_schema())
    return Draft202012Validator(next(schema for schema in schemas if schema["title"] == title))


def _shapes(error: ValidationError, schema: Schema, base: Path, whole: Whole) -> Iterator[Shape]:
    """The shapes of one error. ``schema`` is what it violates, ``base`` the path in the policy where that begins."""
    *steps, keyword = error.schema_path
    spot = _follow(schema, steps)
    path = _path_of(error, base, whole)
    kind: Any = error.kind
    if kind.name == "anyOf":
        yield from _union(error, schema, base, whole)
    elif kind.name == "additionalProperties":
        for name in kind.unexpected:
            message = f"{_owner(path, whole)} has no field `{name}`"
            known = spot.get("properties", ())
            meant = next(iter(get_close_matches(name, known, n=1)), "")
            fix = COMMA if name.isdigit() else nearest(name, known)
            yield Shape((*path, name), "unknown-field", message, fix, at_key=True, field=meant)
    elif kind.name == "required":
        yield _missing(path, kind.property, spot, whole)
    elif kind.name == "propertyNames":
        name = str(kind.error.instance)
        message = f"`{shortened(name)}` cannot be a name"
        yield Shape((*path, name), "bad-name", message, "use 1 to 64 characters", at_key=True)
    else:
        yield _shape(
            DESCRIBERS[str(keyword)], Value(path, error.instance, whole.places.get(path)), spot, _meaning(schema, steps)
        )


def _path_of(error: ValidationError, base: Path, whole: Whole) -> Path:
    """The path of an error. The validator takes a name of digits for the number of an entry."""
    value: Any = whole.value
    path: list[str | int] = []
    for part in (*base, *error.instance_path):
        path.append(str(part) if isinstance(value, dict) else part)
        value = value[path[-1]]
    return tuple(path)


def _shape(describe: Describer, value: Value, schema: Schema, meaning: str) -> Shape:
    if value.plain is None:
        is_group = types_of(schema) == ["object"] and not schema.get("required") and "minProperties" not in schema
        # In braces, `email:, ` is a name that ends in a colon.
        name = str(value.path[-1]).rstrip(":")
        fix = f"write `{name}: {{}}` if nothing is to be set, or remove the line" if is_group else ""
        message = f"`{name}` has no value" if isinstance(value.path[-1], str) else f"{value.called} has no value"
        return Shape(value.path, "empty-value", message, fix or "write one, or remove the line", at_key=True)
    return Shape(value.path, *describe(value, schema, meaning))


def _union(error: ValidationError, schema: Schema, base: Path, whole: Whole) -> Iterator[Shape]:
    """The shapes by the branch that has the value's type. Without such a branch the type is wrong."""
    kind: Any = error.kind
    for errors in kind.context:
        if not any(inner.kind.name == "type" and inner.instance_path == error.instance_path for inner in errors):
            for inner in errors:
                yield from _shapes(inner, schema, base, whole)
            return
    path = _path_of(error, base, whole)
    types = [name for branch in _follow(schema, error.schema_path) for name in types_of(branch)]
    meaning = _meaning(schema, error.schema_path)
    yield _shape(wrong_type, Value(path, error.instance, whole.places.get(path)), {"type": types}, meaning)


def _missing(path: Path, name: str, schema: Schema, whole: Whole) -> Shape:
    meaning = _meaning(schema, ["properties", name])
    fix = f"add `{name}:`" + (f" - {meaning}" if meaning else "")
    return Shape(path, "missing-field", f"{_owner(path, whole)} has no `{name}`", fix, field=name)


def _meaning(schema: Any, steps: Iterable[str | int]) -> str:
    """The description of the last of these steps that has one, as the end of a sentence."""
    found = ""
    for step in steps:
        schema = schema[step]
        text = schema.get("description", "") if isinstance(schema, dict) else ""
        found = text if isinstance(text, str) and text else found
    is_name = found[:2].isupper()
    return f"{found[0] if is_name else found[0].lower()}{found[1:].rstrip('.')}" if found else ""


def _follow(schema: Any, steps: Iterable[str | int]) -> Any:
    for step in steps:
        schema = schema[step]
    return schema


def _owner(path: Path, whole: Whole) -> str:
    """What a sentence calls the thing that has fields: the rule, the department … by name."""
    if not path:
        return whole.name
    if len(path) == 2 and path[0] in NAMED_BY:  # noqa: PLR2004 - the path of an entry
        what, field = NAMED_BY[str(path[0])]
        entry = whole.value[path[0]][path[1]]
        name = entry.get(field) if isinstance(entry, dict) else None
        return f"{what} `{name}`" if isinstance(name, str) else f"this {what}"
    if len(path) == 2 and path[0] in SINGULAR:  # noqa: PLR2004 - a named thing's path
        return f"{SINGULAR[str(path[0])]} `{path[1]}`"
    return name_of(path)


def _one_of(names: Iterable[str]) -> str:
    return "one of " + ", ".join(f"`{name}`" for name in sorted(names))
